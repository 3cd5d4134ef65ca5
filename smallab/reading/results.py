"""Reading results back: one record a specification, those that failed included."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from smallab.observation import Observation
from smallab.plugins import opened
from smallab.specification import Specification, canonical
from smallab.storage.base import Storage, open_storage

if TYPE_CHECKING:
    import pandas


def _storage_of(name: str, folder: str | os.PathLike[str] | None) -> Storage:
    storage = open_storage(folder, name)
    if not (storage.exists() or os.path.isdir(storage.folder)):  # in an empty folder, nothing has run yet
        raise FileNotFoundError(
            f"there is no batch {name!r}: no folder {storage.folder} (folder= or SMALLAB_ROOT tells where batches are)"
        )
    return storage


def load_results(
    name: str, folder: str | os.PathLike[str] | None = None, specifications: Iterable[Specification] | None = None
) -> Iterator[Observation]:
    """Yield a batch's observations: first what completed, then what failed.

    Parameters
    ----------
    name
        The batch.
    folder
        The folder that holds the batches; where None, SMALLAB_ROOT, else ``experiment_runs``.
    specifications
        Only these, those that completed and those that failed each in this order; those that have not run are left
        out. Where None, all.

    Returns
    -------
    iterator of Observation
        Each is read when its turn comes. A result that cannot be read comes as a failure that names its file.

    Raises
    ------
    FileNotFoundError
        There is no such batch.
    SpecificationError
        One of the specifications is not a dict that JSON can hold.

    Examples
    --------
    >>> for observation in load_results("random_number"):  # doctest: +SKIP
    ...     print(observation.specification["seed"], observation.result["number"])
    """
    storage = _storage_of(name, folder)
    completed, failed = storage.known()
    if specifications is not None:
        wanted = dict.fromkeys(canonical(item, f"specifications[{i}]") for i, item in enumerate(specifications))
        completed = {text: None for text in wanted if text in completed}
        failed = {text: None for text in wanted if text in failed}

    def observations() -> Iterator[Observation]:
        yield from map(storage.load, completed)
        yield from map(storage.load_failure, failed)

    return observations()


def load_result(name: str, specification: Specification, folder: str | os.PathLike[str] | None = None) -> Observation:
    """Return one specification's observation.

    Parameters
    ----------
    name, folder
        As for `load_results`.
    specification
        Which one.

    Raises
    ------
    FileNotFoundError
        There is no such batch.
    LookupError
        The specification has neither completed nor failed in it.

    Examples
    --------
    >>> load_result("random_number", {"seed": 1, "num_calls": 1}).result  # doctest: +SKIP
    {'number': 0.8474337369372327}
    """
    for observation in load_results(name, folder, [specification]):
        return observation
    raise LookupError(f"{canonical(specification)} has neither completed nor failed in the batch {name!r}")


def to_dataframe(name: str, folder: str | os.PathLike[str] | None = None) -> pandas.DataFrame:
    """Return a batch as a table, one row a specification (extra ``pandas``).

    Parameters
    ----------
    name, folder
        As for `load_results`.

    Returns
    -------
    pandas.DataFrame
        id, status ("completed" or "failed"), duration (seconds), the specification's keys, ``result.<key>`` (or
        ``result``, where it is not a dict), and for those that failed failure.type and failure.message. The keys of
        nested dicts are joined with a dot.

    Raises
    ------
    FileNotFoundError
        There is no such batch.
    ValueError
        Two values would share a column; the message names it.

    Examples
    --------
    >>> to_dataframe("digits").groupby("model")["result.accuracy"].mean()  # doctest: +SKIP
    """
    table: pandas.DataFrame = opened("reading.tables").frame(load_results(name, folder))
    return table
