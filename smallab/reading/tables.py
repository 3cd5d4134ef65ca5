"""A batch as a table: one row a specification, for pandas."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import chain
from typing import TYPE_CHECKING, Any

from smallab.observation import Observation
from smallab.storage.base import Storage

if TYPE_CHECKING:
    import pandas

_FIRST = ("id", "status", "duration")
_LAST = ("failure.type", "failure.message")
_PLACES_NAMED = 10  # in one error message


def frame(observations: Iterable[Observation]) -> pandas.DataFrame:
    """Return observations as a table, one row each, in their order (extra ``pandas``).

    Parameters
    ----------
    observations
        What `smallab.load_results` yields; each is let go of once its row is made.

    Returns
    -------
    pandas.DataFrame
        id; status ("completed" or "failed"); duration (seconds, NaN where unknown); the specification's keys;
        ``result.<key>``, or ``result`` where it is not a dict; failure.type and failure.message. The keys of nested
        dicts are joined with a dot; lists and arrays stay as they are, each in one cell. Where an observation has no
        value, ``isna()`` is true of the cell.

    Raises
    ------
    ImportError
        pandas is not installed.
    ValueError
        Two values would share a column; the message names them.

    Examples
    --------
    >>> table = frame([Observation("1f", {"model": {"depth": 2}}, {"accuracy": 0.9})])
    >>> list(table.columns)
    ['id', 'status', 'duration', 'model.depth', 'result.accuracy', 'failure.type', 'failure.message']
    """
    try:
        import pandas
    except ModuleNotFoundError as error:
        raise ImportError('tables need pandas: pip install "smallab[pandas]"') from error

    columns = _Columns()
    for observation in observations:
        columns.add(observation)
    table = pandas.DataFrame(columns.filled())
    if table.empty:  # pandas cannot know what the columns would hold
        return table.astype(object).astype({"duration": float})
    return table


def frame_of(storage: Storage, completed: Iterable[str], failed: Iterable[str]) -> pandas.DataFrame:
    """Return some specifications (canonical JSON) of a batch as a table: first what completed, then what failed."""
    return frame(chain(map(storage.load, completed), map(storage.load_failure, failed)))


class _Columns:
    """Collects values by column; remembers from where each column's values come, so that none has two sources."""

    def __init__(self) -> None:
        self._rows = 0
        self._fixed: dict[str, list[Any]] = {name: [] for name in (*_FIRST, *_LAST)}
        self._of_specification: dict[str, list[Any]] = {}
        self._of_result: dict[str, list[Any]] = {}
        self._sources: dict[str, tuple[object, ...]] = {name: ("smallab", name) for name in self._fixed}
        self._shared: dict[str, set[tuple[object, ...]]] = {}

    def add(self, observation: Observation) -> None:
        """Add a row."""
        failure = observation.failure
        row = (
            observation.id,
            "failed" if failure else "completed",
            _seconds(observation.metadata.get("duration")),
            failure.type if failure else None,  # not NaN: a column of NaN alone would be numbers
            failure.message if failure else None,
        )
        for values, value in zip(self._fixed.values(), row, strict=True):
            values.append(value)
        self._flatten(self._of_specification, observation.specification, "", ("specification",))
        if isinstance(observation.result, dict):
            self._flatten(self._of_result, observation.result, "result.", ("result",))
        elif failure is None:
            self._put(self._of_result, "result", observation.result, ("result",))
        self._rows += 1

    def _flatten(
        self, columns: dict[str, list[Any]], values: dict[Any, Any], prefix: str, source: tuple[object, ...]
    ) -> None:
        for key, value in values.items():
            if isinstance(value, dict) and value:  # an empty one would leave no trace: it stays, as a cell's value
                self._flatten(columns, value, f"{prefix}{key}.", (*source, key))
            else:
                self._put(columns, f"{prefix}{key}", value, (*source, key))

    def _put(self, columns: dict[str, list[Any]], name: str, value: object, source: tuple[object, ...]) -> None:
        known = self._sources.setdefault(name, source)
        if known != source:
            self._shared.setdefault(name, {known}).add(source)
            return
        cells = columns.setdefault(name, [])
        if len(cells) < self._rows:  # it was missing in some rows before
            cells.extend([math.nan] * (self._rows - len(cells)))
        cells.append(value)

    def filled(self) -> dict[str, list[Any]]:
        """Return the columns in order, all of one length; raise ValueError where two values would share one."""
        if self._shared:
            raise ValueError(self._complaint())
        for cells in chain(self._of_specification.values(), self._of_result.values()):
            cells.extend([math.nan] * (self._rows - len(cells)))
        first = {name: self._fixed[name] for name in _FIRST}
        last = {name: self._fixed[name] for name in _LAST}
        return first | self._of_specification | self._of_result | last

    def _complaint(self) -> str:
        lines = [f"  {name}: {' and '.join(sorted(map(_place, self._shared[name])))}" for name in self._shared]
        more = [f"  … and {len(lines) - _PLACES_NAMED} more"] if len(lines) > _PLACES_NAMED else []
        return "\n".join(
            [
                "a column of the table would hold values from two places:",
                *lines[:_PLACES_NAMED],
                *more,
                "Rename one of the two keys; or build the table yourself from load_results, which gives them apart.",
            ]
        )


def _seconds(duration: object) -> float:
    """Return a duration that metadata holds as a number; NaN for anything else."""
    return float(duration) if isinstance(duration, (int, float)) else math.nan


def _place(source: tuple[object, ...]) -> str:
    """Return a source as Python would write it: ``specification["a"]["b"]``."""
    if source[0] == "smallab":
        return "a column that every table has"
    keys = (f'"{key}"' if isinstance(key, str) else repr(key) for key in source[1:])
    return f"{source[0]}{''.join(f'[{key}]' for key in keys)}"
