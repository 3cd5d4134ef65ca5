"""What is drawn of a batch, line by line: a function of what was seen and of the width of the terminal.

Nothing that an experiment names or raises is ever more than text: no markup is parsed, and what is not printable
(escape sequences, halves of characters) is spelled out.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from smallab.display.figures import Figures, duration, local_time
from smallab.display.plain import plain, plain_lines
from smallab.reading.failures import FailedSpecification, FailureGroup
from smallab.reading.state import Details, Run, Running, View

QUIET_SECONDS = 30.0  # without a sign of life after which that is shown: it comes every 5 seconds
LONGEST_LINE = 1000  # characters of a text that stands in one line
LONGEST_TEXT = 20_000  # characters of a traceback or a log file that are shown: Textual takes its time for each line
_CONSOLE = Console()  # to wrap lines, whatever the terminal
_ALWAYS_COUNTED = ("completed", "failed")  # in the batch, also where there are none
_STATES = {  # in the order in which they matter where several runs are shown together
    "running": ("running", "green"),
    "killed": ("killed", "bold red"),
    "silent": ("silent", "bold red"),
    "stopped": ("stopped before its end", "bold red"),
    "ended": ("ended", "green"),
}


@dataclass(frozen=True)
class Drawing:
    r"""Draws in characters that the terminal, or the file, can take.

    Parameters
    ----------
    bar, rest
        What bars are made of.
    cut
        Stands at the end of a text that was cut.
    ascii_only
        All characters are ASCII.

    Examples
    --------
    >>> Drawing().line(12, "the loss is\n", "not a number").plain
    'the loss is…'
    >>> Drawing.on(Console(width=40)).fitted("[red]", 8)
    '[red]   '
    """

    bar: str = "━"
    rest: str = "─"
    cut: str = "…"
    ascii_only: bool = False

    @classmethod
    def on(cls, console: Console) -> Drawing:
        """Return one for a terminal or a file."""
        return cls("#", "-", "~", ascii_only=True) if console.options.ascii_only else cls()

    # Texts.

    def plain(self, text: str) -> str:
        """Return a text as one line that cannot harm a terminal, or a file that does not take all of Unicode."""
        return self._encodable(plain(text[:LONGEST_LINE]))

    def plain_lines(self, text: str) -> str:
        """Return a text of several lines, each as harmless; of a long text, the beginning and the end."""
        if len(text) > LONGEST_TEXT:
            half = LONGEST_TEXT // 2
            text = f"{text[:half]}\n{self.cut}\n{text[-half:]}"
        return self._encodable(plain_lines(text))

    def _encodable(self, text: str) -> str:
        if not self.ascii_only:
            return text
        return text.replace("…", self.cut).encode("ascii", "replace").decode()

    def line(self, width: int, *parts: str | tuple[str, str]) -> Text:
        """Return one line of texts and styled texts, whatever they hold, cut where it is too long."""
        line = Text(no_wrap=True)
        for part in parts:
            text, style = (part, "") if isinstance(part, str) else part
            line.append(self.plain(text), style)
        if line.cell_len > width:
            line.truncate(max(0, width - 1))
            line.append(self.cut)
        return line

    def fitted(self, text: str, width: int) -> str:
        """Return a text in exactly so many columns."""
        text = self.plain(text)
        if cell_len(text) > width:
            text = set_cell_size(text, max(0, width - 1)) + self.cut
        return set_cell_size(text, max(0, width))

    def wrapped(self, text: str, width: int, most: int, style: str = "") -> list[Text]:
        """Return a text in as many lines as it takes, so many at the most."""
        lines = list(Text(self.plain(text), style).wrap(_CONSOLE, width))
        if len(lines) > most:
            lines[most - 1].truncate(width - 1)
            lines[most - 1].append(self.cut)
        return lines[:most]

    # The head: the batch, its figures, its runs.

    def head(self, view: View, width: int, height: int) -> list[Text]:
        """Return what stands above the lists, in a terminal of so many lines."""
        lines = [self._title(view, width)]
        if view.figures:
            now = datetime.now().astimezone() if view.alive else None
            lines.append(self._progress(view.figures, width))
            lines += self.wrapped(view.figures.text(now), width, height, "bold")
        elif not view.exists:
            lines += self._waiting(view, width, height)
        for run in view.runs:
            lines += self._trouble(run, width, height)
        counts = [f"{count} {status}" for status, count in view.counts.items() if count or status in _ALWAYS_COUNTED]
        if view.exists and not view.alive:
            lines += self.wrapped(f"in the batch: {', '.join(counts)}", width, height)
        if len(view.runs) > 1:
            room = max(0, height // 3 - len(lines))
            lines += [self._run(run, width) for run in view.runs[:room]]
        return lines[:height]

    def _title(self, view: View, width: int) -> Text:
        name = f"{self.plain(view.name)}  "
        state, style = state_of(view)
        folder = self.plain(view.folder)
        room = width - cell_len(name) - len(state) - 2
        if cell_len(folder) > room:  # its end tells more than its beginning
            folder = self.cut + folder[max(1, len(folder) - room + 1) :] if room > 10 else ""
        return self.line(width, (name, "bold"), (state, style), "  ", (folder, "dim"))

    def _progress(self, figures: Figures, width: int) -> Text:
        """Return a bar as wide as the terminal: completed, failed, and the rest."""
        ended = failed = 0
        if figures.total:
            ended = width * (figures.skipped + figures.ended) // figures.total
            failed = min(ended, -(-width * figures.failed // figures.total))  # one among thousands is seen, too
        bars = (self.bar * (ended - failed), "green"), (self.bar * failed, "red")
        return self.line(width, *bars, (self.rest * (width - ended), "dim"))

    def _waiting(self, view: View, width: int, height: int) -> list[Text]:
        lines = self.wrapped(f"waiting for a batch {view.name!r} in {view.root}", width, height, "yellow")
        others = ", ".join(view.others[:20])
        return lines + (self.wrapped(f"there are: {others}", width, height) if others else [])

    def _trouble(self, run: Run, width: int, height: int) -> list[Text]:
        """Return what is wrong with a run: it was killed, or nothing is heard of it."""
        silence = duration(run.silence)
        if run.state == "killed":
            text = f"its runner was killed ({_runner(run)}): run it again to go on"
            return self.wrapped(text, width, height, "bold red")
        if run.state == "silent":
            text = f"its runner has given no sign of life for {silence} ({_runner(run)}): killed, or its machine or "
            text += "the share is down; run it again to go on"
            return self.wrapped(text, width, height, "bold red")
        if run.state == "running" and run.silence > QUIET_SECONDS:
            return self.wrapped(f"no sign of life from {_runner(run)} for {silence}", width, height, "yellow")
        return []

    def _run(self, run: Run, width: int) -> Text:
        now = datetime.now().astimezone() if run.state == "running" else None
        text = run.figures.text(now) if run.figures else "starting"
        style = "red" if run.state in {"killed", "silent"} else ""
        return self.line(width, (f"  {_runner(run)}  {run.state}  {text}", style))

    # The lists: what runs, and what failed.

    def running(self, item: Running, width: int, hosts: bool, goes_on: bool) -> Text:
        """Return a line for what runs: for how long, where if that differs, what, and how far."""
        age = duration(item.seconds) if goes_on else ""
        left = f"{age:>9} " if width >= 30 else ""
        if hosts and width >= 80:  # room for them
            left += f"{self.fitted(item.host, 12)} "
        label = f"{item.label} (its process is gone)" if goes_on and item.gone else item.label
        steps = self._steps(item, width)
        room = width - len(left) - sum(len(text) for text, _ in steps)
        return self.line(width, (left, "dim"), self.fitted(label, max(1, room)), *steps)

    def _steps(self, item: Running, width: int) -> list[tuple[str, str]]:
        """Return a small bar and the numbers, where it says how far it is."""
        if item.share is None:
            return []
        numbers = f"{item.done:.9g}/{item.total:.9g}"
        columns = max(6, width // 6)
        full = int(columns * item.share)
        aligned = f" {numbers:>{min(9, width // 10)}}"
        return [(" ", ""), (self.bar * full, "green"), (self.rest * (columns - full), "dim"), (aligned, "")]

    def group(self, group: FailureGroup, width: int) -> Text:
        """Return a line for failures that belong together: how many, the latest one's time, why, and an example."""
        count = f"{len(group.members):>7} "
        if width < 60:
            return self.line(width, (count, "bold"), (group.why, "red"))
        left = f"{time_of_day(group.time):>8}  "
        example = min(40, width // 4)
        why = self.fitted(group.why, width - len(count) - len(left) - example - 2)
        label = self.fitted(group.members[0].label, example)
        return self.line(width, (count, "bold"), (left, "dim"), (why, "red"), "  ", (label, "dim"))

    def failed(self, member: FailedSpecification, width: int, with_message: bool) -> Text:
        """Return a line for a failure: when, its folder, what, and if there is room for it, the message."""
        left = f"{time_of_day(member.time):>9} "
        left += f"{member.id[:8]} " if width >= 60 else ""
        if width < 60 or not with_message:
            return self.line(width, (left, "dim"), member.label)
        return self.line(width, (left, "dim"), self.fitted(member.label, width // 3), " ", (member.message, "red"))

    def details(self, details: Details) -> Text:
        """Return all that there is to read of one specification, in as many lines as it takes."""
        text = Text()
        text.append(f"{self.plain(details.label)}\n", "bold")
        verb = "failed" if details.failed else "started"
        text.append(f"{details.id}  {verb} {local_time(details.time)}\n", "dim")
        why = ": ".join(part for part in (details.type, details.message) if part)
        parts = (
            ("", why, "red"),
            ("traceback", details.traceback, ""),
            ("specification", json.dumps(details.specification, indent=2, ensure_ascii=False), ""),
            ("log.txt, its end", details.log, ""),
        )
        for title, content, style in parts:
            if content:
                text.append(f"\n{title}\n" if title else "\n", "bold")
                text.append(f"{self.plain_lines(content)}\n", style)
        return text

    # A whole frame.

    def frame(self, view: View, groups: Sequence[FailureGroup], width: int, height: int) -> list[Text]:
        """Return a batch as it is now, for those who only look once: in so many lines at the most."""
        lines = self.head(view, width, height)
        items = view.running or view.interrupted
        first, second = shared_room(height - len(lines), len(items), len(groups))
        if first > 1:
            hosts = several_hosts(items)
            lines.append(self.line(width, (f"  {in_hand(view)} ({_counted(first - 1, len(items))})", "bold")))
            lines += [self.running(item, width, hosts, bool(view.running)) for item in items[: first - 1]]
        if second > 1:
            lines.append(self.line(width, (f"  {failed_heading(groups, second - 1)}", "bold")))
            lines += [self.group(group, width) for group in groups[: second - 1]]
        return lines


def shared_room(room: int, first: int, second: int) -> tuple[int, int]:
    """Return how many lines each of two lists of so many rows gets: half of them, and what the other leaves.

    A list has a heading, if it has rows.

    Examples
    --------
    >>> shared_room(20, 50, 50), shared_room(20, 3, 50), shared_room(20, 50, 3), shared_room(20, 3, 0)
    ((10, 10), (4, 16), (16, 4), (4, 0))
    """
    room = max(0, room)
    first, second = first + bool(first), second + bool(second)
    given = min(first, max((room + 1) // 2, room - second))
    return given, min(second, room - given)


def state_of(view: View) -> tuple[str, str]:
    """Return the state of a batch in a few words, and their style."""
    if not view.exists:
        return "not started", "yellow"
    if view.alive and not view.figures:
        return "starting", "yellow"
    counts = Counter[str](run.state for run in view.runs)
    for state, (words, style) in _STATES.items():
        if counts[state]:
            several = f" ({counts[state]} runs)" if counts[state] > 1 else ""
            return words + several, style
    return "", ""


def in_hand(view: View) -> str:
    """Return the heading of the list of what runs, or ran when its runner was killed."""
    if view.running or not view.interrupted:
        return "Running"
    killed = any(run.state == "killed" for run in view.runs)
    return f"In hand when it was {'killed' if killed else 'last heard of'}"


def failed_heading(groups: Sequence[FailureGroup], shown: int | None = None) -> str:
    """Return the heading of the groups of failures, of which so many are shown."""
    unread = sum(len(group.members) for group in groups if group.unread)
    count = sum(len(group.members) for group in groups)
    reasons = sum(not group.unread for group in groups)
    text = f"Failed ({count}, for {reasons} reasons" if reasons != 1 else f"Failed ({count}, for 1 reason"
    text += f"; {unread} not read yet" if unread else ""
    text += f"; the {shown} most frequent" if shown is not None and shown < len(groups) else ""
    return f"{text})"


def several_hosts(items: Sequence[Running]) -> bool:
    """Tell whether specifications run on more than one machine."""
    return len({item.host for item in items}) > 1


def time_of_day(when: str) -> str:
    """Return when it was (ISO 8601): the time of day; month and day where that is another one; empty if it is none."""
    day, _, time = local_time(when).partition(" ")
    return time if day == f"{datetime.now().astimezone():%Y-%m-%d}" else day[5:]


def _runner(run: Run) -> str:
    return f"process {run.pid} on {run.host}"


def _counted(shown: int, count: int) -> str:
    return str(count) if shown >= count else f"1 to {shown} of {count}"
