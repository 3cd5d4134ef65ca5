"""Which specifications of a list run, and which are skipped."""

from __future__ import annotations

import logging
from collections.abc import Collection

from smallab.experiment_types.experiment import Experiment
from smallab.runner.options import Rerun
from smallab.runner.record import made_by_other_code
from smallab.specification import Texts
from smallab.storage.base import Storage

_log = logging.getLogger("smallab")


def select(
    rerun: Rerun, asked: Texts, completed: Texts, failed: Texts, storage: Storage, experiment: Experiment
) -> tuple[Texts, Texts, Texts]:
    """Tell what runs of what is asked for; warn of what might not be meant to be skipped.

    Parameters
    ----------
    rerun, asked
        Which are wanted, and of which.
    completed, failed
        What is known of the batch.
    storage, experiment
        Where the batch is, and what runs.

    Returns
    -------
    pending
        What runs.
    to_forget
        What of it is listed as completed: it is taken off the list before anything runs.
    skipped
        What had completed before, and is not run.
    """
    completed_before = {text: None for text in asked if text in completed}
    if rerun == "all":
        chosen = set(asked)
    elif rerun == "failed":
        chosen = asked.keys() & failed
    elif rerun == "changed":
        chosen = set(made_by_other_code(completed_before, storage, experiment))
    elif rerun == "missing":
        chosen = (asked.keys() - completed) | set(_without_result(completed_before, storage))
    else:
        chosen = asked.keys() - completed
        _warn_of_doubtful(completed_before, storage, experiment)
    skipped = completed_before.keys() - chosen
    return _among(asked, chosen), _among(completed_before, chosen), _among(completed_before, skipped)


def _among(texts: Texts, chosen: Collection[str]) -> Texts:
    return {text: None for text in texts if text in chosen}


def _without_result(completed: Texts, storage: Storage) -> list[str]:
    return [text for text in completed if not storage.has_result(text)]


def _warn_of_doubtful(skipped: Texts, storage: Storage, experiment: Experiment) -> None:
    name = getattr(experiment, "__name__", type(experiment).__name__)  # a function's own
    reasons: dict[Rerun, tuple[str, list[str]]] = {
        "missing": ("are not there any more", _without_result(skipped, storage)),
        "changed": (f"were made by other code of {name}", made_by_other_code(skipped, storage, experiment)),
    }
    for rerun, (reason, texts) in reasons.items():
        if texts:
            message = '%s: %d of %d results that are skipped %s; rerun="%s" runs them again (the first: %s)'
            _log.warning(message, storage.folder, len(texts), len(skipped), reason, rerun, texts[0])
