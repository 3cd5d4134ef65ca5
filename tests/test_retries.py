"""retries=: what fails runs again at once, and the attempts are counted."""

import os

import pytest
from misbehaving import Hangs, Kills

from smallab import Experiment, ExperimentRunner, load_result

WAYS = {
    "one thread": {},
    "threads": {"num_parallel": 3},
    "loky": {"num_parallel": 2, "backend": "loky"},
    "with a time limit": {"num_parallel": 2, "backend": "loky", "timeout": 60},
}


class FailsAtFirst(Experiment):
    """Succeeds from the attempt on that the specification names; leaves a file for each."""

    def __init__(self, folder):
        self.folder = str(folder)

    def main(self, specification):
        attempts = [entry for entry in os.listdir(self.folder) if entry.startswith(f"{specification['x']}.")]
        with open(f"{self.folder}/{specification['x']}.{len(attempts)}", "x", encoding="utf-8"):
            pass
        if len(attempts) + 1 < specification["from"]:
            raise ValueError(f"attempt {len(attempts) + 1}")
        return self.rng.random()


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "attempts"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("way", WAYS)
def test_attempts_are_counted(way, folder):
    specifications = [{"x": x, "from": x} for x in range(1, 6)]
    heard = []
    runner = ExperimentRunner()
    runner.on_specification_failure(lambda error, specification: heard.append((specification["x"], str(error))))
    result = runner.run("attempts", specifications, FailsAtFirst(folder), retries=2, **WAYS[way])
    assert sorted(specification["x"] for specification in result.completed) == [1, 2, 3]
    assert sorted(heard) == [(4, "attempt 3"), (5, "attempt 3")]  # the last attempt's, once
    assert [load_result("attempts", it).metadata["attempt"] for it in specifications] == [1, 2, 3, 3, 3]
    assert len(list(folder.iterdir())) == 1 + 2 + 3 + 3 + 3
    again = runner.run("attempts", specifications, FailsAtFirst(folder), **WAYS[way])
    assert again.counts == {"completed": 1, "skipped": 3, "failed": 1}
    assert [load_result("attempts", it).metadata["attempt"] for it in specifications] == [1, 2, 3, 1, 1]


def test_an_attempt_starts_from_the_same_random_numbers(folder, tmp_path):
    (tmp_path / "other").mkdir()
    ExperimentRunner().run("first", [{"x": 1, "from": 3}], FailsAtFirst(folder), retries=2)
    ExperimentRunner().run("second", [{"x": 1, "from": 3}], FailsAtFirst(tmp_path / "other"), retries=5)
    assert load_result("first", {"x": 1, "from": 3}).result == load_result("second", {"x": 1, "from": 3}).result


def test_what_is_timed_out_runs_again(folder):
    result = ExperimentRunner().run(
        "hangs", [{"x": 0}, {"x": 1}], Hangs(folder), backend="loky", timeout=0.5, retries=1
    )
    assert result.counts == {"completed": 1, "skipped": 0, "failed": 1}
    assert len(list(folder.iterdir())) == 2
    assert load_result("hangs", {"x": 0}).metadata["attempt"] == 2


def test_what_kills_its_worker_runs_again(folder):
    specifications = [{"x": 0, "dies": "os._exit"}, *({"x": x} for x in range(1, 9))]
    result = ExperimentRunner().run("kills", specifications, Kills(folder), num_parallel=2, backend="loky", retries=2)
    assert result.counts == {"completed": 8, "skipped": 0, "failed": 1}
    assert len(list(folder.glob("0.*.begun"))) == 3
    assert load_result("kills", specifications[0]).metadata["attempt"] == 3


@pytest.mark.parametrize("retries", [-1, 1.5, True, "2"])
def test_a_number_that_makes_no_sense_is_refused(retries, batches_in_tmp_path):
    with pytest.raises(ValueError, match="retries is"):
        ExperimentRunner().run("numbers", [{"x": 1}], Kills(), retries=retries)
    assert not batches_in_tmp_path.exists()
