"""A kill at every single operation on the disk of a small batch, in turn."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from .disk import Injector
from .experiments import Counted, note, specification, specifications
from .helpers import (
    PYTHONPATH,
    check_always,
    check_finished,
    end,
    executed,
    listed,
    run,
    run_and_rebuild,
    start,
    visible,
)

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")

BATCH = specifications(2, start=3)
FAILING = specification(7, fails=True)
AGAIN = -1  # stands between two runs among the executions


def _work(root, batch, kill_at=0, options=None, times=1):
    """Run a batch and die at one of its operations; else write down how many there were."""
    os.environ["PATH"] = ""  # git is not asked: it writes nothing, and takes longer than all the rest
    injector = Injector(root / "batch", kill_at)
    injector.install()
    for _ in range(times):
        run_and_rebuild(root, batch, Counted(root / "executions"), **options or {})
        note(root / "executions", AGAIN)
    (root / "points").write_text(json.dumps([injector.points, injector.counts]))


def _killed(root, batch, kill_at, options):
    process = start(_work, root, batch, kill_at, options)
    process.join()
    assert process.exitcode in {0, -signal.SIGKILL}
    return process.exitcode != 0


def _nothing(root):
    """Nothing has run before."""


def _dead_run(root):
    """A run was killed amid its work: something saved but not listed, something half saved."""
    process = start(_die_while_saving, root)
    end(process, -signal.SIGKILL)


def _die_while_saving(root):
    aside = []

    def die_with_half_of_the_second_result(name, path):
        if name == "half a write" and path.endswith(".tmp") and path.count("/") > str(root).count("/") + 2:
            aside.append(path)
        if len(aside) == 2:
            os.kill(os.getpid(), signal.SIGKILL)

    Injector(root / "batch", on=die_with_half_of_the_second_result).install()
    run(root, BATCH, Counted(root / "executions"))


def _whole_batch(root):
    """All has completed before."""
    end(start(_work, root, BATCH))


def _unreadable_list(root):
    """All but one have completed, and the list is then cut short."""
    end(start(_work, root, BATCH[:-1]))
    (root / "batch" / "completed.json").write_bytes(_cut_short(BATCH[:-1]))


def _cut_short(batch):
    lines = [json.dumps(item, sort_keys=True, separators=(",", ":")) for item in batch]
    return ("[\n" + ",\n".join(lines))[:-5].encode()


SCENARIOS = {
    "a new batch": (_nothing, BATCH, {}),
    "one that fails": (_nothing, [BATCH[0], FAILING], {}),
    "a dead run to recover": (_dead_run, BATCH, {}),
    "an unreadable list": (_unreadable_list, BATCH, {}),
    "everything again": (_whole_batch, BATCH, {"continue_from_last_run": False}),
}


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_killed_at_every_operation(quick_folder, scenario):
    prepare, batch, options = SCENARIOS[scenario]
    before = quick_folder / "before"
    before.mkdir()
    prepare(before)
    saved = set(visible(before / "batch"))
    points = _count_points(quick_folder, before, batch, options)
    for kill_at in range(1, points + 1):
        root = quick_folder / "root"
        shutil.copytree(before, root)
        try:
            assert _killed(root, batch, kill_at, options), f"operation {kill_at} of {points} was not reached"
            _check_after_kill(root, batch, set() if options else saved)
        except AssertionError as error:
            error.add_note(f"killed at operation {kill_at} of {points}")
            raise
        shutil.rmtree(root)
    print(f"\n{scenario}: killed at each of {points} operations", file=sys.stderr)


def _count_points(quick_folder, before, batch, options):
    """Run it once unharmed; return how many places to die at there are, each kind of operation among them."""
    root = quick_folder / "unharmed"
    shutil.copytree(before, root)
    assert not _killed(root, batch, 0, options)
    points, counts = json.loads((root / "points").read_text())
    assert {"open", "write", "half a write", "close", "mkdir", "replace", "unlink", "rmdir", "sync"} <= counts.keys()
    return points


def _check_after_kill(root, batch, saved):
    folder = root / "batch"
    failing = [item for item in batch if item.get("fails")]
    passing = [item for item in batch if not item.get("fails")]
    saved = saved | _completed_so_far(folder)
    before = executed(root / "executions")
    _let_a_minute_pass(folder / "journal" / "lock")
    end(start(_work, root, batch, 0, {}, 2))  # to the end, and once more
    ran, ran_then, _ = _split(executed(root / "executions")[len(before) :])
    again = set(ran) & set(before) - {item["x"] for item in failing}
    assert not again & saved, "what had been saved ran again"
    assert len(again - set(executed(root.parent / "before" / "executions"))) <= 1, (
        "one worker had more than one in hand"
    )
    assert ran_then == [item["x"] for item in failing], "when all was done, something ran"
    check_finished(folder, passing, failing)


def _let_a_minute_pass(lock):
    """A lock whose owner had not yet put its name into it is given some seconds; these are not waited for here."""
    if lock.exists():
        os.utime(lock, (lock.stat().st_atime - 60, lock.stat().st_mtime - 60))


def _completed_so_far(folder):
    """Return what is listed right after the kill, and check what must hold then."""
    if not folder.exists():
        return set()
    for path in folder.glob("completed.json"):
        if b"]" not in path.read_bytes():  # the one that was cut short: as it was, or mended
            assert path.read_bytes() == _cut_short(BATCH[:-1])
            return set()
    check_always(folder)
    return set(listed(folder))


def _split(executions):
    """Return the executions of each run."""
    runs = [[]]
    for x in executions:
        runs.append([]) if x == AGAIN else runs[-1].append(x)
    return runs


@pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed")
def test_nothing_writes_past_the_wrapped_functions(tmp_path):
    trace, log = tmp_path / "trace", tmp_path / "log"
    command = ["strace", "-f", "-y", "-qq", "-s0", "-o", str(trace), "-e", f"trace={_CALLS}"]
    code = "import sys; from fault_injection.test_kill_everywhere import _traced; _traced(sys.argv[1])"
    environment = os.environ | {"PYTHONPATH": PYTHONPATH}
    done = subprocess.run(
        [*command, sys.executable, "-c", code, str(tmp_path)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode and "ptrace" in done.stderr.lower():
        pytest.skip(f"strace is not permitted here: {done.stderr}")
    assert done.returncode == 0, done.stderr
    assert _seen_by_strace(trace, tmp_path / "batch") == Counter(log.read_text().splitlines())


def _traced(path):
    root = Path(path)
    os.environ["PATH"] = ""
    log = []
    injector = Injector(root / "batch", on=lambda name, path: log.append(f"{name} {path}"))
    injector.install()
    run(root, [*BATCH, FAILING], Counted(root / "executions"))
    kinds = {"replace": "rename", "remove": "unlink"}
    lines = [
        f"{kinds.get(name, name)} {path}"
        for name, path in (line.split(" ", 1) for line in log if line[:4] not in {"half", "clos", "sync", "fsyn"})
    ]
    with injector._plain_open(root / "log", "w") as file:
        file.write("\n".join(lines) + "\n")


_CALLS = (
    "openat,open,creat,write,writev,pwrite64,pwritev,mkdir,mkdirat,rename,renameat,renameat2,unlink,unlinkat,rmdir,"
    "link,linkat,symlink,symlinkat,truncate,ftruncate,fallocate,chmod,fchmod,fchmodat,utimensat,sendfile,copy_file_range"
)
_CALL = re.compile(
    r'^\d+ +(?P<name>\w+)\((?:AT_FDCWD(?:<[^>]*>)?, )?(?:"(?P<path>[^"]*)"|\d+<(?P<file>[^>]*)>)(?P<rest>.*)'
)
_KINDS = {
    "openat": "open",
    "creat": "open",
    "renameat": "rename",
    "renameat2": "rename",
    "mkdirat": "mkdir",
    "utimensat": "utime",
}


def _seen_by_strace(trace, folder):
    """Return what changed the disk below a folder: kind and path, counted."""
    seen = Counter()
    for line in trace.read_text().splitlines():
        call = _CALL.match(line)
        path = call and (call["path"] or call["file"])
        if not path or not path.startswith(str(folder)) or (call["name"].startswith("open") and "O_RDONLY" in line):
            continue
        kind = "rmdir" if "AT_REMOVEDIR" in line else _KINDS.get(call["name"], call["name"])
        seen[f"{kind} {path}"] += 1
    return seen
