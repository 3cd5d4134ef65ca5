"""Which specifications of a list run, and which are skipped."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

from smallab.experiment_types.experiment import Experiment
from smallab.runner.record import source
from smallab.specification import Specification, SpecificationError, Texts, canonical
from smallab.storage.base import Storage

Rerun = Literal["pending", "missing", "failed", "changed", "all"]

_log = logging.getLogger("smallab")


@dataclass(frozen=True)
class Selection:
    """What runs, and what does not, of the specifications that were asked for.

    Attributes
    ----------
    pending
        What runs.
    again
        What of it counts as completed until it begins to run.
    skipped
        What had completed before, and is not run.
    failed_before
        How many of the pending ones had failed before.
    """

    pending: Texts
    again: Texts
    skipped: Texts
    failed_before: int

    @property
    def counts(self) -> dict[str, int]:
        """How many run, and how many do not."""
        return {"pending": len(self.pending), "skipped": len(self.skipped)}

    def __str__(self) -> str:
        return f"{len(self.pending)} to run, {len(self.skipped)} completed before"


def listed(specifications: Iterable[Specification]) -> Texts:
    """Return specifications as canonical JSON; SpecificationError, which names the place, where one cannot be."""
    if isinstance(specifications, (dict, str)) or not isinstance(specifications, Iterable):
        raise SpecificationError(
            f"specifications is a {type(specifications).__name__}, not a list of dicts; a dict of lists becomes one "
            "with SpecificationGenerator().generate(…)"
        )
    return dict.fromkeys(canonical(item, f"specifications[{index}]") for index, item in enumerate(specifications))


def check_rerun(rerun: Rerun, continue_from_last_run: bool) -> Rerun:
    """Return which specifications run; ValueError where the two options of ``run`` make no sense together."""
    if rerun not in get_args(Rerun):
        raise ValueError(f"rerun is {rerun!r}; it is one of {', '.join(get_args(Rerun))}")
    if not continue_from_last_run and rerun not in {"pending", "all"}:
        raise ValueError(f"continue_from_last_run=False runs all again, and rerun={rerun!r} does not: say one of them")
    return rerun if continue_from_last_run else "all"


def select(rerun: Rerun, asked: Texts, storage: Storage, experiment: Experiment) -> Selection:
    """Tell what runs and what is skipped of what is asked for; warn of what might not be meant to be skipped."""
    completed, failed = storage.recover()
    before = [text for text in asked if text in completed]
    if rerun == "all":
        runs = set(asked)
    elif rerun == "failed":
        runs = asked.keys() & failed.keys()
    elif rerun == "changed":
        runs = set(made_by_other_code(before, storage, experiment))
    else:
        runs = asked.keys() - completed.keys()
        missing = [text for text in before if not storage.has_result(text)]
        if rerun == "missing":
            runs.update(missing)
        else:
            _warn_of(missing, before, storage, "listed as completed have no result and are skipped", "missing")
            changed = made_by_other_code(before, storage, experiment)
            name = getattr(experiment, "__name__", type(experiment).__name__)  # a function's own
            _warn_of(changed, before, storage, f"completed before were made by other code of {name}", "changed")
    pending = {text: None for text in asked if text in runs}
    again = {text: None for text in before if text in runs}
    skipped = {text: None for text in before if text not in runs}
    return Selection(pending, again, skipped, len(pending.keys() & failed.keys()))


def _warn_of(some: list[str], of: list[str], storage: Storage, what: str, rerun: Rerun) -> None:
    if some:
        message = '%s: %d of %d specifications %s; rerun="%s" runs them again (the first: %s)'
        _log.warning(message, storage.folder, len(some), len(of), what, rerun, some[0])


def made_by_other_code(completed: Iterable[str], storage: Storage, experiment: Experiment) -> list[str]:
    """Return those completed specifications whose run had another source for the experiment than it has now.

    Only if some run of the batch had other code are the metadata of the specifications read. What was made where no
    source could be had (an old shell) does not count as changed.
    """
    completed = list(completed)
    code = source(experiment) if completed else None
    if not code:
        return []
    other = {run.id for run in storage.runs() if run.record.get("code") not in {None, code}}
    if not other:
        return []
    return [text for text in completed if storage.metadata(text).get("run_id") in other]
