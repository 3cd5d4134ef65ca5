"""A batch in the terminal, live: how far it is, what runs, and what failed and why (extra ``dashboard``).

`smallab.reading.state` reads, `frame` draws, `screens` shows it and takes the keys; this is the application that holds
them together.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import ClassVar

from smallab.display.figures import duration
from smallab.reading.state import Watch
from smallab.storage.base import open_storage

try:
    from rich.console import Console, Group
    from textual.app import App
    from textual.binding import Binding, BindingType
    from textual.message import Message

    from smallab.command_line.frame import Drawing
    from smallab.command_line.looking import Looker, Seen
    from smallab.command_line.screens import BatchScreen, Shown, Wanted
except ModuleNotFoundError as error:
    raise ImportError('the dashboard needs textual: pip install "smallab[dashboard]"') from error

READING_SECONDS_ONCE = 2.0  # for failures, where there is only one look
SLOW_SECONDS = 3.0  # without an answer from the share after which that is shown
PRINTED_LINES = 60  # of a frame that goes to no terminal
TERMINATED = 128 + signal.SIGTERM  # exit status


def dashboard(name: str, folder: str | os.PathLike[str] | None = None, once: bool = False) -> None:
    """Show a batch in the terminal until q or Ctrl-C is pressed.

    The batch may run anywhere that shares the folder, may not have started yet, and may have ended. Where stdout is no
    terminal, one frame is printed.

    Parameters
    ----------
    name
        The batch.
    folder
        The folder that holds the batches; where None, SMALLAB_ROOT, else ``experiment_runs``.
    once
        Print one frame, and return.

    Raises
    ------
    ValueError
        The name cannot be a batch's.
    ImportError
        Textual is not installed (when this module is imported).

    Examples
    --------
    >>> import tempfile
    >>> dashboard("digits", tempfile.mkdtemp(), once=True)  # doctest: +ELLIPSIS
    digits  not started...
    """
    watch = Watch(open_storage(folder, name))
    console = Console()
    if once or not _is_terminal(console):
        _print_once(watch, console)
        return
    application = Dashboard(watch, Drawing.on(console))
    with _signal_handler_kept(), suppress(KeyboardInterrupt):
        application.run()
    if application.error:
        raise application.error
    if application.return_code:
        sys.exit(application.return_code)


def _is_terminal(console: Console) -> bool:
    """Tell whether there is a terminal to draw on: stdout is one, and stderr, to which Textual writes."""
    streams = (sys.__stdout__, sys.__stderr__)
    return all(stream and stream.isatty() for stream in streams) and not console.is_dumb_terminal


def _print_once(watch: Watch, console: Console) -> None:
    view = watch.look()
    groups = view.failures.groups(READING_SECONDS_ONCE)
    height = max(1, console.height - 1) if console.is_terminal else PRINTED_LINES
    lines = Drawing.on(console).frame(view, groups, console.width, height)
    console.print(Group(*lines), crop=False)


@contextmanager
def _signal_handler_kept() -> Iterator[None]:
    """Put back what SIGTERM did before: asyncio does not."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        with suppress(ValueError):  # in another thread than the main one nothing has changed
            signal.signal(signal.SIGTERM, before)


class Dashboard(App[None]):
    """Shows what is seen of a batch.

    Parameters
    ----------
    watch
        The batch.
    drawing
        Draws it.
    """

    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "quit", "Quit"),
        Binding("ctrl+c", "quit", "Quit", show=False, priority=True),
    ]
    CSS = """
    Screen { overflow: hidden; }
    """

    class Looked(Message):
        """There was an answer from the batch's folder."""

        def __init__(self, answer: Seen | Exception) -> None:
            super().__init__()
            self.answer = answer

    def __init__(self, watch: Watch, drawing: Drawing) -> None:
        super().__init__()
        self.error: Exception | None = None
        self._drawing = drawing
        self._looker = Looker(watch, lambda answer: self.post_message(self.Looked(answer)))
        self._trouble = ""

    def get_default_screen(self) -> BatchScreen:
        """Return the screen that is there from the start."""
        return BatchScreen(self._drawing)

    def on_mount(self) -> None:
        """Begin to look."""
        with suppress(NotImplementedError, ValueError, RuntimeError):  # Windows, or not the main thread
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self._terminate)
        self._looker.start()
        self.set_interval(1.0, self._tell_trouble)

    def on_unmount(self) -> None:
        """Look no more."""
        self._looker.stop()

    def _terminate(self) -> None:
        self.exit(return_code=TERMINATED)

    def on_dashboard_looked(self, message: Looked) -> None:
        """Show what was seen."""
        answer = message.answer
        if isinstance(answer, Seen):
            self._trouble = ""
            for screen in self._shown():
                screen.show(answer)
        elif isinstance(answer, OSError):  # a share that may come back
            self._trouble = f"the batch cannot be read: {answer}"
        else:
            self.error = answer
            self.exit(return_code=1)
        self._tell_trouble()

    def on_wanted(self, message: Wanted) -> None:
        """Read what there is of a specification."""
        self._looker.open(message.id)

    def _tell_trouble(self) -> None:
        silence = self._looker.silence
        slow = f"no answer from the batch's folder for {duration(silence)}" if silence > SLOW_SECONDS else ""
        for screen in self._shown():
            screen.tell(slow or self._trouble)

    def _shown(self) -> list[Shown]:
        if not self.is_running:  # it ends, and the screens are being taken apart
            return []
        return [screen for screen in self.screen_stack if isinstance(screen, Shown)]
