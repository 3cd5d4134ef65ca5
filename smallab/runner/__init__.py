"""The runner: ``from smallab.runner import ExperimentRunner``."""

from smallab.runner.batch_result import BatchResult
from smallab.runner.runner import ExperimentRunner

__all__ = ["BatchResult", "ExperimentRunner"]
