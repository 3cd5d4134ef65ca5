"""Observations, and what a run did, as notebooks show them."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

from smallab.observation import Failure, Observation
from smallab.specification import Specification, encode


class Observations(list[Observation]):
    """A list of observations; in a notebook, a table."""

    def _repr_html_(self) -> str:
        return table(self)


_ROWS = 60  # of more, the first and the last half are shown
_FAILURES = 10  # of a run
_CHARACTERS = 80  # in a cell


def table(observations: Sequence[Observation]) -> str:
    """Return observations as an HTML table: id, the specification's keys, result or failure, and duration."""
    keys = list(dict.fromkeys(key for item in observations for key in item.specification))
    heads = ["id", *keys, "result", "duration"]
    half = _ROWS // 2
    rows = [_row(item, keys) for item in (observations if len(observations) <= _ROWS else observations[:half])]
    if len(observations) > _ROWS:
        rows.append([f"… {len(observations) - 2 * half} more …", *[""] * (len(heads) - 1)])
        rows += [_row(item, keys) for item in observations[-half:]]
    lines = [f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>" for row in rows]
    head = "".join(f"<th>{html.escape(name)}</th>" for name in heads)
    return "\n".join(["<table>", f"<thead><tr>{head}</tr></thead>", "<tbody>", *lines, "</tbody>", "</table>"])


def _row(observation: Observation, keys: Sequence[str]) -> list[str]:
    found = observation.specification
    result = f"✗ {observation.failure}" if observation.failure else _cell(observation.result)
    duration = observation.metadata.get("duration")
    seconds = f"{duration:.3g} s" if isinstance(duration, (int, float)) else ""
    return [observation.id, *(_cell(found[key]) if key in found else "" for key in keys), _short(result), seconds]


def _cell(value: Any) -> str:
    return _short(value if isinstance(value, str) else repr(value))


def _short(text: str) -> str:
    return text if len(text) <= _CHARACTERS else f"{text[: _CHARACTERS - 1]}…"


def summary(title: str, failed: Sequence[tuple[Specification, Failure]]) -> str:
    """Return what a run did as HTML: its title, and some of those that failed."""
    shown = failed[:_FAILURES]
    rows = [(html.escape(encode(specification)), html.escape(str(failure))) for specification, failure in shown]
    lines = [f"<tr><td>{specification}</td><td>{failure}</td></tr>" for specification, failure in rows]
    table = f"<table>{''.join(lines)}</table>" if lines else ""
    more = f"<p>… and {len(failed) - len(shown)} more failures</p>" if len(failed) > len(shown) else ""
    return f"<p>{html.escape(title)}</p>{table}{more}"
