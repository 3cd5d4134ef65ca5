"""A batch as a file: .csv and .parquet (extras ``pandas`` and ``parquet``), or .json."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from smallab.observation import Observation
from smallab.reading.tables import frame

if TYPE_CHECKING:
    pass


def export(observations: Iterable[Observation], path: str | os.PathLike[str]) -> int:
    """Write specifications and results into a file, whole or not at all.

    Parameters
    ----------
    observations
        What is written.
    path
        Its ending says what it becomes: .csv and .parquet are `smallab.to_dataframe`'s table; .json is a list of
        objects with id, status, specification, result, failure and duration (seconds).

    Returns
    -------
    int
        How many specifications were written.

    Raises
    ------
    ValueError
        It ends in something else.
    ImportError
        What the format needs is not installed.
    """
    path = os.fspath(path)
    suffix = os.path.splitext(path)[1].lower()
    if suffix not in _WRITERS:
        raise ValueError(f"{path} does not end in {', '.join(_WRITERS)}: the ending says what is written")
    aside = f"{os.path.abspath(path)}.{os.getpid()}.tmp"
    try:
        count = _WRITERS[suffix](observations, aside)
        os.replace(aside, path)
    except BaseException:
        if os.path.exists(aside):
            os.unlink(aside)
        raise
    return count


def _write_json(observations: Iterable[Observation], path: str) -> int:
    count = 0
    with open(path, "x", encoding="utf-8") as file:
        for count, observation in enumerate(observations, 1):
            file.write("[\n" if count == 1 else ",\n")
            file.write(json.dumps(_as_json(observation), default=_plain, ensure_ascii=False))
        file.write("\n]\n" if count else "[]\n")
    return count


def _as_json(observation: Observation) -> dict[str, Any]:
    failure = observation.failure
    return {
        "id": observation.id,
        "status": "failed" if failure else "completed",
        "specification": observation.specification,
        "result": observation.result,
        "failure": {"type": failure.type, "message": failure.message} if failure else None,
        "duration": observation.metadata.get("duration"),
    }


def _plain(value: Any) -> Any:
    """Return what JSON cannot hold as lists and numbers (numpy, pandas, torch), else as Python shows it."""
    if hasattr(value, "tolist"):
        return value.tolist()
    return list(value) if isinstance(value, (set, frozenset)) else repr(value)


def _write_csv(observations: Iterable[Observation], path: str) -> int:
    table = frame(observations)
    table.to_csv(path, index=False)
    return len(table)


def _write_parquet(observations: Iterable[Observation], path: str) -> int:
    try:
        import pyarrow
    except ModuleNotFoundError as error:
        raise ImportError('parquet files need pyarrow: pip install "smallab[parquet]"') from error
    table = frame(observations)
    for name in table.columns:  # a column holds values of one type there; where one does not, its values become JSON
        try:
            pyarrow.array(table[name], from_pandas=True)
        except (pyarrow.ArrowInvalid, pyarrow.ArrowTypeError, pyarrow.ArrowNotImplementedError):
            table[name] = [json.dumps(value, default=_plain) for value in table[name]]
    table.to_parquet(path, index=False, engine="pyarrow")
    return len(table)


_WRITERS: dict[str, Callable[[Iterable[Observation], str], int]] = {
    ".csv": _write_csv,
    ".json": _write_json,
    ".parquet": _write_parquet,
}
