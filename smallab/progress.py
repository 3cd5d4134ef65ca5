"""What is seen of a batch while it runs: a bar on a terminal or in a notebook, else a log line now and then."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_log = logging.getLogger("smallab")

LOG_SECONDS = 30.0


@contextmanager
def progress(name: str, pending: int, skipped: int, show: bool) -> Iterator[Callable[[str], None]]:
    """Show a batch's progress; yield the function to call with each specification's status as it ends."""
    if not show:
        yield lambda status: None
        return
    try:
        from rich.console import Console
    except ImportError:  # the extra is optional; the log tells the same
        yield _log_lines(name, pending, skipped)
        return
    console = Console(stderr=True)
    if console.is_terminal or console.is_jupyter:
        with _bar(console, name, pending, skipped) as advance:
            yield advance
    else:
        yield _log_lines(name, pending, skipped)


def _log_lines(name: str, pending: int, skipped: int) -> Callable[[str], None]:
    return lambda status: None


def _bar(console, name, pending, skipped):
    raise NotImplementedError
