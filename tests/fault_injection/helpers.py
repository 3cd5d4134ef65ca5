"""Batches to break, what must hold of their folders, and processes to kill.

What is expected is worked out here from the files themselves (json, pickle, hashlib), not with smallab's own readers.
"""

import hashlib
import json
import multiprocessing
import os
import pickle
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest
from misbehaving import is_gone

from smallab import ExperimentRunner
from smallab.storage.base import open_storage
from smallab.storage.list_files import UnreadableListError

from .experiments import result_of

PATIENCE = 60.0  # seconds until a test gives up waiting: far more than anything here takes
PYTHONPATH = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])

# The processes come from a server that has run a batch before, and has no threads: each takes milliseconds to start.
_processes = multiprocessing.get_context("spawn" if os.name == "nt" else "forkserver")
if os.name != "nt":
    _processes.set_forkserver_preload(["pytest", "fault_injection.warm"])


def executed(path: Path) -> list[int]:
    """Return the x of every execution so far, in order."""
    return [int(line) for line in path.read_text().splitlines()] if path.exists() else []


def run(root, batch, experiment, name="batch", **options):
    return ExperimentRunner(experiment_folder=root).run(name, batch, experiment, show_progress=False, **options)


def identity(specification: dict) -> str:
    text = json.dumps(specification, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def listed(folder: Path, which: str = "completed") -> list[int]:
    """Return the x of a list's specifications, sorted; fail where it is no JSON list, or names one twice."""
    path = folder / f"{which}.json"
    found = sorted(item["x"] for item in json.loads(path.read_text())) if path.exists() else []
    assert [x for x, count in Counter(found).items() if count > 1] == []
    return found


def visible(folder: Path) -> list[int]:
    """Return the x of every result that can be seen; fail where one is not whole and right, with what is beside it."""
    found = []
    for path in folder.rglob("*.pkl"):
        record = pickle.loads(path.read_bytes())
        assert path.stem == path.parent.name == identity(record["specification"])
        assert record == {"specification": record["specification"], "result": result_of(record["specification"])}
        assert json.loads((path.parent / "specification.json").read_text()) == record["specification"]
        metadata = json.loads((path.parent / "metadata.json").read_text())
        assert metadata["size"] == path.stat().st_size
        assert metadata["digest"] == hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
        assert {"run_id", "started", "ended", "duration", "host", "pid", "attempt"} <= metadata.keys()
        found.append(record["specification"]["x"])
    return sorted(found)


def run_and_rebuild(root: Path, batch: list[dict], experiment, **options):
    """Run a batch; where a list cannot be read, do what the error says, and run it again."""
    try:
        return run(root, batch, experiment, **options)
    except UnreadableListError:
        open_storage(root, "batch").rebuild()
        return run(root, batch, experiment, **options)


def check_always(folder: Path) -> None:
    """Check what holds at every moment, also while runs go on and after they were killed."""
    completed, failed = listed(folder), listed(folder, "failed")
    assert set(completed) <= set(visible(folder))
    assert not set(completed) & set(failed)
    for record in (folder / "runs").glob("*.json"):
        json.loads(record.read_text())


def check_finished(folder: Path, completed: list[dict], failed: list[dict] = ()) -> None:
    """Check what holds once a run has come to its end."""
    check_always(folder)
    assert listed(folder) == sorted(item["x"] for item in completed)
    assert listed(folder, "failed") == sorted(item["x"] for item in failed)
    assert leftovers(folder, failed) == []


def leftovers(folder: Path, failed: list[dict] = ()) -> list[str]:
    """Return every file that is not part of a finished batch, and a lock."""
    failures = {identity(item) for item in failed}
    stray = [path for path in folder.rglob("*") if not _belongs(path.relative_to(folder).parts, failures)]
    return sorted(str(path.relative_to(folder)) for path in stray)


def _belongs(parts: tuple[str, ...], failures: set[str]) -> bool:
    match parts:
        case ("completed.json" | "failed.json" | "runs" | "journal",):
            return True
        case ("runs", entry):
            return entry.endswith(".json")
        case (entry,):
            return len(entry) == 32 or entry.startswith(("completed.json.before-", "failed.json.before-"))
        case (id, entry):
            its_own = {
                "specification.json",
                "metadata.json",
                f"{id}.pkl",
                *(["failure.json"] if id in failures else []),
            }
            return len(id) == 32 and entry in its_own
    return False


def wait_for(condition: Callable[[], object], what: str) -> None:
    """Wait until something holds, looking every few milliseconds."""
    until = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < until, f"waited {PATIENCE} s in vain for {what}"
        time.sleep(0.002)


def start(function: Callable[..., object], *arguments: object) -> multiprocessing.Process:
    """Start a function in a fresh process."""
    process = _processes.Process(target=function, args=arguments)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", PYTHONPATH)  # for the server, which this may be the first to start
        process.start()
    return process


def end(process: multiprocessing.Process, exit_code: int = 0) -> None:
    """Wait for a process, which must end in the way that is expected."""
    process.join(PATIENCE)
    if process.exitcode is None:
        process.kill()
    assert process.exitcode == exit_code


def barrier(count: int):
    """Return a barrier that processes can be started with."""
    return _processes.Barrier(count)


@contextmanager
def script(*arguments: object, **options):
    """Run a module of this folder as a process of its own, in a process group of its own; end it with the block."""
    command = [sys.executable, "-m", *map(str, arguments)]
    with subprocess.Popen(
        command, env=os.environ | {"PYTHONPATH": PYTHONPATH}, start_new_session=True, **options
    ) as process:
        try:
            yield process
        finally:
            kill_group(process)


def kill_group(process: subprocess.Popen) -> None:
    """Kill a process and all that it started, but for the one that clears up shared memory behind loky's dead."""
    others = [*group_of(process.pid), *family_of(process)]
    process.kill()  # nothing where it has ended
    for other in others:
        with suppress(psutil.NoSuchProcess):
            if "resource_tracker" not in " ".join(other.cmdline()):
                other.kill()


def family_of(process: subprocess.Popen) -> list[psutil.Process]:
    """Return what a process has started, and what that has."""
    with suppress(psutil.NoSuchProcess):
        family = psutil.Process(process.pid).children(recursive=True)
        return [it for it in family if not is_gone(it.pid)]
    return []


def group_of(group: int) -> list[psutil.Process]:
    """Return the processes of a process group that are alive."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        with suppress(psutil.Error, ProcessLookupError):
            if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


@contextmanager
def mounted(kind: str, where: Path, options: str, source: str = "tmpfs"):
    """Mount something; skip the test where that is not permitted."""
    where.mkdir(exist_ok=True)
    command = ["mount", *(["--bind"] if kind == "bind" else ["-t", kind, "-o", options]), source, str(where)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"mounting is not permitted here: {error}")
    try:
        if kind == "bind":
            subprocess.run(["mount", "-o", f"remount,bind,{options}", str(where)], check=True, capture_output=True)
        yield where
    finally:
        subprocess.run(["umount", "-l", str(where)], check=True)
