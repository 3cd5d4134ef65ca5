"""Experiments in steps: killed at any moment they go on, and end as if nothing had happened."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from smallab import ExperimentRunner, load_result, load_results, specification_hash
from smallab.experiment_types import (
    CheckpointedExperiment,
    OverlappingOutputCheckpointedExperiment,
    OverlappingOutputCheckpointedExperimentReturnValue,
)

STEPS = 100


class Walk(CheckpointedExperiment):
    """A random walk of 100 steps whose every step is written down in a file outside."""

    def __init__(self, diary: str) -> None:
        self.diary = diary

    def initialize(self, specification):
        self.position, self.taken = 0.0, 0
        self.generator = random.Random(specification["seed"])

    def step(self):
        with open(self.diary, "a") as file:
            file.write(f"{self.taken}\n")
        if self.taken == int(os.environ.get("KILL_AT", "-1")):
            os.kill(os.getpid(), signal.SIGKILL)
        self.taken += 1
        self.position += self.rng.random() + self.generator.random()
        return {"position": self.position} if self.taken == STEPS else (self.taken, STEPS)


class Training(OverlappingOutputCheckpointedExperiment):
    """Hands over its loss every ten epochs."""

    def initialize(self, specification):
        self.specification, self.epoch = specification, 0

    def step(self):
        self.epoch += 1
        return OverlappingOutputCheckpointedExperimentReturnValue(
            should_continue=self.epoch < self.specification["epochs"],
            specification={**self.specification, "epochs": self.epoch},
            return_value={"loss": 1 / self.epoch},
            progress=self.epoch,
            max_iterations=self.specification["epochs"],
            should_serialize=self.epoch % 10 == 0,
        )


class Sweep(Training):
    """Like Training, but what was asked for is not one of the specifications that it produces."""

    def step(self):
        value = super().step()
        return value._replace(specification={"epoch": self.epoch})


def _uninterrupted(folder: Path) -> float:
    ExperimentRunner(folder).run("walk", [{"seed": 1}], Walk(os.devnull), show_progress=False)
    return load_result("walk", {"seed": 1}, folder).result["position"]


def _run_killed(folder: Path, diary: Path, kill_at: int) -> None:
    code = f"""
        import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})
        from smallab import ExperimentRunner
        from test_checkpointed_experiment import Walk
        ExperimentRunner({str(folder)!r}).run("walk", [{{"seed": 1}}], Walk({str(diary)!r}), show_progress=False)
    """
    environment = {**os.environ, "KILL_AT": str(kill_at)}
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=False, timeout=60, env=environment)
    assert done.returncode == -signal.SIGKILL


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL is POSIX's")
def test_killed_twice_it_goes_on_and_ends_with_the_same_result(tmp_path):
    diary = tmp_path / "diary"
    _run_killed(tmp_path / "runs", diary, 40)
    _run_killed(tmp_path / "runs", diary, 70)
    result = ExperimentRunner(tmp_path / "runs").run("walk", [{"seed": 1}], Walk(str(diary)), show_progress=False)
    assert result
    steps = [int(line) for line in diary.read_text().split()]
    assert steps == [*range(41), *range(40, 71), *range(70, STEPS)]
    expected = _uninterrupted(tmp_path / "other")
    assert load_result("walk", {"seed": 1}, tmp_path / "runs").result["position"] == expected


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL is POSIX's")
def test_a_truncated_checkpoint_falls_back_to_the_one_before_and_three_are_kept(tmp_path):
    diary = tmp_path / "diary"
    _run_killed(tmp_path / "runs", diary, 40)
    folder = tmp_path / "runs" / "walk" / specification_hash({"seed": 1}) / "checkpoints"
    checkpoints = sorted(folder.iterdir())
    assert [int(file.stem) for file in checkpoints] == [38, 39, 40]
    assert not any(".pkl" in file.name for file in checkpoints)
    checkpoints[-1].write_bytes(checkpoints[-1].read_bytes()[:-10])
    checkpoints[-2].write_bytes(b"")
    ExperimentRunner(tmp_path / "runs").run("walk", [{"seed": 1}], Walk(str(diary)), show_progress=False)
    assert [int(line) for line in diary.read_text().split()] == [*range(41), *range(38, STEPS)]
    assert load_result("walk", {"seed": 1}, tmp_path / "runs").result["position"] == _uninterrupted(tmp_path / "other")


@pytest.mark.parametrize("backend", [None, "loky"])
def test_checkpoints_of_a_completed_specification_are_removed(tmp_path, backend):
    result = ExperimentRunner(tmp_path).run(
        "walk", [{"seed": 1}, {"seed": 2}], Walk(os.devnull), num_parallel=2, backend=backend, show_progress=False
    )
    assert result
    assert not list(tmp_path.rglob("*checkpoint*"))


def test_an_outcome_that_is_none_of_the_three_is_a_failure_that_says_what_is_expected(tmp_path):
    class Wrong(CheckpointedExperiment):
        def initialize(self, specification):
            pass

        def step(self):
            return 7

    ((_, failure),) = ExperimentRunner(tmp_path).run("wrong", [{}], Wrong(), show_progress=False).failed
    assert "Wrong.step returned 7; it returns a dict" in failure.message


@pytest.mark.parametrize("backend", [None, "loky"])
def test_overlapping_outputs_are_completed_specifications(tmp_path, backend):
    runner, seen = ExperimentRunner(tmp_path), []
    runner.on_specification_complete(lambda specification, result: seen.append((specification["epochs"], result)))
    asked = {"epochs": 30, "seed": 1}
    result = runner.run("training", [asked], Training(), backend=backend, num_parallel=2, show_progress=False)
    assert seen == [(epochs, {"loss": 1 / epochs}) for epochs in (10, 20, 30)]
    assert [specification["epochs"] for specification in result.completed] == [10, 20, 30]
    again = runner.run(
        "training", [{"epochs": epochs, "seed": 1} for epochs in (10, 20, 30)], Training(), show_progress=False
    )
    assert len(again.skipped) == 3
    assert not again.completed
    results = {o.specification["epochs"]: o.result for o in load_results("training", tmp_path)}
    assert results == {epochs: {"loss": 1 / epochs} for epochs in (10, 20, 30)}
    listed = json.loads((tmp_path / "training" / "completed.json").read_text())
    assert len(listed) == 3


def test_what_was_asked_for_ends_with_the_list_of_what_was_produced(tmp_path):
    ExperimentRunner(tmp_path).run("sweep", [{"epochs": 30}], Sweep(), show_progress=False)
    produced = load_result("sweep", {"epochs": 30}, tmp_path).result
    assert produced == {"specifications": [{"epoch": 10}, {"epoch": 20}, {"epoch": 30}]}
    assert load_result("sweep", {"epoch": 20}, tmp_path).result == {"loss": 1 / 20}


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL is POSIX's")
def test_overlapping_outputs_are_safe_the_moment_they_are_returned(tmp_path):
    code = f"""
        import os, signal, sys; sys.path.insert(0, {str(Path(__file__).parent)!r})
        from smallab import ExperimentRunner
        from test_checkpointed_experiment import Sweep
        class Killed(Sweep):
            def step(self):
                if self.epoch == 25:
                    os.kill(os.getpid(), signal.SIGKILL)
                return super().step()
        ExperimentRunner({str(tmp_path)!r}).run("sweep", [{{"epochs": 30}}], Killed(), show_progress=False)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert {o.specification["epoch"] for o in load_results("sweep", tmp_path)} == {10, 20}
    result = ExperimentRunner(tmp_path).run("sweep", [{"epoch": 10}, {"epochs": 30}], Sweep(), show_progress=False)
    assert result.skipped == [{"epoch": 10}]
    produced = load_result("sweep", {"epochs": 30}, tmp_path).result
    assert produced == {"specifications": [{"epoch": 10}, {"epoch": 20}, {"epoch": 30}]}


class Stumbles(OverlappingOutputCheckpointedExperiment):
    """Fails once in its third step, or ends its process there; every epoch's value is a result of its own."""

    def __init__(self, stumbled: Path, dies: bool) -> None:
        self.stumbled, self.dies = stumbled, dies

    def initialize(self, specification):
        self.epochs, self.epoch = specification["epochs"], 0

    def step(self):
        self.epoch += 1
        if self.epoch == 3 and not self.stumbled.exists():
            self.stumbled.touch()
            if self.dies:
                os._exit(3)
            raise ValueError("three")
        return OverlappingOutputCheckpointedExperimentReturnValue(
            self.epoch < self.epochs, {"epochs": self.epoch}, self.epoch, self.epoch, self.epochs
        )


@pytest.mark.parametrize(
    ("dies", "options", "expected"),
    [
        (False, {"retries": 1}, [1, 2, 3, 4, 5]),
        (True, {"retries": 1, "backend": "loky"}, [1, 2, 3, 4, 5]),
        (True, {"backend": "loky"}, [1, 2]),
    ],
    ids=["a second attempt", "a second attempt after a worker died", "a worker that died"],
)
def test_what_was_saved_on_the_way_is_listed_whatever_becomes_of_the_attempt(tmp_path, dies, options, expected):
    ExperimentRunner().run("parts", [{"epochs": 5}], Stumbles(tmp_path / "stumbled", dies), **options)
    listed = [item.specification["epochs"] for item in load_results("parts") if not item.failure]
    assert sorted(listed) == expected
    assert os.listdir(ExperimentRunner().get_save_directory("parts") / "journal") == []


def test_parts_that_are_also_asked_for_are_told_once_each(tmp_path):
    told = []
    runner = ExperimentRunner()
    runner.on_specification_complete(lambda specification, result: told.append(specification["epochs"]))
    (tmp_path / "stumbled").touch()
    experiment = Stumbles(tmp_path / "stumbled", dies=False)
    result = runner.run("parts", [{"epochs": epochs} for epochs in range(1, 6)], experiment, num_parallel=5)
    assert sorted(told) == [1, 2, 3, 4, 5]
    assert len(result.completed) == 5
