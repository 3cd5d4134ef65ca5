"""Threads, through joblib; and whatever other backend is registered with it."""

from __future__ import annotations

import queue
import time
import warnings
from collections.abc import Generator, Iterable, Sequence
from functools import partial
from typing import Any

import joblib

from smallab.backends.drivers import Feed
from smallab.backends.lending import packed, run_apart
from smallab.runner.execute import Task
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
        How many run at once.
    backend
        joblib's.
    """
    feed = Feed(pending)
    here = _Here(task, feed, task.limits.resources[:at_once])
    run = here if backend.supports_sharedmem else partial(run_apart, task.run_id, packed(task))
    # One at a time: joblib hands out quick calls in batches, of which nobody hears before the last one ended. And no
    # more than can run: what waits somewhere would still begin after the feed has been stopped.
    options: dict[str, Any] = {"n_jobs": at_once, "backend": backend, "batch_size": 1, "pre_dispatch": at_once}
    if backend.supports_return_generator:
        options["return_as"] = "generator_unordered"
    arriving = joblib.Parallel(**options)(joblib.delayed(run)(text) for text in feed)
    try:
        for report in arriving:
            if report.status == "pending":
                raise KeyboardInterrupt
            yield report
    finally:
        feed.stop()
        if isinstance(arriving, Generator):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # joblib's, that tasks were cancelled: they were meant to be
                arriving.close()
        here.wait()


class _Here:
    """Runs specifications in this process's threads, and knows which are running.

    Parameters
    ----------
    task
        What runs them.
    feed
        Once it has been stopped, what fails is not tried again.
    resources
        What they hold, if anything: one for each that runs at once.
    """

    def __init__(self, task: Task, feed: Feed, resources: Sequence[int | str]) -> None:
        self._task, self._feed = task, feed
        self._running: set[str] = set()
        self._has_resources = bool(resources)
        self._free: queue.SimpleQueue[int | str] = queue.SimpleQueue()
        for resource in resources:
            self._free.put(resource)

    def __call__(self, text: str) -> Report:
        """Run the specification with this canonical JSON."""
        self._running.add(text)
        resource = self._free.get() if self._has_resources else None
        try:
            if self._feed.is_stopped():  # joblib had it in hand
                return Report(text, text, "pending")
            return self._task.tried(partial(self._attempt, text, resource), self._feed.is_stopped)
        except KeyboardInterrupt:
            self._feed.stop()
            raise
        finally:
            if resource is not None:
                self._free.put(resource)
            self._running.discard(text)

    def _attempt(self, text: str, resource: int | str | None, attempt: int) -> Report:
        return self._task.attempt(text, attempt, resource)

    def wait(self) -> None:
        """Wait until nothing is running any more."""
        while self._running:
            time.sleep(0.02)
