"""SIGKILL at random moments: what was saved stays, and each worker loses at most what it had in hand."""

import json
import os
import random
import sys
import time
from contextlib import ExitStack

import pytest
from misbehaving import is_gone

from smallab import load_results

from .experiments import Counted, specifications
from .helpers import (
    check_always,
    check_finished,
    executed,
    family_of,
    kill_group,
    run,
    script,
    visible,
    wait_for,
)

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")

ROUNDS = int(os.environ.get("SMALLAB_KILL_ROUNDS", "4"))
EACH = 12  # specifications for each round, so that most kills find work going on


@pytest.mark.parametrize(
    ("backend", "workers", "everybody"),
    [("threading", 1, True), ("threading", 4, True), ("loky", 2, True), ("loky", 2, False)],
    ids=["one thread", "four threads", "loky", "loky, the runner alone"],
)
def test_killed_again_and_again(tmp_path, backend, workers, everybody):
    """With loky, the workers of a runner that is killed alone may still be there when the next round begins."""
    with ExitStack() as scripts:
        rounds = _Rounds(tmp_path, backend, workers, everybody, scripts)
        for _ in range(ROUNDS):
            rounds.kill_once()
        rounds.run_to_the_end()
    print(
        f"\n{backend}, {workers} workers: {rounds.kills} kills, at most {rounds.most_lost} ran again", file=sys.stderr
    )


def test_workers_whose_runner_was_killed_end_in_the_middle(tmp_path):
    executions, go = tmp_path / "executions", tmp_path / "go"
    options = {"root": str(tmp_path / "root"), "count": 20, "executions": str(executions), "until": str(go)}
    with script("fault_injection.run_batch", json.dumps(options | {"backend": "loky", "workers": 2})) as process:
        wait_for(lambda: len(executed(executions)) == 2, "both workers to have something in hand")
        workers = family_of(process)
        assert len(workers) == 2
        process.kill()
        process.wait()
        wait_for(lambda: all(is_gone(worker.pid) for worker in workers), "them to end")
    assert sorted(executed(executions)) == [0, 1]
    run(tmp_path / "root", specifications(20), Counted(executions))
    check_finished(tmp_path / "root" / "batch", specifications(20))


class _Rounds:
    """A batch that is started and killed, again and again."""

    def __init__(self, tmp_path, backend, workers, everybody, scripts):
        self.workers, self.everybody, self.scripts = workers, everybody, scripts
        self.folder, self.executions = tmp_path / "root" / "batch", tmp_path / "executions"
        self.count = ROUNDS * EACH
        options = {"root": str(tmp_path / "root"), "count": self.count, "executions": str(self.executions)}
        self.options = json.dumps(options | {"backend": backend, "workers": workers, "seconds": 0.003})
        self.random = random.Random(f"{backend}{workers}{everybody}")
        self.kills = self.most_lost = 0
        self.lost: set[int] = set()

    def kill_once(self):
        before = executed(self.executions)
        process = self.scripts.enter_context(script("fault_injection.run_batch", self.options))
        self._wait_for_the_moment(process, len(before))
        self.kills += process.poll() is None
        kill_group(process) if self.everybody else process.kill()
        process.wait()
        self._check(before)

    def _wait_for_the_moment(self, process, before):
        """Mostly amid the work, now and then while the last kill is being recovered from."""
        if self.random.random() < 0.2:
            known = set(self._journals())
            wait_for(lambda: process.poll() is not None or set(self._journals()) != known, "the journal to change")
        else:
            enough = before + self.random.randint(1, EACH)
            wait_for(lambda: process.poll() is not None or len(executed(self.executions)) >= enough, "executions")
        time.sleep(self.random.random() * 0.01)  # the moment itself is random

    def _journals(self):
        return os.listdir(self.folder / "journal") if (self.folder / "journal").exists() else []

    def _check(self, before):
        if not self.folder.exists():
            return
        check_always(self.folder)
        done = executed(self.executions)
        again = set(done[len(before) :]) & set(before)
        assert again <= self.lost, "something ran again that had been saved"
        completed = {item.specification["x"] for item in load_results("batch", self.folder.parent) if item.value}
        assert completed <= set(visible(self.folder))
        self.lost = set(done) - completed
        self.most_lost = max(self.most_lost, len(self.lost))
        assert len(self.lost) <= self.workers

    def run_to_the_end(self):
        before = executed(self.executions)
        with script("fault_injection.run_batch", self.options) as process:
            assert process.wait() == 0
        done = executed(self.executions)
        assert set(done[len(before) :]) & set(before) <= self.lost
        check_finished(self.folder, specifications(self.count))
        assert len(run(self.folder.parent, specifications(self.count), Counted(self.executions)).skipped) == self.count
        assert executed(self.executions) == done
        check_finished(self.folder, specifications(self.count))
