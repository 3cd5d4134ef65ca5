"""A disk that fills: what does not fit has failed, nothing else is touched, and with space again it runs."""

import json
import logging
import os
import subprocess
import sys

import pytest

from smallab import load_results

from .experiments import Counted, specifications
from .helpers import check_always, check_finished, end, executed, identity, listed, mounted, run, start, visible

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has neither RLIMIT_FSIZE nor tmpfs")

LIMIT = 64 * 1024  # bytes that a file may have
LARGE = {"x": 100, "size": 2 * LIMIT}


def _run_within(root, batch, **options):
    """Run a batch where no file can grow beyond the limit; what a full disk does to one that is too large."""
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, LIMIT))
    result = run(root, batch, Counted(root / "executions"), **options)
    (root / "failed").write_text(json.dumps([failure.type for _, failure in result.failed]))


@pytest.mark.parametrize("workers", [1, 3])
def test_a_result_that_does_not_fit_has_failed_and_only_it_runs_again(tmp_path, workers):
    batch = [*specifications(3), LARGE, *specifications(3, 10)]
    end(start(_run_within_workers, tmp_path, batch, workers))
    assert json.loads((tmp_path / "failed").read_text()) == ["OSError"]
    fitting = [item for item in batch if item is not LARGE]
    check_finished(tmp_path / "batch", fitting, [LARGE])
    failure = json.loads((tmp_path / "batch" / identity(LARGE) / "failure.json").read_text())
    assert "File too large" in failure["message"]
    before = executed(tmp_path / "executions")
    assert run(tmp_path, batch, Counted(tmp_path / "executions")).completed == [LARGE]
    assert executed(tmp_path / "executions") == [*before, 100]
    check_finished(tmp_path / "batch", batch)


def _run_within_workers(root, batch, workers):
    _run_within(root, batch, num_parallel=workers)


def test_a_rerun_that_does_not_fit_leaves_the_older_result_whole(tmp_path):
    run(tmp_path, [LARGE], Counted(tmp_path / "executions"))
    end(start(_run_again_within, tmp_path, [LARGE]))
    assert visible(tmp_path / "batch") == [100]
    assert (listed(tmp_path / "batch"), listed(tmp_path / "batch", "failed")) == ([], [100])
    run(tmp_path, [LARGE], Counted(tmp_path / "executions"))
    check_finished(tmp_path / "batch", [LARGE])


def _run_again_within(root, batch):
    _run_within(root, batch, continue_from_last_run=False)


def test_a_disk_that_is_full_when_the_lists_are_written_leaves_them_as_they_were(tmp_path):
    """The new results are in the journal, and count."""
    many, more = [{"x": x, "size": 0, "padding": "x" * 1000} for x in range(100)], specifications(2, 200)
    run(tmp_path, many, Counted(tmp_path / "executions"))
    before = (tmp_path / "batch" / "completed.json").read_bytes()
    assert len(before) > LIMIT
    end(start(_run_within, tmp_path, [*many, *more]))
    assert (tmp_path / "batch" / "completed.json").read_bytes() == before
    check_always(tmp_path / "batch")
    assert len(list(load_results("batch", tmp_path))) == 102
    ran = executed(tmp_path / "executions")
    assert len(run(tmp_path, [*many, *more], Counted(tmp_path / "executions")).skipped) == 102
    assert executed(tmp_path / "executions") == ran
    check_finished(tmp_path / "batch", [*many, *more])


def test_a_journal_that_cannot_grow_fails_what_it_cannot_tell_of(tmp_path):
    """The lists do not fit either; what the journal could tell is not lost, and stops nobody."""
    batch = [{"x": x, "size": 0, "padding": "x" * 1000} for x in range(100)]
    end(start(_run_within, tmp_path, batch))
    saved = {item.specification["x"] for item in load_results("batch", tmp_path) if not item.failure}
    assert 10 < len(saved) < 50
    assert set(json.loads((tmp_path / "failed").read_text())) == {"OSError"}
    before = len(executed(tmp_path / "executions"))
    end(start(_run_within_a_large_limit, tmp_path, batch))
    assert not saved & set(executed(tmp_path / "executions")[before:])
    check_finished(tmp_path / "batch", batch)


def _run_within_a_large_limit(root, batch):
    assert run(root, batch, Counted(root / "executions"))


@pytest.fixture
def small_disk(tmp_path):
    with mounted("tmpfs", tmp_path / "disk", "size=580k") as disk:
        yield disk


def test_a_small_disk_that_fills(small_disk, tmp_path):
    batch = [{"x": x, "size": 150_000} for x in range(5)]
    executions = tmp_path / "executions"
    end(start(_run_to, small_disk, batch, executions))
    check_always(small_disk / "batch")
    assert listed(small_disk / "batch") == visible(small_disk / "batch") == [0, 1, 2]
    assert listed(small_disk / "batch", "failed") == [3, 4]
    failures = {item.specification["x"]: item.failure for item in load_results("batch", small_disk) if item.failure}
    assert {failure.type for failure in failures.values()} == {"OSError"}
    assert all("No space left" in failure.message for failure in failures.values())
    subprocess.run(["mount", "-o", "remount,size=8m", str(small_disk)], check=True)
    end(start(_run_to, small_disk, batch, executions))
    assert executed(executions) == [0, 1, 2, 3, 4, 3, 4]
    check_finished(small_disk / "batch", batch)


def test_a_disk_without_a_single_byte_left(small_disk, tmp_path):
    """Not even a failure can be recorded then: the run goes through its list, and with space again all is well."""
    batch, executions = [{"x": x, "size": 20_000} for x in range(6)], tmp_path / "executions"
    end(start(_fill_amid, small_disk, batch, executions))
    check_always(small_disk / "batch")
    assert executed(executions)[:3] == [0, 1, 2]
    (small_disk / "filler").unlink()
    before = len(executed(executions))
    end(start(_run_to, small_disk, batch, executions))
    assert not {0, 1} & set(executed(executions)[before:])
    check_finished(small_disk / "batch", batch)


class Fills(Counted):
    """Leaves no space for the third result, nor for those after it."""

    disk = None

    def main(self, specification):
        result = super().main(specification)
        if specification["x"] == 2:
            _fill(self.disk / "filler")
        return result


def _fill(path):
    """Fill a disk to its last byte."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for size in (4096, 1):
        try:
            while os.write(descriptor, bytes(size)):
                pass
        except OSError:
            continue
    os.close(descriptor)


def _fill_amid(disk, batch, executions):
    Fills.disk = disk
    logging.disable()
    result = run(disk, batch, Fills(executions))
    assert [item["x"] for item in result.completed] == [0, 1]
    assert {failure.type for _, failure in result.failed} == {"OSError"}
    assert [item["x"] for item, _ in result.failed] == [2, 3, 4, 5]


def _run_to(disk, batch, executions):
    logging.disable()
    run(disk, batch, Counted(executions))
