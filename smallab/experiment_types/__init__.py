"""What a user subclasses."""

from smallab.experiment_types.experiment import Experiment

__all__ = ["Experiment"]
