"""Processes on this machine: as many child processes as run at once, each with a thread that sees to it.

They are a run's own, so whatever runs has today's environment, folder and modules; and each runs one specification at
a time, so it is known which one a dead one died of.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import closing
from typing import Any

from smallab.backends.drivers import Feed, driven
from smallab.backends.isolation import Isolated
from smallab.backends.task import Task
from smallab.runner.outcome import Report


def reports(task: Task, pending: Iterable[str], at_once: int, backend: Any) -> Generator[Report, None, None]:
    """Yield what came of each specification.

    Parameters
    ----------
    task
        What runs them.
    pending
        Which.
    at_once
        How many processes there are.
    backend
        joblib's, which says how many threads the libraries in each process may use.
    """
    feed = Feed(pending)
    environment = backend._prepare_worker_env(at_once)  # noqa: SLF001  # joblib's way to leave each its share of the cores
    resources = task.limits.resources[:at_once] or [None] * at_once
    workers = [Isolated(task, resource, environment) for resource in resources]

    def stop() -> None:
        feed.stop()
        for worker in workers:
            worker.end()

    yield from driven([_driver(worker, feed) for worker in workers], stop)


def _driver(worker: Isolated, feed: Feed) -> Generator[Report, None, None]:
    with closing(worker):
        for text in feed:
            yield worker(text)
