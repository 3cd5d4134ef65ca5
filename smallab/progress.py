"""What is seen of a batch while it runs: a bar on a terminal or in a notebook, else a log line now and then.

On a terminal the bar stands on the row *below* the cursor, and the cursor goes back to where it was: so whatever
hooks, experiments, debuggers and worker processes write (half a line, too) stands where it would stand without a bar.
"""

from __future__ import annotations

import html
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.console import Console

_log = logging.getLogger("smallab")

LOG_SECONDS = 30.0
LOG_SHARE = 0.01  # of the time so far at the least: a batch of days must not fill its log
NOTEBOOK_SECONDS = 0.25
TERMINAL_SECONDS = 0.25

# What every terminal since the VT100 knows: delete the rest of the row; make sure of a row below (one down, one up),
# remember the place, go to the start of the row below; and go back to the place. To delete all after the cursor would
# be shorter, but at the top of the screen tmux takes it for a cleared screen and keeps every bar in its history.
_DELETE, _GO_BELOW, _GO_BACK = "\x1b[K", "\x1bD\x1b[A\x1b7\x1bE", "\x1b8"
_ERASE = f"{_DELETE}{_GO_BELOW}{_DELETE}{_GO_BACK}"


@dataclass(frozen=True)
class Figures:
    """How far a batch is: what a bar, a log line or a dashboard shows.

    Attributes
    ----------
    pending
        How many specifications this call has to run.
    skipped
        How many had completed before.
    completed, failed
        How many of the pending ones have ended so far.
    seconds
        How long this call has been running.

    Examples
    --------
    >>> figures = Figures(pending=8, skipped=2, completed=3, failed=1, seconds=2.0)
    >>> figures.done, figures.total, figures.rate, figures.seconds_left
    (6, 10, 2.0, 2.0)
    """

    pending: int
    skipped: int
    completed: int = 0
    failed: int = 0
    seconds: float = 0.0

    @property
    def total(self) -> int:
        """How many specifications the batch has, those that had completed before included."""
        return self.skipped + self.pending

    @property
    def ended(self) -> int:
        """How many ended in this call."""
        return self.completed + self.failed

    @property
    def done(self) -> int:
        """How many have ended, those that had completed before included."""
        return self.skipped + self.ended

    @property
    def rate(self) -> float | None:
        """Specifications a second, of those that ran in this call; None until one has ended."""
        return self.ended / self.seconds if self.ended and self.seconds > 0 else None

    @property
    def seconds_left(self) -> float | None:
        """How long the rest takes at this rate; None until one has ended."""
        return (self.pending - self.ended) * self.seconds / self.ended if self.rate else None

    def text(self, now: datetime | None) -> str:
        """Return the figures as one line; now tells when the end is expected, None says that it has come."""
        parts = [f"{self.done}/{self.total} done"]
        parts += [f"{self.skipped} before"] if self.skipped else []
        parts += [f"{self.failed} failed"] if self.failed else []
        parts += [_per_time(self.rate)] if self.rate else []
        if now is None:
            parts.append(f"took {_duration(self.seconds)}")
        elif self.seconds_left is not None:
            parts.append(f"{_duration(self.seconds_left)} left, ends {_clock(now, self.seconds_left)}")
        return ", ".join(parts)


def _per_time(rate: float) -> str:
    """Return a rate (per second) in the unit in which it is at least one, if any is."""
    value, unit = next(
        ((rate * seconds, unit) for unit, seconds in (("s", 1), ("min", 60), ("h", 3600)) if rate * seconds >= 1),
        (rate * 86400, "day"),
    )
    return f"{value:.1f}/{unit}" if value < 10 else f"{value:.0f}/{unit}"


def _duration(seconds: float) -> str:
    """Return a duration as ``m:ss`` or ``h:mm:ss``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _clock(now: datetime, seconds: float) -> str:
    """Return the time that is some seconds from now, with its date where that is not today's."""
    try:
        end = now + timedelta(seconds=seconds)
    except OverflowError:
        return "never"  # later than the year 9999
    return f"{end:%H:%M}" if end.date() == now.date() else f"{end:%Y-%m-%d %H:%M}"


@contextmanager
def progress(name: str, pending: int, skipped: int, show: bool) -> Iterator[Callable[[str], None]]:
    """Show a batch's progress; yield the function to call with each specification's status as it ends.

    Parameters
    ----------
    name
        The batch's name.
    pending
        How many specifications are to run.
    skipped
        How many had completed before.
    show
        False shows nothing.
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
    if _in_notebook():
        return _notebook(name, figures)
    console = _terminal_console()
    return _log_lines(name, figures) if console is None else _bar(console, name, figures)


# A log line now and then.


@contextmanager
def _log_lines(name: str, figures: Callable[[], Figures]) -> Iterator[Callable[[], None]]:
    due = time.monotonic() + LOG_SECONDS

    def tick() -> None:
        nonlocal due
        if time.monotonic() >= due:
            _log.info("%s: %s", name, figures().text(_now()))
            due = time.monotonic() + max(LOG_SECONDS, LOG_SHARE * figures().seconds)

    try:
        yield tick
    finally:
        _log.info("%s: %s", name, figures().text(None))


def _now() -> datetime:
    return datetime.now().astimezone()


# A notebook.


def _in_notebook() -> bool:
    """Tell whether this process is a notebook's kernel."""
    python = sys.modules.get("IPython")
    shell = python.get_ipython() if python else None
    return getattr(shell, "kernel", None) is not None


class _Shown:
    """The figures as a notebook shows them; it needs no widgets, and the saved notebook keeps the last state."""

    def __init__(self, name: str, figures: Figures, now: datetime | None) -> None:
        self._figures = figures
        self._text = f"{name}: {figures.text(now)}"

    def __repr__(self) -> str:
        return self._text

    def _repr_html_(self) -> str:
        figures = self._figures
        return f'<progress value="{figures.done}" max="{figures.total}"></progress> {html.escape(self._text)}'


@contextmanager
def _notebook(name: str, figures: Callable[[], Figures]) -> Iterator[Callable[[], None]]:
    from IPython.display import display

    handle = display(_Shown(name, figures(), _now()), display_id=True)  # type: ignore[no-untyped-call]
    due = time.monotonic() + NOTEBOOK_SECONDS

    def tick() -> None:  # in the thread that runs the cell: from another, the output may land elsewhere
        nonlocal due
        if time.monotonic() >= due:
            handle.update(_Shown(name, figures(), _now()))
            due = time.monotonic() + NOTEBOOK_SECONDS

    try:
        yield tick
    finally:
        handle.update(_Shown(name, figures(), None))


# A terminal.


def _terminal_console() -> Console | None:
    """Return a console for stderr, where that is a terminal that a bar can be drawn on, with rich installed."""
    if not _is_terminal(sys.stderr) or _Bar.on_screen is not None:  # a batch inside another has log lines
        return None
    try:
        from rich.console import Console
        from rich.file_proxy import FileProxy
    except ImportError:  # the extra is optional; the log tells the same
        _log.info('for a progress bar: pip install "smallab[progress]"')
        return None
    if isinstance(sys.stderr, FileProxy) or isinstance(sys.stdout, FileProxy):  # the user has a rich display running
        return None
    console = Console(file=sys.stderr, force_jupyter=False)
    usable = console.is_terminal and not console.is_dumb_terminal and not console.legacy_windows
    return console if usable else None


def _is_terminal(stream: TextIO | None) -> bool:
    try:
        return stream is not None and stream.isatty()
    except (AttributeError, ValueError):  # something that is not quite a stream; or it is closed
        return False


@contextmanager
def _bar(console: Console, name: str, figures: Callable[[], Figures]) -> Iterator[Callable[[], None]]:
    bar = _Bar(console, name, figures)
    stop = threading.Event()
    thread = threading.Thread(target=bar.keep_drawing, args=(stop,), name="smallab progress", daemon=True)
    try:
        bar.begin()
        thread.start()
        yield lambda: None  # the thread looks at the figures by itself, while nothing ends, too
    finally:
        try:
            stop.set()
        finally:  # whatever a second Ctrl-C interrupts
            bar.end()


class _Bar:
    """Draws one line below the cursor, and makes room for whatever else is written to the terminal.

    For that it stands in for the ``write`` of the stream objects themselves, not for ``sys.stdout``: log handlers
    that hold a stream are seen to as well, a stream that somebody puts in its place meanwhile stays there, and text
    goes where it would go anyway, unchanged.
    """

    on_screen: _Bar | None = None

    def __init__(self, console: Console, name: str, figures: Callable[[], Figures]) -> None:
        self._console, self._name, self._figures = console, name, figures
        self._stream = console.file
        self._write = self._stream.write
        self._lock = threading.RLock()
        self._line = ""
        self._drawn = False
        self._in_line = False  # somebody has written half a line
        self._undo: list[Callable[[], object]] = []

    def begin(self) -> None:
        """Draw the bar, and be told from now on of what is written to the terminal."""
        _Bar.on_screen = self
        for stream in {id(stream): stream for stream in (sys.stdout, sys.stderr)}.values():
            if _is_terminal(stream) and hasattr(stream, "__dict__"):  # what is written to any other may hit the bar
                self._stand_in(stream)
        self._redraw()

    def _stand_in(self, stream: TextIO) -> None:
        attributes = vars(stream)
        undo = partial(attributes.update, write=attributes["write"]) if "write" in attributes else None
        self._undo.append(undo or partial(attributes.pop, "write", None))
        attributes["write"] = self._making_room(stream)

    def end(self) -> None:
        """Give the streams back as they were, and leave the last state of the bar behind."""
        self.forget()
        with self._lock, suppress(OSError, ValueError):  # the terminal is gone: no reason to lose the batch
            start = "\n" if self._in_line else "\r"  # \r: over the ^C that the terminal itself has written
            self._write(f"{_ERASE}{start}{_DELETE}{self._rendered(None)}\n")
            self._stream.flush()

    def forget(self) -> None:
        """Give the streams back as they were."""
        _Bar.on_screen = None
        for undo in self._undo:
            undo()

    def keep_drawing(self, stop: threading.Event) -> None:
        """Redraw now and then until told to stop."""
        while not stop.wait(TERMINAL_SECONDS):
            with self._lock, suppress(OSError, ValueError):
                if not stop.is_set():
                    self._redraw()

    def _making_room(self, stream: TextIO) -> Callable[[str], int]:
        original = stream.write

        def write(text: str) -> int:
            if not text:  # rich does that whenever the bar is rendered
                return original(text)
            with self._lock:
                self._erase()
                written = original(text)
                self._in_line = not text.endswith("\n") and not (text.endswith("\r") and text.isspace())
                if not self._in_line:  # print writes a line and its end one by one: one drawing is enough
                    stream.flush()
                    self._draw()
                return written

        return write

    def _erase(self) -> None:
        if self._drawn:
            self._write(_ERASE)
            self._stream.flush()
            self._drawn = False

    def _redraw(self) -> None:
        self._line = self._rendered(_now())
        self._draw()

    def _draw(self) -> None:  # erase first: where another process ended a line, the cursor is now on the old bar
        self._write(f"{_DELETE}{_GO_BELOW}{_DELETE}{self._line}{_GO_BACK}")
        self._stream.flush()
        self._drawn = True

    def _rendered(self, now: datetime | None) -> str:
        """Return the bar as one line of text and colours, as wide as the terminal is now."""
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        figures = self._figures()
        row = Table.grid(padding=(0, 1, 0, 0))
        row.add_column(no_wrap=True, overflow="ellipsis", max_width=self._console.width // 4)
        row.add_column()
        row.add_column(no_wrap=True, overflow="ellipsis")
        text = Text(figures.text(now), style="red" if figures.failed else "")
        bar = ProgressBar(total=max(1, figures.total), completed=figures.done, width=max(5, self._console.width // 6))
        row.add_row(Text(self._name), bar, text)
        with self._console.capture() as capture:
            self._console.print(row, end="", no_wrap=True, crop=True, overflow="ellipsis")
        return capture.get().partition("\n")[0]


def _forget_in_child() -> None:
    """In a forked process: the bar is the parent's, and its lock may have been held by a thread that is not here."""
    if _Bar.on_screen is not None:
        _Bar.on_screen.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_in_child)
