"""Dask: futures of a `distributed.Client`, wherever its workers are, and however many of them come and go.

The task goes to every worker once, as a plugin, also to those that join later; it takes its children along when it
goes. joblib's own backend waits for ever where a task is lost, and makes no use of workers that join later.
"""

from __future__ import annotations

import itertools
import queue
import threading
from collections.abc import Generator, Hashable, Iterable, Mapping
from contextlib import suppress
from typing import Any, cast

from distributed import Client, Future, KilledWorker, Worker, WorkerPlugin, get_worker

from smallab.backends import cluster
from smallab.backends.lending import Children, packed
from smallab.backends.task import Task
from smallab.runner.outcome import Report
from smallab.running import Resource


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
        joblib's for Dask: whose client, and how it submits.
    """
    dask = Dask(task, backend.client, backend.submit_kwargs)
    yield from cluster.reports(task, pending, at_once, dask)


class _Lends(WorkerPlugin):
    """A run's child processes in a worker."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def setup(self, worker: Worker) -> None:  # noqa: ARG002  # distributed's signature
        """Be there for the run's specifications."""
        self.children = Children(self._data)

    def teardown(self, worker: Worker) -> None:  # noqa: ARG002  # distributed's signature
        """End them; not here, where the worker answers its scheduler."""
        threading.Thread(target=self.children.end, daemon=True).start()


def _run(name: str, text: str, resource: Resource) -> Report:
    plugin = cast("_Lends", get_worker().plugins[name])
    return plugin.children.run(text, resource)


class Dask(cluster.Cluster):
    """The workers of a client's scheduler.

    Parameters
    ----------
    task
        What is run there.
    client
        The client.
    options
        What ``client.submit`` is told besides.
    """

    def __init__(self, task: Task, client: Client, options: Mapping[str, Any]) -> None:
        self._client, self._options = client, options
        self._name = f"smallab-{task.run_id}"
        self._numbers = itertools.count()
        self._done: queue.SimpleQueue[Future[Report]] = queue.SimpleQueue()
        client.register_plugin(_Lends(packed(task)), name=self._name)

    def cores(self) -> int:
        """Return how many specifications it can run at once, now."""
        return sum(self._client.ncores().values())

    def send(self, text: str, resource: Resource) -> Hashable:
        """Have it run a specification; return its future."""
        # A new key for each try: to one that it knows, the client returns the old future, with the old failure.
        key = f"{self._name}-{next(self._numbers)}"
        future = self._client.submit(_run, self._name, text, resource, key=key, pure=False, **self._options)
        future.add_done_callback(self._done.put)
        return future

    def arrived(self, seconds: float) -> list[Hashable]:
        """Wait so long for something that was sent to have ended; return all that has."""
        arrived: list[Hashable] = []
        with suppress(queue.Empty):
            arrived.append(self._done.get(timeout=seconds))
            while True:
                arrived.append(self._done.get_nowait())
        return arrived

    def fetch(self, arrived: list[Any]) -> Iterable[Report | cluster.WorkerLost]:
        """Return what came of each, fetched in one go."""
        finished = [future for future in arrived if future.status == "finished"]
        fetched: dict[Future[Report], Report] = {}
        with suppress(Exception):  # one of them is lost again: each tells for itself
            fetched.update(zip(finished, self._client.gather(finished), strict=True))
        return [fetched.get(future) or _outcome(future) for future in arrived]

    def end(self, sent: list[Any]) -> None:
        """Take back what was sent, and have the workers let go of the run."""
        if self._client.status != "running":
            return
        with suppress(Exception):  # the scheduler is gone, and that has been said
            self._client.cancel(sent)
            self._client.unregister_worker_plugin(self._name)


def _outcome(future: Future[Report]) -> Report | cluster.WorkerLost:
    if future.cancelled():
        raise ConnectionError(
            "the Dask scheduler is gone, or took back what it was sent; what finished is saved, run it again"
        )
    try:
        report: Report = future.result()
    except KilledWorker as error:
        return cluster.WorkerLost(str(error))
    return report
