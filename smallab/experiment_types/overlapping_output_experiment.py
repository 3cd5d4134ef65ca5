"""Experiments that produce the results of several specifications on their way."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, NamedTuple

from smallab.experiment_types.checkpointed_experiment import CheckpointedExperiment
from smallab.specification import Specification, canonical, parsed


class OverlappingOutputCheckpointedExperimentReturnValue(NamedTuple):
    """What a step hands over: a result on the way, under a specification of its own.

    Attributes
    ----------
    should_continue
        False: this was the last step.
    specification
        Whose result this is.
    return_value
        The result.
    progress
        How many iterations are done.
    max_iterations
        How many there will be.
    should_serialize
        False: nothing is saved; the progress is shown.
    """

    should_continue: bool
    specification: Specification
    return_value: Any
    progress: int
    max_iterations: int
    should_serialize: bool = True


class OverlappingOutputCheckpointedExperiment(CheckpointedExperiment):
    """Base class for experiments whose shorter runs are the beginnings of the longer ones.

    Each value that ``step`` hands over is saved at once under its own specification, and is as completed as any
    other: a later batch that asks for it skips it. The specification that was asked for ends with the list of the
    specifications that it produced, as ``{"specifications": […]}``; or, if one of them is itself, with that value.

    Examples
    --------
    >>> class Training(OverlappingOutputCheckpointedExperiment):
    ...     def initialize(self, specification):
    ...         self.epochs, self.epoch, self.loss = specification["epochs"], 0, 1.0
    ...     def step(self):
    ...         self.epoch, self.loss = self.epoch + 1, self.loss / 2
    ...         return OverlappingOutputCheckpointedExperimentReturnValue(
    ...             self.epoch < self.epochs, {"epochs": self.epoch}, {"loss": self.loss}, self.epoch, self.epochs
    ...         )
    """

    _produced: tuple[str, ...] = ()
    _own_value: tuple[Any, ...] = ()

    @abstractmethod
    def step(self) -> OverlappingOutputCheckpointedExperimentReturnValue | None:
        """Do the next part of the work.

        Returns
        -------
        OverlappingOutputCheckpointedExperimentReturnValue or None
            A value to be saved under its own specification, or None where there is none after this step.
        """

    def _take(self, outcome: Any) -> tuple[bool, Any]:
        """Save what a step handed over; end with the list of what was produced."""
        if not isinstance(outcome, OverlappingOutputCheckpointedExperimentReturnValue):
            return super()._take(outcome)
        running = self._now_running()
        if outcome.should_serialize:
            text = canonical(outcome.specification)
            if text == running.text:
                self._own_value = (outcome.return_value,)  # saved at the end: until then there is more to produce
            else:
                metadata = running.metadata() | {"part_of": running.id}
                running.storage.save(running.run_id, text, outcome.return_value, metadata)
                running.parts.append(text)
            self._produced = tuple(dict.fromkeys([*self._produced, text]))
        if outcome.should_continue:
            return False, (outcome.progress, outcome.max_iterations)
        return True, self._own_value[0] if self._own_value else {"specifications": list(map(parsed, self._produced))}
