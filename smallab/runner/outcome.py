"""What came of a specification, as its worker reports it, and of a whole run, as the caller gets it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, cast

from smallab.observation import Failure
from smallab.plugins import opened
from smallab.specification import Specification, Texts, parsed
from smallab.storage.base import Status, Storage
from smallab.storage.exceptions import revived

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True)
class Report:
    """What comes back from a worker: small and plain, whatever the experiment returned or raised.

    Attributes
    ----------
    text
        The specification's canonical JSON.
    label
        What ``get_name`` calls it, else the same text.
    status
        "pending" where it was not run, because of Ctrl-C: the backend raises KeyboardInterrupt for it.
    failure
        Why it failed.
    exception
        The exception, pickled, where it survives that and is not too large.
    parts
        The specifications whose results it saved on the way.
    """

    text: str
    label: str
    status: Status
    failure: Failure | None = None
    exception: bytes | None = field(default=None, repr=False)
    parts: tuple[str, ...] = ()

    def error(self) -> BaseException:
        """Return the exception that was raised, or a `SpecificationFailed` that stands in for it."""
        return revived(self.exception, self.failure or Failure("none", "it did not fail"))


class BatchResult:
    """What one call of `ExperimentRunner.run` did; true when nothing failed.

    Parameters
    ----------
    storage
        The batch.
    skipped
        The specifications (canonical JSON) that had completed before.
    """

    def __init__(self, storage: Storage, skipped: Iterable[str]) -> None:
        self._storage, self._skipped = storage, list(skipped)
        self._completed: Texts = {}
        self._failed: list[Report] = []

    def add(self, report: Report) -> None:
        """Take a worker's report."""
        if report.status == "completed":
            self._completed[report.text] = None
        elif report.status == "failed":
            self._failed.append(report)

    def has_completed(self, text: str) -> bool:
        """Tell whether a specification (canonical JSON) completed in this call."""
        return text in self._completed

    @cached_property
    def completed(self) -> list[Specification]:
        """The specifications that completed in this call."""
        return [parsed(text) for text in self._completed]

    @cached_property
    def skipped(self) -> list[Specification]:
        """The specifications that had completed before."""
        return [parsed(text) for text in self._skipped]

    @cached_property
    def failed(self) -> list[tuple[Specification, Failure]]:
        """The specifications that failed in this call, each with what happened."""
        return [(parsed(report.text), report.failure) for report in self._failed if report.failure]

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
        completed, failed = [*self._skipped, *self._completed], [report.text for report in self._failed]
        return cast("pandas.DataFrame", opened("reading.tables").frame_of(self._storage, completed, failed))

    def __bool__(self) -> bool:
        return not self._failed

    def __repr__(self) -> str:
        counts = ", ".join(f"{count} {status}" for status, count in self.counts.items())
        return f"BatchResult({self._storage.name!r}: {counts}; {self._storage.folder})"

    def _repr_html_(self) -> str:
        return cast("str", opened("reading.notebook").summary(repr(self), self.failed))
