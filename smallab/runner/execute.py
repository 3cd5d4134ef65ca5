"""One specification to one record: all that a worker runs."""

from __future__ import annotations

import copy
import json
import logging
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple, Self

from smallab.experiment_types.experiment import Experiment
from smallab.runner.report import Report, failure_of, portable
from smallab.runner.resources import held
from smallab.running import Running
from smallab.specification import digest, parse
from smallab.storage import Storage

_log = logging.getLogger("smallab")


class Limits(NamedTuple):
    """What `ExperimentRunner.run` was told about every specification: see there."""

    retries: int = 0
    timeout: float | None = None
    resources: tuple[int | str, ...] = ()


class Execution:
    """Runs specifications, each on its own copy of the experiment, and saves what comes of it.

    In threads it is shared. To another process only the names travel; the experiment is read there, once, from the
    file that `smallab.runner.processes` wrote.
    """

    def __init__(self, storage: Storage, experiment: Experiment, limits: Limits = Limits()) -> None:  # noqa: B008  # frozen
        self.storage, self.experiment, self.limits = storage, experiment, limits
        self.stopped = threading.Event()
        self.running: set[str] = set()
        self.path = storage.own("experiment")

    @classmethod
    def of(cls, other: Execution) -> Self:
        """Return another way to run the same."""
        new = cls.__new__(cls)
        new.__dict__ = other.__dict__
        return new

    def __enter__(self) -> None:
        """Nothing to prepare: what is of interest is how it ends."""

    def __exit__(self, kind: object, error: BaseException | None, frames: object) -> None:
        """Start nothing more; wait for what runs in this process's threads (a second Ctrl-C does not)."""
        self.stopped.set()
        while self.running and not _interrupted_twice(error):
            time.sleep(0.02)

    def __reduce__(self) -> tuple[Callable[..., Execution], tuple[object, ...]]:
        from smallab.runner.processes import arrive

        return arrive, (type(self), self.storage.root, self.storage.name, self.storage.run_id, self.path, self.limits)

    def __call__(self, text: str) -> Report:
        """Run the specification with this canonical JSON."""
        self.running.add(text)
        try:
            report = Report(text, text, "pending")
            for _ in range(1 + self.limits.retries):
                if report.status == "completed" or self.stopped.is_set():
                    break
                report = self.attempt(text)
        except KeyboardInterrupt:
            self.stopped.set()  # a worker process is sent its next ones before it is ended
            raise
        else:
            return report
        finally:
            self.running.discard(text)

    def attempt(self, text: str) -> Report:
        """Run it once."""
        with held(self.storage, self.limits.resources) as resource:
            return self.main(text, resource)

    def main(self, text: str, resource: int | str | None) -> Report:
        """Run it once, here, with a resource that it holds."""
        running = self.begun(text)
        running.resource = resource
        id, label = running.id, name_of(self.experiment, text)
        try:
            self.storage.tell("started", id, text, f'"label":{json.dumps(label)},' if label is not text else "")
            with running.here():
                experiment = copy.deepcopy(self.experiment)
                object.__setattr__(experiment, "_running", running)  # a frozen dataclass is an experiment too
                result = experiment.main(parse(text))
            record = {"specification": parse(text), "result": result}
            self.storage.save(id, text, record, running.metadata())
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001  # SystemExit too: one specification never stops the others
            return self.failed(running, error, running.metadata())
        return Report(text, label, "completed", parts=tuple(running.parts))

    def begun(self, text: str) -> Running:
        """Return a specification that begins to run."""
        id = digest(text)
        return Running(id, text, self.storage, int(id, 16))

    def failed(self, running: Running, error: BaseException, metadata: dict[str, Any], where: str = "") -> Report:
        """Record a failure; where is its traceback, if that is not the error's own."""
        label = name_of(self.experiment, running.text)
        failure = failure_of(error, where)
        try:
            self.storage.save_failure(running.id, running.text, failure, metadata)
        except OSError as unsaved:  # a full disk: the runner hears of both
            failure = failure._replace(message=f"{failure.message} (and it could not be recorded: {unsaved})")
        return Report(running.text, label, "failed", failure, portable(error), tuple(running.parts))


def _interrupted_twice(error: BaseException | None) -> bool:
    """Tell whether a second Ctrl-C came while what the first one had raised was on its way."""
    interruptions = 0
    while error:
        interruptions += isinstance(error, KeyboardInterrupt)
        error = error.__context__
    return interruptions > 1


def name_of(experiment: Experiment, text: str) -> str:
    """Return what an experiment's own ``get_name`` calls a specification; else, or where that raises, its JSON."""
    if type(experiment).get_name is Experiment.get_name:
        return text
    try:
        return str(experiment.get_name(parse(text)))
    except KeyboardInterrupt:
        raise
    except BaseException:  # noqa: BLE001  # a label must not cost a result
        _log.exception("get_name of %r raised", experiment)
        return text
