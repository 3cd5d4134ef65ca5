"""backend="ray", on a local Ray cluster."""

import os
import signal
import subprocess
import sys
import time

import joblib
import pytest
from misbehaving import FailsOn, Hangs, Kills, is_gone, wait_for

from smallab import Experiment, ExperimentRunner, load_results

if sys.platform == "win32":
    pytest.skip("Ray's local cluster is not for Windows", allow_module_level=True)
ray = pytest.importorskip("ray", reason='needs Ray: pip install "smallab[ray]"')

pytestmark = pytest.mark.filterwarnings("ignore")  # Ray's own


@pytest.fixture(scope="module", autouse=True)
def cluster(tmp_path_factory):
    """Start a cluster of two workers that leaves nothing behind."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        patch.setenv("RAY_AUTH_MODE", "disabled")
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("PYTHONPATH", os.path.dirname(__file__))
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=100_000_000)
        yield
        ray.shutdown()


@pytest.fixture
def runs(tmp_path):
    folder = tmp_path / "seen"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("registered", [False, True])
def test_the_same_as_without(registered):
    specifications = [{"x": x} for x in range(10)]
    if registered:
        from ray.util.joblib import register_ray

        register_ray()
        with joblib.parallel_config(backend="ray"):
            result = ExperimentRunner().run("same", specifications, FailsOn(3))
    else:
        result = ExperimentRunner().run("same", specifications, FailsOn(3), backend="ray")
    assert result.counts == {"completed": 9, "skipped": 0, "failed": 1}
    assert str(result.errors[0]) == "3 will not do"


def test_hooks_are_called_as_results_come_in(tmp_path):
    class WaitsForTheHook(Experiment):
        def __init__(self, path):
            self.path = str(path)

        def main(self, specification):
            if specification["x"] == 0:
                wait_for(lambda: os.path.exists(self.path))
            return specification["x"]

    heard = []

    def hook(specification, result):
        heard.append(result)
        if len(heard) == 9:
            (tmp_path / "heard").touch()

    runner = ExperimentRunner()
    runner.on_specification_complete(hook)
    assert runner.run("hooks", [{"x": x} for x in range(10)], WaitsForTheHook(tmp_path / "heard"), backend="ray")
    assert heard[-1] == 0


def test_a_specification_that_kills_its_worker_is_one_failure_and_the_others_finish(runs):
    specifications = [{"x": x, "dies": "SIGKILL" if x == 5 else None} for x in range(20)]
    result = ExperimentRunner().run("kills", specifications, Kills(runs), backend="ray")
    assert result.counts == {"completed": 19, "skipped": 0, "failed": 1}
    assert "SIGKILL" in result.failed[0][1].message
    assert len(list(runs.glob("5.*.begun"))) == 1
    assert len(list(runs.glob("*.finished"))) == 19


def test_timeouts_and_resources(runs):
    result = ExperimentRunner().run("time", [{"x": x} for x in range(4)], Hangs(runs), backend="ray", timeout=1)
    assert [failure.type for _, failure in result.failed] == ["TimeoutError"]

    class Tells(Experiment):
        def main(self, specification):
            return self.resource, os.environ["CUDA_VISIBLE_DEVICES"]

    assert ExperimentRunner().run("held", [{"x": x} for x in range(6)], Tells(), backend="ray", resources=[4, 5])
    assert {it.result for it in load_results("held")} <= {(4, "4"), (5, "5")}


def test_no_more_at_a_time_than_asked_for(runs):
    class Alone(Experiment):
        def __init__(self, folder):
            self.path = f"{folder}/alone"

        def main(self, specification):
            os.close(os.open(self.path, os.O_CREAT | os.O_EXCL))
            os.unlink(self.path)

    result = ExperimentRunner().run("alone", [{"x": x} for x in range(20)], Alone(runs), num_parallel=1, backend="ray")
    assert result.counts == {"completed": 20, "skipped": 0, "failed": 0}, result.failed


def test_without_ray_the_error_names_the_installation(tmp_path):
    (tmp_path / "ray.py").write_text("raise ImportError", encoding="utf-8")
    script = "from misbehaving import Square; from smallab import ExperimentRunner as R\n"
    script += "R().run('none', [{'x': 1}], Square(), backend='ray')"
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{os.path.dirname(__file__)}"}
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert 'pip install "smallab[ray]"' in done.stderr


def test_all_of_the_cluster_is_used_and_not_one_part_of_it(runs):
    class Meets(Experiment):
        """Ends when two run at once."""

        def __init__(self, folder):
            self.folder = str(folder)

        def main(self, specification):
            with open(f"{self.folder}/{specification['x']}", "w", encoding="utf-8"):
                wait_for(lambda: len(os.listdir(self.folder)) == 2)

    from ray.util.joblib import register_ray

    register_ray()
    with joblib.parallel_config(backend="ray"):
        assert ExperimentRunner().run("meets", [{"x": 0}, {"x": 1}], Meets(runs))


class KillsRaysWorker(Experiment):
    """Kills the worker that lent it its process, where x is 0, until a file is there."""

    def __init__(self, folder):
        self.path = f"{folder}/killed"

    def main(self, specification):
        if specification["x"] == 0 and not os.path.exists(self.path):
            with open(self.path, "w", encoding="utf-8"):
                os.kill(os.getppid(), signal.SIGKILL)
                time.sleep(600)
        return specification["x"]


def test_a_lost_worker_costs_time_and_no_result(runs):
    result = ExperimentRunner().run("lost", [{"x": x} for x in range(6)], KillsRaysWorker(runs), backend="ray")
    assert result.counts == {"completed": 6, "skipped": 0, "failed": 0}
    assert (runs / "killed").exists()


def test_an_interrupted_run_ends_what_runs(runs):
    def interrupt(specification, result):
        wait_for(lambda: len(os.listdir(runs)) == 1)
        raise KeyboardInterrupt

    runner = ExperimentRunner()
    runner.on_specification_complete(interrupt)
    with pytest.raises(KeyboardInterrupt):
        runner.run("stop", [{"x": x} for x in range(20)], Hangs(runs), backend="ray")
    (name,) = os.listdir(runs)
    for pid in map(int, name.split(".")):
        wait_for(lambda pid=pid: is_gone(pid))
    assert not list(runs.parent.rglob("failure.json"))
