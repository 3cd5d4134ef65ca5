"""Which specifications of a list run, and which are skipped."""

from __future__ import annotations

import logging
from typing import Literal, get_args

from smallab.experiment_types.experiment import Experiment
from smallab.specification import digest
from smallab.storage import Storage

Rerun = Literal["pending", "missing", "failed", "changed", "all"]
Texts = dict[str, None]  # canonical JSON, in order

_log = logging.getLogger("smallab")


def check_rerun(rerun: Rerun, continue_from_last_run: bool) -> Rerun:
    """Return which specifications run; ValueError where the two options of ``run`` make no sense together."""
    if rerun not in get_args(Rerun):
        raise ValueError(f"rerun is {rerun!r}; it is one of {', '.join(get_args(Rerun))}")
    if not continue_from_last_run and rerun not in {"pending", "all"}:
        raise ValueError(f"continue_from_last_run=False runs all again, and rerun={rerun!r} does not: say one of them")
    return rerun if continue_from_last_run else "all"


def select(
    rerun: Rerun, texts: Texts, completed: Texts, failed: Texts, storage: Storage, experiment: Experiment
) -> Texts:
    """Return the specifications that run; warn of what is skipped and might not be meant to be."""
    from smallab.changes import made_by_other_code

    done = [text for text in texts if text in completed]
    if rerun == "all":
        return texts
    if rerun == "failed":
        return {text: None for text in texts if text in failed}
    if rerun == "changed":
        return dict.fromkeys(made_by_other_code(done, storage, experiment))
    pending = {text: None for text in texts if text not in completed}
    missing = [text for text in done if not storage.found(digest(text))]
    if missing and rerun == "missing":
        wanted = pending | dict.fromkeys(missing)
        return {text: None for text in texts if text in wanted}
    if missing:
        _log.warning(
            '%s: %d of %d specifications listed in completed.json have no result and are skipped; rerun="missing" '
            "runs them again (the first: %s)",
            storage.folder,
            len(missing),
            len(done),
            missing[0],
        )
    if changed := made_by_other_code(done, storage, experiment):
        _log.warning(
            '%s: %d of %d results that are skipped were made by other code of %s; rerun="changed" runs them again',
            storage.folder,
            len(changed),
            len(done),
            getattr(experiment, "__name__", type(experiment).__name__),  # a function's own
        )
    return pending
