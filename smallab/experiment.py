"""The short spelling of the import: ``from smallab.experiment import Experiment``."""

from smallab.experiment_types.experiment import Experiment

__all__ = ["Experiment"]
