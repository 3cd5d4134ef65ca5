"""A batch's progress while it runs: a bar on a terminal or in a notebook, else a log line now and then."""

from __future__ import annotations

import functools
import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime

from smallab.display.figures import Figures
from smallab.display.notebook import in_notebook, notebook_bar
from smallab.display.streams import is_terminal

_log = logging.getLogger("smallab")

LOG_SECONDS = 30.0
LOG_SHARE = 0.01  # of the time so far at the least: a batch of days must not fill its log


@contextmanager
def progress(name: str, pending: int | None, skipped: int, show: bool) -> Iterator[Callable[[str], None]]:
    """Show a batch's progress; yield the function to call with each specification's status as it ends.

    Parameters
    ----------
    name
        The batch's name.
    pending
        How many specifications are to run; None where nobody knows.
    skipped
        How many had completed before.
    show
        False shows nothing.

    Examples
    --------
    >>> with progress("digits", 2, 0, show=False) as advance:
    ...     advance("completed")
    ...     advance("failed")
    """
    if not show:
        yield lambda _status: None
        return
    ended = {"completed": 0, "failed": 0, "pending": 0}  # pending: it was not run, because the batch is stopping
    started = time.monotonic()

    def figures() -> Figures:
        return Figures(pending, skipped, ended["completed"], ended["failed"], time.monotonic() - started)

    with _display(name, figures) as tick:

        def advance(status: str) -> None:
            ended[status] += 1
            tick()

        yield advance


def _display(name: str, figures: Callable[[], Figures]) -> AbstractContextManager[Callable[[], None]]:
    """Return the display that suits where we are; it yields a function to call after each specification."""
    if in_notebook():
        return notebook_bar(name, figures)
    if is_terminal(sys.stderr):
        try:
            from smallab.display.terminal import terminal_bar, usable_console
        except ImportError:  # the extra is optional; the log tells the same
            _say_what_to_install()
        else:
            console = usable_console()
            if console is not None:
                return terminal_bar(console, name, figures)
    return log_lines(name, figures)


@contextmanager
def log_lines(name: str, figures: Callable[[], Figures]) -> Iterator[Callable[[], None]]:
    """Log the figures now and then, and at the end; yield the function to call after each specification."""
    due = time.monotonic() + LOG_SECONDS

    def tick() -> None:
        nonlocal due
        if time.monotonic() >= due:
            now = datetime.now().astimezone()
            _log.info("%s: %s", name, figures().text(now))
            due = time.monotonic() + max(LOG_SECONDS, LOG_SHARE * figures().seconds)

    try:
        yield tick
    finally:
        _log.info("%s: %s", name, figures().text(None))


@functools.cache
def _say_what_to_install() -> None:
    """Say it once a process, not once a batch."""
    _log.info('for a progress bar: pip install "smallab[progress]"')
