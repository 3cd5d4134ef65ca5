"""What is known of the batches on disk, without loading a result: what the command ``smallab`` shows."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from smallab.calls import Calls
from smallab.files import entries, process_gone
from smallab.journal import GRACE_SECONDS, Journal
from smallab.specification import Specification, digest, parse
from smallab.storage import Storage

Texts = Mapping[str, Any]  # canonical JSON

_EVENT = re.compile(rb'^\{"event":"(started|completed|failed)","id":"([^"]+)","time":"([^"]+)"[^\n]*', re.MULTILINE)


class Running(NamedTuple):
    """A specification that is running.

    Attributes
    ----------
    id
        Its folder's name.
    since
        When it started: ISO 8601, UTC.
    specification
        As it was asked for.
    label
        What the experiment's ``get_name`` calls it; empty where it does not.
    """

    id: str
    since: str
    specification: Specification
    label: str


class Batch(NamedTuple):
    """What is known of a batch.

    Attributes
    ----------
    storage
        Its folder tree.
    completed, failed
        Specifications, as canonical JSON.
    running
        Those that a living run has started and not ended.
    pending
        How many the runs that are going on (else the newest) have not started; None where no run's record tells.
    record
        The newest run's record; empty where there is none.
    calls
        Where the experiment is a function: what came of calling it.
    """

    storage: Storage
    completed: Texts
    failed: Texts
    running: list[Running]
    pending: int | None
    record: dict[str, Any]
    calls: list[Call]

    @property
    def counts(self) -> dict[str, int | None]:
        """How many specifications (and calls) are done, failed, pending and running."""
        return {
            "done": len(self.completed) + sum(not call.failed for call in self.calls),
            "failed": len(self.failed) + sum(call.failed for call in self.calls),
            "pending": self.pending,
            "running": len(self.running),
        }


def batch_names(root: str) -> list[str]:
    """Return the names of the batches in a folder: of the folders that hold a list, a journal or a run's record."""
    signs = ("completed.json", "failed.json", "journal", "runs")
    return [name for name in entries(root) if any(os.path.exists(os.path.join(root, name, sign)) for sign in signs)]


def inspect(storage: Storage) -> Batch:
    """Return what is known of a batch; nothing is written, and no result is opened."""
    living = _living(storage)
    ended, running = _events(storage, living)  # before the lists: what ends meanwhile is seen twice, not never
    completed, failed = Journal(storage).state()
    ids = {item.id for item in running}
    failed = {text: None for text in failed if digest(text) not in ids} if ids else failed
    runs = sorted(entry.removesuffix(".json") for entry in entries(f"{storage.folder}/runs") if entry.endswith(".json"))
    records = {run: _record(storage, run) for run in {*runs[-1:], *living}}
    pending = [_pending(records[run], ended.get(run, 0)) for run in living or runs[-1:]]
    known = [count for count in pending if count is not None]
    total = max(0, sum(known) - len(running)) if known else None
    return Batch(storage, completed, failed, running, total, records[runs[-1]] if runs else {}, _calls(storage))


def _living(storage: Storage) -> list[str]:
    """Return the runs that are going on: their heartbeat is young, and their process not known to be gone."""
    found = []
    for entry in entries(storage.journal):
        run_id, *owner, suffix = entry.split(".")
        if suffix == "heartbeat" and len(owner) == 2:
            with suppress(FileNotFoundError):  # it has just ended
                silent = time.time() - os.stat(f"{storage.journal}/{entry}").st_mtime
                if silent < GRACE_SECONDS and not process_gone(owner[0], int(owner[1])):
                    found.append(run_id)
    return found


def _events(storage: Storage, living: Collection[str]) -> tuple[dict[str, int], list[Running]]:
    """Return how many specifications each run's journals say have ended, and what is running.

    Only what is running is read as JSON: a run of 100,000 specifications has 200,000 lines.
    """
    ended: dict[str, int] = {}
    running: list[Running] = []
    for entry in entries(storage.journal):
        if entry.endswith(".jsonl"):
            run_id = entry.partition(".")[0]
            last = _last_events(f"{storage.journal}/{entry}")
            started = {id: line for id, (event, line) in last.items() if event == b"started"}
            ended[run_id] = ended.get(run_id, 0) + len(last) - len(started)
            running += [_running(line) for line in started.values()] if run_id in living else []
    return ended, running


def _last_events(path: str) -> dict[bytes, tuple[bytes, bytes]]:
    """Return the newest event of each specification in a journal, and its line."""
    with suppress(FileNotFoundError), open(path, "rb") as file:
        return {match[2]: (match[1], match[0]) for match in _EVENT.finditer(file.read())}
    return {}


def _running(line: bytes) -> Running:
    event = json.loads(line)
    return Running(event["id"], event["time"], event["specification"], event.get("label", ""))


def _record(storage: Storage, run_id: str) -> dict[str, Any]:
    with suppress(OSError, ValueError), open(f"{storage.folder}/runs/{run_id}.json", encoding="utf-8") as file:
        record = json.load(file)
        return record if isinstance(record, dict) else {}
    return {}


def _pending(record: Mapping[str, Any], ended: int) -> int | None:
    """Return how many specifications of a run have not ended, where its record tells how many it had."""
    if "completed" not in record:  # not of a batch, but of calls
        return 0
    try:
        all_of_them, done = int(record["pending"]), int(record["completed"]) + int(record["failed"])
    except (LookupError, TypeError, ValueError):
        return None
    return max(0, all_of_them - max(ended, done))


# Calls of experiments that are functions: a folder each, and no list.


class Call(NamedTuple):
    """A call that has ended.

    Attributes
    ----------
    id
        Its folder's name, which begins with its time.
    failed
        It raised.
    """

    id: str
    failed: bool


def _calls(storage: Storage) -> list[Call]:
    """Return the calls that have ended, the oldest first."""
    calls = Calls(storage.root, storage.name)
    found = ((id, entries(storage.folder_of(id))) for id in calls.ids())
    return [Call(id, "failure.json" in names) for id, names in found if "specification.json" in names]


# Finding specifications.


def having_prefix(texts: Iterable[str], prefix: str) -> list[str]:
    """Return the specifications whose id begins so."""
    return [text for text in texts if digest(text).startswith(prefix)]


def where(conditions: Iterable[str]) -> Callable[[str], bool]:
    """Return a function that tells whether a specification (canonical JSON) meets all conditions.

    Parameters
    ----------
    conditions
        ``key=value``, the keys of nested dicts joined with a dot, values as JSON (or as text).

    Raises
    ------
    ValueError
        A condition has no ``=``.

    Examples
    --------
    >>> where(["model.depth=2", "name=svm"])('{"model":{"depth":2},"name":"svm"}')
    True
    """
    wanted = []
    for condition in conditions:
        key, equals, text = condition.partition("=")
        if not equals:
            raise ValueError(f"{condition!r} is no condition: write key=value")
        wanted.append((key, text))

    def met(text: str) -> bool:
        specification = parse(text)
        return all(_is(_at(specification, key), value) for key, value in wanted)

    return met


def _at(specification: Any, key: str) -> Any:
    """Return the value at a key, or at a path of keys joined with dots; an unlikely object where there is none."""
    if isinstance(specification, dict):
        if key in specification:
            return specification[key]
        first, dot, rest = key.partition(".")
        if dot and first in specification:
            return _at(specification[first], rest)
    return _Nothing


class _Nothing:
    """Stands for a key that is not there: null is a value."""


def _is(found: object, text: str) -> bool:
    try:
        value = json.loads(text)
    except ValueError:
        return found == text
    return found == text or (found == value and isinstance(found, bool) == isinstance(value, bool))


# Forgetting.


def forget(storage: Storage, texts: Collection[str]) -> list[str]:
    """Take specifications out of ``completed.json`` and ``failed.json``, so that they count as never run.

    Their folders stay as they are, until a new result replaces the old one.

    Parameters
    ----------
    storage
        The batch.
    texts
        Specifications, as canonical JSON.

    Returns
    -------
    list of str
        Those that could not be forgotten: a run that is going on has just ended them.
    """
    os.makedirs(storage.journal, exist_ok=True)
    journal = Journal(storage)
    journal.recover()
    journal.fold(forgotten=texts)
    completed, failed = journal.state()
    return [text for text in texts if text in completed or text in failed]
