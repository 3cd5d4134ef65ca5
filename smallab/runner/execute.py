"""One specification to one record: all that a worker runs, wherever it is."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from smallab.experiment_types.experiment import Experiment
from smallab.plugins import opened
from smallab.runner.exceptions import failure_in_experiment, portable
from smallab.runner.outcome import Report
from smallab.running import Running
from smallab.specification import parsed
from smallab.storage.base import Storage

_log = logging.getLogger("smallab")

Resource = int | str | None


@dataclass(frozen=True)
class Limits:
    """What `ExperimentRunner.run` was told about every specification: see there."""

    num_parallel: int | None = None
    retries: int = 0
    timeout: float | None = None
    resources: tuple[int | str, ...] = ()


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
    limits: Limits = Limits()
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
        for number in range(2, self.limits.retries + 2):
            if report.status == "completed" or stopped():
                break
            report = attempt(number)
        return report


def _arrived(storage: Storage, run_id: str, packed: bytes, limits: Limits) -> Task:
    """Return a task in the process that it has travelled to."""
    experiment: Experiment = opened("storage.pickling").loads(packed)
    return Task(storage, run_id, experiment, limits, packed)


def execute(
    storage: Storage,
    run_id: str,
    experiment: Experiment,
    text: str,
    attempt: int = 1,
    resource: Resource = None,
) -> Report:
    """Run one specification on a copy of an experiment, and save its result, or why it failed.

    Parameters
    ----------
    storage, run_id
        Where it is saved, and by which run.
    experiment
        What is run: its ``main`` is called.
    text
        The specification's canonical JSON.
    attempt
        Which attempt of this run it is, from 1 on.
    resource
        What the specification holds while it runs.

    Raises
    ------
    KeyboardInterrupt
        Ctrl-C: the specification has neither completed nor failed then.
    """
    running = Running(storage, run_id, text, attempt, resource)
    label = label_of(experiment, text)
    try:
        storage.tell(run_id, "started", text, {} if label is text else {"label": label})
        with running.here():
            own = copy.deepcopy(experiment)
            object.__setattr__(own, "_running", running)  # a frozen dataclass is an experiment too
            result = own.main(parsed(text))
        storage.save(run_id, text, result, running.metadata())
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001  # SystemExit too: one specification never stops the others
        report = record_failure(storage, text, label, error, running.metadata())
        return replace(report, parts=tuple(running.parts))
    return Report(text, label, "completed", parts=tuple(running.parts))


def record_failure(
    storage: Storage,
    text: str,
    label: str,
    error: BaseException,
    metadata: Mapping[str, Any],
    traceback: str = "",
) -> Report:
    """Record that a specification failed.

    Parameters
    ----------
    storage, text, label
        Which specification.
    error
        What was raised, or what became of its process.
    metadata
        What is recorded with it: its run at the least.
    traceback
        Where it was, if that is not the error's own traceback.
    """
    failure = failure_in_experiment(error)
    if traceback:
        failure = replace(failure, traceback=traceback)
    try:
        storage.fail(metadata["run_id"], text, failure, metadata)
    except OSError as unsaved:  # a full disk: the runner hears of both
        failure = replace(failure, message=f"{failure.message} (and it could not be recorded: {unsaved})")
    return Report(text, label, "failed", failure, portable(error))


def label_of(experiment: Experiment, text: str) -> str:
    """Return what an experiment's own ``get_name`` calls a specification; else, or where that raises, its JSON."""
    if type(experiment).get_name is Experiment.get_name:
        return text
    try:
        return str(experiment.get_name(parsed(text)))
    except KeyboardInterrupt:
        raise
    except BaseException:  # noqa: BLE001  # a label must not cost a result
        _log.exception("get_name of %r raised", experiment)
        return text
