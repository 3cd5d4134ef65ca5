"""What the storage of a batch must do, whatever it is made of; the folder tree is one such storage.

What happens to a specification is first an *event*. When a run ends, its events go into the *lists* of what completed
and what failed. *Known* is both together. `Storage.recover` brings in the events of runs that died.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, Protocol, cast

from smallab.observation import Failure, Observation
from smallab.plugins import opened
from smallab.specification import Texts, digest

ARTEFACTS = "artefacts"  # the folder in a specification's own for the files that it makes
Status = Literal["completed", "failed", "pending"]
Presence = Literal["running", "silent", "killed", "ended"]


class Format(Protocol):
    """How results are written: one small class.

    Attributes
    ----------
    name
        What ``format=`` calls it.
    suffix
        How its files end, without the dot.
    """

    name: str
    suffix: str

    def dump(self, record: dict[str, Any]) -> bytes:
        """Return ``{"specification": …, "result": …}`` as bytes."""

    def load(self, path: str) -> dict[str, Any]:
        """Return the record that a file holds."""


@dataclass(frozen=True)
class Event:
    """Something that happened to a specification.

    Attributes
    ----------
    name
        "started", "progress", "completed" or "failed".
    run_id
        The run in which it happened.
    id, text
        The specification's id, and its canonical JSON.
    time
        When: ISO 8601, UTC.
    host, pid
        The process in which it happened.
    details
        What else was told: the specification's label, how far it is, …
    is_counted
        The lists have taken it in already: then they decide, for somebody may have run `forget` since.
    """

    name: str
    run_id: str
    id: str
    text: str
    time: str
    host: str
    pid: int
    details: Mapping[str, Any]
    is_counted: bool = False


@dataclass(frozen=True)
class SeenRun:
    """One call of ``ExperimentRunner.run``, as a reader sees it.

    Attributes
    ----------
    id
        The run's id.
    presence
        "running"; "silent": it has given no sign of life for too long; "killed": its process is known to be gone;
        "ended": it has left in good order.
    silence
        For how many seconds it has given no sign of life, by the place's own clock.
    seen
        When that was, in seconds since 1970 by the same clock; 0 for what has ended.
    host, pid
        Where its runner is; empty and 0 where nothing tells.
    record
        What it wrote down when it started, and again when it ended; empty where that cannot be read.
    """

    id: str
    presence: Presence
    silence: float
    seen: float
    host: str
    pid: int
    record: Mapping[str, Any]


class Run(ABC):
    """A run that is going on, as its runner sees it.

    Attributes
    ----------
    id
        A name that sorts by time and that no other run has.
    """

    id: str

    @abstractmethod
    def note(self, text: str, status: Status) -> None:
        """Note what came of a specification, so that it is listed when the run ends."""


class Storage(ABC):
    """The storage of one batch. A specification is known there by its canonical JSON, `text`.

    Attributes
    ----------
    name
        The batch's name.
    folder
        The absolute folder for the batch's files.
    root
        The folder of all batches: what `batch_names` takes.
    """

    name: str
    folder: str
    root: str

    def id_of(self, text: str) -> str:
        """Return what names a specification: its hash."""
        return digest(text)

    @abstractmethod
    def exists(self) -> bool:
        """Tell whether there is such a batch."""

    @abstractmethod
    def known(self) -> tuple[Texts, Texts]:
        """Return the completed and the failed specifications, each in order; none is in both. Nothing is written."""

    @abstractmethod
    def listed(self) -> tuple[Texts, Texts]:
        """Return what is known but for what `events` yields; the same pair as before where nothing has changed."""

    @abstractmethod
    def recover(self) -> tuple[Texts, Texts]:
        """Bring in what runs left behind that did not end in good order; return what is known then.

        Raises
        ------
        ValueError
            A list is damaged; the message names the place in it and the way out.
        """

    @abstractmethod
    def forget(self, texts: Iterable[str]) -> None:
        """Have specifications count as never run; what was saved of them stays until it is replaced."""

    @abstractmethod
    def rebuild(self) -> list[str]:
        """Make what is listed anew from the results and failures that are there; return where the old is kept."""

    @abstractmethod
    def has_result(self, text: str) -> bool:
        """Tell whether there is a result of a specification, without opening it."""

    @abstractmethod
    def metadata(self, text: str) -> Mapping[str, Any]:
        """Return what is recorded about a specification's result."""

    @abstractmethod
    def load(self, text: str) -> Observation:
        """Return what completed; a result that cannot be read comes as a failure that names the place."""

    @abstractmethod
    def load_failure(self, text: str) -> Observation:
        """Return what failed, and why; where that cannot be read, the failure's type is "unknown"."""

    @abstractmethod
    def run(self, record: Mapping[str, Any]) -> AbstractContextManager[Run]:
        """Be known as a run that is alive until the block ends; then list what came of it.

        Parameters
        ----------
        record
            What is written down about the run.
        """

    @abstractmethod
    def save(self, run_id: str, text: str, result: Any, metadata: Mapping[str, Any]) -> None:
        """Save a result, whole or not at all, and tell that the specification completed; called by the worker."""

    @abstractmethod
    def fail(self, run_id: str, text: str, failure: Failure, metadata: Mapping[str, Any]) -> None:
        """Record why a specification failed, and tell that it did; an older result stays. Called by the worker."""

    @abstractmethod
    def completed_by(self, text: str) -> str | None:
        """Return the run that saved the whole result that is there; None where there is none."""

    @abstractmethod
    def tell(self, run_id: str, event: str, text: str, details: Mapping[str, Any]) -> None:
        """Tell those who watch what happens to a specification."""

    @abstractmethod
    def events(self, since: dict[str, int]) -> Iterator[Event]:
        """Yield what happened in runs that are not yet over.

        Parameters
        ----------
        since
            How far the caller has read: empty at first, and brought up to date as the events are taken. What is over
            is taken out of it: `listed` tells then.
        """

    @abstractmethod
    def runs(self, newest: int | None = None) -> list[SeenRun]:
        """Return the runs that have not ended, and all or so many of the newest others; sorted by their time."""

    @abstractmethod
    def workspace(self, text: str) -> str:
        """Return the folder for a specification's files; it is made by whoever writes the first one."""


def open_storage(folder: str | os.PathLike[str] | None, name: str, format: str | Format = "pickle") -> Storage:
    """Return the storage of a batch.

    Parameters
    ----------
    folder
        Where the batches are; where None, SMALLAB_ROOT, else ``experiment_runs``.
    name
        The batch's name.
    format
        How its results are written.
    """
    return cast("Storage", opened("storage.folder").open_folder(folder, name, format))


def batch_names(folder: str | os.PathLike[str] | None) -> list[str]:
    """Return the names of the batches in a place, which is named as for `open_storage`."""
    return cast("list[str]", opened("storage.folder").batch_names(folder))


def iso(seconds: float) -> str:
    """Return a time (seconds since 1970) as ISO 8601 in UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat()
