"""The runner: ``from smallab.runner import ExperimentRunner``."""

from smallab.runner.runner import BatchResult, ExperimentRunner

__all__ = ["BatchResult", "ExperimentRunner"]
