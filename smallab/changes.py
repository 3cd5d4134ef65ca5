"""Which results were made by an older version of an experiment's code."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from smallab.environment import source
from smallab.experiment_types.experiment import Experiment
from smallab.files import entries
from smallab.metadata import Metadata
from smallab.specification import digest
from smallab.storage import Storage


def made_by_other_code(texts: Iterable[str], storage: Storage, experiment: Experiment) -> list[str]:
    """Return those completed specifications whose run had another source for the experiment than it has now.

    Only if some run of the batch had other code is the metadata of the specifications read.

    Parameters
    ----------
    texts
        Completed specifications, as canonical JSON.
    storage
        Their batch.
    experiment
        The experiment as it is now.

    Returns
    -------
    list of str
        In the given order. What was made where no source could be had (an old shell) does not count as changed.
    """
    texts = list(texts)
    code = source(experiment) if texts else None
    other = {run_id for run_id, then in _sources(storage).items() if then != code} if code else set()
    if not other:
        return []
    return [text for text in texts if Metadata(_metadata_file(storage, text)).get("run_id") in other]


def is_by_other_code(metadata: Mapping[str, Any], experiment: Experiment) -> bool:
    """Tell whether an observation was made by other code than the experiment's now; not where either is unknown."""
    then, now = metadata.get("code"), source(experiment)
    return None not in {then, now} and then != now


def _metadata_file(storage: Storage, text: str) -> str:
    return os.path.join(storage.folder_of(digest(text)), "metadata.json")


def _sources(storage: Storage) -> dict[str, str]:
    """Return the source that each run of the batch recorded."""
    found = {}
    folder = os.path.join(storage.folder, "runs")
    for entry in entries(folder):
        with suppress(OSError, ValueError, AttributeError):  # not a run's record, or damaged: nothing is known of it
            with open(os.path.join(folder, entry), encoding="utf-8") as file:
                code = json.load(file).get("code")
            if code:
                found[entry.removesuffix(".json")] = code
    return found
