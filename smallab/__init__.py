"""smallab: run experiments in parallel, once each, and never lose a result."""

from __future__ import annotations

import sys
from types import ModuleType

TYPE_CHECKING = False  # as in `typing`, which alone would cost half of what importing smallab may
if TYPE_CHECKING:
    from smallab.callbacks import CallbackManager
    from smallab.experiment_types.checkpointed_experiment import CheckpointedExperiment
    from smallab.experiment_types.experiment import Experiment
    from smallab.experiment_types.overlapping_output_experiment import (
        OverlappingOutputCheckpointedExperiment,
        OverlappingOutputCheckpointedExperimentReturnValue,
    )
    from smallab.functions.experiment import experiment
    from smallab.functions.group import group
    from smallab.functions.parameters import parameter
    from smallab.observation import Failure, Observation, SpecificationFailed
    from smallab.reading.results import load_result, load_results, to_dataframe
    from smallab.runner.outcome import BatchResult
    from smallab.runner.runner import ExperimentRunner
    from smallab.running import current_dir, current_id, new_seed, time_block
    from smallab.specification import SpecificationError, specification_hash
    from smallab.specification_generator import MultiComputerGenerator, SpecificationGenerator

_HOMES = {  # where each public name is defined: the module is imported when the name is first used (PEP 562)
    "BatchResult": "runner.outcome",
    "CallbackManager": "callbacks",
    "CheckpointedExperiment": "experiment_types.checkpointed_experiment",
    "Experiment": "experiment_types.experiment",
    "ExperimentRunner": "runner.runner",
    "Failure": "observation",
    "MultiComputerGenerator": "specification_generator",
    "Observation": "observation",
    "OverlappingOutputCheckpointedExperiment": "experiment_types.overlapping_output_experiment",
    "OverlappingOutputCheckpointedExperimentReturnValue": "experiment_types.overlapping_output_experiment",
    "SpecificationError": "specification",
    "SpecificationFailed": "observation",
    "SpecificationGenerator": "specification_generator",
    "current_dir": "running",
    "current_id": "running",
    "experiment": "functions.experiment",
    "group": "functions.group",
    "load_result": "reading.results",
    "load_results": "reading.results",
    "new_seed": "running",
    "parameter": "functions.parameters",
    "specification_hash": "specification",
    "time_block": "running",
    "to_dataframe": "reading.results",
}

__all__ = [  # the names of _HOMES, as ruff and type checkers read them
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


def __getattr__(name: str) -> object:
    """Return a public name, from the module that defines it."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    found: object = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])


class _Package(ModuleType):
    """The package, in which ``experiment`` is the decorator, also after ``smallab.experiment`` was imported.

    An import binds a submodule's name in its package; that of this one is left to the decorator.
    """

    def __setattr__(self, name: str, value: object) -> None:
        if not (name == "experiment" and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
