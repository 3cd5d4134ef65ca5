"""A batch and the calls of a function of its name, one by one: what the command ``smallab`` shows, without results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal

from smallab.observation import Failure
from smallab.reading.state import Running, View, Watch
from smallab.specification import Specification, SpecificationError, parsed
from smallab.storage.base import Storage
from smallab.storage.calls import Calls

ItemStatus = Literal["running", "failed", "completed"]
STATUSES: tuple[ItemStatus, ...] = ("running", "failed", "completed")
_LONG = frozenset({"environment", "code"})  # what fills pages


@dataclass(frozen=True)
class Item:
    """A specification of a batch, or a call of a function.

    Attributes
    ----------
    id
        What names it.
    status
        "running", "failed" or "completed".
    text
        Its specification as canonical JSON.
    place
        Where it is.
    running
        What is known of it while it runs.
    is_call
        It is a call.
    """

    id: str
    status: ItemStatus
    text: str
    place: Storage
    running: Running | None = None
    is_call: bool = False

    @property
    def specification(self) -> Specification:
        """As it was asked for."""
        return parsed(self.text)

    @property
    def label(self) -> str:
        """What the experiment's ``get_name`` calls it, where that is known; else its JSON."""
        return self.running.label if self.running else self.text

    @property
    def folder(self) -> str:
        """Where its files are."""
        return self.place.workspace(self.text)

    @property
    def failure(self) -> Failure | None:
        """Why it failed; None where it did not."""
        return self.place.load_failure(self.text).failure if self.status == "failed" else None

    @property
    def metadata(self) -> dict[str, Any]:
        """When and where it ran, without what fills pages."""
        if self.running:
            return {"started": self.running.since}
        found: Mapping[str, Any] = self.place.metadata(self.text)
        if self.status == "failed":
            found = self.place.load_failure(self.text).metadata
        return {key: value for key, value in found.items() if key not in _LONG}


class Batch:
    """A batch as it was at one moment.

    Parameters
    ----------
    calls
        The batch, and the calls of a function of its name.
    """

    def __init__(self, calls: Calls) -> None:
        self.storage = calls
        self.view: View = Watch(calls).look()
        self._calls = calls.ended()

    @property
    def counts(self) -> dict[str, int | None]:
        """How many specifications and calls are completed, failed, pending and running."""
        counts = self.view.counts
        failed_calls = sum(self._calls.values())
        completed, failed = len(self.view.completed), len(self.view.failures)
        more = {"completed": completed + len(self._calls) - failed_calls, "failed": failed + failed_calls}
        return counts | more

    def items(self, *statuses: ItemStatus) -> Iterator[Item]:
        """Yield all that has one of some statuses: first what is of the batch, then the calls, the oldest first."""
        return chain.from_iterable(map(self._items, statuses))

    def _items(self, status: ItemStatus) -> Iterator[Item]:
        id_of = self.storage.id_of
        if status == "running":
            for item in self.view.running:
                yield Item(item.id, status, item.text, self.storage, item)
            return
        texts = self.view.failures.texts() if status == "failed" else self.view.completed
        for text in texts:
            yield Item(id_of(text), status, text, self.storage)
        for id, has_failed in self._calls.items():
            if has_failed == (status == "failed"):
                yield Item(id, status, self._text_of_call(id), self.storage.place(id), is_call=True)

    def _text_of_call(self, id: str) -> str:
        try:
            return self.storage.text(id) or "{}"
        except SpecificationError:  # damaged: it must not hide the others
            return "{}"

    def ids(self) -> Iterator[str]:
        """Yield the ids of all that runs, failed or completed."""
        texts = chain(self.view.completed, self.view.failures.texts())
        return chain(map(self.storage.id_of, texts), self._calls, (item.id for item in self.view.running))

    def item(self, id: str) -> Item:
        """Return what has an id that `ids` yields."""
        return next(item for item in self.items(*STATUSES) if item.id == id)
