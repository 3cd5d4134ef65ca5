"""Generators that run in threads of their own: they go on while whoever takes the reports is busy with them."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence

from smallab.runner.outcome import Report

_LOOK_SECONDS = 1.0  # on Windows a wait without an end cannot be interrupted


class Feed:
    """What is still to run, handed out one by one to several threads, until it is stopped.

    Parameters
    ----------
    pending
        Canonical JSON; it is taken from as there is room, so it may be endless, and may wait for more.
    """

    def __init__(self, pending: Iterable[str]) -> None:
        self._pending = iter(pending)
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._is_empty = False

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        with self._lock:
            if self._stopped.is_set():
                raise StopIteration
            try:
                return next(self._pending)
            except StopIteration:
                self._is_empty = True
                raise

    def until_empty(self) -> Iterator[None]:
        """Yield as long as there may be something to hand out."""
        while not self._is_empty and not self._stopped.is_set():
            yield

    def stop(self) -> None:
        """Hand out nothing more."""
        self._stopped.set()

    def is_stopped(self) -> bool:
        """Tell whether nothing more is handed out by wish."""
        return self._stopped.is_set()


def driven(drivers: Sequence[Iterable[Report]], stop: Callable[[], object]) -> Generator[Report, None, None]:
    """Yield what several generators yield, each of which runs in a thread of its own.

    Parameters
    ----------
    drivers
        What runs in the threads; what one of them raises ends all.
    stop
        Makes all of them come to their end soon; called however this ends, from another thread than theirs.

    Raises
    ------
    KeyboardInterrupt
        A specification raised it, as its pending report tells.
    """
    handed: queue.SimpleQueue[Report | BaseException | None] = queue.SimpleQueue()
    threads = [threading.Thread(target=_drive, args=(driver, handed), daemon=True) for driver in drivers]
    running = len(threads)
    try:
        for thread in threads:
            thread.start()
        while running:
            try:
                what = handed.get(timeout=_LOOK_SECONDS)
            except queue.Empty:
                continue
            if what is None:
                running -= 1
            elif isinstance(what, BaseException):
                raise what
            elif what.status == "pending":
                raise KeyboardInterrupt
            else:
                yield what
    finally:
        stop()
        for thread in threads:
            if thread.ident is not None:
                thread.join()


def _drive(driver: Iterable[Report], handed: queue.SimpleQueue[Report | BaseException | None]) -> None:
    try:
        for report in driver:
            handed.put(report)
    except BaseException as error:  # noqa: BLE001  # it is raised where the reports are taken
        handed.put(error)
    else:
        handed.put(None)
