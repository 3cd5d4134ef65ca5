"""The documents' other spelling: ``from smallab.experiment import Experiment``, and ``@experiment`` beside it.

``from smallab import experiment`` gives the decorator, also after this module was imported.
"""

from smallab.experiment_types.experiment import Experiment
from smallab.functions.experiment import FunctionExperiment, experiment

__all__ = ["Experiment", "FunctionExperiment", "experiment"]
