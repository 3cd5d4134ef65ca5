"""smallab: run experiments in parallel, once each, and never lose a result."""

from smallab.callbacks import CallbackManager
from smallab.experiment import experiment
from smallab.experiment_types import (
    CheckpointedExperiment,
    Experiment,
    OverlappingOutputCheckpointedExperiment,
    OverlappingOutputCheckpointedExperimentReturnValue,
)
from smallab.group import group
from smallab.observation import Failure, Observation, SpecificationFailed
from smallab.parameters import parameter
from smallab.reading import load_result, load_results, to_dataframe
from smallab.runner.batch_result import BatchResult
from smallab.runner.runner import ExperimentRunner
from smallab.running import current_dir, current_id, new_seed, time_block
from smallab.specification import SpecificationError, specification_hash
from smallab.specification_generator import MultiComputerGenerator, SpecificationGenerator

__all__ = [
    "BatchResult",
    "CallbackManager",
    "CheckpointedExperiment",
    "Experiment",
    "ExperimentRunner",
    "Failure",
    "MultiComputerGenerator",
    "Observation",
    "OverlappingOutputCheckpointedExperiment",
    "OverlappingOutputCheckpointedExperimentReturnValue",
    "SpecificationError",
    "SpecificationFailed",
    "SpecificationGenerator",
    "current_dir",
    "current_id",
    "experiment",
    "group",
    "load_result",
    "load_results",
    "new_seed",
    "parameter",
    "specification_hash",
    "time_block",
    "to_dataframe",
]
__version__ = "3.0.0"
