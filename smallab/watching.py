"""What goes on in a batch, read from its folder again and again, each time only what is new.

It writes nothing there, takes no lock, and opens no result: a batch may be watched from any machine that sees the
folder, by as many as like, while runs begin, end, or are killed.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import re
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal, NamedTuple

from smallab.files import entries, process_gone
from smallab.inspection import batch_names
from smallab.journal import GRACE_SECONDS
from smallab.lists import read_list
from smallab.progress import Figures
from smallab.specification import digest
from smallab.storage import Storage, Which

State = Literal["running", "killed", "silent", "ended", "stopped"]

CHUNK = 1 << 20  # bytes of a journal that are held at a time
LOG_BYTES = 1 << 14  # of the end of a log file that are shown
MESSAGE = 500  # characters of each failure's message that are kept, for there may be 100,000 of them
RETRY_SECONDS = 5.0  # after which a failure that could not be read is tried again
UNREADABLE, UNREAD = "(its failure.json cannot be read)", "(not read yet)"
_NUMBER = re.compile(r"0x[0-9a-f]+|(?<!\w)[-+]?\d[\d.]*(?:e[-+]?\d+)?|\d+", re.IGNORECASE)
_HEARTBEAT = re.compile(r"[^.]+\.[^.]+\.\d+\.heartbeat")  # <run-id>.<host>.<pid>
_ID = re.compile(r"[0-9a-f]{32}")  # of a specification: it is a part of paths
RECORDS = 64  # of runs, the newest: those that may have gone on at the same time


class Run(NamedTuple):
    """One call of ``ExperimentRunner.run``, as far as it can be seen.

    Attributes
    ----------
    id
        Its run-id.
    host, pid
        Where its runner is; the host is empty, and the pid 0, where its record does not tell.
    state
        "killed": its process is gone. "silent": it has given no sign of life for too long. "ended": all that it had to
        do was done. "stopped": it ended before that (Ctrl-C, an exception).
    silence
        For how many seconds it has given no sign of life.
    started, ended
        When, in seconds since 1970; a run that goes on ends at infinity.
    figures
        How far it is; None while it is only starting.
    """

    id: str
    host: str
    pid: int
    state: State
    silence: float
    started: float
    ended: float
    figures: Figures | None


class Running(NamedTuple):
    """A specification that has started and not ended.

    Attributes
    ----------
    id
        Its folder's name.
    specification
        As it was asked for.
    name
        What the experiment's ``get_name`` calls it; empty where it does not.
    since
        When it started: ISO 8601, UTC.
    host, pid
        The process that runs it.
    done, total
        How far it says it is; None where it has not said.
    """

    id: str
    specification: Any
    name: str
    since: str
    host: str
    pid: int
    done: float | None = None
    total: float | None = None

    @property
    def label(self) -> str:
        """What it is called, else its JSON."""
        return self.name or json.dumps(self.specification, ensure_ascii=False, separators=(",", ":"))

    @property
    def started(self) -> float:
        """When it started, in seconds since 1970."""
        return _seconds(self.since)

    @property
    def gone(self) -> bool:
        """Its process is known to be gone, and its runner has not found out yet."""
        return process_gone(self.host, self.pid)

    @property
    def share(self) -> float | None:
        """How far it is, from 0 to 1; None where it has not said, or nothing that makes sense."""
        if self.done is None or self.total is None or self.total <= 0:
            return None
        return min(1.0, max(0.0, self.done / self.total))


class Failed(NamedTuple):
    """A specification whose last attempt failed.

    Attributes
    ----------
    label
        What the experiment's ``get_name`` calls it, else its JSON.
    time
        When it failed, ISO 8601, UTC; empty where only the list of failures tells.
    run
        The run whose journal tells; empty where only the list does.
    """

    label: str
    time: str = ""
    run: str = ""


@dataclass(frozen=True)
class FailedSpecification:
    """A failed specification, and why it failed.

    Attributes
    ----------
    id
        Its folder's name.
    label
        What the experiment's ``get_name`` calls it, else its JSON.
    time
        When it failed, ISO 8601, UTC; empty where nothing tells.
    type, message
        Of the exception; of a long message, its beginning.
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
        same = all(member.message == first.message for member in members)
        return cls(first.type, first.message if same else first.pattern, members)

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
        return self.members[0].time


@dataclass(frozen=True)
class Details:
    """All that there is to read of one specification that runs or has failed, but for its result.

    Attributes
    ----------
    id
        Its folder's name.
    label
        What the experiment's ``get_name`` calls it, else its JSON.
    specification
        As it was asked for; None where it cannot be read.
    time
        When it failed, or where it runs, when it started: ISO 8601, UTC.
    failed
        Its last attempt failed.
    type, message, traceback
        Of the exception; empty where it runs.
    log
        The end of its log.txt; empty where there is none.
    """

    id: str
    label: str
    specification: Any
    time: str
    failed: bool
    type: str
    message: str
    traceback: str
    log: str


class Failures:
    """The failures of a batch, the latest first; why they failed is read when asked for."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._failed: dict[str, Failed] = {}
        self._running: set[str] = set()
        self._read: dict[tuple[str, str], FailedSpecification] = {}  # by id and time
        self._retry = 0.0  # when what could not be read is tried again
        self._groups: list[FailureGroup] = []
        self._changed = True  # since they were grouped

    def __len__(self) -> int:
        return len(self._failed) - len(self._running)

    def latest(self, begin: int, end: int) -> list[FailedSpecification]:
        """Return some of them, counted from the latest."""
        self._try_again()
        return [self._with_reason(id, item) for id, item in itertools.islice(self._newest(), begin, end)]

    def groups(self, seconds: float) -> list[FailureGroup]:
        """Return them together with those that failed for the same reason, the largest group first.

        Why each one failed stands in a file of its own, and is read once, the latest first, for so many seconds at the
        most; those that are not read yet are a group of their own, the last one.
        """
        self._try_again()
        if not self._changed:
            return self._groups
        until = None
        together: dict[tuple[str, str], list[FailedSpecification]] = {}
        for id, item in self._newest():
            found = self._known(id, item)
            if found.message is UNREAD:
                until = until or time.monotonic() + seconds
                found = self._with_reason(id, item) if time.monotonic() < until else found
            together.setdefault((found.type, found.pattern), []).append(found)
        groups = [FailureGroup.of(members) for members in together.values()]
        self._groups = sorted(groups, key=lambda group: (group.unread, -len(group.members)))
        self._changed = any(group.unread for group in groups)
        return self._groups

    def label(self, id: str) -> str | None:
        """Return what a failed specification is called; None where it has not failed."""
        return self._failed[id].label if id in self._failed and id not in self._running else None

    def _newest(self) -> Iterator[tuple[str, Failed]]:
        return ((id, item) for id, item in reversed(self._failed.items()) if id not in self._running)

    def _known(self, id: str, item: Failed) -> FailedSpecification:
        """Return what is known of a failure without reading anything."""
        key = id, item.time
        if key not in self._read:
            self._read[key] = FailedSpecification(id, item.label, item.time, "", UNREAD, UNREAD)
        return self._read[key]

    def _with_reason(self, id: str, item: Failed) -> FailedSpecification:
        """Return why it failed, read if it has not been."""
        found = self._known(id, item)
        if found.message is UNREAD:
            record = _failure_record(self._storage, id)
            message = record["message"][:MESSAGE]
            when = record["ended"] or item.time
            pattern = _NUMBER.sub("…", message)
            found = FailedSpecification(id, item.label, when, record["type"], message, pattern)
            self._read[id, item.time] = found
            self._changed = True
        return found

    def _try_again(self) -> None:
        """Forget now and then what could not be read: on a share, a file may be seen later than its journal."""
        if time.monotonic() > self._retry:
            readable = {key: found for key, found in self._read.items() if found.message != UNREADABLE}
            self._changed = self._changed or len(readable) < len(self._read)
            self._read = readable
            self._retry = time.monotonic() + RETRY_SECONDS

    def take(self, id: str, item: Failed | None) -> None:
        """Note that a specification failed now; None, that it completed."""
        self._changed = True
        before = self._failed.pop(id, None)
        if before:
            self._read.pop((id, before.time), None)
        if item:
            self._failed[id] = item

    def hide(self, running: Iterable[str]) -> None:
        """Leave out for now what runs again."""
        hidden = {id for id in running if id in self._failed}
        self._changed = self._changed or hidden != self._running
        self._running = hidden

    def relist(self, listed: dict[str, Failed], runs: Collection[str]) -> None:
        """Begin again from the list of failures, and what the journals of some runs told."""
        self._changed = True
        known = {id: item for id, item in self._failed.items() if id in listed or item.run in runs}
        self._failed = dict(sorted({**listed, **known}.items(), key=lambda pair: pair[1].time))
        self._read = {key: found for key, found in self._read.items() if key[1]}  # else it may have failed once more

    def drop(self, completed: set[str]) -> None:
        """Leave out what has completed: a completion beats a failure, whichever came first."""
        for id in completed & self._failed.keys():
            del self._failed[id]
            self._changed = True


class View(NamedTuple):
    """What was seen of a batch at one moment.

    Attributes
    ----------
    storage
        Its folder tree.
    exists
        There is such a batch.
    runs
        Those that go on, the killed ones among them, and all that went on at the same time; where none goes on, the
        newest, and all that went on at the same time. The newest first.
    running
        What those that go on have in hand, the longest first.
    interrupted
        What those that were killed had in hand.
    failures
        What failed in the batch and has not completed since.
    completed
        How many specifications are listed as completed; None while a run goes on, or where the list cannot be read.
    others
        Where there is no such batch: the names of those that there are.
    """

    storage: Storage
    exists: bool
    runs: Sequence[Run]
    running: Sequence[Running]
    interrupted: Sequence[Running]
    failures: Failures
    completed: int | None
    others: Sequence[str] = ()

    @property
    def name(self) -> str:
        """The batch's name."""
        return self.storage.name

    @property
    def folder(self) -> str:
        """Where it is."""
        return self.storage.folder

    @property
    def root(self) -> str:
        """Where the batches are."""
        return self.storage.root

    @property
    def alive(self) -> list[Run]:
        """The runs that go on."""
        return [run for run in self.runs if run.state == "running"]

    @property
    def figures(self) -> Figures | None:
        """The figures of all runs together; while some go on, without those that were killed, for nobody does the rest.

        The rate is the sum of the rates of those that go on.
        """
        counted = [run for run in self.runs if run.figures and not (self.alive and run.state in {"killed", "silent"})]
        known = [run.figures for run in counted if run.figures]
        if len(known) < 2:  # nothing to add up
            return known[0] if known else None
        names = ("pending", "skipped", "completed", "failed")
        together = Figures(*(sum(getattr(each, name) for each in known) for name in names))
        rate = sum(run.figures.rate or 0.0 for run in self.alive if run.figures)
        took = max(run.ended for run in counted) - min(run.started for run in counted)
        seconds = (together.ended / rate if rate else 0.0) if self.alive else took
        return replace(together, seconds=seconds)

    def details(self, id: str) -> Details | None:
        """Read what there is of one specification; None where it neither runs nor has failed."""
        log = _end_of_file(f"{self.storage.folder_of(id)}/log.txt", LOG_BYTES)
        for item in (*self.running, *self.interrupted):
            if item.id == id:
                return Details(id, item.label, item.specification, item.since, False, "", "", "", log)
        label = self.failures.label(id)
        if label is None:
            return None
        record = _failure_record(self.storage, id)
        why = record["type"], record["message"], record["traceback"]
        return Details(id, label, _specification(self.storage, id), record["ended"], True, *why, log)


class _Journals:
    """What one run's journals have told so far."""

    def __init__(self, run_id: str, failures: Failures) -> None:
        self.run_id, self._failures = run_id, failures
        self.completed: set[str] = set()
        self.failed: dict[str, str] = {}  # and when
        self.running: dict[str, Running] = {}
        self.newest = ""

    def take(self, event: dict[str, Any], host: str, pid: int) -> None:
        """Take an event. Of one specification, they may come out of order: each process has a journal of its own."""
        id, when = event["id"], event["time"]
        self.newest = max(self.newest, when)
        match event["event"]:
            case "completed":
                self.completed.add(id)
                self.failed.pop(id, None)
                self.running.pop(id, None)
                self._failures.take(id, None)
            case "failed" if id not in self.completed and not self._later(id, when):
                failed = self.running.pop(id, None) or _running(event, host, pid)
                self.failed[id] = when
                self._failures.take(id, Failed(failed.label, when, self.run_id))
            case "started" if id not in self.completed and not self._later(id, when):
                self.failed.pop(id, None)  # it is tried again
                self.running[id] = _running(event, host, pid)
            case "progress" if id in self.running:
                done, total = _finite(event.get("done")), _finite(event.get("total"))
                self.running[id] = self.running[id]._replace(done=done, total=total)

    def _later(self, id: str, when: str) -> bool:
        """Tell whether there was word of a specification from a later time."""
        return when < self.failed.get(id, "") or (id in self.running and when < self.running[id].since)


class Watch:
    """Watches a batch.

    Parameters
    ----------
    storage
        Its folder tree; it need not be there yet.

    Examples
    --------
    >>> import tempfile
    >>> watch = Watch(Storage(tempfile.mkdtemp(), "digits"))
    >>> watch.look().exists
    False
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._failures = Failures(storage)
        self._journals: dict[str, _Journals] = {}
        self._offsets: dict[str, int] = {}
        self._beats: dict[str, tuple[float, float]] = {}
        self._records: dict[str, dict[str, Any]] = {}
        self._lists: dict[Which, tuple[object, dict[str, None] | None]] = {}

    def look(self) -> View:
        """Return what goes on now."""
        storage, now = self._storage, time.time()
        recorded = entries(f"{storage.folder}/runs")  # before the heartbeats: a run's comes before its record
        names = entries(storage.journal)
        journals_went = self._read_journals([name for name in names if name.endswith(".jsonl")])
        beating = [name for name in names if _HEARTBEAT.fullmatch(name)]
        going = [run for name in beating if (run := self._going(name, now))]
        runs = _together(going + self._over(recorded, {run.id for run in going}))
        self._read_failures(journals_went)
        running = self._in_hand(run.id for run in runs if run.state == "running")
        interrupted = self._in_hand(run.id for run in runs if run.state in {"killed", "silent"})
        self._failures.hide(item.id for item in running)
        exists = bool(runs or names or os.path.exists(storage.list_file("completed")))
        completed = None if beating else self._listed("completed")
        count = None if completed is None else len(completed)
        others = () if exists else batch_names(storage.root)
        return View(storage, exists, runs, running, interrupted, self._failures, count, others)

    # The journals.

    def _read_journals(self, names: Sequence[str]) -> bool:
        """Take what is new in the journals; return whether some have gone, as they do when their run has ended."""
        gone = self._journals.keys() - {name.partition(".")[0] for name in names}
        for run_id in gone:
            del self._journals[run_id]
        for name in self._offsets.keys() - set(names):
            del self._offsets[name]
        for name in names:
            run_id, *owner = name.removesuffix(".jsonl").split(".")
            if len(owner) != 2 or not owner[1].isdigit():  # <host>.<pid>: else it is not one of ours
                continue
            journals = self._journals.setdefault(run_id, _Journals(run_id, self._failures))
            for event in self._new_events(name):
                journals.take(event, owner[0], int(owner[1]))
        return bool(gone)

    def _new_events(self, name: str) -> Iterator[dict[str, Any]]:
        """Yield a journal's new events; of a line that is still being written, nothing yet."""
        with suppress(FileNotFoundError), open(f"{self._storage.journal}/{name}", "rb") as file:
            file.seek(self._offsets.get(name, 0))
            while lines := file.readlines(CHUNK):
                whole = lines if lines[-1].endswith(b"\n") else lines[:-1]
                self._offsets[name] = self._offsets.get(name, 0) + sum(map(len, whole))
                yield from (event for event in _parsed(whole) if _is_event(event))
                if whole is not lines:
                    break

    def _in_hand(self, run_ids: Iterable[str]) -> list[Running]:
        journals = [self._journals[id] for id in run_ids if id in self._journals]
        return sorted((item for each in journals for item in each.running.values()), key=lambda item: item.since)

    # The runs.

    def _going(self, heartbeat: str, now: float) -> Run | None:
        """Return a run that has a heartbeat: it goes on, or was killed."""
        run_id, host, pid, _ = heartbeat.split(".")
        try:
            beat = os.stat(f"{self._storage.journal}/{heartbeat}").st_mtime
        except FileNotFoundError:  # it has just ended
            return None
        silence = self._silence(heartbeat, beat, now)
        gone = process_gone(host, int(pid))
        state: State = "killed" if gone else "silent" if silence > GRACE_SECONDS else "running"
        record = self._record(run_id)
        journals = self._journals.get(run_id) or _Journals(run_id, self._failures)
        newest = _seconds(journals.newest)
        until = max(now, newest) if state == "running" else max(beat, newest)
        started = _seconds(record.get("started")) or until
        figures = _figures(record, journals, until - started) if record else None
        return Run(run_id, host, int(pid), state, silence, started, math.inf if state == "running" else until, figures)

    def _silence(self, heartbeat: str, beat: float, now: float) -> float:
        """Return for how long there was no new beat: by this machine's clock alone, once one was seen to come."""
        known = self._beats.get(heartbeat)
        if known is None or known[0] != beat:
            seen = time.monotonic() - (max(0.0, now - beat) if known is None else 0.0)
            self._beats[heartbeat] = beat, seen
        return time.monotonic() - self._beats[heartbeat][1]

    def _over(self, recorded: list[str], going: set[str]) -> list[Run]:
        """Return the newest runs without a heartbeat: their records tell how they ended."""
        ids = [name.removesuffix(".json") for name in recorded if name.endswith(".json")]
        newest = [id for id in ids if id not in going][-RECORDS:]
        return [_ended(id, record) for id in newest if (record := self._record(id))]

    def _record(self, run_id: str) -> dict[str, Any]:
        """Return what a run's record tells (it is written at the start, and at the end); empty where there is none."""
        path = f"{self._storage.folder}/runs/{run_id}.json"
        try:
            written = os.stat(path).st_mtime
            known = self._records.get(run_id, {})
            if known.get("written") != written:
                with open(path, encoding="utf-8") as file:
                    found = json.load(file)
                known = {key: found[key] for key in ("started", "skipped", "completed", "failed")}
                known |= {key: found[key] for key in ("ended", "host", "pid", "pending") if key in found}
                self._records[run_id] = known | {"written": written}
        except (OSError, ValueError, LookupError, TypeError):  # not there yet, damaged, or a record of calls
            return {}
        return self._records[run_id]

    # The lists.

    def _read_failures(self, journals_went: bool) -> None:
        before = self._lists.get("failed")
        listed = self._listed("failed")
        changed = journals_went or self._lists.get("failed") is not before
        if changed:
            self._failures.relist({digest(text): Failed(text) for text in listed or ()}, self._journals)
        if changed or len(self._journals) > 1:
            for journals in self._journals.values():
                self._failures.drop(journals.completed)

    def _listed(self, which: Which) -> dict[str, None] | None:
        """Return a list, read again when it has changed; None where it cannot be read."""
        path = self._storage.list_file(which)
        try:
            status = os.stat(path)
        except FileNotFoundError:
            self._lists.pop(which, None)
            return {}
        signature = status.st_mtime_ns, status.st_size, status.st_ino
        if which not in self._lists or self._lists[which][0] != signature:
            texts = None
            with suppress(OSError, ValueError):
                texts = read_list(path)
            self._lists[which] = signature, texts
        return self._lists[which][1]


def _parsed(lines: list[bytes]) -> Iterator[Any]:
    """Yield what lines of JSON hold, parsed all at once if possible: that takes half the time."""
    try:
        yield from json.loads(b"[" + b",".join(lines) + b"]")
    except ValueError:  # a kill or a full disk has cut one short
        for line in lines:
            with suppress(ValueError):
                yield json.loads(line)


def _is_event(event: object) -> bool:
    """Tell whether it is an event of one specification, whose id may be a part of a path."""
    return isinstance(event, dict) and {"event", "id", "time"} <= event.keys() and _is_id(event["id"])


def _is_id(id: object) -> bool:
    return isinstance(id, str) and bool(_ID.fullmatch(id))


def _why(kind: str, message: str) -> str:
    return ": ".join(part for part in (kind, message) if part)


def _failure_record(storage: Storage, id: str) -> dict[str, str]:
    """Return why a specification failed: the keys ended, type, message and traceback of its failure.json."""
    record = {"ended": "", "type": "", "message": UNREADABLE, "traceback": ""}
    with suppress(OSError, ValueError, AttributeError):  # not there yet on a share, not there any more, or damaged
        with open(f"{storage.folder_of(id)}/failure.json", encoding="utf-8") as file:
            found = json.load(file)
        record = {key: str(found.get(key, "")) for key in record}
    return record


def _specification(storage: Storage, id: str) -> Any:
    with suppress(OSError, ValueError), open(f"{storage.folder_of(id)}/specification.json", encoding="utf-8") as file:
        return json.load(file)
    return None


def _end_of_file(path: str, most: int) -> str:
    """Return the last lines of a file, so many bytes at the most; nothing where it cannot be read."""
    with suppress(OSError), open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - most))
        text = file.read(most).decode(errors="replace")
        return text if size <= most else text.partition("\n")[2]
    return ""


def _running(event: dict[str, Any], host: str, pid: int) -> Running:
    return Running(event["id"], event.get("specification"), event.get("label", ""), event["time"], host, pid)


def _finite(value: object) -> float | None:
    """Return a number if it is one to reckon with; None for anything else that an experiment says."""
    return value if isinstance(value, (int, float)) and abs(value) < 1e15 else None


def _seconds(time: str | None) -> float:
    """Return an ISO 8601 time in seconds since 1970; 0 where it is none."""
    with suppress(ValueError):
        return datetime.fromisoformat(time).timestamp() if time else 0.0
    return 0.0


def _figures(record: dict[str, Any], journals: _Journals, seconds: float) -> Figures:
    """Return the figures of a run that is not over. What came up on the way is to do, too."""
    completed, failed = len(journals.completed), len(journals.failed)
    pending = max(record.get("pending", 0), completed + failed + len(journals.running))
    return Figures(pending, record.get("skipped", 0), completed, failed, seconds)


def _ended(run_id: str, record: dict[str, Any]) -> Run:
    """Return a run that is over."""
    done = record["completed"] + record["failed"]
    pending = record.get("pending", done)
    started, ended = _seconds(record["started"]), _seconds(record.get("ended")) or record["written"]
    figures = Figures(max(pending, done), record["skipped"], record["completed"], record["failed"], ended - started)
    state: State = "ended" if done >= pending else "stopped"
    return Run(run_id, record.get("host", ""), record.get("pid", 0), state, 0.0, started, ended, figures)


def _together(runs: list[Run]) -> list[Run]:
    """Return the runs that go on, else the newest, and all that went on at the same time; the newest first."""
    newest_first = sorted(runs, key=lambda run: run.id, reverse=True)
    group = [run for run in newest_first if run.state == "running"] or newest_first[:1]

    def beside(run: Run) -> bool:
        return any(run.started < other.ended and other.started < run.ended for other in group)

    while more := [run for run in newest_first if run not in group and beside(run)]:
        group += more
    return sorted(group, key=lambda run: run.id, reverse=True)
