"""Ray: tasks in its workers, on whatever machines they are. Ray's own backend for joblib cannot stream."""

from __future__ import annotations

from collections.abc import Generator, Hashable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from typing import Any

import ray
from ray.exceptions import NodeDiedError, OutOfMemoryError, WorkerCrashedError

from smallab.backends import cluster
from smallab.backends.lending import children_of, packed
from smallab.backends.task import Task
from smallab.runner.outcome import Report
from smallab.running import Resource

_LOOK_SECONDS = 0.5  # between two looks whether a task was cancelled


def reports(task: Task, pending: Iterable[str], at_once: int, backend: Any) -> Generator[Report, None, None]:
    """Yield what came of each specification.

    Parameters
    ----------
    task
        What runs them.
    pending
        Which.
    at_once
        How many run at once; as many as there is room for where it is negative.
    backend
        Ray's for joblib: with what options it makes tasks.
    """
    yield from cluster.reports(task, pending, at_once, Ray(task, backend.ray_remote_args or {}))


def _run(run_id: str, data: list[Any], text: str, resource: Resource) -> Report:
    """Run a specification in a child of this worker; what is in a list, Ray leaves to be fetched where it is needed."""
    children = children_of(run_id, lambda: ray.get(data[0]))
    with ThreadPoolExecutor(1) as thread:
        report = thread.submit(children.run, text, resource)
        try:
            while not report.done():
                wait([report], _LOOK_SECONDS)
        except KeyboardInterrupt:  # so Ray cancels a task, as long as that runs Python
            children.end()
            raise
        return report.result()


class Ray(cluster.Cluster):
    """The workers of the cluster that this process is connected to, which is this machine if to none.

    Parameters
    ----------
    task
        What is run there.
    options
        What ``ray.remote`` is told besides.
    """

    def __init__(self, task: Task, options: Mapping[str, Any]) -> None:
        if not ray.is_initialized():
            ray.init()
        self._run_id = task.run_id
        self._data = [ray.put(packed(task))]
        self._run = ray.remote(**{**options, "max_retries": 0})(_run)
        self._sent: list[Any] = []

    def cores(self) -> int:
        """Return how many specifications it can run at once, now."""
        return int(ray.cluster_resources().get("CPU", 0))

    def send(self, text: str, resource: Resource) -> Hashable:
        """Have it run a specification; return its reference."""
        reference: Hashable = self._run.remote(self._run_id, self._data, text, resource)
        self._sent.append(reference)
        return reference

    def arrived(self, seconds: float) -> list[Hashable]:
        """Wait so long for something that was sent to have ended; return all that has."""
        arrived: list[Hashable]
        arrived, waiting = ray.wait(self._sent, timeout=seconds)
        if arrived and waiting:
            more, waiting = ray.wait(waiting, num_returns=len(waiting), timeout=0)
            arrived += more
        self._sent = waiting
        return arrived

    def fetch(self, arrived: list[Any]) -> Iterable[Report | cluster.WorkerLost]:
        """Return what came of each."""
        return map(_outcome, arrived)

    def end(self, sent: list[Any]) -> None:
        """Take back what was sent; what children have nothing to do end by themselves."""
        with suppress(Exception):  # the cluster is gone, and that has been said
            for reference in sent:
                ray.cancel(reference)


def _outcome(reference: Any) -> Report | cluster.WorkerLost:
    try:
        report: Report = ray.get(reference)
    except (NodeDiedError, OutOfMemoryError, WorkerCrashedError) as error:
        return cluster.WorkerLost(str(error))
    return report
