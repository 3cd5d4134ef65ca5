"""What runners and their workers leave behind: in processes of their own, or by this process with their functions."""

import json
import subprocess
import sys
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from smallab.observation import Failure
from smallab.specification import canonical, digest

BOUND = 60  # seconds, for what should take one

SCRIPT = """
import os, sys, time
from pathlib import Path
from smallab import Experiment, ExperimentRunner
from smallab.experiment_types import CheckpointedExperiment

def wait_for(name):
    until = time.monotonic() + 120
    while not Path(name).exists():
        assert time.monotonic() < until, name
        time.sleep(0.005)

class Steps(CheckpointedExperiment):
    def get_name(self, specification):
        return f"net {specification['n']}"
    def initialize(self, specification):
        self.n, self.steps = specification["n"], 0
    def step(self):
        self.steps += 1
        if self.n == 0:
            raise ValueError("the loss is not a number")
        if self.steps == 2 and self.n > 1:
            wait_for(f"go{self.n}")
        return {} if self.steps == 3 else (self.steps, 3)

if __name__ == "__main__":
    begin, end, parallel, backend = *map(int, sys.argv[1:4]), sys.argv[4]
    batch = [{"n": n} for n in range(begin, end)]
    ExperimentRunner(Path("runs")).run("digits", batch, Steps(), num_parallel=parallel, backend=backend)
"""


@contextmanager
def batches_in_processes(folder):
    """Yield a function that starts a batch in a process of its own: net 0 fails, net 1 completes, the others wait."""
    (folder / "batch.py").write_text(SCRIPT, encoding="utf-8")
    processes = []

    def start(begin, end, parallel=2, backend="threading"):
        command = [sys.executable, "batch.py", *map(str, (begin, end, parallel)), backend]
        process = subprocess.Popen(command, cwd=folder, stderr=subprocess.DEVNULL)
        processes.append(process)
        return process

    try:
        yield start
    finally:
        for process in processes:
            process.kill()
            process.wait()


def wait_for(condition):
    until = time.monotonic() + BOUND
    while not (found := condition()):
        assert time.monotonic() < until
        time.sleep(0.02)
    return found


# What this process leaves.


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


def fail(storage, run, x, message="no", traceback=""):
    ended = datetime.now(UTC).isoformat()
    metadata = {"run_id": run.id, "started": "", "ended": ended, "duration": 0.0}
    storage.fail(run.id, text(x), Failure("ValueError", message, traceback), metadata)


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
