"""What Dask and Ray have in common: what goes out to a cluster, and what is done where a worker of it is lost."""

from __future__ import annotations

import itertools
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Generator, Hashable, Iterable

from smallab.backends.drivers import Feed, driven
from smallab.backends.isolation import ProcessDied
from smallab.backends.task import Task
from smallab.runner.execute import label_of, record_failure
from smallab.runner.outcome import Report
from smallab.running import Resource, Running

_log = logging.getLogger("smallab")

LOSSES = 4  # of one specification's workers: then it is taken for the cause
IN_FLIGHT = 1000  # at the least: workers may join while all that was sent is running, and adaptive clusters grow by it
LOOK_SECONDS = 0.1  # between two looks whether the run was stopped
SILENCE_SECONDS = 5.0  # until it is asked whether there are workers at all


class WorkerLost(Exception):  # noqa: N818  # it says what happened
    """A worker of a cluster died, and the cluster does not try again what it had in hand."""


class Cluster(ABC):
    """What a cluster must do. Whatever it raises ends the run."""

    @abstractmethod
    def cores(self) -> int:
        """Return how many specifications it can run at once, now."""

    @abstractmethod
    def send(self, text: str, resource: Resource) -> Hashable:
        """Have it run a specification; return what stands for that."""

    @abstractmethod
    def arrived(self, seconds: float) -> list[Hashable]:
        """Wait so long for something that was sent to have ended; return all that has."""

    @abstractmethod
    def fetch(self, arrived: list[Hashable]) -> Iterable[Report | WorkerLost]:
        """Return what came of each."""

    @abstractmethod
    def end(self, sent: list[Hashable]) -> None:
        """Take back what was sent, and leave nothing of this run in the workers."""


def reports(task: Task, pending: Iterable[str], at_once: int, cluster: Cluster) -> Generator[Report, None, None]:
    """Yield what came of each specification.

    Parameters
    ----------
    task
        What runs them.
    pending
        Which.
    at_once
        How many run at once; as many as the cluster can where it is negative.
    cluster
        Where.
    """
    feed = Feed(pending)
    yield from driven([_Driver(task, feed, at_once, cluster).reports()], feed.stop)


class _Driver:
    def __init__(self, task: Task, feed: Feed, at_once: int, cluster: Cluster) -> None:
        self._task, self._feed, self._cluster = task, feed, cluster
        self._at_once = at_once if at_once > 0 else max(IN_FLIGHT, 2 * cluster.cores())
        self._free = list(task.limits.resources[: self._at_once])
        self._sent: dict[Hashable, Running] = {}
        self._losses: dict[str, int] = {}
        self._heard = time.monotonic()
        self._has_said = False

    def reports(self) -> Generator[Report, None, None]:
        try:
            while True:
                for text in itertools.islice(self._feed, self._at_once - len(self._sent)):
                    self._send(text)
                if not self._sent or self._feed.is_stopped():
                    return
                yield from self._arrived()
        finally:
            self._cluster.end(list(self._sent))

    def _send(self, text: str) -> None:
        resource = self._free.pop() if self._free else None
        sent = self._cluster.send(text, resource)
        self._sent[sent] = Running(self._task.storage, self._task.run_id, text, resource=resource)

    def _arrived(self) -> Generator[Report, None, None]:
        arrived = self._cluster.arrived(LOOK_SECONDS)
        if arrived:
            self._heard = time.monotonic()
        elif time.monotonic() > self._heard + SILENCE_SECONDS:
            self._ask_for_workers()
        for sent, outcome in zip(arrived, self._cluster.fetch(arrived), strict=True):
            running = self._sent.pop(sent)
            if running.resource is not None:
                self._free.append(running.resource)
            if isinstance(outcome, Report):
                yield outcome
            elif lost := self._lost(running, outcome):
                yield lost

    def _lost(self, running: Running, error: WorkerLost) -> Report | None:
        """Have it run again; where that has been of no use, record that it failed."""
        text = running.text
        losses = self._losses[text] = self._losses.get(text, 0) + 1
        if losses <= LOSSES and not self._feed.is_stopped():
            _log.info("a worker died running %s (%s): it runs again", text, error)
            self._send(text)
            return None
        died = ProcessDied(f"the workers that ran it died, {losses} times: {error}")
        label = label_of(self._task.experiment, text)
        return record_failure(self._task.storage, text, label, died, running.metadata())

    def _ask_for_workers(self) -> None:
        self._heard = time.monotonic()
        if not self._has_said and not self._cluster.cores():
            self._has_said = True
            _log.warning("the cluster has no workers: what was sent to it waits for one to join")
