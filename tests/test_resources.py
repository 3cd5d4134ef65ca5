"""resources=: of a run's specifications, one at a time holds each."""

import os
import signal
import subprocess
import sys
import time

import pytest
from misbehaving import wait_for

from smallab import Experiment, ExperimentRunner, load_results

WAYS = {
    "one thread": {"num_parallel": 1},
    "threads": {"num_parallel": 5},
    "as many threads": {},
    "loky": {"backend": "loky"},
    "more": {"num_parallel": 5, "backend": "loky"},
    "one process": {"num_parallel": 1, "backend": "loky"},
}


class Uses(Experiment):
    """Holds a file of its resource's name, which nobody else may while it does."""

    def __init__(self, folder, seconds=0.02):
        self.folder, self.seconds = str(folder), seconds

    def main(self, specification):
        path = f"{self.folder}/{self.resource}"
        os.close(os.open(path, os.O_CREAT | os.O_EXCL))
        time.sleep(self.seconds)
        os.unlink(path)
        return self.resource, os.environ.get("CUDA_VISIBLE_DEVICES"), os.getpid()


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "resources"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("way", WAYS)
def test_each_is_held_by_one_at_a_time(way, folder, batches_in_tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "before")
    options = WAYS[way]
    result = ExperimentRunner().run("uses", [{"x": x} for x in range(12)], Uses(folder), resources=[3, 7], **options)
    assert result.counts == {"completed": 12, "skipped": 0, "failed": 0}, result.failed
    found = [observation.result for observation in load_results("uses")]
    expected = {3, 7} if options.get("num_parallel") != 1 else {3}
    assert {resource for resource, _, _ in found} == expected
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "before"
    if "backend" in options:
        assert all(visible == str(resource) for resource, visible, _ in found)
        assert len({(resource, pid) for resource, _, pid in found}) == len({pid for _, _, pid in found})
    else:
        assert {visible for _, visible, _ in found} == {"before"}
    assert os.listdir(batches_in_tmp_path / "uses" / "journal") == []


def test_names_are_resources_too_and_say_nothing_of_graphics_cards(folder, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    result = ExperimentRunner().run("names", [{"x": 1}], Uses(folder), backend="loky", resources=["license"])
    assert result
    assert next(load_results("names")).result[:2] == ("license", None)


@pytest.mark.parametrize(
    ("visible", "expected"), [("4,6", ["4", "6"]), ("GPU-a, GPU-b", ["GPU-a", "GPU-b"]), ("", ["0", "1"])]
)
def test_a_card_is_that_of_its_place_among_those_that_the_job_may_see(visible, expected, folder, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    ExperimentRunner().run("cards", [{"x": x} for x in range(8)], Uses(folder, 0.2), backend="loky", resources=[0, 1])
    found = {observation.result[:2] for observation in load_results("cards")}
    assert found == {(0, expected[0]), (1, expected[1])}


class DiesHolding(Experiment):
    """Kills its process while it holds its resource, where x is 0."""

    def main(self, specification):
        if specification["x"] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return self.resource


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX systems")
def test_what_a_killed_worker_held_is_free_again():
    specifications = [{"x": x} for x in range(6)]
    result = ExperimentRunner().run("killed", specifications, DiesHolding(), backend="loky", resources=[0])
    assert result.counts == {"completed": 5, "skipped": 0, "failed": 1}


@pytest.mark.parametrize(
    ("resources", "error"), [([1, 1], ValueError), ([True], TypeError), ([None], TypeError), ([1.5], TypeError)]
)
def test_what_makes_no_sense_is_refused(resources, error, folder, batches_in_tmp_path):
    with pytest.raises(error, match="resources"):
        ExperimentRunner().run("refused", [{"x": 1}], Uses(folder), resources=resources)
    assert not batches_in_tmp_path.exists()


def test_without_resources_there_is_none():
    class Tells(Experiment):
        def main(self, specification):
            return self.resource

    ExperimentRunner().run("none", [{"x": 1}], Tells())
    assert next(load_results("none")).result is None
    with pytest.raises(RuntimeError, match="resource"):
        _ = Tells().resource


INTERRUPTED = """
import os, sys
sys.path.insert(0, sys.argv[1])
from test_resources import Uses
from smallab import ExperimentRunner
ExperimentRunner().run("stop", [{"x": x} for x in range(100)], Uses(sys.argv[2], 0.2), backend="loky", resources=[0, 1])
"""


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX systems")
def test_an_interrupted_batch_leaves_none_held(folder, batches_in_tmp_path):
    command = [sys.executable, "-c", INTERRUPTED, os.path.dirname(__file__), folder]
    run = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    wait_for(lambda: list(batches_in_tmp_path.rglob("*.pkl")))
    run.send_signal(signal.SIGINT)
    assert "KeyboardInterrupt" in run.communicate()[1]
    assert os.listdir(batches_in_tmp_path / "stop" / "journal") == []
