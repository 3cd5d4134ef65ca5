"""The journal: what happened since the lists were written, whoever died meanwhile.

- Each process appends to a file of its own, so that nobody waits for a lock on the way; readers merge the files.
- What a run journaled is brought into the lists when it ends. What one left behind that was killed, or has been silent
  for long, is brought in by the next one: counted once, for how far a file was counted is written down under the lock.
  So what somebody takes out of a list stays out.
- Counting and clearing up are two things: the files of a silent run stay, for it may wake up and go on.
"""

from __future__ import annotations

import errno
import io
import json
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from smallab.specification import Specification, Texts, canonical, digest
from smallab.storage.base import Event
from smallab.storage.files import at_once
from smallab.storage.paths import Owner

_APPEND = os.O_WRONLY | getattr(os, "O_BINARY", 0) | os.O_CREAT | os.O_APPEND
_COMPLETION = b'{"event": "completed"'
_CHUNK = 1 << 20  # bytes of a journal that are held at a time
_decode = json.JSONDecoder().raw_decode
_SPECIFICATION = ',"specification":'  # stands before what a line ends in


# Writing.


class Appender:
    """The journals of this process, each opened once."""

    def __init__(self) -> None:
        self._descriptors: dict[str, int] = {}
        self._lock = threading.Lock()
        self._torn: set[str] = set()  # journals whose last line a full disk cut short

    def append(self, path: str, line: str) -> None:
        """Append a line to a journal, in one write."""
        descriptor = self._descriptors.get(path)
        if descriptor is None:
            descriptor = self._open(path)
        start = "\n" if path in self._torn else ""
        data = f"{start}{line}\n".encode()
        if os.write(descriptor, data) != len(data):
            self._torn.add(path)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
        self._torn.discard(path)

    def _open(self, path: str) -> int:
        with self._lock:
            for other in [other for other in self._descriptors if not os.path.exists(other)]:  # their runs are over
                os.close(self._descriptors.pop(other))
            if path not in self._descriptors:
                self._descriptors[path] = os.open(path, _APPEND, 0o666)
            return self._descriptors[path]

    def after_fork(self) -> None:
        """Go on in a forked child: a thread that held the lock is not here to let it go."""
        self._lock = threading.Lock()

    def close(self, run_id: str) -> None:
        """Close what this process has open of a run's journals."""
        with self._lock:
            for path in [path for path in self._descriptors if run_id in path]:
                os.close(self._descriptors.pop(path))


appender = Appender()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=appender.after_fork)


# Reading.


def read_lines(path: str, offset: int) -> Iterator[tuple[bytes, int]]:
    """Yield the whole lines of a journal from an offset on, each with the offset behind it.

    A line that is still being written has no end yet, and is not yielded.
    """
    no_journal = (FileNotFoundError, IsADirectoryError, io.UnsupportedOperation)  # the last one of a pipe, at `seek`
    with suppress(*no_journal), open(path, "rb", opener=at_once) as file:
        if offset > os.fstat(file.fileno()).st_size:  # nobody has read what is not there
            offset = 0
        file.seek(offset)
        while lines := file.readlines(_CHUNK):
            for line in lines:
                if not line.endswith(b"\n"):
                    return
                offset += len(line)
                yield line, offset


def count_completions(path: str) -> int:
    """Return how many lines of a journal tell of a completion; none where there is no journal."""
    with suppress(FileNotFoundError), open(path, "rb") as file:
        return sum(line.startswith(_COMPLETION) for line in file)
    return 0


def parsed_event(line: bytes, owner: Owner, is_counted: bool = False) -> Event | None:
    """Return the event that a line tells; None for one that a kill or a full disk cut short, or that is not ours."""
    try:
        decoded = line.decode()
        found, _ = _decode(decoded)
        name, id, time = found.pop("event"), found.pop("id"), found.pop("time")
        text = _text(decoded, id, found.pop("specification"))
    except (ValueError, RecursionError, KeyError, AttributeError, TypeError):
        return None
    if text is None or not (isinstance(name, str) and isinstance(time, str)):
        return None
    return Event(name, owner.run_id, id, text, time, owner.host, owner.pid, found, is_counted)


def _text(line: str, id: str, specification: Specification) -> str | None:
    """Return an event's specification as canonical JSON; None where it is not the one that the id names."""
    text = line.partition(_SPECIFICATION)[2][:-2]  # as `event_line` writes it: a third of the other way's time
    if isinstance(specification, dict) and digest(text) == id:
        return text
    text = canonical(specification)
    return text if digest(text) == id else None


@dataclass
class Journaled:
    """What journals tell about the specifications, by canonical JSON.

    Attributes
    ----------
    started, failed
        Those that began, and those that failed.
    completed
        Those that completed, with the digests of the results: two runs may have saved one each.
    offsets
        How far each file was read.
    """

    started: Texts = field(default_factory=dict)
    failed: Texts = field(default_factory=dict)
    completed: dict[str, set[str]] = field(default_factory=dict)
    offsets: dict[str, int] = field(default_factory=dict)

    def read(self, path: str, owner: Owner, offset: int) -> None:
        """Take in what a journal tells from an offset on."""
        name = os.path.basename(path)
        self.offsets[name] = offset
        for line, end in read_lines(path, offset):
            self.offsets[name] = end
            event = parsed_event(line, owner)
            if event is not None:
                self._take(event)

    def _take(self, event: Event) -> None:
        if event.name == "started":
            self.started[event.text] = None
        elif event.name == "failed":
            self.failed[event.text] = None
        elif event.name == "completed":
            self.completed.setdefault(event.text, set()).add(str(event.details.get("digest")))


def read_counted(path: str) -> dict[str, int]:
    """Return how far each journal has been counted; a file that is not there, or torn, has counted nothing."""
    torn = (ValueError, AttributeError, RecursionError)
    with suppress(FileNotFoundError, *torn), open(path, encoding="utf-8") as file:
        return {name: offset for name, offset in json.load(file).items() if type(offset) is int and offset >= 0}
    return {}


_encode = json.JSONEncoder(default=float).encode  # numpy's numbers, too


def event_line(event: str, id: str, time: str, details: Mapping[str, Any], text: str) -> str:
    """Return an event as a journal's line."""
    more = f", {_encode(details)[1:-1]}" if details else ""
    return f'{{"event": "{event}", "id": "{id}", "time": "{time}"{more}{_SPECIFICATION}{text}}}'
