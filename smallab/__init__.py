"""smallab: run experiments in parallel, once each, and never lose a result."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from smallab.callbacks import CallbackManager
from smallab.experiment import experiment
from smallab.experiment_types import (
    CheckpointedExperiment,
    Experiment,
    OverlappingOutputCheckpointedExperiment,
    OverlappingOutputCheckpointedExperimentReturnValue,
)
from smallab.observation import Failure, Observation, SpecificationFailed
from smallab.reading import load_result, load_results, to_dataframe
from smallab.runner.batch_result import BatchResult
from smallab.runner.runner import ExperimentRunner
from smallab.running import current_dir, current_id, new_seed, time_block
from smallab.specification import SpecificationError, specification_hash
from smallab.specification_generator import MultiComputerGenerator, SpecificationGenerator

if TYPE_CHECKING:
    from smallab.functions.group import group
    from smallab.functions.parameters import parameter

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


def __getattr__(name: str) -> Any:
    """Load what few programs use on its first use."""
    if name not in {"group", "parameter"}:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from smallab.functions import group, parameters

    globals().update(group=group.group, parameter=parameters.parameter)
    return globals()[name]
