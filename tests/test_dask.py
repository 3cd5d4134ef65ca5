"""backend="dask", on a real scheduler and real workers, some of which are killed."""

import contextlib
import json
import os
import pickle
import subprocess
import sys
import threading

import joblib
import psutil
import pytest
from misbehaving import FailsOn, Hangs, Kills, Square, is_gone, times, wait_for

from smallab import CallbackManager, Experiment, ExperimentRunner, load_result, load_results

distributed = pytest.importorskip("distributed", reason='needs Dask: pip install "smallab[dask]"')

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:distributed"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # Dask's own sockets, where its scheduler is killed
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),  # likewise
]


class Cluster:
    """A scheduler and workers on loopback, started as one would on a cluster: with the dask command."""

    def __init__(self, folder):
        self.folder, self.processes = folder, []
        self.scheduler = self._start("scheduler", "--port", "0", "--host", "127.0.0.1", "--no-dashboard")
        wait_for(self._address)

    def _address(self):
        with contextlib.suppress(OSError, ValueError):
            return json.loads((self.folder / "scheduler.json").read_text(encoding="utf-8"))["address"]

    def _start(self, what, *options):
        command = [sys.executable, "-m", "dask", what, "--scheduler-file", "scheduler.json", *options]
        with open(self.folder / f"{what}.log", "ab") as log:
            environment = os.environ | {
                "PYTHONPATH": os.path.dirname(__file__),
                "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "3s",
            }
            process = subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log, env=environment)
        self.processes.append(process)
        return process

    def add(self, *options):
        common = [
            "--host",
            "127.0.0.1",
            "--no-dashboard",
            "--local-directory",
            str(self.folder),
            "--death-timeout",
            "30",
        ]
        return self._start("worker", "--nthreads", "1", *common, *options)

    def client(self, workers):
        client = distributed.Client(self._address(), set_as_default=True, timeout=30)
        if workers:
            client.wait_for_workers(workers, timeout=60)
        return client

    def close(self):
        family = [it for process in self.processes if process.poll() is None for it in _family(process)]
        for it in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                it.kill()
        for process in self.processes:
            process.wait()


def _family(process):
    return [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """Return a client of a cluster that no test leaves without workers: two, restarted by their nannies."""
    cluster = Cluster(tmp_path_factory.mktemp("dask"))
    try:
        cluster.add("--nworkers", "2")
        with cluster.client(2) as client:
            yield client
    finally:
        cluster.close()


@pytest.fixture
def cluster(tmp_path):
    """Return a cluster of a test's own, without workers."""
    folder = tmp_path / "dask"
    folder.mkdir()
    cluster = Cluster(folder)
    yield cluster
    cluster.close()


@pytest.fixture
def runs(tmp_path):
    folder = tmp_path / "seen"
    folder.mkdir()
    return folder


def test_the_same_as_without(shared):
    specifications = [{"x": x} for x in range(20)]
    with joblib.parallel_config(backend="dask"):
        result = ExperimentRunner().run("same", specifications, FailsOn(3, 4))
    assert result.counts == {"completed": 18, "skipped": 0, "failed": 2}
    assert {str(error) for error in result.errors} == {"3 will not do", "4 will not do"}
    assert {it.result["square"] for it in load_results("same") if it.failure is None} == {
        x**2 for x in range(20) if x not in {3, 4}
    }
    assert ExperimentRunner().run("same", specifications, FailsOn(), backend="dask").counts == {
        "completed": 2,
        "skipped": 18,
        "failed": 0,
    }


def test_what_a_script_defines(shared, tmp_path):
    class Local(Experiment):
        def main(self, specification):
            return lambda: specification["x"]

    assert ExperimentRunner().run("local", [{"x": 5}, {"x": 6}], Local(), backend="dask")
    assert load_result("local", {"x": 5}).result() == 5


def test_hooks_are_called_as_results_come_in(shared, tmp_path):
    class WaitsForTheHook(Experiment):
        """Of one specification's own: it ends only when the hooks have heard of all the others."""

        def __init__(self, path):
            self.path = str(path)

        def main(self, specification):
            if specification["x"] == 0:
                wait_for(lambda: os.path.exists(self.path))
            return specification["x"]

    heard = []

    def hook(specification, result):
        heard.append((result, threading.current_thread()))
        if len(heard) == 9:
            (tmp_path / "heard").touch()

    runner = ExperimentRunner()
    runner.on_specification_complete(hook)
    assert runner.run("hooks", [{"x": x} for x in range(10)], WaitsForTheHook(tmp_path / "heard"), backend="dask")
    assert heard[-1][0] == 0
    assert {thread for _, thread in heard} == {threading.current_thread()}


def test_no_more_at_a_time_than_asked_for(shared, runs):
    class Alone(Experiment):
        def __init__(self, folder):
            self.path = f"{folder}/alone"

        def main(self, specification):
            os.close(os.open(self.path, os.O_CREAT | os.O_EXCL))
            os.unlink(self.path)

    result = ExperimentRunner().run("alone", [{"x": x} for x in range(20)], Alone(runs), num_parallel=1, backend="dask")
    assert result.counts == {"completed": 20, "skipped": 0, "failed": 0}, result.failed


def test_a_specification_that_kills_its_worker_kills_one_and_no_more(shared, runs):
    specifications = [{"x": x, "dies": "SIGKILL" if x == 5 else None} for x in range(20)]
    result = ExperimentRunner().run("kills", specifications, Kills(runs), backend="dask")
    assert result.counts == {"completed": 19, "skipped": 0, "failed": 1}
    ((specification, failure),) = result.failed
    assert specification["x"] == 5
    assert "SIGKILL" in failure.message
    assert times(runs) == dict.fromkeys(range(20), 1)  # whose fault it was is known, and no result is made twice


def test_a_poisoned_batch_ends_where_nobody_restarts_workers(cluster, runs):
    """Without nannies, a worker that is killed would be gone for good."""
    for _ in range(2):
        cluster.add("--no-nanny")
    with cluster.client(2):
        specifications = [{"x": x, "dies": "os._exit" if x == 0 else None} for x in range(10)]
        result = ExperimentRunner().run("poison", specifications, Kills(runs), backend="dask")
        assert result.counts == {"completed": 9, "skipped": 0, "failed": 1}
        assert all(process.poll() is None for process in cluster.processes)


def kill_a_worker(nannies):
    """Kill one of the processes that nannies watch over; they start another."""
    for process in psutil.Process(nannies.pid).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):  # what a worker lends ends when it likes
            if "spawn_main" in str(process.cmdline()):
                process.kill()
                return True
    return False


def test_what_the_scheduler_gives_up_runs_again(tmp_path, runs, monkeypatch):
    """It gives up at once where it allows no failures at all."""
    monkeypatch.setenv("DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES", "0")
    (tmp_path / "dask").mkdir()
    cluster, killed = Cluster(tmp_path / "dask"), []

    def kill(specification, result):
        if not killed and kill_a_worker(nannies):
            killed.append(specification)

    try:
        nannies = cluster.add("--nworkers", "2")
        with cluster.client(2):
            runner = ExperimentRunner()
            runner.on_specification_complete(kill)
            result = runner.run("lost", [{"x": x} for x in range(12)], Kills(runs, 0.2), backend="dask")
            assert len(killed) == 1
            assert result.counts == {"completed": 12, "skipped": 0, "failed": 0}
    finally:
        cluster.close()


def test_workers_killed_in_the_middle_cost_time_and_no_results(cluster, runs):
    workers = cluster.add("--nworkers", "2")
    killed = []

    def kill(specification, result):
        if len(killed) < 2 and len(killed) < len(list(runs.glob("*.finished"))) // 8 and kill_a_worker(workers):
            killed.append(specification)

    with cluster.client(2):
        runner = ExperimentRunner()
        runner.on_specification_complete(kill)
        result = runner.run("middle", [{"x": x} for x in range(40)], Kills(runs, 0.05), backend="dask")
    assert len(killed) == 2
    assert result.counts == {"completed": 40, "skipped": 0, "failed": 0}
    assert sum(times(runs).values()) <= 40 + 2


def test_workers_that_come_later_are_made_use_of(cluster):
    class Meets(Experiment):
        """Ends when two run at once."""

        def __init__(self, folder):
            self.folder = str(folder)

        def main(self, specification):
            with open(f"{self.folder}/{specification['x']}.met", "w", encoding="utf-8"):
                pass
            wait_for(lambda: len([it for it in os.listdir(self.folder) if it.endswith(".met")]) == 2)

    class Adds(CallbackManager):
        def on_batch_start(self, name, specifications):
            cluster.add("--nworkers", "2")

    with cluster.client(0):
        runner = ExperimentRunner(callbacks=[Adds()])
        assert runner.run("later", [{"x": x} for x in range(2)], Meets(cluster.folder), backend="dask")


def test_a_lost_scheduler_ends_the_batch_and_what_finished_is_kept(cluster, runs):
    cluster.add("--nworkers", "1")
    with distributed.Client(cluster._address(), timeout=3) as client:
        client.wait_for_workers(1, timeout=60)
        runner = ExperimentRunner()
        runner.on_specification_complete(lambda specification, result: cluster.scheduler.kill())
        with pytest.raises(ConnectionError, match="run it again"):
            runner.run("scheduler", [{"x": x} for x in range(50)], Kills(runs, 0.2), backend="dask")
    rest = ExperimentRunner().run("scheduler", [{"x": x} for x in range(50)], Square())
    assert rest.counts["skipped"] >= 1
    assert rest.counts["completed"] + rest.counts["skipped"] == 50


def test_timeouts_and_resources(shared, runs):
    result = ExperimentRunner().run("time", [{"x": x} for x in range(4)], Hangs(runs), backend="dask", timeout=1)
    assert [failure.type for _, failure in result.failed] == ["TimeoutError"]

    class Tells(Experiment):
        def main(self, specification):
            return self.resource, os.environ["CUDA_VISIBLE_DEVICES"]

    assert ExperimentRunner().run("held", [{"x": x} for x in range(6)], Tells(), backend="dask", resources=[4, 5])
    assert {it.result for it in load_results("held")} <= {(4, "4"), (5, "5")}


def test_every_run_has_processes_of_its_own_which_end_with_it(shared, tmp_path, monkeypatch):
    class Imports(Experiment):
        def main(self, specification):
            import fickle

            return fickle.VALUE, sys.argv[1], os.getpid()

    for number in range(2):
        (tmp_path / "fickle.py").write_text(f"VALUE = {number}\n" + "#" * number, encoding="utf-8")
        monkeypatch.setattr(sys, "argv", ["script.py", str(number)])
        shared.run(lambda: sys.path.insert(0, str(tmp_path)))
        assert ExperimentRunner().run(f"own{number}", [{"x": x} for x in range(4)], Imports(), backend="dask")
        results = [found.result for found in load_results(f"own{number}")]
        assert {(value, argument) for value, argument, _ in results} == {(number, str(number))}
        wait_for(lambda: all(is_gone(pid) for _, _, pid in results), seconds=5)  # noqa: B023  # it is called here
    shared.run(lambda: sys.path.remove(str(tmp_path)))


def test_an_interrupted_run_ends_what_runs(shared, runs):
    def interrupt(specification, result):
        wait_for(lambda: len(os.listdir(runs)) == 1)
        raise KeyboardInterrupt

    runner = ExperimentRunner()
    runner.on_specification_complete(interrupt)
    with pytest.raises(KeyboardInterrupt):
        runner.run("stop", [{"x": x} for x in range(20)], Hangs(runs), backend="dask")
    (name,) = os.listdir(runs)
    wait_for(lambda: all(is_gone(int(pid)) for pid in name.split(".")), seconds=5)
    result = ExperimentRunner().run("stop", [{"x": x} for x in range(20)], Square(), backend="dask")
    assert result.counts["completed"] + result.counts["skipped"] == 20
    assert not list(runs.parent.rglob("failure.json"))


def test_a_large_experiment_is_not_shipped_with_every_task(shared, batches_in_tmp_path):
    class Large(Experiment):
        def __init__(self):
            self.data = os.urandom(50_000_000)

        def main(self, specification):
            return len(self.data)

    sent, send = [], shared.submit

    def submit(*arguments, **options):
        sent.append(len(pickle.dumps(arguments)))
        return send(*arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shared, "submit", submit)
        assert ExperimentRunner().run("large", [{"x": x} for x in range(20)], Large(), backend="dask")
    assert len(sent) == 20
    assert max(sent) < 2000


SCRIPT = """
from misbehaving import Square
from smallab import ExperimentRunner
ExperimentRunner().run("none", [{"x": 1}], Square(), backend="dask")
"""


def test_without_a_client_the_error_says_what_to_do():
    command, folder = [sys.executable, "-c", SCRIPT], os.path.dirname(__file__)
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert "create a Dask Client" in done.stderr
    assert done.returncode == 1
