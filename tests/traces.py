"""A run's traces, left by this process: what a runner and its workers leave, with their own functions."""

import json
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from smallab.observation import Failure
from smallab.specification import canonical, digest


@contextmanager
def living(storage, pending=10, skipped=0, started=None, **more):
    """Be a run that is alive."""
    record = {"started": (started or datetime.now(UTC)).isoformat(), "pending": pending, "skipped": skipped, **more}
    with storage.run(record) as run:
        yield run


def text(x):
    return canonical({"x": x})


def id_of(x):
    return digest(text(x))


def tell(storage, run, event, x, **details):
    storage.tell(run.id, event, text(x), details)


def fail(storage, run, x, message="no"):
    ended = datetime.now(UTC).isoformat()
    metadata = {"run_id": run.id, "started": "", "ended": ended, "duration": 0.0}
    storage.fail(run.id, text(x), Failure("ValueError", message), metadata)


def journal_of(storage, run):
    """Return this process's journal."""
    (path,) = Path(storage.folder, "journal").glob(f"{run.id}.*.jsonl")
    return path


def journal_of_another(storage, run, pid, *events):
    """Write a journal as another process would: (event, x, seconds)."""
    begin = datetime(2026, 11, 21, tzinfo=UTC)
    lines = [
        {"event": event, "id": id_of(x), "time": (begin + timedelta(seconds=seconds)).isoformat(),
         "specification": {"x": x}}
        for event, x, seconds in events
    ]  # fmt: skip
    path = Path(storage.folder, "journal", f"{run.id}.elsewhere.{pid}.jsonl")
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
