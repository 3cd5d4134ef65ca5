"""The runner: ``from smallab.runner import ExperimentRunner``."""

from smallab.runner.outcome import BatchResult
from smallab.runner.runner import ExperimentRunner

__all__ = ["BatchResult", "ExperimentRunner"]
