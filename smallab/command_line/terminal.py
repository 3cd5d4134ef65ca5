"""What the command ``smallab`` prints: lines, tables and JSON, plain text whatever the experiments say."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import click

from smallab.display.plain import plain, plain_lines

Style = dict[str, Any]  # what `click.style` takes

_DIM: Style = {"dim": True}


def say(text: str = "", **style: Any) -> None:
    """Print a text of one line or several; its colours only where that is a terminal."""
    click.secho(plain_lines(text), **style)


def print_json(content: object) -> None:
    """Print JSON."""
    text = json.dumps(content, indent=2, ensure_ascii=False)
    unprintable = [character for character in set(text) if not character.isprintable() and character != "\n"]
    click.echo(text.translate({ord(character): json.dumps(character)[1:-1] for character in unprintable}))


def print_table(titles: Sequence[str], rows: Sequence[Sequence[str]], styles: Sequence[Style]) -> None:
    """Print rows in columns; the first and the last column are text, the others numbers."""
    cells = [[plain(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(titles, *cells, strict=True)]
    say("  ".join(_aligned(titles, widths)).rstrip(), **_DIM)
    for row in cells:
        styled = []
        for cell, aligned, style in zip(row, _aligned(row, widths), styles, strict=True):
            styled.append(click.style(aligned, **(_DIM if cell == "0" else style)))
        click.echo("  ".join(styled).rstrip())


def _aligned(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    last = len(row) - 1
    cells = []
    for place, (cell, width) in enumerate(zip(row, widths, strict=True)):
        is_text = place in {0, last}
        cells.append(cell.ljust(width) if is_text else cell.rjust(width))
    return cells


def print_dict(title: str, content: dict[str, Any]) -> None:
    """Print a dict under a title, a line for each key."""
    say()
    say(title, bold=True)
    width = max(map(len, content), default=0)
    for key, value in content.items():
        shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        say(f"  {key:<{width}}  {plain(shown)}")


def print_text(title: str, text: str, **style: Any) -> None:
    """Print a text of several lines under a title."""
    say()
    say(title, bold=True)
    for line in text.rstrip().splitlines():
        say(f"  {line}", **style)


def cut(text: str, room: int) -> str:
    """Return a text as one line, cut where it is too long for what is left of the terminal's width.

    Parameters
    ----------
    text
        Whatever it holds.
    room
        How many columns are taken already.
    """
    line = plain(" ".join(text.split()))
    width = _width() - room
    return line if len(line) <= width else line[: max(0, width - 1)] + "…"


def _width() -> int:
    """Return how long a line may be: as the terminal is wide; where nobody looks, as long as it gets."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else sys.maxsize


def local_time(time: object) -> str:
    """Return a recorded time (ISO 8601, UTC) as the clock on the wall shows it; empty where it is none."""
    try:
        return f"{datetime.fromisoformat(str(time)).astimezone():%Y-%m-%d %H:%M:%S}"
    except (ValueError, OverflowError):
        return ""
