"""What goes on in a batch, read again and again, each time only what is new: what commands and the dashboard show.

It writes nothing, takes no lock, and opens no result: a batch may be watched from any machine that sees its place, by
as many as like, while runs begin, end, or are killed.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal

from smallab.display.figures import Figures
from smallab.display.log_file import end_of_log
from smallab.reading.failures import Failed, Failures, reason
from smallab.specification import Specification, Texts, parsed
from smallab.storage.base import Event, SeenRun, Storage, batch_names
from smallab.storage.presence import is_gone

State = Literal["running", "killed", "silent", "ended", "stopped"]
_Progress = tuple[float | None, float | None]

_DEAD: frozenset[State] = frozenset({"killed", "silent"})
_RECORDS = 64  # of runs, the newest: those that may have gone on at the same time
_TRIES = 5  # at a batch that changes whenever it has just been read
_LOG_BYTES = 1 << 14  # of the end of a log that are shown


@dataclass(frozen=True)
class Run:
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
    failed_before
        How many of the specifications that it was to run had failed before.
    """

    id: str
    host: str
    pid: int
    state: State
    silence: float
    started: float
    ended: float
    figures: Figures | None
    failed_before: int = 0


@dataclass(frozen=True)
class Running:
    """A specification that has started and not ended.

    Attributes
    ----------
    id, text
        What names it, and its canonical JSON.
    name
        What the experiment's ``get_name`` calls it; empty where it does not.
    since
        When it started: ISO 8601, UTC.
    seconds
        For how long it has been running, by the clock of the place.
    host, pid
        The process that runs it.
    storage
        Its batch.
    done, total
        How far it says it is; None where it has not said.
    """

    id: str
    text: str
    name: str
    since: str
    seconds: float
    host: str
    pid: int
    storage: Storage = field(repr=False, compare=False)
    done: float | None = None
    total: float | None = None

    @property
    def specification(self) -> Specification:
        """As it was asked for."""
        return parsed(self.text)

    @property
    def label(self) -> str:
        """What it is called, else its JSON."""
        return self.name or self.text

    @property
    def gone(self) -> bool:
        """Its process is known to be gone, and its runner has not found out yet."""
        return is_gone(self.host, self.pid)

    @property
    def share(self) -> float | None:
        """How far it is, from 0 to 1; None where it has not said, or nothing that makes sense."""
        if self.done is None or self.total is None or self.total <= 0:
            return None
        return min(1.0, max(0.0, self.done / self.total))


@dataclass(frozen=True)
class Details:
    """All that there is to read of one specification that runs or has failed, but for its result.

    Attributes
    ----------
    id
        What names it.
    label
        What the experiment's ``get_name`` calls it, else its JSON.
    specification
        As it was asked for.
    time
        When it failed, or where it runs, when it started: ISO 8601, UTC.
    failed
        Its last attempt failed.
    log
        The end of its log; empty where there is none.
    type, message, traceback
        Of the exception; empty where it runs.
    """

    id: str
    label: str
    specification: Specification
    time: str
    failed: bool
    log: str
    type: str = ""
    message: str = ""
    traceback: str = ""


@dataclass(frozen=True)
class View:
    """What was seen of a batch at one moment. Each specification is in one of completed, failures and running.

    Attributes
    ----------
    storage
        The batch.
    exists
        There is such a batch.
    runs
        Those that go on, the killed ones among them, and all that went on at the same time; where none goes on, the
        newest, and all that went on at the same time. The newest first.
    running
        What those that go on have in hand, the longest first.
    interrupted
        What those that were killed had in hand.
    completed
        What has completed, as canonical JSON, in order.
    failures
        What failed and has not completed since, and does not run again.
    pending
        How many specifications the runs that go on (else the newest) have not started; None where nothing tells.
    record
        What the newest run wrote down about itself; empty where there is none.
    """

    storage: Storage
    exists: bool
    runs: Sequence[Run]
    running: Sequence[Running]
    interrupted: Sequence[Running]
    completed: Texts
    failures: Failures
    pending: int | None
    record: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The batch's name."""
        return self.storage.name

    @property
    def folder(self) -> str:
        """Where its files are."""
        return self.storage.folder

    @property
    def root(self) -> str:
        """Where the batches are."""
        return self.storage.root

    @property
    def others(self) -> list[str]:
        """Where there is no such batch: the names of those that there are."""
        return [] if self.exists else batch_names(self.root)

    @property
    def counts(self) -> dict[str, int | None]:
        """How many specifications are completed, failed, pending and running: each is counted once."""
        return {
            "completed": len(self.completed),
            "failed": len(self.failures),
            "pending": self.pending,
            "running": len(self.running),
        }

    @property
    def alive(self) -> list[Run]:
        """The runs that go on."""
        return [run for run in self.runs if run.state == "running"]

    @property
    def figures(self) -> Figures | None:
        """The figures of all runs together; while some go on, without those that were killed, for nobody does the rest.

        The rate is the sum of the rates of those that go on.
        """
        alive = self.alive
        runs = list(self.runs)
        if alive:
            runs = [run for run in runs if run.state not in _DEAD]
        known = [run.figures for run in runs if run.figures]
        if len(known) < 2:  # nothing to add up
            return known[0] if known else None
        together = Figures(
            pending=sum(figures.pending or 0 for figures in known),
            skipped=sum(figures.skipped for figures in known),
            completed=sum(figures.completed for figures in known),
            failed=sum(figures.failed for figures in known),
        )
        if not alive:
            began = min(run.started for run in runs)
            ended = max(run.ended for run in runs)
            return replace(together, seconds=ended - began)
        rate = sum(run.figures.rate or 0.0 for run in alive if run.figures)
        return replace(together, seconds=together.ended / rate if rate else 0.0)

    def details(self, id: str) -> Details | None:
        """Read what there is of one specification; None where it neither runs nor has failed."""
        for item in (*self.running, *self.interrupted):
            if item.id == id:
                return Details(
                    id=id,
                    label=item.label,
                    specification=item.specification,
                    time=item.since,
                    failed=False,
                    log=self._log(item.text),
                )
        failed = self.failures.find(id)
        if failed is None:
            return None
        why, ended = reason(self.storage, failed.text)
        return Details(
            id=id,
            label=failed.label,
            specification=parsed(failed.text),
            time=ended,
            failed=True,
            log=self._log(failed.text),
            type=why.type,
            message=why.message,
            traceback=why.traceback,
        )

    def _log(self, text: str) -> str:
        return end_of_log(self.storage.workspace(text), _LOG_BYTES)


class _Told:
    """What the events of one run have told so far, by the specifications' ids.

    Of one specification, they may come out of order: each process tells in a journal of its own.
    """

    def __init__(self) -> None:
        self.completed: set[str] = set()
        self.failed: dict[str, str] = {}  # and when
        self.running: dict[str, Event] = {}  # what told that it started
        self.progress: dict[str, _Progress] = {}
        self.newest = ""

    def take(self, event: Event) -> None:
        """Take an event."""
        id = event.id
        self.newest = max(self.newest, event.time)
        if event.name == "completed":
            self.completed.add(id)
            self.failed.pop(id, None)
            self.running.pop(id, None)
        elif event.name == "progress":
            done, total = event.details.get("done"), event.details.get("total")
            self.progress[id] = _finite(done), _finite(total)
        elif id in self.completed or self._knows_later(event):
            return
        elif event.name == "failed":
            self.running.pop(id, None)
            self.failed[id] = event.time
        elif event.name == "started":
            self.failed.pop(id, None)  # it is tried again
            self.progress.pop(id, None)
            self.running[id] = event

    def _knows_later(self, event: Event) -> bool:
        """Tell whether there was word of a specification from a later time."""
        started = self.running.get(event.id)
        if started is not None and event.time < started.time:
            return True
        return event.time < self.failed.get(event.id, "")

    def in_hand(self, storage: Storage, now: float) -> Iterator[Running]:
        """Yield what has started and not ended."""
        for id, event in self.running.items():
            done, total = self.progress.get(id, (None, None))
            yield Running(
                id=id,
                text=event.text,
                name=self.name_of(event),
                since=event.time,
                seconds=max(0.0, now - _seconds(event.time)),
                host=event.host,
                pid=event.pid,
                storage=storage,
                done=done,
                total=total,
            )

    def name_of(self, event: Event) -> str:
        """Return what an event's specification is called; empty where nothing tells."""
        started = self.running.get(event.id, event)
        return str(started.details.get("label", ""))

    def figures(self, record: Mapping[str, Any], seconds: float) -> Figures:
        """Return the figures of a run that is not over. What came up on the way is to do, too."""
        completed, failed = len(self.completed), len(self.failed)
        begun = completed + failed + len(self.running)
        pending = max(_count(record, "pending"), begun)
        return Figures(pending, _count(record, "skipped"), completed, failed, seconds)


class Watch:
    """Watches a batch.

    Parameters
    ----------
    storage
        The batch; it need not be there yet.

    Examples
    --------
    >>> import tempfile
    >>> from smallab.storage.base import open_storage
    >>> watch = Watch(open_storage(tempfile.mkdtemp(), "digits"))
    >>> watch.look().exists
    False
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._failures = Failures(storage)
        self._completed: Texts = {}
        self._listed: tuple[Texts, Texts] | None = None
        self._told: defaultdict[str, _Told] = defaultdict(_Told)  # by run
        self._since: dict[str, int] = {}
        self._over: dict[str, tuple[Mapping[str, Any], Run]] = {}  # by run: its record, and what that tells

    def look(self) -> View:
        """Return what goes on now."""
        self._read()
        seen = self._storage.runs(newest=_RECORDS)  # late: a run that has ended meanwhile is in nobody's hand
        if len(self._over) > 2 * _RECORDS:
            self._over.clear()
        runs = _together([self._run(run) for run in seen if _is_of_batch(run)])
        now = max((run.seen for run in seen), default=0.0)
        running = self._in_hand(runs, {"running"}, now)
        interrupted = self._in_hand(runs, _DEAD, now)
        self._failures.hide(item.id for item in running)
        return View(
            storage=self._storage,
            exists=self._storage.exists(),
            runs=runs,
            running=running,
            interrupted=interrupted,
            completed=self._completed,
            failures=self._failures,
            pending=self._pending(runs, seen),
            record=seen[-1].record if seen else {},
        )

    # What is listed, and what events tell.

    def _read(self) -> None:
        """Read what is new; begin anew where lists have changed, or a run is over and its events are gone."""
        for _ in range(_TRIES):
            listed = self._storage.listed()
            if listed is not self._listed:
                self._begin_anew(listed)
            before = set(self._since)
            for event in self._storage.events(self._since):
                self._take(event)
            if not before <= self._since.keys():
                self._listed = None
            elif self._storage.listed() is listed:  # else what has just ended may be in neither
                break

    def _begin_anew(self, listed: tuple[Texts, Texts]) -> None:
        completed, failed = self._listed = listed
        self._completed = dict(completed)
        self._failures.begin_anew(failed)
        self._told.clear()
        self._since.clear()

    def _take(self, event: Event) -> None:
        told = self._told[event.run_id]
        name = told.name_of(event) if event.name == "failed" else ""
        told.take(event)
        if event.is_counted:
            return
        if event.name == "completed":
            self._completed[event.text] = None
            self._failures.remove(event.id)
            return
        is_newest = event.name == "failed" and event.id in told.failed
        if is_newest and event.text not in self._completed:
            self._failures.add(event.id, Failed(event.text, name, event.time))

    def _in_hand(self, runs: Sequence[Run], states: Collection[State], now: float) -> list[Running]:
        """Return what the runs in some states have started and not ended, the longest first; nothing twice."""
        found: dict[str, Running] = {}
        for run in runs:
            if run.state not in states:
                continue
            for item in self._told[run.id].in_hand(self._storage, now):
                if item.text not in self._completed:  # else another run has completed it meanwhile
                    found[item.id] = item
        return sorted(found.values(), key=lambda item: item.since)

    # The runs.

    def _run(self, seen: SeenRun) -> Run:
        """Return a run as its presence, its record and its events show it."""
        if seen.presence == "ended":
            known = self._over.get(seen.id)
            if known is None or known[0] is not seen.record:
                known = self._over[seen.id] = seen.record, _ended(seen)
            return known[1]
        record, told = seen.record, self._told[seen.id]
        is_alive = seen.presence == "running"
        heard = seen.seen if is_alive else seen.seen - seen.silence
        until = max(heard, _seconds(told.newest))
        started = _seconds(record.get("started")) or until
        return Run(
            id=seen.id,
            host=seen.host,
            pid=seen.pid,
            state=seen.presence,
            silence=seen.silence,
            started=started,
            ended=math.inf if is_alive else until,
            figures=told.figures(record, until - started) if record else None,
            failed_before=_count(record, "failed_before"),
        )

    def _pending(self, runs: Sequence[Run], seen: Sequence[SeenRun]) -> int | None:
        """Return how many specifications the runs that go on, else the newest, have not started.

        One that failed before and waits to be run again has failed, and is not counted here.
        """
        meant = [run for run in runs if run.state == "running"]
        if not meant and seen:
            if seen[-1].record and not _is_of_batch(seen[-1]):  # the record of a function's calls: they do not wait
                return 0
            meant = [run for run in runs if run.id == seen[-1].id]
        known = [run.figures for run in meant if run.figures]
        if not known:
            return None
        waiting = sum((figures.pending or 0) - figures.ended for figures in known)
        for run in meant:
            if run.state == "running":
                waiting -= len(self._told[run.id].running)
        failed_here = sum(figures.failed for figures in known)
        failed_otherwise = max(0, len(self._failures) - failed_here)
        failed_before = sum(run.failed_before for run in meant)
        return max(0, waiting - min(failed_before, failed_otherwise))


def _is_of_batch(run: SeenRun) -> bool:
    """Tell whether a run is one of a batch that can be shown: not of a function's calls, and its record is whole."""
    if run.presence != "ended":
        return True
    counts = (run.record.get("completed"), run.record.get("failed"))
    return all(isinstance(count, int) for count in counts)


def _ended(seen: SeenRun) -> Run:
    """Return a run that is over."""
    record = seen.record
    completed, failed = _count(record, "completed"), _count(record, "failed")
    pending = max(_count(record, "pending"), completed + failed)
    started = _seconds(record.get("started"))
    ended = _seconds(record.get("ended")) or started  # it was killed: then nothing tells
    return Run(
        id=seen.id,
        host=str(seen.host),
        pid=_count(record, "pid"),
        state="ended" if completed + failed == pending else "stopped",
        silence=0.0,
        started=started,
        ended=ended,
        figures=Figures(pending, _count(record, "skipped"), completed, failed, ended - started),
        failed_before=_count(record, "failed_before"),
    )


def _together(runs: Sequence[Run]) -> list[Run]:
    """Return the runs that go on, else the newest, and all that went on at the same time; the newest first."""
    newest_first = sorted(runs, key=lambda run: run.id, reverse=True)
    group = [run for run in newest_first if run.state == "running"] or newest_first[:1]

    def is_more(run: Run) -> bool:
        return run not in group and any(_overlap(run, other) for other in group)

    while more := list(filter(is_more, newest_first)):
        group += more
    return sorted(group, key=lambda run: run.id, reverse=True)


def _overlap(one: Run, other: Run) -> bool:
    return one.started < other.ended and other.started < one.ended


def _count(record: Mapping[str, Any], key: str) -> int:
    """Return a number that a record holds; 0 where it does not."""
    value = record.get(key)
    return value if isinstance(value, int) else 0


def _finite(value: object) -> float | None:
    """Return a number if it is one to reckon with; None for anything else that an experiment says."""
    if isinstance(value, (int, float)) and abs(value) < 1e15:
        return value
    return None


def _seconds(time: object) -> float:
    """Return an ISO 8601 time in seconds since 1970; 0 where it is none."""
    with suppress(ValueError, OverflowError):
        return datetime.fromisoformat(time).timestamp() if isinstance(time, str) else 0.0
    return 0.0
