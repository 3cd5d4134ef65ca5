"""One specification to one record: all that a worker runs."""

from __future__ import annotations

import copy
import json
import logging
import os
import threading
import time
from collections.abc import Callable
from functools import lru_cache
from types import TracebackType
from typing import Any, Literal, NamedTuple

from smallab.experiment_types.experiment import Experiment
from smallab.formats import cloudpickle
from smallab.observation import Failure, SpecificationFailed
from smallab.running import Running
from smallab.specification import digest, parse
from smallab.storage import Storage, replace

_log = logging.getLogger("smallab")


class Report(NamedTuple):
    """What comes back from a worker: small and plain, whatever the experiment returned or raised.

    Attributes
    ----------
    text
        The specification's canonical JSON.
    label
        What ``get_name`` calls it, else the same text.
    status
        "pending" where it was not run, because the batch was stopped.
    failure
        Why it failed.
    exception
        The exception, pickled, where it survives that.
    parts
        The specifications whose results it saved on the way.
    """

    text: str
    label: str
    status: Literal["completed", "failed", "pending"]
    failure: Failure | None = None
    exception: bytes | None = None
    parts: tuple[str, ...] = ()

    def error(self) -> BaseException:
        """Return the exception that was raised, or a `SpecificationFailed` that stands in for it."""
        assert self.failure is not None
        import pickle

        if self.exception is None:
            return SpecificationFailed(self.failure)
        try:
            error: BaseException = pickle.loads(self.exception)  # noqa: S301  # our own worker's
        except Exception:  # noqa: BLE001  # its class is known there, but not here
            return SpecificationFailed(self.failure)
        error.add_note(f"In the worker:\n{self.failure.traceback}")
        return error


class Execution:
    """Runs specifications, each on its own copy of the experiment, and saves what comes of it.

    In threads it is shared. To another process only the names travel; the experiment is read there, once, from the
    file that `publish` wrote.
    """

    def __init__(self, storage: Storage, experiment: Experiment, retries: int = 0) -> None:
        self.storage, self.experiment, self.retries = storage, experiment, retries
        self.stopped = threading.Event()
        self.running: set[str] = set()
        self._path = storage.own("experiment")

    def __enter__(self) -> None:
        """Nothing to prepare: what is of interest is how it ends."""

    def __exit__(self, *exception: object) -> None:
        """Start nothing more; wait for what runs in this process's threads (a second Ctrl-C does not)."""
        self.stopped.set()
        while self.running:
            time.sleep(0.02)

    def __reduce__(self) -> tuple[Callable[..., Execution], tuple[object, ...]]:
        return _arrive, (self.storage.root, self.storage.name, self.storage.run_id, self._path, self.retries)

    def publish(self) -> None:
        """Write the experiment where workers in other processes find it."""
        replace(self._path, cloudpickle().dumps(self.experiment))

    def __call__(self, text: str) -> Report:
        """Run the specification with this canonical JSON."""
        self.running.add(text)
        try:
            if self.stopped.is_set():
                return Report(text, text, "pending")
            report = self._run(text)
            for _ in range(self.retries):
                if report.status == "completed" or self.stopped.is_set():
                    break
                report = self._run(text)
            return report
        finally:
            self.running.discard(text)

    def _run(self, text: str) -> Report:
        id = digest(text)
        label = name_of(self.experiment, text)
        running = Running(id, text, self.storage, int(id, 16))
        self.storage.tell("started", id, text, f'"label":{json.dumps(label)},' if label is not text else "")
        try:
            with running.here():
                experiment = copy.deepcopy(self.experiment)
                object.__setattr__(experiment, "_running", running)  # a frozen dataclass is an experiment too
                result = experiment.main(parse(text))
            record = {"specification": parse(text), "result": result}
            self.storage.save(id, text, record, running.metadata())
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # SystemExit too: one specification never stops the others
            return self._failed(running, label, error, running.metadata())
        return Report(text, label, "completed", parts=tuple(running.parts))

    def _failed(self, running: Running, label: str, error: BaseException, metadata: dict[str, Any]) -> Report:
        failure = Failure.of(error.with_traceback(_from_main_on(error.__traceback__)))
        try:
            self.storage.save_failure(running.id, running.text, failure, metadata)
        except OSError as unsaved:  # a full disk: the runner hears of both
            failure = Failure(failure.type, f"{failure.message} (and it could not be recorded: {unsaved})", failure.traceback)
        return Report(running.text, label, "failed", failure, _portable(error), tuple(running.parts))


def _from_main_on(frames: TracebackType | None) -> TracebackType | None:
    """Return a traceback without this module's own frames."""
    inner = frames
    while inner and inner.tb_frame.f_code.co_filename == __file__:
        inner = inner.tb_next
    return inner or frames


def _portable(error: BaseException) -> bytes | None:
    """Pickle an exception if it survives the way back."""
    try:
        data: bytes = cloudpickle().dumps(error.with_traceback(None))  # with its class, where that is of __main__
        return data if type(cloudpickle().loads(data)) is type(error) else None
    except Exception:  # whatever pickling raises: `Failure` holds what is to be known
        return None


def name_of(experiment: Experiment, text: str) -> str:
    """Return what an experiment's ``get_name`` calls a specification; its JSON where that is not overridden, or raises."""
    if type(experiment).get_name is Experiment.get_name:
        return text
    try:
        return str(experiment.get_name(parse(text)))
    except (Exception, SystemExit):  # a label must not cost a result
        _log.exception("get_name of %r raised", experiment)
        return text


@lru_cache(maxsize=1)
def _load_experiment(path: str) -> Experiment:
    import pickle

    with open(path, "rb") as file:
        experiment: Experiment = pickle.load(file)  # noqa: S301  # our own runner's
    return experiment


@lru_cache(maxsize=8)
def _arrive(root: str, name: str, run_id: str, path: str, retries: int) -> Execution:
    return Execution(Storage(root, name, run_id), _load_experiment(path), retries)
