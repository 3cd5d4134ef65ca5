"""Experiments that run in steps, and go on where they were interrupted."""

from __future__ import annotations

import time
from abc import abstractmethod
from typing import Any

from smallab.experiment_types.experiment import Experiment
from smallab.plugins import opened
from smallab.specification import Specification

_PROGRESS = ("done", "total")
_PROGRESS_SECONDS = 1.0  # between two words of how far a specification is


class CheckpointedExperiment(Experiment):
    """Base class for long experiments: write ``initialize`` and ``step``.

    What is stored on ``self`` is saved after every `steps_before_checkpoint` steps, ``self.rng`` included. Killed at
    any moment, the specification goes on from its newest checkpoint that loads, and ends with the result that it
    would have had without the interruption (what the constructor stored on ``self`` comes from the checkpoint, too).
    Generators other than ``self.rng`` are saved if they are on ``self``
    (``self.generator = numpy.random.default_rng(…)``); the global ones of ``random`` and numpy are not.

    Examples
    --------
    >>> class Sum(CheckpointedExperiment):
    ...     def initialize(self, specification):
    ...         self.count, self.done, self.total = specification["count"], 0, 0
    ...     def step(self):
    ...         self.done, self.total = self.done + 1, self.total + self.done
    ...         return {"total": self.total} if self.done == self.count else (self.done, self.count)
    """

    @abstractmethod
    def initialize(self, specification: Specification) -> None:
        """Store on ``self`` what the first step needs; not called where there is a checkpoint.

        Parameters
        ----------
        specification
            What is to be run.
        """

    @abstractmethod
    def step(self) -> Any:
        """Do the next part of the work.

        Returns
        -------
        dict, or None, or (int, int)
            A dict is the result and ends the specification. None means that there is more to do, and so does
            ``(done, total)``, which is shown as its progress.
        """

    def steps_before_checkpoint(self) -> int:
        """Return how many steps there are from one checkpoint to the next; override it where steps are short."""
        return 1

    def main(self, specification: Specification) -> Any:
        """Initialise, or go on from a checkpoint; then step until there is a result."""
        running = self._now_running()
        names = type(self).step.__globals__
        checkpoints = opened("storage.checkpoints").Checkpoints(running.folder, names)
        saved = checkpoints.newest()
        if saved:
            steps, state = saved
            running.rng.setstate(state.pop("rng"))
            vars(self).update(state["experiment"])
            self.logger.info("going on after %d steps", steps)
        else:
            steps = 0
            self.initialize(specification)
        told = 0.0
        while True:
            ended, outcome = self._take(self.step())
            steps += 1
            if ended:
                return outcome
            if outcome is not None and time.monotonic() > told + _PROGRESS_SECONDS:
                told = time.monotonic()
                running.storage.tell(
                    running.run_id, "progress", running.text, dict(zip(_PROGRESS, outcome, strict=True))
                )
            if steps % self.steps_before_checkpoint() == 0:
                state = {name: value for name, value in vars(self).items() if name != "_running"}
                checkpoints.save(steps, {"rng": running.rng.getstate(), "experiment": state})

    def _take(self, outcome: Any) -> tuple[bool, Any]:
        """Return whether a step was the last one, and the result or the progress."""
        if outcome is None or isinstance(outcome, dict):
            return outcome is not None, outcome
        if isinstance(outcome, tuple) and len(outcome) == 2:  # done and total
            return False, outcome
        raise TypeError(
            f"{type(self).__name__}.step returned {outcome!r}; it returns a dict (the result), None, or (done, total)"
        )
