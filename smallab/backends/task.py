"""What runs the specifications of a batch, in whatever process: it travels there once, and tries what fails again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from smallab.experiment_types.experiment import Experiment
from smallab.runner.execute import execute
from smallab.runner.options import Limits
from smallab.runner.outcome import Report
from smallab.running import Resource
from smallab.storage.base import Storage
from smallab.storage.pickling import loads


@dataclass(frozen=True)
class Task:
    """All that is needed to run any specification of a batch: call it with one, in whatever process.

    Attributes
    ----------
    storage, run_id
        Where what comes of it is saved, and by which run.
    experiment
        Each specification runs on a copy of it.
    limits
        What holds for every specification.
    packed
        The experiment, pickled, where it is to travel to other processes.
    """

    storage: Storage
    run_id: str
    experiment: Experiment
    limits: Limits
    packed: bytes = b""

    def __reduce__(self) -> tuple[Callable[..., Task], tuple[object, ...]]:
        return _arrived, (self.storage, self.run_id, self.packed, self.limits)

    def __call__(self, text: str, resource: Resource = None) -> Report:
        """Run the specification with this canonical JSON, here, as often as may be needed."""
        return self.tried(lambda attempt: self.attempt(text, attempt, resource))

    def attempt(self, text: str, attempt: int, resource: Resource = None) -> Report:
        """Run a specification once."""
        return execute(self.storage, self.run_id, self.experiment, text, attempt, resource)

    def tried(self, attempt: Callable[[int], Report], stopped: Callable[[], bool] = lambda: False) -> Report:
        """Attempt a specification until it completes, and no more often than the limits say; return the last report."""
        report = attempt(1)
        parts = report.parts
        for number in range(2, self.limits.retries + 2):
            if report.status == "completed" or stopped():
                break
            report = attempt(number)
            parts += report.parts
        return report if parts == report.parts else replace(report, parts=parts)


def _arrived(storage: Storage, run_id: str, packed: bytes, limits: Limits) -> Task:
    """Return a task in the process that it has travelled to."""
    return Task(storage, run_id, loads(packed), limits, packed)
