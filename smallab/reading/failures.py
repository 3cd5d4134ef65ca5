"""What has failed in a batch: the latest first, and those together that failed for the same reason."""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from smallab.display.plain import plain
from smallab.observation import Failure
from smallab.specification import Texts
from smallab.storage.base import Storage

UNREADABLE, UNREAD = "(why it failed cannot be read)", "(not read yet)"
_MESSAGE = 500  # characters of each failure's message that are kept, for there may be 100,000 of them
_RETRY_SECONDS = 5.0  # after which a failure that could not be read is tried again
_NUMBER = re.compile(r"0x[0-9a-f]+|(?<!\w)[-+]?\d[\d.]*(?:e[-+]?\d+)?|\d+", re.IGNORECASE)


@dataclass(frozen=True)
class Failed:
    """A specification whose last attempt failed.

    Attributes
    ----------
    text
        Its canonical JSON.
    name
        What the experiment's ``get_name`` calls it; empty where only the list of failures tells.
    time
        When it failed, ISO 8601, UTC; empty where only the list tells.
    """

    text: str
    name: str = ""
    time: str = ""

    @property
    def label(self) -> str:
        """What it is called, else its JSON."""
        return self.name or self.text


@dataclass(frozen=True)
class FailedSpecification:
    """A failed specification, and why it failed.

    Attributes
    ----------
    id
        What names it.
    label
        What the experiment's ``get_name`` calls it, else its JSON.
    time
        When it failed, ISO 8601, UTC; empty where nothing tells.
    type, message
        Of the exception; the message as one plain line, of a long one its beginning.
    pattern
        The message with an ellipsis in place of each number.
    """

    id: str
    label: str
    time: str
    type: str
    message: str
    pattern: str

    @property
    def why(self) -> str:
        """The type and the message in one text."""
        return _why(self.type, self.message)


@dataclass(frozen=True)
class FailureGroup:
    """Failures of one type whose messages differ in their numbers at the most.

    Attributes
    ----------
    type, message
        Of the exceptions; where the messages differ, with an ellipsis in place of each number.
    members
        The latest first.

    Examples
    --------
    >>> members = [FailedSpecification("", "", "", "ValueError", f"the loss is {n}", "the loss is …") for n in (7, 8)]
    >>> FailureGroup.of(members).why
    'ValueError: the loss is …'
    >>> FailureGroup.of(members[:1]).why
    'ValueError: the loss is 7'
    """

    type: str
    message: str
    members: Sequence[FailedSpecification]

    @classmethod
    def of(cls, members: Sequence[FailedSpecification]) -> FailureGroup:
        """Return the group of some failures that belong together."""
        first = members[0]
        is_same = all(member.message == first.message for member in members)
        return cls(first.type, first.message if is_same else first.pattern, members)

    @property
    def why(self) -> str:
        """The type and the message in one text."""
        return _why(self.type, self.message)

    @property
    def key(self) -> tuple[str, str]:
        """What its members have in common: it stays the same when more come."""
        return self.type, self.members[0].pattern

    @property
    def unread(self) -> bool:
        """Why they failed has not been read yet."""
        return self.message == UNREAD

    @property
    def time(self) -> str:
        """When the latest failed."""
        return max(member.time for member in self.members)


def _why(kind: str, message: str) -> str:
    return ": ".join(part for part in (kind, message) if part)


class Failures:
    """The failures of a batch, the latest first; why they failed is read when asked for.

    Parameters
    ----------
    storage
        The batch.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._failed: dict[str, Failed] = {}  # by id
        self._running: set[str] = set()  # ids of those that run again
        self._read: dict[tuple[str, str], FailedSpecification] = {}  # by id and time
        self._retry = 0.0  # when what could not be read is tried again

    def __len__(self) -> int:
        return len(self._failed) - len(self._running)

    # What is asked for.

    def texts(self) -> list[str]:
        """Return them as canonical JSON, the latest last."""
        return [item.text for id, item in self._failed.items() if id not in self._running]

    def find(self, id: str) -> Failed | None:
        """Return a failed specification; None where it has not failed, or runs again."""
        return None if id in self._running else self._failed.get(id)

    def latest(self, begin: int, end: int) -> list[FailedSpecification]:
        """Return some of them, counted from the latest."""
        self._try_again()
        asked = itertools.islice(self._newest(), begin, end)
        return [self._with_reason(id, item) for id, item in asked]

    def groups(self, seconds: float) -> list[FailureGroup]:
        """Return them together with those that failed for the same reason, the largest group first.

        Why each one failed is read once, the latest first, for so many seconds at the most; those that are not read
        yet are a group of their own, the last one.
        """
        self._try_again()
        until = time.monotonic() + seconds
        together: dict[tuple[str, str], list[FailedSpecification]] = {}
        unread = []
        for id, item in self._newest():
            found = self._read.get((id, item.time))
            if found is None and time.monotonic() < until:
                found = self._with_reason(id, item)
            if found:
                together.setdefault((found.type, found.pattern), []).append(found)
            else:
                unread.append(FailedSpecification(id, item.label, item.time, "", UNREAD, UNREAD))
        groups = [FailureGroup.of(members) for members in together.values()]
        groups.sort(key=lambda group: len(group.members), reverse=True)
        return [*groups, FailureGroup.of(unread)] if unread else groups

    def _newest(self) -> Iterator[tuple[str, Failed]]:
        for id, item in reversed(self._failed.items()):
            if id not in self._running:
                yield id, item

    def _with_reason(self, id: str, item: Failed) -> FailedSpecification:
        """Return why it failed, from memory if possible."""
        key = id, item.time
        if key not in self._read:
            failure, ended = reason(self._storage, item.text)
            message = plain(failure.message)[:_MESSAGE]  # else the numbers of its colours would count, too
            self._read[key] = FailedSpecification(
                id=id,
                label=item.label,
                time=ended or item.time,
                type=failure.type,
                message=message,
                pattern=_NUMBER.sub("…", message),
            )
        return self._read[key]

    def _try_again(self) -> None:
        """Forget now and then what could not be read: on a share, it may be seen later than its event."""
        if time.monotonic() > self._retry:
            self._read = {key: found for key, found in self._read.items() if found.message != UNREADABLE}
            self._retry = time.monotonic() + _RETRY_SECONDS

    # What is told.

    def begin_anew(self, listed: Texts) -> None:
        """Begin again from the list of failures; of those that are known, what is known stays."""
        known = self._failed
        found = {}
        for text in listed:
            id = self._storage.id_of(text)
            found[id] = known.get(id) or Failed(text)
        self._failed = dict(sorted(found.items(), key=lambda pair: pair[1].time))
        self._running = set()
        self._read = {key: found for key, found in self._read.items() if key[1]}  # else it may have failed once more

    def add(self, id: str, item: Failed) -> None:
        """Note that a specification has failed now."""
        self.remove(id)
        self._failed[id] = item

    def remove(self, id: str) -> None:
        """Note that a specification has completed: that beats a failure, whichever came first."""
        before = self._failed.pop(id, None)
        if before:
            self._read.pop((id, before.time), None)

    def hide(self, running: Iterable[str]) -> None:
        """Leave out for now what runs again."""
        self._running = {id for id in running if id in self._failed}


def reason(storage: Storage, text: str) -> tuple[Failure, str]:
    """Return why a specification failed, and when (ISO 8601, UTC; empty where nothing tells)."""
    observation = storage.load_failure(text)
    failure = observation.failure
    if failure is None or failure.type == "unknown":  # not there yet on a share, not there any more, or damaged
        failure = Failure("", UNREADABLE)
    return failure, str(observation.metadata.get("ended", ""))
