"""Folders that somebody, or something, has damaged (more of it, of a single file, is in test_storage.py)."""

import json
import os
import random
import shutil
import subprocess

import pytest

from smallab import load_results
from smallab.storage.presence import this_process

from .experiments import Counted, specification, specifications
from .helpers import check_finished, executed, identity, listed, mounted, run, run_and_rebuild, visible

BATCH = specifications(4)


@pytest.fixture
def root(quick_folder):
    run(quick_folder, BATCH, Counted(quick_folder / "executions"))
    return quick_folder


def _run_again(root, batch=BATCH):
    """Run the batch again; return what ran."""
    before = len(executed(root / "executions"))
    run_and_rebuild(root, batch, Counted(root / "executions"))
    return executed(root / "executions")[before:]


@pytest.mark.parametrize("which", ["completed", "failed"])
def test_a_list_cut_short_at_any_byte_costs_nothing(root, which):
    path = root / "batch" / f"{which}.json"
    whole = (root / "batch" / "completed.json").read_bytes()
    for size in range(len(whole) - 1):  # the last byte is only a newline
        path.write_bytes(whole[:size])
        if which == "failed":
            path.write_bytes(b"[" * (size == 0) + path.read_bytes())
        assert _run_again(root) == []
        assert listed(root / "batch") == [0, 1, 2, 3]
        assert listed(root / "batch", "failed") == []


def test_a_list_with_any_bit_flipped_is_read_as_it_stands_or_rebuilt(root):
    """A flipped bit may make another valid list; then one runs again at the most, and no result is lost."""
    path = root / "batch" / "completed.json"
    whole = path.read_bytes()
    choice = random.Random(1)
    for position in range(len(whole)):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << choice.randrange(8)
        path.write_bytes(damaged)
        assert len(_run_again(root)) <= 1
        assert visible(root / "batch") == [0, 1, 2, 3]
        found = json.loads(path.read_text())
        assert all(item in found for item in BATCH)
        assert len(found) <= 5
        for kept in (root / "batch").glob("*.json.before-*"):
            kept.unlink()


def test_a_folder_that_was_deleted_is_skipped_with_a_warning(root, caplog):
    shutil.rmtree(root / "batch" / identity(BATCH[1]))
    assert _run_again(root) == []
    assert "1 of 4" in caplog.text
    assert identity(BATCH[1]) in caplog.text or '"x":1' in caplog.text
    found = {item.specification["x"]: item.failure for item in load_results("batch", root)}
    assert [x for x, failure in found.items() if failure] == [1]
    assert "FileNotFoundError" in found[1].type


def test_a_specification_json_that_does_not_match_its_folder_is_not_trusted(root):
    """Rebuilding takes only what is what it says it is; the others run again, and are then right."""
    (root / "batch" / identity(BATCH[1]) / "specification.json").write_text(json.dumps(BATCH[2]))
    (root / "batch" / "completed.json").write_text("[")
    assert _run_again(root) == [1]
    check_finished(root / "batch", BATCH)


def test_a_folder_that_cannot_be_written_is_a_clear_error_before_anything_runs(root):
    before = executed(root / "executions")
    with mounted("bind", root / "batch", "ro", source=str(root / "batch")):
        with pytest.raises(OSError, match=r"Read-only file system: '.*batch") as error:
            run(root, [*BATCH, specification(9)], Counted(root / "executions"))
        assert error.value.filename
        assert [item.result["square"] for item in load_results("batch", root)] == [0, 1, 4, 9]  # it can be read
        assert len(run(root, BATCH, Counted(root / "executions")).skipped) == 4  # and there is nothing to do
    assert executed(root / "executions") == before


@pytest.mark.skipif(not shutil.which("chattr"), reason="chattr is not installed")
def test_a_folder_that_may_not_be_changed_is_a_clear_error_before_anything_runs(tmp_path):
    run(tmp_path, BATCH, Counted(tmp_path / "executions"))
    before = executed(tmp_path / "executions")
    command = ["chattr", "+i", str(tmp_path / "batch" / "journal"), str(tmp_path / "batch")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"chattr is not permitted here: {done.stderr}")
    try:
        with pytest.raises(PermissionError, match="batch"):
            run(tmp_path, [*BATCH, specification(9)], Counted(tmp_path / "executions"))
    finally:
        subprocess.run(["chattr", "-i", *command[2:]], check=True)
    assert executed(tmp_path / "executions") == before


class Removes(Counted):
    """Takes its own batch's folder away amid the second specification."""

    def main(self, specification):
        if specification["x"] == 1:
            folder = os.path.join(os.path.dirname(self.executions), "batch")
            os.rename(folder, f"{folder} elsewhere")  # at once, while others write there
        return super().main(specification)


@pytest.mark.parametrize("workers", [1, 3])
def test_a_folder_that_vanishes_during_the_run_is_an_error_that_names_it(quick_folder, workers, caplog):
    with pytest.raises(FileNotFoundError, match=r"batch vanished while"):
        run(quick_folder, BATCH, Removes(quick_folder / "executions"), num_parallel=workers)
    assert "safe" not in caplog.text
    run(quick_folder, BATCH, Counted(quick_folder / "executions"))
    check_finished(quick_folder / "batch", BATCH)


def test_what_only_the_journal_folder_holds_may_vanish_too(quick_folder):
    class RemovesTheJournal(Counted):
        def main(self, specification):
            if specification["x"] == 1:
                shutil.rmtree(quick_folder / "batch" / "journal")
            return super().main(specification)

    run(quick_folder, BATCH, RemovesTheJournal(quick_folder / "executions"))
    _run_again(quick_folder)
    check_finished(quick_folder / "batch", BATCH)


@pytest.mark.parametrize("content", ["[" * 100_000, '{"code": []}', '{"code": {}, "host": 1, "pid": "x"}', "3", ""])
def test_a_record_of_a_run_that_is_damaged_stops_nobody(root, content):
    before = executed(root / "executions")
    for record in (root / "batch" / "runs").iterdir():
        record.write_text(content)
    metadata = root / "batch" / identity(BATCH[0]) / "metadata.json"
    metadata.write_text(json.dumps(json.loads(metadata.read_text()) | {"run_id": []}))
    assert len(run(root, BATCH, Counted(root / "executions")).skipped) == len(BATCH)
    assert executed(root / "executions") == before
    assert all(dict(item.metadata) for item in load_results("batch", root))


def test_a_foreign_heartbeat_with_a_number_that_no_process_has_stops_nobody(root):
    name = f"2026-01-01_00-00-00_000000_abcdef.{this_process().host}.{'9' * 30}.heartbeat"
    (root / "batch" / "journal" / name).touch()
    assert len(run(root, BATCH, Counted(root / "executions")).skipped) == len(BATCH)
