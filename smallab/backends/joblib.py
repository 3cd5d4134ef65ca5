"""Threads, through joblib; and whatever other backend is registered with it."""

from __future__ import annotations

import queue
import threading
import time
import warnings
from collections.abc import Callable, Generator, Iterable, Sequence
from functools import partial
from typing import Any

import joblib

from smallab.backends.drivers import Feed
from smallab.backends.lending import packed, run_apart
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
        How many run at once.
    backend
        joblib's.
    """
    feed = Feed(pending)
    here = _Here(task, feed, task.limits.resources[:at_once])
    # One at a time: joblib hands out quick calls in batches, of which nobody hears before the last one ended.
    options: dict[str, Any] = {"n_jobs": at_once, "backend": backend, "batch_size": 1}
    if task.packed:
        apart = joblib.delayed(partial(run_apart, task.run_id, packed(task)))
        calls = (apart(text) for text in feed)
        options["pre_dispatch"] = at_once  # what waits somewhere would still begin after the feed has been stopped
    else:
        next_one = joblib.delayed(here)
        calls = (next_one() for _ in feed.until_empty())
        options["pre_dispatch"] = 2 * at_once  # joblib's own default is text that it parses: not thread-safe in 3.11
    if backend.supports_return_generator:
        options["return_as"] = "generator_unordered"
    arriving = joblib.Parallel(**options)(calls)
    try:
        for report in arriving:
            if report and report.status == "pending":
                raise KeyboardInterrupt
            if report:
                yield report
    finally:
        feed.stop()
        if isinstance(arriving, Generator):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # joblib's, that tasks were cancelled: they were meant to be
                arriving.close()
        here.wait()


class _Here:
    """Runs the next specification in the thread that calls it, and knows which threads are at it.

    A call takes its specification when it begins: so joblib can have the next calls at hand, and nothing begins once
    there is to be no more.

    Parameters
    ----------
    task
        What runs them.
    feed
        Which; once it has been stopped, what fails is not tried again either.
    resources
        What they hold, if anything: one for each that runs at once.
    """

    def __init__(self, task: Task, feed: Feed, resources: Sequence[int | str]) -> None:
        self._task, self._feed = task, feed
        self._running: set[int] = set()
        self._has_resources = bool(resources)
        self._free: queue.SimpleQueue[int | str] = queue.SimpleQueue()
        for resource in resources:
            self._free.put(resource)

    def __call__(self) -> Report | None:
        """Run the next specification, if there is one."""
        self._running.add(threading.get_ident())
        resource = self._free.get() if self._has_resources else None
        try:
            text = next(self._feed, None)
            return None if text is None else self._task.tried(self._attempt(text, resource), self._feed.is_stopped)
        except KeyboardInterrupt:
            self._feed.stop()
            raise
        finally:
            if resource is not None:
                self._free.put(resource)
            self._running.discard(threading.get_ident())

    def _attempt(self, text: str, resource: int | str | None) -> Callable[[int], Report]:
        return lambda attempt: self._task.attempt(text, attempt, resource)

    def wait(self) -> None:
        """Wait until nothing is running any more."""
        while self._running:
            time.sleep(0.02)
