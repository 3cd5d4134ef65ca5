"""A batch in the terminal, live: how far it is, what runs, and what failed and why (extra ``progress``).

`smallab.watching` reads, this draws: a frame is a function of what was seen, of the size of the terminal, and of how
far somebody has scrolled.
"""

from __future__ import annotations

import os
import re
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime

from smallab.display.figures import Figures, duration
from smallab.files import process_gone
from smallab.inspection import batch_names
from smallab.storage import Storage, root_folder
from smallab.watching import Run, Running, View, Watch

try:
    from rich.cells import cell_len, set_cell_size
    from rich.console import Console, Group
    from rich.text import Text
except ModuleNotFoundError as error:
    raise ImportError('the dashboard needs rich: pip install "smallab[progress]"') from error

REFRESH_SECONDS = 0.5
REFRESH_SHARE = 0.2  # of the time that looking may take: a slow share is left alone
KEY_SECONDS = 0.1  # within which a key, or another size of the terminal, is answered
QUIET_SECONDS = 30.0  # without a sign of life after which that is shown: it comes every 5 seconds
PRINTED_LINES = 60  # of a frame that goes to no terminal
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")  # in the messages of some exceptions


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
        rich is not installed (when this module is imported).

    Examples
    --------
    >>> import tempfile
    >>> dashboard("digits", tempfile.mkdtemp(), once=True)  # doctest: +ELLIPSIS
    digits  not started...
    """
    watch = Watch(Storage(root_folder(folder), name))
    console = Console()
    if once or not console.is_terminal or console.is_dumb_terminal:
        height = console.height - 1 if console.is_terminal else PRINTED_LINES
        lines = _Frame(watch.look(), console.width, height, _Places(), _marks(console)).lines(footer=False)
        console.print(Group(*lines), crop=False)
        return
    _show(console, watch)


def _show(console: Console, watch: Watch) -> None:
    """Show a batch until somebody quits."""
    places, marks = _Places(), _marks(console)
    with _keyboard() as pressed, console.screen(hide_cursor=True) as screen, suppress(KeyboardInterrupt):
        view, due = _looked(watch)
        size, keys = None, list[str]()
        while "q" not in keys:
            if looked := time.monotonic() >= due:
                view, due = _looked(watch)
            for key in keys:
                places.press(key)
            if looked or keys or console.size != size:
                size = console.size
                screen.update(Group(*_Frame(view, size.width, size.height, places, marks).lines(footer=True)))
            keys = pressed(KEY_SECONDS)


def _looked(watch: Watch) -> tuple[View, float]:
    """Return what goes on now, and when to look again."""
    began = time.monotonic()
    view = watch.look()
    took = time.monotonic() - began
    return view, began + max(REFRESH_SECONDS, took / REFRESH_SHARE)


# What is drawn.


@dataclass
class _Places:
    """How far somebody has scrolled in each list, and in which list the keys scroll."""

    chosen: int = 0
    offsets: list[int] = field(default_factory=lambda: [0, 0])
    rows: list[int] = field(default_factory=lambda: [1, 1])  # that each list shows, and has
    sizes: list[int] = field(default_factory=lambda: [0, 0])

    @property
    def focus(self) -> int:
        """The list in which the keys scroll: the chosen one, unless there is nothing in it."""
        return self.chosen if self.sizes[self.chosen] else 1 - self.chosen

    def press(self, key: str) -> None:
        """Scroll, or change to the other list."""
        which = self.focus
        page = max(1, self.rows[which] - 1)
        steps = {"up": -1, "down": 1, "page up": -page, "page down": page, "home": -(10**9), "end": 10**9}
        if key == "tab":
            self.chosen = 1 - which
        elif key in steps:
            self.offsets[which] += steps[key]
            self.fit(which, self.rows[which], self.sizes[which])

    def fit(self, which: int, rows: int, size: int) -> tuple[int, int]:
        """Return which items of a list are seen in so many rows."""
        self.rows[which], self.sizes[which] = rows, size
        self.offsets[which] = max(0, min(self.offsets[which], size - rows))
        return self.offsets[which], min(size, self.offsets[which] + rows)


@dataclass(frozen=True)
class _Marks:
    """The characters that bars and hints are made of."""

    bar: str
    rest: str
    arrows: str
    focus: str
    cut: str


def _marks(console: Console) -> _Marks:
    """Return characters that the terminal, or the file, can take."""
    return _Marks("#", "-", "arrows", ">", "~") if console.options.ascii_only else _Marks("━", "─", "↑↓", "▸", "…")


class _Frame:
    """One frame: lines that are as wide as the terminal at the most."""

    def __init__(self, view: View, width: int, height: int, places: _Places, marks: _Marks) -> None:
        self._view, self._width, self._height, self._places, self._marks = view, width, height, places, marks
        self._now = datetime.now().astimezone()
        self._has_keys = False

    def lines(self, footer: bool) -> list[Text]:
        """Return the frame, the footer in the last row of the terminal."""
        self._has_keys = footer
        room = self._height - footer
        head = self._head(room)[:room]
        lines = head + self._lists(room - len(head))
        if footer:
            lines += [Text()] * (room - len(lines))
            lines.append(self._footer())
        return lines

    def _line(self, *parts: str | tuple[str, str]) -> Text:
        """Return one line of texts and styled texts, whatever they hold, cut where it is too long."""
        line = Text(no_wrap=True)
        for part in parts:
            text, style = (part, "") if isinstance(part, str) else part
            line.append(self._plain(text), style)
        if line.cell_len > self._width:
            line.truncate(max(0, self._width - 1))
            line.append(self._marks.cut)
        return line

    def _plain(self, text: str) -> str:
        """Return a text as one line that cannot harm a terminal, or a file that does not take all of Unicode."""
        text = _COLOURS.sub("", text[:1000])
        text = "".join(character if character.isprintable() else " " for character in text)
        return text if self._marks.cut == "…" else text.encode("ascii", "replace").decode()

    def _fitted(self, text: str, width: int) -> str:
        """Return a text in exactly so many columns."""
        text = self._plain(text)
        if cell_len(text) > width:
            text = set_cell_size(text, width - 1) + self._marks.cut
        return set_cell_size(text, width)

    # The head: the batch, its figures, its runs.

    def _head(self, room: int) -> list[Text]:
        view = self._view
        figures, silent = view.figures, [run for run in view.runs if run.state in {"killed", "silent"}]
        lines = [self._title()]
        if figures:
            lines += [self._bar(figures), *self._wrapped(self._text(figures), "bold")]
        elif not view.exists:
            lines += self._waiting()
        for run in silent:
            lines += self._wrapped(_obituary(run), "bold red")
        lines += [line for run in view.alive if run.silence > QUIET_SECONDS for line in self._quiet(run)]
        if view.completed is not None and view.exists:
            lines += self._wrapped(f"in the batch: {view.completed} completed, {len(view.failures)} failed", "")
        if len(view.runs) > 1:
            lines += [self._run(run) for run in view.runs[: max(0, room // 3 - len(lines))]]
        return lines + [Text()] * (room >= 16)  # where there is room for air

    def _title(self) -> Text:
        view = self._view
        left = f"{self._plain(view.storage.name)}  "
        state, style = _state(view)
        room = self._width - cell_len(left) - len(state) - 2
        folder = view.storage.folder
        if cell_len(folder) > room:  # its end tells more than its beginning
            folder = self._marks.cut + folder[max(1, len(folder) - room + 1) :] if room > 10 else ""
        return self._line((left, "bold"), (state, style), "  ", (folder, "dim"))

    def _text(self, figures: Figures) -> str:
        return figures.text(self._now if self._view.alive else None)

    def _bar(self, figures: Figures) -> Text:
        """Return a bar as wide as the terminal: completed, failed, and the rest."""
        total = max(1, figures.total or 0)
        ended = self._width * (figures.skipped + figures.ended) // total
        failed = min(ended, -(-self._width * figures.failed // total))  # one failure among thousands is seen, too
        bar, rest = self._marks.bar, self._marks.rest
        return self._line(
            (bar * (ended - failed), "green"), (bar * failed, "red"), (rest * (self._width - ended), "dim")
        )

    def _wrapped(self, text: str, style: str) -> list[Text]:
        """Return a text in as many lines as it takes."""
        return [self._line((line, style)) for line in _wrapped(self._plain(text), self._width, self._height)]

    def _waiting(self) -> list[Text]:
        storage = self._view.storage
        others = ", ".join(batch_names(storage.root)[:20])
        lines = self._wrapped(f"waiting for a batch {storage.name!r} in {storage.root}", "yellow")
        return lines + (self._wrapped(f"there are: {others}", "") if others else [])

    def _quiet(self, run: Run) -> list[Text]:
        return self._wrapped(f"no sign of life from {_owner(run)} for {duration(run.silence)}", "yellow")

    def _run(self, run: Run) -> Text:
        text = run.figures.text(self._now if run.state == "running" else None) if run.figures else "starting"
        style = "red" if run.state in {"killed", "silent"} else ""
        return self._line((f"  {_owner(run)}  {run.state}  {text}", style))

    # The lists: what runs, and what failed.

    def _lists(self, room: int) -> list[Text]:
        """Return both lists; each gets half of the room, and what the other leaves."""
        items = self._view.running or self._view.interrupted
        sizes = [len(items), len(self._view.failures)]
        height = self._height_of_failures(room - sizes[0] - 2)
        wanted = [sizes[0] + 1 if items else 0, sizes[1] * height + 1 if sizes[1] else 0]
        first = min(wanted[0], max((room + 1) // 2, room - wanted[1]))
        rooms = [max(0, first - 1), max(0, min(wanted[1], room - first) - 1)]  # below their headings
        height = min(height, max(1, rooms[1]))
        spans = [self._places.fit(0, rooms[0], sizes[0]), self._places.fit(1, rooms[1] // height, sizes[1])]
        lines: list[Text] = []
        if items:
            lines += [self._heading(0, self._in_hand(), sizes[0], spans[0]), *self._running(items[slice(*spans[0])])]
        if sizes[1]:
            heading = self._heading(1, "Failed", sizes[1], spans[1], ", the latest first")
            lines += [heading, *self._failures(*spans[1], height)]
        return lines[: max(0, room)]

    def _in_hand(self) -> str:
        if self._view.running:
            return "Running"
        killed = any(run.state == "killed" for run in self._view.runs)
        return f"In hand when it was {'killed' if killed else 'last heard of'}"

    def _heading(self, which: int, title: str, size: int, span: tuple[int, int], order: str = "") -> Text:
        focused = self._has_keys and which == self._places.focus
        seen = f"{span[0] + 1} to {span[1]} of " if 0 < span[1] - span[0] < size else ""
        mark = self._marks.focus if focused else " "
        return self._line((f"{mark} {title}", "bold"), (f" ({seen}{size}{order})", "bold" if focused else "dim"))

    def _running(self, items: Sequence[Running]) -> Iterator[Text]:
        """Yield a line for each: for how long, where if that differs, what, and how far."""
        hosts = len({item.host for item in self._view.running}) > 1 and self._width >= 80  # room for them
        numbers = max((len(_numbers(item)) for item in items), default=0)
        for item in items:
            left = f"{self._age(item):>9} " + (f"{self._fitted(item.host, 12)} " if hosts else "")
            gone = self._view.running and process_gone(item.host, item.pid)  # and its runner has not found out yet
            label = f"{item.label} (its process is gone)" if gone else item.label
            steps = self._steps(item, numbers)
            room = self._width - len(left) - sum(len(text) for text, _ in steps)
            yield self._line((left, "dim"), self._fitted(label, max(1, room)), *steps)

    def _steps(self, item: Running, numbers: int) -> list[tuple[str, str]]:
        """Return a small bar and the numbers, where it says how far it is."""
        if item.share is None:
            return []
        width = max(6, self._width // 6)
        full = int(width * item.share)
        bar = [(self._marks.bar * full, "green"), (self._marks.rest * (width - full), "dim")]
        return [(" ", ""), *bar, (f" {_numbers(item):>{numbers}}", "")]

    def _age(self, item: Running) -> str:
        return duration(max(0.0, time.time() - item.started)) if self._view.running else ""

    def _height_of_failures(self, room: int) -> int:
        """Return how many lines a failure gets: as many as there is room for, if all shall be seen."""
        fewest = 1 if self._width >= 100 else 2  # in a wide terminal, the message has room beside the label
        count = len(self._view.failures)
        return max(fewest, min(5, room // count)) if count else fewest

    def _failures(self, begin: int, end: int, height: int) -> Iterator[Text]:
        """Yield the lines of each failure: when, its folder, what, and why."""
        for id, label, when, message in self._view.failures.latest(begin, end):
            left = f"{_time_of_day(when):>9} {id[:8]} "
            if height == 1:
                yield self._line((left, "dim"), self._fitted(label, self._width // 3), " ", (message, "red"))
                continue
            yield self._line((left, "dim"), label)
            for line in _wrapped(self._plain(message), self._width - 10, height - 1):
                yield self._line(" " * 10, (line, "red"))

    def _footer(self) -> Text:
        keys = f" q quit  {self._marks.arrows} PgUp PgDn scroll  Tab other list"
        return self._line((self._fitted(keys, self._width - 9), "reverse"), (f"{self._now:%H:%M:%S} ", "reverse"))


def _wrapped(text: str, width: int, most: int) -> list[str]:
    """Return a text in so many lines at the most; the last one may be too long."""
    lines, words = [""], text.split(" ")
    for place, word in enumerate(words):
        if not lines[-1] or cell_len(lines[-1]) + 1 + cell_len(word) <= width:
            lines[-1] += f" {word}" if lines[-1] else word
        elif len(lines) < most:
            lines.append(word)
        else:
            lines[-1] = " ".join([lines[-1], *words[place:]])
            break
    return lines


def _state(view: View) -> tuple[str, str]:
    """Return the state of a batch in a few words, and their style."""
    counts: dict[str, int] = {}
    for run in view.runs:
        counts[run.state] = counts.get(run.state, 0) + 1
    if not view.exists:
        return "not started", "yellow"
    if view.alive and not view.figures:
        return "starting", "yellow"
    words = {"ended": "ended", "stopped": "stopped before its end", "killed": "killed", "silent": "silent"}
    found = next((state for state in ("running", "killed", "silent", "stopped", "ended") if state in counts), "")
    text = words.get(found, found)
    text += f" ({counts[found]} runs)" if counts.get(found, 0) > 1 else ""
    return text, {"running": "green", "ended": "green", "": ""}.get(found, "bold red")


def _owner(run: Run) -> str:
    return f"process {run.pid} on {run.host}"


def _obituary(run: Run) -> str:
    if run.state == "killed":
        return f"its runner was killed ({_owner(run)}): run it again to go on"
    return (
        f"its runner has given no sign of life for {duration(run.silence)} ({_owner(run)}): killed, or its machine or "
        "the share is down; run it again to go on"
    )


def _numbers(item: Running) -> str:
    """Return how far a specification says it is, as ``done/total``."""
    if item.share is None:
        return ""
    return "/".join(f"{n:.6g}" if isinstance(n, float) else str(n) for n in (item.done, item.total))


def _time_of_day(when: str) -> str:
    """Return when it was (ISO 8601): the time of day, or the day where that is another one."""
    try:
        moment = datetime.fromisoformat(when).astimezone()
    except ValueError:
        return ""
    today = datetime.now().astimezone().date()
    return f"{moment:%H:%M:%S}" if moment.date() == today else f"{moment:%b %d}"


# The keyboard.

_KEYS = {
    "\x1b[A": "up", "\x1bOA": "up", "k": "up",
    "\x1b[B": "down", "\x1bOB": "down", "j": "down",
    "\x1b[5~": "page up", "b": "page up",
    "\x1b[6~": "page down", " ": "page down",
    "\x1b[H": "home", "\x1bOH": "home", "\x1b[1~": "home", "g": "home",
    "\x1b[F": "end", "\x1bOF": "end", "\x1b[4~": "end", "G": "end",
    "\t": "tab", "q": "q", "Q": "q",
}  # fmt: skip  # what terminals send, and what `less` is used with

_WINDOWS_KEYS = {"H": "up", "P": "down", "I": "page up", "Q": "page down", "G": "home", "O": "end"}  # after \0 or \xe0


def _parse(data: str) -> tuple[list[str], str]:
    """Return the keys in what a terminal has sent, and what is the beginning of a key that has not come whole yet."""
    keys = []
    while data:
        found = next((text for text in _KEYS if data.startswith(text)), None)
        if found is None and data != "\x1b" and any(text.startswith(data) for text in _KEYS):
            break
        keys += [_KEYS[found]] if found else []
        data = data[len(found) if found else 1 :]
    return keys, data


if sys.platform == "win32":
    import msvcrt

    @contextmanager
    def _keyboard() -> Iterator[Callable[[float], list[str]]]:
        """Yield a function that waits so many seconds for keys, and returns those that were pressed."""

        def pressed(seconds: float) -> list[str]:
            until = time.monotonic() + seconds
            while not msvcrt.kbhit() and time.monotonic() < until:
                time.sleep(0.02)
            keys = []
            while msvcrt.kbhit():
                character = msvcrt.getwch()
                special = character in "\0\xe0"
                keys.append((_WINDOWS_KEYS if special else _KEYS).get(msvcrt.getwch() if special else character, ""))
            return keys

        yield pressed

else:
    import termios
    import tty

    @contextmanager
    def _keyboard() -> Iterator[Callable[[float], list[str]]]:
        """Yield a function that waits so many seconds for keys, and returns those that were pressed."""
        with _terminated():
            if not sys.stdin or not sys.stdin.isatty():  # Ctrl-C remains
                yield _no_keys
                return
            descriptor = sys.stdin.fileno()
            before = termios.tcgetattr(descriptor)
            rest = ""

            def pressed(seconds: float) -> list[str]:
                nonlocal rest
                if not select.select([descriptor], [], [], seconds)[0]:
                    return []
                data = os.read(descriptor, 1024)
                keys, rest = _parse(rest + data.decode(errors="replace"))
                return keys if data else ["q"]  # the terminal is gone

            try:
                tty.setcbreak(descriptor)  # keys come at once and are not shown; Ctrl-C is still a signal
                now = termios.tcgetattr(descriptor)
                now[6][termios.VSUSP] = b"\0"  # Ctrl-Z would leave the shell with our screen
                termios.tcsetattr(descriptor, termios.TCSANOW, now)
                yield pressed
            finally:
                termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def _no_keys(seconds: float) -> list[str]:
    time.sleep(seconds)
    return []


@contextmanager
def _terminated() -> Iterator[None]:
    """Give the terminal back on SIGTERM, too: as SystemExit, which passes the `finally` of the others."""

    def leave(number: int, _frame: object) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
