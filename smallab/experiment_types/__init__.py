"""What a user subclasses."""

from smallab.experiment_types.checkpointed_experiment import CheckpointedExperiment
from smallab.experiment_types.experiment import Experiment
from smallab.experiment_types.overlapping_output_experiment import (
    OverlappingOutputCheckpointedExperiment,
    OverlappingOutputCheckpointedExperimentReturnValue,
)

__all__ = [
    "CheckpointedExperiment",
    "Experiment",
    "OverlappingOutputCheckpointedExperiment",
    "OverlappingOutputCheckpointedExperimentReturnValue",
]
