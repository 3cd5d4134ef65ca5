"""backend="loky": what kills a worker costs its own specification, and the others are none the worse for it."""

import json
import os
import re
import subprocess
import sys
import textwrap

import joblib
import nbformat
import psutil
import pytest
from misbehaving import KILLS, Kills, LimitsItsMemory, Square, wait_for
from nbclient import NotebookClient

from smallab import Experiment, ExperimentRunner, load_result, load_results
from smallab.runner.isolation import ProcessDied

POSIX = pytest.mark.skipif(os.name == "nt", reason="signals and limits of POSIX systems")


@pytest.fixture
def runs(tmp_path):
    """Return a folder in which experiments leave a file for each time that they run."""
    folder = tmp_path / "seen"
    folder.mkdir()
    return folder


def times(runs, what="*.begun"):
    """Return how often each x ran."""
    found = {}
    for path in runs.glob(what):
        x = int(path.name.partition(".")[0])
        found[x] = found.get(x, 0) + 1
    return found


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
    assert failure.type == "smallab.runner.isolation.ProcessDied"
    assert KILLS[dies][1] in failure.message
    assert isinstance(result.errors[0], ProcessDied)
    assert times(runs)[5] == 2
    assert sum(times(runs).values()) <= 30 + 3  # again ran what the three workers had in hand, and no more
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


def test_many_that_kill_break_one_pool_only(runs, caplog):
    specifications = [{"x": x, "dies": "os._exit" if x % 3 else None} for x in range(24)]
    result = ExperimentRunner().run("many", specifications, Kills(runs), num_parallel=2, backend="loky")
    assert result.counts == {"completed": 8, "skipped": 0, "failed": 16}
    assert caplog.text.count("a worker died") == 1
    assert max(times(runs).values()) == 2
    assert sum(times(runs).values()) <= 24 + 2 * 2  # what the first pool had in hand, and no more


def test_one_process_is_a_process_too(runs):
    result = ExperimentRunner().run("one", [{"x": 1, "dies": "os._exit"}, {"x": 2}], Kills(runs), backend="loky")
    assert result.counts == {"completed": 1, "skipped": 0, "failed": 1}
    assert times(runs) == {1: 1, 2: 1}
    assert load_result("one", {"x": 2}).result != os.getpid()


def test_joblib_s_multiprocessing_which_waits_for_dead_workers_for_ever():
    specifications = [{"x": x, "dies": "os._exit" if x == 2 else None} for x in range(8)]
    result = ExperimentRunner().run("pool", specifications, Kills(), num_parallel=2, backend="multiprocessing")
    assert result.counts == {"completed": 7, "skipped": 0, "failed": 1}


def test_workers_killed_from_outside_cost_nothing_but_time(runs):
    """First one of the pool's, then one that only watches over another process."""
    killed = []

    def kill(specification, result):
        if len(killed) < 2 and len(times(runs, "*.finished")) > 5 * (1 + len(killed)):
            alive = [it for it in psutil.Process().children() if it.status() != psutil.STATUS_ZOMBIE]
            victim = next(it for it in alive if "LokyProcess" in " ".join(it.cmdline()))
            victim.kill()
            killed.append(victim)

    runner = ExperimentRunner()
    runner.on_specification_complete(kill)
    result = runner.run("outside", [{"x": x} for x in range(40)], Kills(runs, 0.02), num_parallel=2, backend="loky")
    assert len(killed) == 2
    assert result.counts == {"completed": 40, "skipped": 0, "failed": 0}


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


def test_a_killed_worker_takes_with_it_what_it_watched_over(tmp_path, batches_in_tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from misbehaving import Kills\nfrom smallab import ExperimentRunner\n"
        "ExperimentRunner().run('orphans', [{'x': x} for x in range(9)], Kills(seconds=60), num_parallel=2,"
        " backend='loky', timeout=100)\n",
        encoding="utf-8",
    )
    process = subprocess.Popen([sys.executable, script, os.path.dirname(__file__)], stderr=subprocess.DEVNULL)

    def started():
        return sum(path.read_text().count("started") for path in batches_in_tmp_path.rglob("*.jsonl"))

    wait_for(lambda: started() >= 2)
    family = psutil.Process(process.pid).children(recursive=True)
    watched = [it for it in family if "isolation" in " ".join(it.cmdline())]
    assert len(watched) == 2
    process.kill()
    process.wait()
    for worker in set(family) - set(watched):
        worker.kill()
    wait_for(lambda: not any(it.is_running() and it.status() != psutil.STATUS_ZOMBIE for it in family))


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
PRINTED = "{'completed': 4, 'skipped': 0, 'failed': 2} ['__main__.Local', 'smallab.runner.isolation.ProcessDied']"


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
