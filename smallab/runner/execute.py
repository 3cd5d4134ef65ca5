"""One specification to one record: all that a worker runs, wherever it is."""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from smallab.experiment_types.experiment import Experiment
from smallab.runner.outcome import Report
from smallab.running import Resource, Running
from smallab.specification import parsed
from smallab.storage.base import Storage
from smallab.storage.exceptions import failure_in_experiment, portable

_log = logging.getLogger("smallab")


def execute(
    storage: Storage, run_id: str, experiment: Experiment, text: str, attempt: int = 1, resource: Resource = None
) -> Report:
    """Run one specification on a copy of an experiment, and save its result, or why it failed.

    The backends call it, in whatever process the specification runs.

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
            experiment_copy = copy.deepcopy(experiment)
            object.__setattr__(experiment_copy, "_running", running)  # a frozen dataclass is an experiment too
            result = experiment_copy.main(parsed(text))
        storage.save(run_id, text, result, running.metadata())
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001  # SystemExit too: one specification never stops the others
        report = record_failure(storage, text, label, error, running.metadata())
        return replace(report, parts=tuple(running.parts))
    return Report(text, label, "completed", parts=tuple(running.parts))


def record_failure(
    storage: Storage, text: str, label: str, error: BaseException, metadata: Mapping[str, Any], traceback: str = ""
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
        The traceback to record, where a dead process left one; else it is the error's own.
    """
    failure = failure_in_experiment(error)
    failure = replace(failure, traceback=traceback or failure.traceback)
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
