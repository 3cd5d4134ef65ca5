"""The runner: what runs, where, how often, and what becomes of it when something stops it."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
import tracemalloc
import warnings

import joblib
import pytest
from joblib.parallel import ThreadingBackend
from misbehaving import (
    UNPICKLABLE,
    WAYS,
    ChangesItsSpecification,
    ChangesTheDirectory,
    Echo,
    FailsOn,
    Interrupts,
    Large,
    LogsALot,
    Meets,
    NameRaises,
    PrintsAMegabyte,
    Raises,
    Records,
    RecordsAndFails,
    ReturnsWhatCannotBeSaved,
    Square,
    TwoArguments,
    Uncopyable,
    Where,
    wait_for,
)

from smallab import (
    BatchResult,
    Experiment,
    ExperimentRunner,
    SpecificationError,
    SpecificationFailed,
    load_result,
    load_results,
    specification_hash,
)


class ListOnly(ThreadingBackend):
    """A backend that gives its results all at once, at the end."""

    supports_return_generator = False


joblib.register_parallel_backend("list only", ListOnly)

EVERY_BACKEND = {
    **WAYS,
    "as many as cores": {"num_parallel": -1},
    "threading": {"num_parallel": 2, "backend": "threading"},
    "multiprocessing": {"num_parallel": 2, "backend": "multiprocessing"},
    "sequential": {"backend": "sequential"},
    "loky, one at a time": {"num_parallel": 1, "backend": "loky"},
    "one that cannot stream": {"num_parallel": 2, "backend": "list only"},
    "an instance": {"num_parallel": 2, "backend": ThreadingBackend()},
}


@pytest.fixture
def folder(tmp_path):
    """Return an empty folder."""
    (tmp_path / "empty").mkdir()
    return tmp_path / "empty"


def specifications(*values):
    return [{"x": x} for x in values]


def values(listed):
    return sorted(each["x"] for each in listed)


def failed(result):
    return sorted(each["x"] for each, _ in result.failed)


def run(listed, experiment=None, name="batch", **options):
    return ExperimentRunner().run(name, listed, experiment or Square(), show_progress=False, **options)


def batch(name="batch"):
    return ExperimentRunner().get_save_directory(name)


def listed_in(which):
    return values(json.loads((batch() / f"{which}.json").read_text(encoding="utf-8")))


def result_of(x):
    id = specification_hash({"x": x})
    return batch() / id / f"{id}.pkl"


def python(tmp_path, code, *arguments, **options):
    """Start a script, as a user would; a process that is forked inherits open pipes, and may say so of them."""
    path = tmp_path / "script.py"
    path.write_text(textwrap.dedent(code), encoding="utf-8")
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-W", "ignore::ResourceWarning", str(path), *arguments], **pipes, **options
    )


# What runs.


@pytest.mark.parametrize("options", EVERY_BACKEND.values(), ids=EVERY_BACKEND)
def test_every_backend_runs_what_is_pending_and_skips_the_rest(options):
    first = run(specifications(*range(6)), FailsOn(4), **options)
    assert (values(first.completed), first.skipped, failed(first)) == ([0, 1, 2, 3, 5], [], [4])
    again = run(specifications(*range(8)), FailsOn(4), **options)
    assert (values(again.completed), values(again.skipped), failed(again)) == ([6, 7], [0, 1, 2, 3, 5], [4])
    found = {each.specification["x"]: each.result for each in load_results("batch") if not each.failure}
    assert found == {x: {"square": x**2} for x in (0, 1, 2, 3, 5, 6, 7)}
    assert os.listdir(batch() / "journal") == []


@pytest.mark.parametrize("options", WAYS.values(), ids=WAYS)
def test_what_is_listed_twice_runs_once(options, folder):
    listed = [{"x": 1}, {"x": 2}, {"x": 1}, {"x": 1, "y": (1, 2)}, {"y": [1, 2], "x": 1}]
    result = run(listed, Records(folder), **options)
    assert len(result.completed) == 3
    assert Records.seen(folder) == [1, 1, 2]
    again = run(listed, Records(folder), **options)
    assert len(again.skipped) == 3
    assert Records.seen(folder) == [1, 1, 2]


def test_specifications_may_be_any_iterable():
    assert values(run({"x": x} for x in range(3)).completed) == [0, 1, 2]
    assert values(run(iter(specifications(0, 1, 2, 3))).skipped) == [0, 1, 2]
    assert values(run(tuple(specifications(4))).completed) == [4]
    assert values(run({"a": {"x": 5}}.values()).completed) == [5]


def test_one_at_a_time_they_run_in_the_order_given():
    result = run(specifications(3, 1, 2))
    assert result.completed == specifications(3, 1, 2)
    assert json.loads((batch() / "completed.json").read_text(encoding="utf-8")) == specifications(3, 1, 2)


def test_batches_do_not_know_of_each_other():
    run(specifications(1), name="one")
    assert run(specifications(1), name="other").completed == specifications(1)


@pytest.mark.parametrize("options", WAYS.values(), ids=WAYS)
def test_a_batch_of_24_with_failures_interrupted_extended_and_run_twice(options, tmp_path, folder):
    obstacle = tmp_path / "obstacle"
    obstacle.touch()
    experiment = RecordsAndFails(folder, obstacle)
    heard = []

    def interrupt(specification, result):
        heard.append(specification["x"])
        if len(heard) == 5:
            raise KeyboardInterrupt

    runner = ExperimentRunner()
    runner.on_specification_complete(interrupt)
    with pytest.raises(KeyboardInterrupt):
        runner.run("batch", specifications(*range(24)), experiment, show_progress=False, **options)
    saved = listed_in("completed")
    assert set(heard) <= set(saved) < set(range(24))
    assert all(result_of(x).exists() for x in saved)

    result = run(specifications(*range(24)), experiment, **options)
    assert values(result.skipped) == saved
    assert values(result.completed) == sorted({x for x in range(24) if x % 6 != 5} - set(saved))
    assert failed(result) == [5, 11, 17, 23]
    assert (listed_in("failed"), len(listed_in("completed"))) == ([5, 11, 17, 23], 20)

    again = run(specifications(*range(24)), experiment, **options)
    assert (again.completed, len(again.skipped), failed(again)) == ([], 20, [5, 11, 17, 23])

    obstacle.unlink()
    extended = run(specifications(*range(30)), experiment, **options)
    assert values(extended.completed) == [5, 11, 17, 23, *range(24, 30)]
    assert (len(extended.skipped), extended.failed) == (20, [])
    assert len(run(specifications(*range(30)), experiment, **options).skipped) == 30
    assert (listed_in("completed"), listed_in("failed")) == (list(range(30)), [])

    seen = Records.seen(folder)
    twice = [x for x in range(30) if x % 6 != 5 and seen.count(x) > 1]
    assert set(seen) == set(range(30))
    if "backend" in options:  # a process that is ended loses the specification that it has in hand
        assert len(twice) <= options["num_parallel"]
    else:
        assert twice == []


@pytest.mark.parametrize("options", WAYS.values(), ids=WAYS)
def test_when_a_hook_is_interrupted_nothing_new_starts(options, folder):
    def interrupt(specification, result):
        raise KeyboardInterrupt

    runner = ExperimentRunner()
    runner.on_specification_complete(interrupt)
    with pytest.raises(KeyboardInterrupt) as caught:
        runner.run("batch", specifications(*range(1000)), Records(folder), show_progress=False, **options)
    seen = set(Records.seen(folder))
    assert len(seen) < 1000  # threads had done 40 before the hook had its turn
    run(specifications(1, 2), name="next", **options)  # on the same processes, after what still waits for them
    assert set(Records.seen(folder)) == seen
    assert caught.value.__traceback__  # which keeps alive what was running
    done = listed_in("completed")
    assert set(done) <= seen
    assert "backend" in options or set(done) == seen


# Running again.


def test_running_again_replaces_the_results():
    first = run(specifications(1, 2, 3), Echo())
    assert first.completed == specifications(1, 2, 3)
    second = run(specifications(1, 3), Square(), continue_from_last_run=False)
    assert (second.completed, second.skipped) == (specifications(1, 3), [])
    found = {each.specification["x"]: each.result for each in load_results("batch")}
    assert found == {1: {"square": 1}, 2: {"x": 2}, 3: {"square": 9}}
    assert listed_in("completed") == [1, 2, 3]


@pytest.mark.parametrize("options", WAYS.values(), ids=WAYS)
def test_when_a_rerun_fails_it_is_failed_and_the_old_result_stays(options):
    run(specifications(1, 2), **options)
    before = result_of(2).read_bytes()
    metadata = (result_of(2).parent / "metadata.json").read_bytes()
    result = run(specifications(1, 2), FailsOn(2), continue_from_last_run=False, **options)
    assert (result.completed, failed(result)) == (specifications(1), [2])
    assert (listed_in("completed"), listed_in("failed")) == ([1], [2])
    assert result_of(2).read_bytes() == before
    assert (result_of(2).parent / "metadata.json").read_bytes() == metadata
    assert load_result("batch", {"x": 2}).failure.message == "2 will not do"
    assert run(specifications(1, 2), **options).completed == specifications(2)
    assert not (result_of(2).parent / "failure.json").exists()


@pytest.mark.parametrize("options", WAYS.values(), ids=WAYS)
def test_an_interrupted_rerun_goes_on_where_it_stopped(options, tmp_path):
    run(specifications(*range(10)), **options)
    old = {x: result_of(x).read_bytes() for x in range(10)}
    until = tmp_path / "until"
    with pytest.raises(KeyboardInterrupt):
        run(specifications(*range(10)), Interrupts(4, until), continue_from_last_run=False, **options)
    done = listed_in("completed")
    assert set(done) <= {0, 1, 2, 3}
    assert "backend" in options or done == [0, 1, 2, 3]
    assert all(result_of(x).read_bytes() == old[x] for x in range(4, 10))  # still there to be read
    until.touch()
    result = run(specifications(*range(10)), Interrupts(4, until), **options)
    assert values(result.skipped) == done
    assert values(result.completed) == sorted(set(range(10)) - set(done))
    assert all(each.result == each.specification["x"] for each in load_results("batch"))


def test_a_rerun_of_some_leaves_the_others_completed():
    run(specifications(1, 2, 3))
    with pytest.raises(KeyboardInterrupt):
        run(specifications(1, 2), Interrupts(1, "nowhere"), continue_from_last_run=False)
    assert listed_in("completed") == [3]


@pytest.mark.parametrize(
    "mistake", [{"backend": "lokyy"}, {"num_parallel": 0}, {"name": "a/b"}, {"experiment": Uncopyable()}], ids=str
)
def test_a_mistake_in_the_arguments_of_a_rerun_forgets_nothing(mistake):
    run(specifications(1, 2))
    with pytest.raises((ValueError, TypeError)):
        run(specifications(1, 2), **{"continue_from_last_run": False, **mistake})
    assert run(specifications(1, 2)).skipped == specifications(1, 2)
    assert len(os.listdir(batch() / "runs")) == 1


# Exceptions.


@pytest.mark.parametrize("options", WAYS.values(), ids=WAYS)
def test_an_exception_reaches_the_caller_after_what_finished_is_saved(options):
    with pytest.raises(ValueError, match=r"^3 will not do") as caught:
        run(specifications(*range(8)), FailsOn(3), propagate_exceptions=True, **options)
    assert (type(caught.value), str(caught.value)) == (ValueError, "3 will not do")
    done = listed_in("completed")
    assert listed_in("failed") == [3]
    assert {0, 1, 2} <= set(done) or options
    assert all(result_of(x).exists() for x in done)
    assert os.listdir(batch() / "journal") == []
    result = run(specifications(*range(8)), **options)
    assert values(result.skipped) == done
    assert values(result.completed) == sorted(set(range(8)) - set(done))


def test_one_at_a_time_nothing_runs_after_the_first_failure(folder):
    class FailsAndRecords(Records):
        def main(self, specification):
            super().main(specification)
            if specification["x"] == 2:
                raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        run(specifications(*range(6)), FailsAndRecords(folder), propagate_exceptions=True)
    assert Records.seen(folder) == [0, 1, 2]
    assert (listed_in("completed"), listed_in("failed")) == ([0, 1], [2])


def test_the_hooks_are_told_before_an_exception_reaches_the_caller():
    heard = []
    runner = ExperimentRunner()
    runner.on_specification_failure(lambda error, specification: heard.append("specification"))
    runner.on_batch_complete(lambda completed: heard.append("complete"))
    runner.on_batch_failure(lambda errors, failed: heard.append("failure"))
    with pytest.raises(ValueError, match="2 will"):
        runner.run("batch", specifications(1, 2), FailsOn(2), show_progress=False, propagate_exceptions=True)
    assert heard == ["specification", "complete", "failure"]


@pytest.mark.parametrize("options", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize(
    ("kind", "reaches"), [("sys.exit", SystemExit), ("a two-argument exception", (SpecificationFailed, TwoArguments))]
)
def test_what_is_no_ordinary_exception_reaches_the_caller_too(options, kind, reaches):
    with pytest.raises(reaches) as caught:
        run([{"raises": kind}], Raises(), propagate_exceptions=True, **options)
    assert "misbehaving.py" in str(caught.value) + "".join(getattr(caught.value, "__notes__", ()))


@pytest.mark.parametrize("options", WAYS.values(), ids=WAYS)
def test_a_result_that_cannot_be_saved_is_a_failure_and_stops_nobody(options):
    listed = [each for kind in UNPICKLABLE for each in ({"returns": kind}, {"after": kind})]
    result = run(listed, ReturnsWhatCannotBeSaved(), **options)
    assert len(result.completed) == len(UNPICKLABLE)
    assert {each["returns"] for each, _ in result.failed} == set(UNPICKLABLE)
    assert {each.specification["returns"] for each in load_results("batch") if each.failure} == set(UNPICKLABLE)
    assert not [name for _, _, names in os.walk(batch()) for name in names if name.endswith(".tmp")]
    assert sum(len(list((batch() / each).glob("*.pkl"))) for each in os.listdir(batch())) == len(UNPICKLABLE)


@pytest.mark.parametrize("error", [ValueError("no name"), SystemExit(3), RecursionError()], ids=repr)
@pytest.mark.parametrize("options", WAYS.values(), ids=WAYS)
def test_a_name_that_cannot_be_had_costs_nothing(options, error):
    assert values(run(specifications(1, 2), NameRaises(error), **options).completed) == [1, 2]


def test_the_first_failure_is_shown_at_once_and_the_others_are_counted(caplog):
    shown = []
    runner = ExperimentRunner()
    runner.on_specification_complete(lambda specification, result: shown.append("1 will not do" in caplog.text))
    runner.run("batch", specifications(0, 1, 2, 3, 4), FailsOn(1, 3, 4), show_progress=False)
    assert shown == [False, True]
    errors = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert len(errors) == 1
    assert "Traceback" in errors[0]
    assert str(batch()) in errors[0]
    (last,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert "3 failed" in last


def test_where_the_results_go_is_logged_at_the_start(caplog, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    caplog.set_level("INFO", logger="smallab")
    ExperimentRunner("relative").run("batch", specifications(1, 2), Square(), show_progress=False)
    assert str(tmp_path / "relative" / "batch") in caplog.messages[0]
    assert os.path.isabs(str(ExperimentRunner("relative").get_save_directory("batch")))


# Backends and joblib's own configuration.


def pids(name="batch"):
    return {each.result if isinstance(each.result, int) else each.result[0] for each in load_results(name)}


def test_one_at_a_time_is_the_default_in_the_caller_s_thread():
    run(specifications(*range(4)), Where())
    assert {each.result for each in load_results("batch")} == {(os.getpid(), threading.get_ident())}


def test_in_parallel_they_are_threads_of_this_process(folder):
    assert run(specifications(*range(4)), Meets(folder, 4), num_parallel=4)
    assert pids() == {os.getpid()}


def test_loky_is_processes(folder):
    assert run(specifications(*range(2)), Meets(folder, 2), **WAYS["loky"])
    assert os.getpid() not in pids()
    assert len(pids()) == 2


def test_a_surrounding_number_of_jobs_is_honoured(folder):
    with joblib.parallel_config(n_jobs=3):
        assert run(specifications(*range(3)), Meets(folder, 3))
    assert pids() == {os.getpid()}


def test_a_surrounding_backend_is_honoured(folder):
    with joblib.parallel_config(backend="loky", n_jobs=2):
        assert run(specifications(*range(2)), Meets(folder, 2))
    assert os.getpid() not in pids()


def test_a_surrounding_backend_that_cannot_stream_is_honoured(folder):
    with joblib.parallel_config(backend="list only", n_jobs=2):
        assert run(specifications(*range(2)), Meets(folder, 2))
    assert pids() == {os.getpid()}


def test_arguments_win_over_what_surrounds(folder):
    with joblib.parallel_config(backend="loky", n_jobs=1):
        assert run(specifications(*range(3)), Meets(folder, 3), num_parallel=3, backend="threading")
    assert pids() == {os.getpid()}
    with joblib.parallel_config(backend="threading", n_jobs=4):
        run(specifications(*range(4)), Where(), name="one", num_parallel=1)
    assert {each.result for each in load_results("one")} == {(os.getpid(), threading.get_ident())}


def test_two_threads_can_each_run_a_batch_with_one_runner():
    runner = ExperimentRunner()
    heard = []
    runner.on_specification_complete(lambda specification, result: heard.append(threading.get_ident()))

    def batch_of(name):
        runner.run(name, specifications(*range(20)), Square(), num_parallel=2, show_progress=False)

    threads = [threading.Thread(target=batch_of, args=(name,)) for name in ("one", "other")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [heard.count(thread.ident) for thread in threads] == [20, 20]
    assert all(len(list(load_results(name))) == 20 for name in ("one", "other"))


def test_joblib_is_asked_to_parse_nothing(monkeypatch):
    """In Python 3.11 ast.parse of two threads at once may raise SystemError: in batches inside a batch, say."""

    def eval_expr(text):
        raise AssertionError(f"joblib parses {text!r}")

    monkeypatch.setattr("joblib.parallel.eval_expr", eval_expr)
    assert run(specifications(0, 1, 2), num_parallel=2)


def test_an_experiment_can_run_a_batch_of_its_own():
    class Outer(Experiment):
        def main(self, specification):
            inner = ExperimentRunner().run(
                f"inner-{specification['x']}", specifications(*range(3)), Square(), num_parallel=2, show_progress=False
            )
            return len(inner.completed)

    assert run(specifications(0, 1, 2), Outer(), num_parallel=2)
    assert {each.result for each in load_results("batch")} == {3}


# What comes back.


def test_a_result_is_true_when_nothing_failed_and_shows_itself_in_one_line():
    assert run([])
    result = run(specifications(1, 2, 3), FailsOn(3))
    assert not result
    assert isinstance(result, BatchResult)
    assert repr(result).startswith("BatchResult('batch': 2 completed, 0 skipped, 1 failed")
    assert str(batch()) in repr(result)
    assert "\n" not in repr(result)
    ((specification, failure),) = result.failed
    assert (specification, failure.type, failure.message) == ({"x": 3}, "ValueError", "3 will not do")
    assert run(specifications(1, 2))


def test_a_result_can_be_read_in_a_notebook():
    class Fails(Experiment):
        def main(self, specification):
            raise ValueError("<script>&")

    html = run([{"<b>": x} for x in range(12)], Fails())._repr_html_()
    assert "<script>" not in html
    assert "&lt;script&gt;&amp;" in html
    assert "<b>" not in html
    assert "12 failed" in html
    assert "2 more" in html
    assert "<table" not in run(specifications(1), name="good")._repr_html_()


@pytest.mark.parametrize("options", [WAYS["one thread"], WAYS["4 threads"]], ids=["one thread", "4 threads"])
def test_results_are_not_kept_in_memory(options):
    runner = ExperimentRunner()
    sizes = []
    runner.on_specification_complete(lambda specification, result: sizes.append(len(result)))
    runner.run("warm", specifications(0), Large(), show_progress=False, **options)
    tracemalloc.start()
    result = runner.run("batch", specifications(*range(60)), Large(), show_progress=False, **options)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert sizes == [1_000_000] * 61
    assert len(result.completed) == 60
    assert peak < 25_000_000  # a few for each thread and one for the hook, of sixty


# Mistakes that people make.


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        (("a", {"seed": [1, 2]}, Square()), SpecificationError, "SpecificationGenerator"),
        (("a", "specifications.json", Square()), SpecificationError, "list of dicts"),
        (("a", None, Square()), SpecificationError, "list of dicts"),
        (("a", 3, Square()), SpecificationError, "list of dicts"),
        (("a", [1, 2], Square()), SpecificationError, r"specifications\[0\].*dict"),
        (("a", [[{"x": 1}]], Square()), SpecificationError, r"specifications\[0\].*dict"),
        (("a", [{"x": 1}], Square), TypeError, r"Square is a class.*Square\("),
        (("a", [{"x": 1}], Square().main), TypeError, "Experiment"),
        (("a", [{"x": 1}], None), TypeError, "Experiment"),
        (("a", [{"x": 1}], Uncopyable()), TypeError, "Uncopyable.*cop.*lock.*main"),
        (("a/b", [{"x": 1}], Square()), ValueError, "a/b"),
        (([{"x": 1}], "a", Square()), ValueError, "name|list of dicts"),
        (("", [{"x": 1}], Square()), ValueError, "name"),
    ],
)
def test_a_mistake_is_named_before_anything_is_written(arguments, error, says, batches_in_tmp_path):
    with pytest.raises(error, match=says):
        ExperimentRunner().run(*arguments)
    assert not batches_in_tmp_path.exists()


@pytest.mark.parametrize(
    ("options", "says"), [({"backend": "lokyy"}, "lokyy"), ({"num_parallel": 0}, "0"), ({"backend": 3}, "3")], ids=str
)
def test_a_backend_that_is_none_is_named_before_anything_runs(options, says, folder):
    with pytest.raises((ValueError, TypeError), match=says):
        run(specifications(1), Records(folder), **options)
    assert Records.seen(folder) == []


# A library is a guest.


@pytest.mark.parametrize("options", WAYS.values(), ids=WAYS)
def test_an_experiment_that_changes_its_specification_changes_nobody_else_s(options):
    listed = [{"x": x, "sizes": [x]} for x in range(3)]
    heard = []
    runner = ExperimentRunner()
    runner.on_specification_complete(lambda specification, result: heard.append(specification))
    result = runner.run("batch", listed, ChangesItsSpecification(), show_progress=False, **options)
    for seen in (listed, heard, result.completed, [each.specification for each in load_results("batch")]):
        assert sorted(seen, key=str) == [{"x": x, "sizes": [x]} for x in range(3)]
    assert len(runner.run("batch", listed, ChangesItsSpecification(), **options).skipped) == 3


def test_an_experiment_that_changes_the_directory_changes_no_place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # and back, at the end
    (tmp_path / "elsewhere").mkdir()
    runner = ExperimentRunner("runs")
    folder = runner.get_save_directory("batch")
    assert runner.run("batch", specifications(*range(4)), ChangesTheDirectory("elsewhere/.."), show_progress=False)
    assert runner.run("batch", specifications(9), ChangesTheDirectory("elsewhere"), show_progress=False)
    assert sorted(os.listdir(tmp_path)) == ["elsewhere", "runs"]
    assert os.listdir(tmp_path / "elsewhere") == []
    assert len(list(folder.glob("*/*.pkl"))) == 5


@pytest.mark.skipif(os.name == "nt", reason="Windows does not let the current directory be removed")
def test_a_directory_that_is_gone_costs_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # and back, at the end
    (tmp_path / "gone").mkdir()
    os.chdir("gone")
    os.rmdir(tmp_path / "gone")
    runner = ExperimentRunner(tmp_path / "runs")
    for options in WAYS.values():
        name = f"batch-{len(options)}"
        assert runner.run(name, specifications(1), Square(), show_progress=False, **options).completed


def test_only_the_experiment_prints(capfd):
    run(specifications(1, 2), PrintsAMegabyte())
    streams = capfd.readouterr()
    assert streams.out == ("x" * 1_000_000 + "\n") * 2
    assert streams.err == ("y" * 1_000_000 + "\n") * 2


def test_the_process_is_left_as_it_was():
    run(specifications(0), **WAYS["4 threads"])  # what joblib itself sets up once

    def state():
        return (
            random.getstate(),
            os.getcwd(),
            dict(os.environ),
            [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)],
            sys.excepthook,
            threading.excepthook,
            list(warnings.filters),
            sys.getrecursionlimit(),
            sys.stdout,
            sys.stderr,
        )

    before = state()
    run(specifications(*range(4)), FailsOn(2), **WAYS["4 threads"])
    run(specifications(*range(8)), LogsALot())
    assert state() == before
    wait_for(lambda: not [each for each in threading.enumerate() if "smallab" in each.name])


QUIET = """
    import sys
    from smallab import Experiment, ExperimentRunner

    class Square(Experiment):
        def main(self, specification):
            return specification["x"] ** 2

    if __name__ == "__main__":
        specifications = [{"x": x} for x in range(30)]
        options = {"num_parallel": int(sys.argv[1]), "backend": sys.argv[2] or None}
        assert ExperimentRunner().run("quiet", specifications, Square(), **options)
        assert ExperimentRunner().run("quiet", specifications, Square(), **options)
"""


@pytest.mark.parametrize("way", [("1", ""), ("4", ""), ("2", "loky"), ("2", "multiprocessing")], ids=str)
def test_a_batch_makes_no_noise(way, tmp_path):
    out, err = (process := python(tmp_path, QUIET, *way)).communicate(timeout=60)
    assert (out, err, process.returncode) == ("", "", 0)


# Ctrl-C.

INTERRUPTED = """
    import os, signal, sys, threading, time
    from smallab import Experiment, ExperimentRunner

    folder, options = sys.argv[1], {"num_parallel": int(sys.argv[2]), "backend": sys.argv[3] or None}

    class Waits(Experiment):
        '''The first six return at once, the others when they may.'''

        def main(self, specification):
            open(f"{folder}/started.{specification['x']}.{time.time_ns()}", "w").close()
            while specification["x"] >= 6 and not os.path.exists(f"{folder}/go"):
                time.sleep(0.005)
            return specification["x"]

    raised = []

    def interrupt(number, frame):
        raised.append(number)
        raise KeyboardInterrupt

    def tell():
        while not raised:
            time.sleep(0.001)
        open(f"{folder}/interrupted", "w").close()

    if __name__ == "__main__":
        signal.signal(signal.SIGINT, interrupt)
        threading.Thread(target=tell, daemon=True).start()  # not the handler: another signal would interrupt that
        runner = ExperimentRunner(f"{folder}/runs")
        runner.on_specification_complete(lambda specification, result: open(f"{folder}/done.{result}", "w").close())
        try:
            result = runner.run("batch", [{"x": x} for x in range(40)], Waits(), **options)
        except KeyboardInterrupt:
            print("interrupted", flush=True)
        else:
            print(len(result.completed), len(result.skipped), len(result.failed), flush=True)
"""


class Interrupted:
    """A script that runs a batch of 40, and what is seen of it from outside."""

    def __init__(self, tmp_path, number, backend):
        self.folder, self.path = tmp_path / "waits", tmp_path
        self.folder.mkdir(exist_ok=True)
        self.number, self.backend = number, backend

    def start(self):
        arguments = (str(self.folder), str(self.number), self.backend)
        return python(self.path, INTERRUPTED, *arguments, start_new_session=True)

    def entries(self, kind):
        return [int(entry.split(".")[1]) for entry in os.listdir(self.folder) if entry.startswith(f"{kind}.")]

    def is_waiting(self):
        return set(range(6, 6 + self.number)) <= set(self.entries("started")) and len(self.entries("done")) == 6

    def was_interrupted(self):
        return (self.folder / "interrupted").exists()

    def completed(self):
        path = self.folder / "runs" / "batch" / "completed.json"
        return values(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else []

    def saved(self):
        return [
            json.loads(path.read_text(encoding="utf-8"))["x"]
            for path in self._folders()
            if list(path.parent.glob("*.pkl"))
        ]

    def _folders(self):
        return (self.folder / "runs" / "batch").glob("*/specification.json")


@contextlib.contextmanager
def interrupted(tmp_path, number, backend):
    script = Interrupted(tmp_path, number, backend)
    process = script.start()
    try:
        wait_for(lambda: script.is_waiting() or process.poll() is not None)
        assert process.poll() is None, process.communicate()
        yield script, process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def goes_on(script, done):
    """Run the rest, and see that what was done is not done again."""
    (script.folder / "go").touch()
    before = script.entries("started")
    out, err = script.start().communicate(timeout=60)
    assert out.split() == [str(40 - len(done)), str(len(done)), "0"]
    assert err == ""
    again = script.entries("started")
    assert all(again.count(x) == before.count(x) for x in done)
    assert script.completed() == list(range(40))
    assert os.listdir(script.folder / "runs" / "batch" / "journal") == []


@pytest.mark.skipif(os.name == "nt", reason="sends POSIX signals")
@pytest.mark.parametrize("whom", ["the process", "the terminal's group"])
@pytest.mark.parametrize(
    ("number", "backend"), [(1, ""), (4, ""), (2, "loky")], ids=["one thread", "4 threads", "loky"]
)
def test_ctrl_c_once(number, backend, whom, tmp_path):
    with interrupted(tmp_path, number, backend) as (script, process):
        (os.kill if whom == "the process" else os.killpg)(process.pid, signal.SIGINT)
        wait_for(script.was_interrupted)
        if backend == "" and number > 1:
            (script.folder / "go").touch()  # what is running in threads may finish
        out, err = process.communicate(timeout=60)
        assert out == "interrupted\n"
        assert err.count("\n") <= 2, err
        assert "stopped" in err
        done = script.completed()
        expected = set(range(6 + number)) if backend == "" and number > 1 else set(range(6))
        assert expected <= set(done) <= set(script.entries("started"))
        assert len(set(script.entries("started"))) <= 6 + 2 * number
        assert set(done) <= set(script.saved())
        assert os.listdir(script.folder / "runs" / "batch" / "journal") == []
        goes_on(script, done)


@pytest.mark.skipif(os.name == "nt", reason="sends POSIX signals")
@pytest.mark.parametrize(
    ("number", "backend"), [(1, ""), (4, ""), (2, "loky")], ids=["one thread", "4 threads", "loky"]
)
def test_ctrl_c_twice_leaves_at_once(number, backend, tmp_path):
    with interrupted(tmp_path, number, backend) as (script, process):
        process.send_signal(signal.SIGINT)
        wait_for(script.was_interrupted)
        if number > 1 and backend == "":
            process.send_signal(signal.SIGINT)  # the threads wait for what never comes
        out, _ = process.communicate(timeout=60)
        assert out == "interrupted\n"
        assert set(range(6)) <= set(script.saved())
        goes_on(script, list(range(6)))


@pytest.mark.parametrize("options", WAYS.values(), ids=WAYS)
def test_an_experiment_that_raises_keyboard_interrupt_stops_the_batch_and_stays_pending(options, tmp_path, caplog):
    with pytest.raises(KeyboardInterrupt):
        run(specifications(*range(20)), Interrupts(5, tmp_path / "until"), **options)
    done = listed_in("completed")
    assert set(done) <= set(range(5))
    assert "backend" in options or set(done) == set(range(5))
    assert listed_in("failed") == []
    assert sum("stopped" in message for message in caplog.messages) == 1
    (tmp_path / "until").touch()
    result = run(specifications(*range(20)), Interrupts(5, tmp_path / "until"), **options)
    assert (values(result.skipped), len(result.completed)) == (done, 20 - len(done))
