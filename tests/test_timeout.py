"""timeout=: what takes too long is ended for real, and says where it was."""

import os

import pytest
from misbehaving import Hangs, HoldsTheLock, Kills, Square, is_gone, wait_for

from smallab import ExperimentRunner, load_result


@pytest.fixture
def pids(tmp_path):
    folder = tmp_path / "pids"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("num_parallel", [None, 2])
@pytest.mark.parametrize("experiment", [Hangs, HoldsTheLock])
@pytest.mark.skipif(os.name == "nt", reason="sleep of the C library")
def test_it_is_really_gone_and_so_is_what_it_started(pids, num_parallel, experiment):
    specifications = [{"x": x} for x in range(6)]
    result = ExperimentRunner().run(
        "hangs", specifications, experiment(pids), num_parallel=num_parallel, backend="loky", timeout=1.5
    )
    assert sorted(specification["x"] for specification in result.completed) == [1, 2, 3, 4, 5]
    ((specification, failure),) = result.failed
    assert (specification, failure.type) == ({"x": 0}, "TimeoutError")
    assert "timeout=1.5 seconds" in failure.message
    assert 'misbehaving.py", line' in failure.traceback
    assert "in hang" in failure.traceback
    assert "_end_with" not in failure.traceback
    assert isinstance(result.errors[0], TimeoutError)
    (path,) = pids.iterdir()
    for pid in map(int, path.name.split(".")):
        wait_for(lambda pid=pid: is_gone(pid))
    metadata = load_result("hangs", {"x": 0}).metadata
    assert metadata["pid"] == int(path.name.split(".")[0])
    assert metadata["duration"] >= 1.5


def test_a_death_before_the_time_is_up_is_no_timeout():
    result = ExperimentRunner().run("dies", [{"x": 1, "dies": "os._exit"}], Kills(), backend="loky", timeout=100)
    assert "exit status 7" in result.failed[0][1].message


def test_its_process_is_used_again_while_it_lives():
    specifications = [{"x": x} for x in range(8)]
    runner, pids = ExperimentRunner(), set()
    runner.on_specification_complete(lambda specification, result: pids.add(result))
    assert runner.run("pids", specifications, Kills(), num_parallel=2, backend="loky", timeout=100)
    assert len(pids) <= 2
    assert os.getpid() not in pids


@pytest.mark.parametrize("options", [{}, {"num_parallel": 4}, {"num_parallel": 2, "backend": "threading"}])
def test_threads_refuse_it_before_anything_is_written(options, batches_in_tmp_path):
    with pytest.raises(ValueError, match='backend="loky"'):
        ExperimentRunner().run("threads", [{"x": 1}], Square(), timeout=1, **options)
    assert not batches_in_tmp_path.exists()


@pytest.mark.parametrize("timeout", [0, -1, float("nan")])
def test_a_time_that_makes_no_sense_is_refused(timeout, batches_in_tmp_path):
    with pytest.raises(ValueError, match="timeout is"):
        ExperimentRunner().run("times", [{"x": 1}], Square(), backend="loky", timeout=timeout)
    assert not batches_in_tmp_path.exists()
