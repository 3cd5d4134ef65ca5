"""Yesterday's data still loads, and is continued: folder trees that released versions wrote."""

import json
import os
import shutil
from pathlib import Path

import pytest
from misbehaving import FailsOn

from smallab import CheckpointedExperiment, ExperimentRunner, experiment, load_result, load_results, to_dataframe

TREES = Path(__file__).parent / "trees"


@pytest.fixture(params=sorted(path.name for path in TREES.iterdir() if path.is_dir()))
def root(request, batches_in_tmp_path):
    """A copy of a tree, as old as it would be on a user's disk."""
    shutil.copytree(TREES / request.param, batches_in_tmp_path)
    for path in [*batches_in_tmp_path.rglob("*"), batches_in_tmp_path]:
        os.utime(path, (1_700_000_000, 1_700_000_000))
    return batches_in_tmp_path


class Sum(CheckpointedExperiment):
    initialized = False

    def initialize(self, specification):
        raise AssertionError("there is a checkpoint to go on from")

    def step(self):
        self.done, self.total = self.done + 1, self.total + self.done
        return {"total": self.total} if self.done == self.count else (self.done, self.count)


def run(name, specifications, experiment=None):
    return ExperimentRunner().run(name, specifications, experiment or FailsOn(3), show_progress=False)


def test_results_and_failures_are_read(root):
    found = {item.specification["x"]: item for item in load_results("squares")}
    assert {x: item.result for x, item in found.items() if x != 3} == {x: {"square": x**2} for x in (0, 1, 2, 4)}
    assert (found[3].failure.type, found[3].failure.message) == ("ValueError", "3 will not do")
    assert found[1].metadata["environment"]["python"]["version"].startswith("3.11")
    assert "class Square" in found[1].metadata["code"]
    assert {"start", "end", "duration"} <= found[1].metadata["timing"].keys()
    assert load_result("squares", {"name": "größe", "x": 2}).metadata["attempt"] == 1
    assert len(to_dataframe("squares")) == 5


def test_a_batch_is_continued(root):
    specifications = [{"x": x, "name": "größe"} for x in range(6)]
    result = run("squares", specifications, FailsOn())
    assert [item["x"] for item in result.skipped] == [0, 1, 2, 4]
    assert [item["x"] for item in result.completed] == [3, 5]
    assert not list((root / "squares").rglob("failure.json"))


def test_what_a_killed_run_left_behind_is_brought_in(root):
    result = run("killed", [{"x": x} for x in range(7)])
    assert [item["x"] for item in result.skipped] == [0, 1, 2, 4]
    assert [item["x"] for item in result.completed] == [5, 6]
    assert os.listdir(root / "killed" / "journal") == []
    assert [item["x"] for item in json.loads((root / "killed" / "failed.json").read_text())] == [3]


def test_the_experiment_that_a_killed_run_kept_beside_its_journal_goes(root):
    """It may hold a password."""
    (journal,) = (root / "killed" / "journal").glob("*.jsonl")
    kept = journal.with_suffix(".experiment")
    kept.touch()
    os.utime(kept, (1_700_000_000, 1_700_000_000))
    run("killed", [{"x": x} for x in range(7)])
    assert not kept.exists()


def test_a_killed_run_that_was_just_alive_is_counted_too(root):
    for path in (root / "killed" / "journal").iterdir():
        os.utime(path)
    assert [item["x"] for item in run("killed", [{"x": x} for x in range(7)]).skipped] == [0, 1, 2, 4]


def test_a_checkpoint_is_gone_on_from(root):
    run("sums", [{"count": 5}], Sum())
    assert load_result("sums", {"count": 5}).result == {"total": 10}


def test_calls_of_functions_are_read_and_go_on(root):
    @experiment
    def cube(x: float):
        return x**3

    assert [(item.specification, item.result) for item in cube.observations()] == [({"x": 2}, 8), ({"x": 3}, 27)]
    cube(4)
    assert len(cube.observations()) == 3
