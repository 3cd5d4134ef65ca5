"""backend="loky": what kills a worker costs its own specification, and the others are none the worse for it."""

import json
import os
import re
import signal
import subprocess
import sys
import textwrap

import joblib
import nbformat
import psutil
import pytest
from joblib.externals.loky import get_reusable_executor
from misbehaving import KILLS, Kills, LimitsItsMemory, Square, is_gone, times, wait_for
from nbclient import NotebookClient

from smallab import Experiment, ExperimentRunner, load_result, load_results
from smallab.backends.isolation import ProcessDied
from smallab.backends.schedule import Schedule
from smallab.runner.options import Limits
from smallab.storage.base import open_storage

POSIX = pytest.mark.skipif(os.name == "nt", reason="signals and limits of POSIX systems")


@pytest.fixture
def runs(tmp_path):
    """Return a folder in which experiments leave a file for each time that they run."""
    folder = tmp_path / "seen"
    folder.mkdir()
    return folder


def listed(folder, which):
    return json.loads((folder / f"{which}.json").read_text(encoding="utf-8"))


@POSIX
@pytest.mark.parametrize("dies", KILLS)
def test_a_specification_that_kills_its_worker_is_one_failure_and_the_others_finish(runs, dies, batches_in_tmp_path):
    specifications = [{"x": x, "dies": dies if x == 5 else None} for x in range(30)]
    result = ExperimentRunner().run("kills", specifications, Kills(runs, 0.01), num_parallel=3, backend="loky")
    assert sorted(specification["x"] for specification in result.completed) == [x for x in range(30) if x != 5]
    ((specification, failure),) = result.failed
    assert specification["x"] == 5
    assert failure.type == "smallab.backends.isolation.ProcessDied"
    assert KILLS[dies][1] in failure.message
    assert isinstance(result.errors[0], ProcessDied)
    assert set(times(runs).values()) == {1}  # nothing runs again: whose fault it was is known
    assert len(times(runs)) == 30
    folder = batches_in_tmp_path / "kills"
    assert len(listed(folder, "completed")) == 29
    assert [specification["x"] for specification in listed(folder, "failed")] == [5]
    assert os.listdir(folder / "journal") == []
    observation = load_result("kills", specifications[5])
    assert KILLS[dies][1] in observation.failure.message
    assert observation.metadata["attempt"] == 1
    assert observation.metadata["pid"] not in {os.getpid(), None}


def test_where_native_code_crashed_is_recorded():
    result = ExperimentRunner().run("crash", [{"x": 1, "dies": "SIGSEGV"}], Kills(), num_parallel=2, backend="loky")
    assert "Segmentation fault" in result.failed[0][1].traceback
    assert re.search(r'misbehaving.py", line \d+ in main', result.failed[0][1].traceback)


def test_many_that_kill_are_one_failure_each(runs):
    specifications = [{"x": x, "dies": "os._exit" if x % 3 else None} for x in range(24)]
    result = ExperimentRunner().run("many", specifications, Kills(runs), num_parallel=2, backend="loky")
    assert result.counts == {"completed": 8, "skipped": 0, "failed": 16}
    assert times(runs) == dict.fromkeys(range(24), 1)


def test_one_process_is_a_process_too(runs):
    result = ExperimentRunner().run("one", [{"x": 1, "dies": "os._exit"}, {"x": 2}], Kills(runs), backend="loky")
    assert result.counts == {"completed": 1, "skipped": 0, "failed": 1}
    assert times(runs) == {1: 1, 2: 1}
    assert load_result("one", {"x": 2}).result != os.getpid()


def test_joblib_s_multiprocessing_which_waits_for_dead_workers_for_ever():
    specifications = [{"x": x, "dies": "os._exit" if x == 2 else None} for x in range(8)]
    result = ExperimentRunner().run("pool", specifications, Kills(), num_parallel=2, backend="multiprocessing")
    assert result.counts == {"completed": 7, "skipped": 0, "failed": 1}


def test_workers_killed_from_outside_cost_what_they_had_in_hand_and_no_more(runs):
    killed = []

    def kill(specification, result):
        if len(killed) < 2 and len(times(runs, "*.finished")) > 5 * (1 + len(killed)):
            os.kill(result, signal.SIGKILL)
            killed.append(result)

    runner = ExperimentRunner()
    runner.on_specification_complete(kill)
    result = runner.run("outside", [{"x": x} for x in range(40)], Kills(runs, 0.02), num_parallel=2, backend="loky")
    assert len(killed) == 2
    assert result.counts["completed"] + result.counts["failed"] == 40
    assert result.counts["failed"] <= 2
    assert all("SIGKILL" in failure.message for _, failure in result.failed)
    completed = {specification["x"] for specification in result.completed}
    begun = times(runs)
    assert set(begun.values()) == {1}
    assert completed <= set(begun)  # what was killed may have been before main


@POSIX
def test_a_worker_that_is_killed_while_it_has_nothing_to_do_costs_nothing(tmp_path):
    def pending(pids):
        yield '{"x":1}'
        wait_for(lambda: pids)
        os.kill(pids.pop(), signal.SIGKILL)
        yield '{"x":2}'

    pids = []
    storage = open_storage(None, "idle")
    experiment = Kills()
    schedule = Schedule(experiment, "loky", Limits())
    with storage.run({}) as run:
        for report in schedule.reports(storage, run.id, pending(pids)):
            assert report.status == "completed"
            run.note(report.text, report.status)
            pids.append(load_result("idle", json.loads(report.text)).result)
    assert len(pids) == 1


@POSIX
def test_a_memory_error_is_an_exception_like_any_other():
    result = ExperimentRunner().run("memory", [{"x": x} for x in range(6)], LimitsItsMemory(), backend="loky")
    ((specification, failure),) = result.failed
    assert (specification, failure.type) == ({"x": 1}, "MemoryError")


def test_the_hooks_hear_of_it_and_can_be_told_to_stop():
    heard = []
    runner = ExperimentRunner()
    runner.on_specification_failure(lambda error, specification: heard.append((type(error), specification["x"])))
    specifications = [{"x": x, "dies": "os._exit" if x == 0 else None} for x in range(200)]
    with pytest.raises(ProcessDied, match="exit status 7"):
        runner.run("stop", specifications, Kills(), num_parallel=2, backend="loky", propagate_exceptions=True)
    assert heard == [(ProcessDied, 0)]
    done = ExperimentRunner().run("stop", specifications[1:], Kills(), num_parallel=2, backend="loky")
    assert done.counts["skipped"] > 0
    assert done.counts["completed"] + done.counts["skipped"] == 199


LONG = """
import os, subprocess, sys, time
from smallab import Experiment, ExperimentRunner

class Long(Experiment):
    def main(self, specification):
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        with open(f"{sys.argv[1]}/{os.getpid()}.{child.pid}", "w"):
            time.sleep(600)

options = {"timeout": 600} if "timeout" in sys.argv else {}
ExperimentRunner().run("orphans", [{"x": x} for x in range(9)], Long(), num_parallel=2, backend="loky", **options)
"""


@POSIX
@pytest.mark.parametrize("more", [[], ["timeout"]])
def test_a_killed_runner_takes_with_it_its_workers_and_what_they_started(runs, more):
    process = subprocess.Popen([sys.executable, "-c", LONG, runs, *more], stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: len(os.listdir(runs)) == 2)
        family = psutil.Process(process.pid).children(recursive=True)
        assert {int(pid) for name in os.listdir(runs) for pid in name.split(".")} <= {it.pid for it in family}
    finally:
        process.kill()
        process.wait()
    wait_for(lambda: all(is_gone(it.pid) for it in family), seconds=5)


class Tells(Experiment):
    """Returns what its process is like."""

    def main(self, specification):
        import fickle

        print("printed")
        return {
            "value": fickle.VALUE,
            "environment": os.environ.get("SMALLAB_TEST"),
            "folder": os.getcwd(),
            "argv": sys.argv,
            "flags": [sys.flags.optimize, sys.flags.utf8_mode, sys.warnoptions, sys._xoptions.get("pycache_prefix")],
            "stdin": sys.stdin.read(),
            "pid": os.getpid(),
        }


def test_every_run_has_workers_of_its_own_with_what_there_is_now(tmp_path, monkeypatch):
    pids = set()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path, tmp_path])  # not only strings
    for number in range(2):
        (tmp_path / "fickle.py").write_text(f"VALUE = {number}\n" + "#" * number, encoding="utf-8")
        monkeypatch.setenv("SMALLAB_TEST", str(number))
        (tmp_path / str(number)).mkdir()
        monkeypatch.chdir(tmp_path / str(number))
        monkeypatch.setattr(sys, "argv", ["tells.py", str(number)])
        name = f"tells{number}"
        assert ExperimentRunner().run(name, [{"x": 1}, {"x": 2}], Tells(), num_parallel=2, backend="loky")
        for found in load_results(name):
            assert found.result["value"] == number
            assert found.result["environment"] == str(number)
            assert found.result["folder"] == os.getcwd()
            assert found.result["argv"] == ["tells.py", str(number)]
            assert found.result["stdin"] == ""
            pids.add(found.result["pid"])
    assert len(pids) >= 3  # one may have done both of a batch
    assert not any(psutil.pid_exists(pid) for pid in pids)


def test_workers_have_the_flags_of_the_runner_s_python_and_may_print(tmp_path):
    (tmp_path / "sitecustomize.py").write_text("print('at the start')\n" * 2000, encoding="utf-8")
    (tmp_path / "fickle.py").write_text("VALUE = 0", encoding="utf-8")
    script = (
        "from test_processes import Tells; from smallab import ExperimentRunner as R; "
        "R().run('flags', [{'x': 1}], Tells(), backend='loky')"
    )
    flags = ["-O", "-Wignore::DeprecationWarning", "-Xutf8", "-X", f"pycache_prefix={tmp_path}"]
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{os.path.dirname(__file__)}"}
    done = subprocess.run(
        [sys.executable, *flags, "-c", script], env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    assert "printed" in done.stdout
    result = load_result("flags", {"x": 1}).result
    assert result["flags"] == [1, 1, ["ignore::DeprecationWarning"], str(tmp_path)]


MAIN = """
    from smallab import Experiment, ExperimentRunner

    class Result:
        def __init__(self, value):
            self.value = value

    class Local(Exception):
        pass

    def helper(x):
        return x * FACTOR

    FACTOR = 10

    class Main(Experiment):
        def __init__(self, function):
            self.function = function

        def main(self, specification):
            if specification["x"] == 3:
                raise Local("three")
            if specification["x"] == 4:
                import os
                os._exit(1)
            x = specification["x"]
            return {"x": self.function(helper(x)), "object": Result(x), "f": lambda: 5}

    offset = 1
    closure = Main(lambda x: x + offset)
    specifications = [{"x": x} for x in range(6)]
    result = ExperimentRunner().run("main", specifications, closure, num_parallel=2, backend="loky")
    print(result.counts, sorted(failure.type for _, failure in result.failed))
"""
PRINTED = "{'completed': 4, 'skipped': 0, 'failed': 2} ['__main__.Local', 'smallab.backends.isolation.ProcessDied']"


def check_main():
    assert sorted(it.result["x"] for it in load_results("main") if it.failure is None) == [1, 11, 21, 51]
    assert sorted(it.result["object"].value for it in load_results("main") if it.failure is None) == [0, 1, 2, 5]
    assert {it.result["f"]() for it in load_results("main") if it.failure is None} == {5}


def test_what_a_script_without_a_guard_defines(tmp_path):
    (tmp_path / "script.py").write_text(textwrap.dedent(MAIN), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "error", "script.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == PRINTED, done.stderr
    check_main()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of nbclient's dependencies
def test_what_a_notebook_defines(tmp_path):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(textwrap.dedent(MAIN))])
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    printed = "".join(it["text"] for it in notebook.cells[0].outputs if it.get("name") == "stdout")
    assert PRINTED in printed
    check_main()


def test_what_a_function_defines():
    offset = 5

    class Inside(Experiment):
        def main(self, specification):
            return specification["x"] + offset

    runner = ExperimentRunner()
    runner.run("inside", [{"x": 1}, {"x": 2}], Inside(), num_parallel=2, backend="loky")
    assert [it.result for it in load_results("inside", specifications=[{"x": 1}, {"x": 2}])] == [6, 7]


def test_joblib_s_own_configuration_says_where(runs):
    specifications = [{"x": x, "dies": "os._exit" if x == 1 else None} for x in range(6)]
    with joblib.parallel_config(backend="loky", n_jobs=2):
        result = ExperimentRunner().run("config", specifications, Kills())
    assert result.counts == {"completed": 5, "skipped": 0, "failed": 1}


def test_a_module_that_a_worker_cannot_import_ends_the_batch_and_says_so(tmp_path, monkeypatch):
    (tmp_path / "fleeting.py").write_text(
        "from smallab import Experiment\nclass Fleeting(Experiment):\n    def main(self, specification): return 1\n",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(tmp_path)
    import fleeting

    (tmp_path / "fleeting.py").unlink()
    with pytest.raises((RuntimeError, ModuleNotFoundError), match="fleeting"):
        ExperimentRunner().run("fleeting", [{"x": 1}, {"x": 2}], fleeting.Fleeting(), backend="loky", timeout=30)


def test_results_do_not_depend_on_where_they_ran():
    specifications = [{"x": x} for x in range(10)]
    for name, options in {"a": {}, "b": {"num_parallel": 2, "backend": "loky"}, "c": {"backend": "loky"}}.items():
        ExperimentRunner().run(name, specifications, Square(), **options)
    assert [it.result for it in load_results("a", specifications=specifications)] == [
        it.result for it in load_results("c", specifications=specifications)
    ]


class Registered(joblib.parallel.BACKENDS["loky"]):
    """A backend of somebody's own."""


@pytest.fixture
def registered(monkeypatch):
    monkeypatch.setitem(joblib.parallel.BACKENDS, "registered", Registered)
    yield "registered"
    get_reusable_executor().shutdown()


def test_a_backend_that_is_registered_with_joblib_is_protected_as_well(registered, runs):
    specifications = [{"x": x, "dies": "os._exit" if x == 3 else None} for x in range(10)]
    result = ExperimentRunner().run("theirs", specifications, Kills(runs), num_parallel=2, backend=registered)
    assert result.counts == {"completed": 9, "skipped": 0, "failed": 1}
    assert "exit status 7" in result.failed[0][1].message
    assert times(runs) == dict.fromkeys(range(10), 1)
    with pytest.raises(ValueError, match="resources="):
        ExperimentRunner().run("held", specifications, Kills(), backend=registered, resources=[0])
