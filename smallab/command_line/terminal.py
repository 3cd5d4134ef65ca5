"""What the command ``smallab`` prints: lines, tables and JSON, plain text whatever the experiments say."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping, Sequence
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
    escapes = {}
    for character in set(text) - {"\n"}:
        if not character.isprintable():  # JSON need not escape it, but terminals mind
            escapes[ord(character)] = json.dumps(character).strip('"')
    click.echo(text.translate(escapes))


def print_table(columns: Mapping[str, Style], rows: Sequence[Sequence[str]]) -> None:
    """Print rows in columns; the first and the last column are text, the others numbers.

    Parameters
    ----------
    columns
        Their titles, and how what stands in them looks.
    rows
        As many cells each.
    """
    styled = []
    for place, (title, style) in enumerate(columns.items()):
        cells = [title, *(plain(row[place]) for row in rows)]
        is_text = place in {0, len(columns) - 1}
        styled.append(_column(cells, style, is_text))
    for line in zip(*styled, strict=True):
        click.echo("  ".join(line).rstrip())


def _column(cells: Sequence[str], style: Style, is_text: bool) -> list[str]:
    """Return a title and what stands below it, all of one width."""
    width = max(map(len, cells))
    styled = []
    for row, cell in enumerate(cells):
        aligned = cell.ljust(width) if is_text else cell.rjust(width)
        is_dim = row == 0 or cell == "0"
        styled.append(click.style(aligned, **(_DIM if is_dim else style)))
    return styled


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
    if len(line) <= width:
        return line
    end = max(0, width - 1)
    return f"{line[:end]}…"


def _width() -> int:
    """Return how long a line may be: as the terminal is wide; where nobody looks, as long as it gets."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else sys.maxsize
