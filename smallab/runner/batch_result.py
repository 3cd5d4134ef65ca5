"""What one call of ``ExperimentRunner.run`` did."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from smallab.observation import Failure
from smallab.runner.report import Report
from smallab.specification import Specification, parse
from smallab.storage import Storage

if TYPE_CHECKING:
    import pandas


class BatchResult:
    """What one call of `ExperimentRunner.run` did; true when nothing failed.

    Parameters
    ----------
    storage
        The batch's folder tree.
    skipped
        The specifications (canonical JSON) that had completed before.
    """

    def __init__(self, storage: Storage, skipped: Sequence[str]) -> None:
        self._storage, self._skipped = storage, skipped
        self._completed: dict[str, None] = {}
        self._failed: list[Report] = []

    def add(self, report: Report) -> None:
        """Take a worker's report."""
        if report.status == "completed":
            self._completed[report.text] = None
        elif report.failure:
            self._failed.append(report)

    @cached_property
    def completed(self) -> list[Specification]:
        """The specifications that completed in this call."""
        return list(map(parse, self._completed))

    @cached_property
    def skipped(self) -> list[Specification]:
        """The specifications that had completed before."""
        return list(map(parse, self._skipped))

    @cached_property
    def failed(self) -> list[tuple[Specification, Failure]]:
        """The specifications that failed in this call, each with what happened."""
        return [(parse(report.text), report.failure) for report in self._failed if report.failure]

    @property
    def errors(self) -> list[BaseException]:
        """The exceptions that were raised, in the order of ``failed``."""
        return [report.error() for report in self._failed]

    @property
    def counts(self) -> dict[str, int]:
        """How many specifications completed, were skipped, and failed."""
        return {"completed": len(self._completed), "skipped": len(self._skipped), "failed": len(self._failed)}

    def to_dataframe(self) -> pandas.DataFrame:
        """Return this call's specifications, the skipped ones too, as `smallab.to_dataframe` does."""
        from smallab.frames import frame

        completed = map(self._storage.load, [*self._skipped, *self._completed])
        failed = (self._storage.load_failure(report.text) for report in self._failed)
        return frame(itertools.chain(completed, failed))

    def __bool__(self) -> bool:
        return not self._failed

    def __repr__(self) -> str:
        counts = ", ".join(f"{count} {status}" for status, count in self.counts.items())
        return f"BatchResult({self._storage.name!r}: {counts}; {self._storage.folder})"

    def _repr_html_(self) -> str:
        import html

        cells = ((html.escape(report.text), html.escape(str(report.failure))) for report in self._failed[:10])
        rows = "".join(f"<tr><td>{text}</td><td>{failure}</td></tr>" for text, failure in cells)
        more = f"<p>… and {len(self._failed) - 10} more failures</p>" if len(self._failed) > 10 else ""
        table = f"<table>{rows}</table>{more}" if rows else ""
        return f"<p>{html.escape(repr(self))}</p>{table}"
