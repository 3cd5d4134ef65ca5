"""A batch's progress on a terminal: rich's bar, drawn by rich's thread (extra ``progress``).

While it is shown, what this process prints and logs goes through rich: whole lines, in order, above the bar; so log
handlers that hold the terminal's streams are lent rich's for that time, for what they write past it would be glued to
the bar. Whatever else goes past rich (worker processes, ``rich.print``) begins on a row of its own, because the bar
fills its row to the end; a copy of the bar stays above it. A debugger's prompt is drawn over: debug with
``show_progress=False``.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import IO, ClassVar

from rich.ansi import AnsiDecoder
from rich.console import Console, RenderableType
from rich.file_proxy import FileProxy
from rich.progress import BarColumn, Progress, Task, TextColumn
from rich.table import Column, Table

from smallab.display.figures import Figures
from smallab.display.streams import Lent, terminal_streams

TIMES_PER_SECOND = 4.0


def usable_console() -> Console | None:
    """Return a console for stderr, a terminal; None where no bar can be drawn on it, or where something else is."""
    if _Bar.shown or multiprocessing.current_process().name != "MainProcess":
        return None  # a batch inside another one: in this process, or in a worker
    if isinstance(sys.stderr, FileProxy) or isinstance(sys.stdout, FileProxy):  # the user has a rich display running
        return None
    console = _Console()
    if console.is_dumb_terminal or console.legacy_windows or not console.is_interactive:
        return None
    return console


@contextmanager
def terminal_bar(console: Console, name: str, figures: Callable[[], Figures]) -> Iterator[Callable[[], None]]:
    """Show a bar; yield a function to call after each specification, which does nothing: rich's thread looks itself."""
    bar = _Bar(console)
    bar.add_task(name, figures=figures, over=False)
    try:
        bar.start()
        yield lambda: None
    finally:
        bar.stop()


class _Console(Console):
    """rich's console, that leaves what is printed as it is, and the cursor visible, for whoever is killed."""

    def __init__(self) -> None:
        super().__init__(
            file=sys.stderr, force_jupyter=False, markup=False, emoji=False, highlight=False, soft_wrap=True
        )

    def show_cursor(self, show: bool = True) -> bool:  # noqa: ARG002  # as rich calls it
        return False


class _Bar(Progress):
    """rich's progress, that looks at the figures whenever it is drawn: so counting costs next to nothing."""

    shown: ClassVar[_Bar | None] = None

    def __init__(self, console: Console) -> None:
        name = Column(no_wrap=True, overflow="ellipsis", max_width=console.width // 4)
        text = Column(no_wrap=True, overflow="ellipsis", ratio=4)
        self._lines: list[_Lines] = []
        self._lent = Lent([])
        super().__init__(
            TextColumn("{task.description}", markup=False, table_column=name),
            BarColumn(bar_width=None, table_column=Column(ratio=1)),
            TextColumn("{task.fields[text]}", table_column=text),
            console=console,
            refresh_per_second=TIMES_PER_SECOND,
            redirect_stdout=False,  # Lent does that: rich would show what is meant for a file, leave log handlers
            redirect_stderr=False,  # out, and lose half a line at the end
            expand=True,
        )

    def start(self) -> None:
        """Draw the bar, and be handed from now on what is written to the terminal."""
        _Bar.shown = self
        with suppress(OSError, ValueError):  # the terminal is gone: no reason to lose the batch
            super().start()
        self._lines = [_Lines(self.console, stream) for stream in terminal_streams()]
        self._lent = Lent([(lines.rich_proxied_file, lines) for lines in self._lines])

    def stop(self) -> None:
        """Give the streams back, and leave the last state of the bar behind."""
        if self.disable:  # a forked process
            return
        _Bar.shown = None
        self._lent.give_back()
        for task in self.tasks:
            task.fields["over"] = True
        with suppress(OSError, ValueError):
            for lines in self._lines:
                lines.end()
            super().stop()

    def leave_to_parent(self) -> None:
        """Write to the terminal directly, and draw nothing: this process was forked, and the bar is its parent's.

        rich's locks are not touched, for a thread that is not here may have held them.
        """
        self.disable = True
        self._lent.give_back()

    def get_renderables(self) -> Iterable[RenderableType]:
        """Return what is drawn: the lines that are not whole yet, and the bar."""
        for lines in self._lines:
            if lines.half:
                text = AnsiDecoder().decode_line(lines.half)
                text.no_wrap, text.overflow = True, "ellipsis"
                yield text
        yield from super().get_renderables()

    def make_tasks_table(self, tasks: Iterable[Task]) -> Table:
        """Return the bar, with the figures as they are now."""
        for task in tasks:
            figures: Figures = task.fields["figures"]()
            now = None if task.fields["over"] else datetime.now().astimezone()
            text = figures.text(now)
            task.fields["text"] = f"[red]{text}" if figures.failed else text
            task.completed = figures.skipped + figures.ended
            task.total = task.completed if now is None and figures.total is None else figures.total
        return super().make_tasks_table(tasks)


class _Lines(FileProxy):
    """rich's stream; half a line (a question, tqdm's bar) is shown with the bar until it is whole.

    rich's own makes a line of each half whenever it is flushed.
    """

    def __init__(self, console: Console, stream: IO[str]) -> None:
        super().__init__(console, stream)
        self.half = ""

    def write(self, text: str) -> int:
        super().write(text)
        self.half = (self.half + text).rpartition("\n")[2]
        return len(text)

    def flush(self) -> None:
        pass

    def end(self) -> None:
        """Write half a line that nobody has ended."""
        self.half = ""
        super().flush()


def _leave_to_parent() -> None:
    if _Bar.shown:
        _Bar.shown.leave_to_parent()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_to_parent)
