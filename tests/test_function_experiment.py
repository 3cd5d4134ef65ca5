"""Functions that are experiments: what a call records, reads back, answers from, and raises; wherever it runs."""

import copy
import enum
import inspect
import json
import multiprocessing
import os
import pickle
import random
import re
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

import smallab
from smallab import (
    CallbackManager,
    Experiment,
    ExperimentRunner,
    Observation,
    SpecificationError,
    current_dir,
    current_id,
    experiment,
    load_results,
    new_seed,
    parameter,
    time_block,
)
from smallab.experiment import FunctionExperiment

ID = re.compile(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d_\d{6}_[0-9a-f]{6}")


@experiment
def square(x: float, y: int = 2) -> float:
    """Raise a number to a power."""
    return x**y


@experiment
def broken(x):
    raise ValueError(f"no {x}")


@experiment
def drawn(n):
    return [new_seed() for _ in range(n)]


@experiment(name="outer")
def nested(n):
    with time_block("inner"):
        return [current_id(), *drawn(n), current_id()]


def script(folder, code, name="script.py", **environment):
    """Run a script in a folder, any warning an error; return what it prints."""
    path = folder / name
    path.write_text(textwrap.dedent(code), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "error", path],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


class TestACall:
    def test_returns_and_is_recorded(self):
        assert [square(i) for i in range(3)] == [0, 1, 4]
        assert [(item.specification, item.result) for item in square.observations()] == [
            ({"x": x, "y": 2}, x**2) for x in range(3)
        ]

    def test_has_an_id_that_sorts_by_time(self):
        for x in range(5):
            square(x)
        ids = [item.id for item in square.observations()]
        assert all(map(ID.fullmatch, ids))
        assert ids == sorted(set(ids))

    def test_is_written_as_a_specification_of_a_batch_is(self, batches_in_tmp_path):
        square(3)
        (found,) = square.observations()
        folder = batches_in_tmp_path / "square" / found.id
        assert {path.name for path in folder.iterdir()} == {"specification.json", "metadata.json", f"{found.id}.pkl"}
        assert json.loads((folder / "specification.json").read_text()) == {"x": 3, "y": 2}
        assert pickle.loads((folder / f"{found.id}.pkl").read_bytes()) == {
            "specification": {"x": 3, "y": 2},
            "result": 9,
        }
        assert {path.name for path in folder.parent.iterdir()} == {found.id, "runs"}

    def test_that_raises_is_a_failure_and_raises(self):
        with pytest.raises(ValueError, match="no 3") as raised:
            broken(3)
        assert raised.traceback[-1].name == "broken"
        (found,) = broken.observations()
        assert (found.specification, found.result) == ({"x": 3}, None)
        assert (found.failure.type, found.failure.message) == ("ValueError", "no 3")
        assert 'raise ValueError(f"no {x}")' in found.failure.traceback
        assert "smallab" not in found.failure.traceback.replace(__file__, "")
        assert found.metadata["duration"] >= 0

    @pytest.mark.parametrize(("error", "recorded"), [(SystemExit(3), ["SystemExit"]), (KeyboardInterrupt(), [])])
    def test_that_exits_is_a_failure_too_and_one_that_is_interrupted_is_none(self, error, recorded):
        """As in a batch: what Ctrl-C stopped has neither completed nor failed."""

        @experiment
        def stopped():
            raise error

        with pytest.raises(type(error)):
            stopped()
        assert [item.failure.type for item in stopped.observations()] == recorded

    def test_whose_result_cannot_be_saved_says_so(self):
        @experiment
        def unsavable():
            return (x for x in "a generator")

        with pytest.raises(TypeError) as raised:
            unsavable()
        assert "what it returned cannot be saved" in "".join(raised.value.__notes__)
        (found,) = unsavable.observations()
        assert "cannot be saved" in found.failure.traceback

    @pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="permissions do not bind this user")
    def test_that_cannot_be_recorded_still_raises_its_own_error(self, batches_in_tmp_path):
        @experiment
        def unwritable():
            (batches_in_tmp_path / "unwritable").chmod(0o500)
            raise ValueError("its own")

        try:
            with pytest.raises(ValueError, match="its own") as raised:
                unwritable()
            assert "could not be recorded" in raised.value.__notes__[0]
        finally:
            (batches_in_tmp_path / "unwritable").chmod(0o700)

    def test_with_wrong_arguments_is_refused_as_python_does_and_not_recorded(self):
        with pytest.raises(TypeError, match="missing a required argument: 'x'"):
            square()
        with pytest.raises(TypeError, match="unexpected keyword argument 'z'"):
            square(1, z=2)
        assert square.observations() == []

    def test_with_arguments_that_are_not_json_is_refused_by_name(self):
        with pytest.raises(SpecificationError, match=r'square\["x"\]: set \{1\} is not JSON'):
            square({1})
        assert square.observations() == []

    def test_passes_arguments_as_they_are_and_records_json(self):
        class Optimizer(enum.Enum):
            SGD = "sgd"

        seen = []

        @experiment
        def train(path, optimizer, sizes=(1, 2)):
            seen.extend([path, optimizer, sizes])

        train(Path("data.csv"), optimizer=Optimizer.SGD)
        assert seen == [Path("data.csv"), Optimizer.SGD, (1, 2)]
        assert train.observations()[0].specification == {"path": "data.csv", "optimizer": "sgd", "sizes": [1, 2]}

    def test_records_its_arguments_before_the_function_changes_them(self):
        @experiment
        def pop(values):
            return values.pop()

        assert pop([1, 2]) == 2
        assert pop.observations()[0].specification == {"values": [1, 2]}

    def test_with_all_kinds_of_arguments(self):
        @experiment
        def add(first, /, *more, scale=1, **names):
            return [first, more, scale, names]

        assert add(1, 2, 3, scale=4, other=5) == [1, (2, 3), 4, {"other": 5}]
        (found,) = add.observations()
        assert found.specification == {"first": 1, "more": [2, 3], "scale": 4, "other": 5}
        assert add.run(found.specification) == [1, (2, 3), 4, {"other": 5}]
        with pytest.raises(TypeError, match="first would be twice"):
            add(1, first=2)

    def test_of_a_function_that_takes_params(self):
        @parameter("string_to_print", default="No string was given")
        @experiment
        @parameter("times", type=int, default=1)
        def speak(params):
            return params["string_to_print"] * params["times"]

        assert speak({}) == "No string was given"
        assert speak.run({"times": 2, "string_to_print": "a"}) == "aa"
        assert [item.specification["times"] for item in speak.observations()] == [1, 2]

    def test_of_a_function_that_takes_params_without_them_is_refused_as_python_does(self):
        @experiment
        def speak(params):
            return params

        with pytest.raises(TypeError, match="missing a required argument: 'params'"):
            speak()

    def test_takes_what_is_not_given_from_where_parameter_says(self, monkeypatch):
        @experiment
        @parameter("rate", envvar="RATE")
        @parameter("epochs", default=lambda: 7)
        @parameter("path", default=Path("data"))
        def train(rate: float = 0.1, *, epochs: int, path: Path, sizes=(1, 2)):
            return [rate, epochs, path, sizes]

        assert train() == [0.1, 7, Path("data"), (1, 2)]
        monkeypatch.setenv("RATE", "0.5")
        assert train(epochs=3) == [0.5, 3, Path("data"), (1, 2)]
        assert train(0.2, path="here")[::2] == [0.2, "here"]
        assert [item.specification["rate"] for item in train.observations()] == [0.1, 0.5, 0.2]


class TestRun:
    def test_takes_a_dict(self):
        assert square.run({"x": 3}) == 9
        assert square.observations()[0].specification == {"x": 3, "y": 2}

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ({}, "'x': missing"),
            ({"x": 3, "z": 1}, "'z': there is no such parameter"),
            ({"x": "three"}, "'x': expected a number, not 'three'"),
        ],
    )
    def test_names_the_parameter_that_is_wrong(self, given, message):
        with pytest.raises(SpecificationError, match=message):
            square.run(given)
        assert square.observations() == []

    def test_output_dir_and_params_file_are_no_part_of_the_specification(self, tmp_path):
        (tmp_path / "specification.json").write_text('{"x": 3, "y": 3}')
        given = {"y": 1, "params_file": tmp_path / "specification.json", "output_dir": tmp_path / "elsewhere"}
        assert square.run(given) == 3
        assert square.observations() == []
        (folder,) = (tmp_path / "elsewhere" / "square").glob("2*")
        assert json.loads((folder / "specification.json").read_text()) == {"x": 3, "y": 1}


class TestWhatIsRecorded:
    def test_metadata(self):
        nested(1)
        metadata = nested.observations()[0].metadata
        assert metadata["timing"]["start"] <= metadata["timing"]["end"]
        assert 0 <= metadata["timing"]["inner"] <= metadata["timing"]["total"] == metadata["timing"]["duration"]
        assert metadata["code"].startswith('@experiment(name="outer")\ndef nested(n):\n')
        assert {"system", "python", "packages", "git"} == metadata["environment"].keys()
        assert "joblib" in metadata["environment"]["packages"]
        assert metadata["pid"] == os.getpid()

    def test_code_and_environment_are_kept_once_for_all_calls_of_a_process(self, batches_in_tmp_path):
        for x in range(3):
            square(x)
        assert len(list((batches_in_tmp_path / "square" / "runs").iterdir())) == 1
        for path in (batches_in_tmp_path / "square").glob("2*/metadata.json"):
            assert "code" not in path.read_text()

    def test_a_call_after_the_folder_was_deleted_is_whole(self, batches_in_tmp_path):
        import shutil

        square(1)
        shutil.rmtree(batches_in_tmp_path)
        square(2)
        (found,) = square.observations()
        assert "def square" in found.metadata["code"]

    def test_asdict_is_json(self):
        square(3)
        with pytest.raises(ValueError, match="no 1"):
            broken(1)
        for found in (*square.observations(), *broken.observations()):
            record = json.loads(json.dumps(found._asdict()))
            assert record["specification"] == found.specification
            assert record["metadata"]["environment"]["python"]["version"] in sys.version
            assert (record["failure"] or {}).get("type") == (found.failure and found.failure.type)

    def test_an_observation_has_one_line_and_a_table(self):
        square(3)
        observations = square.observations()
        assert repr(observations) == f"[Observation({observations[0].id}, {{'x': 3, 'y': 2}} → 9)]"
        for shown in (observations, observations[0]):
            assert f"<td>{observations[0].id}</td><td>3</td><td>2</td><td>9</td>" in shown._repr_html_()

    def test_a_long_table_is_cut_and_escaped(self):
        @experiment
        def say(text):
            return "<b>"

        for number in range(70):
            say(f"<{number}>")
        page = say.observations()._repr_html_()
        assert "&lt;0&gt;" in page
        assert "&lt;69&gt;" in page
        assert "&lt;35&gt;" not in page
        assert "… 10 more …" in page
        assert "<b>" not in page

    def test_to_dataframe(self):
        square(3)
        table = square.to_dataframe()
        assert table[["x", "y", "result", "status"]].to_dict("records") == [
            {"x": 3, "y": 2, "result": 9, "status": "completed"}
        ]

    def test_artefacts(self):
        @experiment
        def writing():
            (current_dir() / "sub").mkdir()
            (current_dir() / "sub" / "b.txt").write_text("hello world")
            (current_dir() / "a.txt").write_text("hello world")
            writing.logger.info("not an artefact")

        writing()
        (found,) = writing.observations()
        assert [path.name for path in writing.artefacts(found.id)] == ["a.txt", "b.txt"]
        assert (writing.artefacts(found.id)[0].parent.parent / "log.txt").exists()
        with pytest.raises(LookupError, match="writing has no observation '2026'"):
            writing.artefacts("2026")

    def test_root_and_name(self, tmp_path):
        @experiment(root=tmp_path / "some" / "path", name="cubes")
        def cube(x):
            return x**3

        assert cube(4) == 64
        assert (tmp_path / "some" / "path" / "cubes" / cube.observations()[0].id).is_dir()

    def test_the_environment_variable_counts_at_the_call(self, tmp_path, monkeypatch):
        square(1)
        monkeypatch.setenv("SMALLAB_ROOT", str(tmp_path / "other"))
        square(2)
        assert [item.result for item in square.observations()] == [4]

    def test_a_killed_or_running_call_is_left_out_and_a_damaged_one_is_a_failure(self, batches_in_tmp_path):
        for x in range(4):
            square(x)
        killed, saving, damaged, _ = (batches_in_tmp_path / "square" / item.id for item in square.observations())
        for path in killed.iterdir():
            path.unlink()
        (saving / f"{saving.name}.pkl").rename(saving / "host.1.tmp")
        (damaged / "specification.json").write_text('{"x": ')
        (batches_in_tmp_path / "square" / "notes").mkdir()
        first, second = square.observations()
        assert str(damaged) in first.failure.message
        assert second.result == 9

    def test_from_an_earlier_session(self, tmp_path):
        code = """
            from smallab import experiment
            @experiment
            def square(x):
                return x * x
            square(len(square.observations()))
            print([item.result for item in square.observations()])
        """
        assert [script(tmp_path, code) for _ in range(3)] == ["[0]\n", "[0, 1]\n", "[0, 1, 4]\n"]


class TestOtherCode:
    CODE = """
        from smallab import experiment
        @experiment(cache={cache})
        def f(x):
            print("called")
            return {factor} * x
        print(f(2), [item.result for item in f.observations(current_code_only=True)], len(f.observations()))
    """

    def run(self, folder, factor, cache=False):
        return script(folder, self.CODE.format(factor=factor, cache=cache)).split("\n")[:-1]

    def test_current_code_only(self, tmp_path):
        assert self.run(tmp_path, 1) == ["called", "2 [2] 1"]
        assert self.run(tmp_path, 10) == ["called", "20 [20] 2"]
        assert self.run(tmp_path, 1) == ["called", "2 [2, 2] 3"]

    def test_cache_answers_what_the_same_code_has_answered(self, tmp_path):
        assert self.run(tmp_path, 1, cache=True) == ["called", "2 [2] 1"]
        assert self.run(tmp_path, 1, cache=True) == ["2 [2] 1"]
        assert self.run(tmp_path, 10, cache=True) == ["called", "20 [20] 2"]

    def test_the_code_is_that_which_was_loaded(self, tmp_path):
        printed = script(
            tmp_path,
            """
            from pathlib import Path
            from smallab import experiment
            @experiment
            def f():
                return "old"
            Path(__file__).write_text(Path(__file__).read_text().replace("old", "new"))
            f()
            print(f.observations()[0].metadata["code"])
            """,
        )
        assert 'return "old"' in printed

    def test_what_nobody_knows_the_code_of_is_not_taken_for_the_same(self):
        namespace = {"__name__": "nowhere", "calls": []}
        code = "from smallab import experiment\n@experiment(cache=True)\ndef f(x):\n    calls.append(x)\n"
        exec(code, namespace)
        namespace["f"](1)
        namespace["f"](1)
        assert namespace["calls"] == [1, 1]
        assert len(namespace["f"].observations(current_code_only=True)) == 2


class TestCache:
    def test_answers_same_arguments_once_computed(self):
        calls = []

        @experiment(cache=True)
        def slow(x, y=1):
            calls.append(x)
            if x == 2:
                raise ValueError("again")
            return {"x": x}

        assert slow(1) == slow(x=1, y=1) == slow.run({"x": 1}) == {"x": 1}
        for _ in range(2):
            with pytest.raises(ValueError, match="again"):
                slow(2)
        slow(1, y=2)
        assert calls == [1, 2, 2, 1]

    def test_knows_what_a_batch_of_its_name_made(self):
        calls = []

        @experiment(cache=True)
        def slow(x):
            calls.append(x)
            return x

        ExperimentRunner().run("slow", [{"x": 1}], slow, show_progress=False)
        assert slow(1) == 1
        assert calls == [1]
        assert [item.result for item in slow.observations()] == [1]


class TestRandomNumbers:
    def test_a_seed_that_is_given_is_part_of_the_specification(self):
        assert drawn(3, random_seed=1) == drawn.run({"n": 3, "random_seed": 1})
        for found in drawn.observations():
            assert found.specification == {"n": 3, "random_seed": 1}
            assert "random_seed" not in found.metadata

    def test_a_seed_that_is_drawn_is_recorded_and_makes_the_same_numbers(self):
        first, second = drawn(3), drawn(3)
        assert first != second
        seed = drawn.observations()[0].metadata["random_seed"]
        assert drawn.observations()[0].specification == {"n": 3}
        assert drawn(3, random_seed=seed) == first

    def test_the_same_seed_is_the_same_in_a_batch(self):
        ExperimentRunner().run("draws", [{"n": 3, "random_seed": 1}], drawn, show_progress=False)
        assert [item.result for item in load_results("draws")] == [drawn(3, random_seed=1)]

    def test_a_seed_must_be_a_number(self):
        with pytest.raises(SpecificationError, match="'random_seed'"):
            drawn(1, random_seed="one")

    def test_a_function_may_have_it_as_its_own(self):
        @experiment
        def own(random_seed=None):
            return [random_seed, new_seed()]

        assert own(5) == own(random_seed=5)
        assert own()[0] is None
        assert "random_seed" in own.observations()[2].metadata

    def test_the_users_generators_are_left_alone(self):
        random.seed(1)
        state = random.getstate()
        drawn(1)
        assert random.getstate() == state

    def test_an_experiment_inside_another_is_reproducible_with_it(self):
        first, second = nested(2, random_seed=7), nested(2, random_seed=7)
        assert first[1:3] == second[1:3]

    @pytest.mark.parametrize("workers", [{}, {"num_parallel": 4}, {"num_parallel": 2, "backend": "loky"}])
    def test_a_batch_is_reproducible_wherever_it_runs(self, workers):
        specifications = [{"n": n} for n in range(1, 6)]
        reference = {n: random.Random(int(smallab.specification_hash({"n": n}), 16)) for n in range(1, 6)}
        ExperimentRunner().run("draws", reversed(specifications), drawn, show_progress=False, **workers)
        found = {item.specification["n"]: item.result for item in load_results("draws")}
        assert found == {n: [reference[n].getrandbits(32) for _ in range(n)] for n in reference}


class TestNesting:
    def test_each_knows_its_own_id(self):
        outer, inner, outer_again = nested(1)
        assert outer == outer_again == nested.observations()[0].id
        assert inner == drawn.observations()[0].result[0]
        assert "inner" not in drawn.observations()[0].metadata["timing"]

    def test_within_a_batch(self):
        ExperimentRunner().run("nests", [{"n": 1}, {"n": 2}], nested, show_progress=False, num_parallel=2)
        for found in load_results("nests"):
            assert found.result[0] == found.result[-1] == found.id
        assert len(drawn.observations()) == 2

    def test_a_failure_inside_is_a_failure_of_both_where_it_is_not_caught(self):
        @experiment
        def outer():
            broken(1)

        with pytest.raises(ValueError, match="no 1"):
            outer()
        assert len(broken.observations()) == len(outer.observations()) == 1
        with pytest.raises(RuntimeError, match="no specification is running here"):
            current_id()


class TestAsAnExperiment:
    def test_it_is_one(self):
        assert isinstance(square, Experiment)
        result = ExperimentRunner().run("squares", [{"x": 2}, {"x": 3, "y": 3}], square, show_progress=False)
        assert result
        assert [item.result for item in load_results("squares")] == [4, 27]
        assert square.observations() == []

    def test_a_wrong_parameter_fails_its_specification_alone(self):
        result = ExperimentRunner().run("squares", [{"x": 2}, {"z": 3}], square, show_progress=False)
        assert len(result.completed) == 1
        ((_, failure),) = result.failed
        assert "'x': missing" in failure.message

    def test_changed_code_is_told_by_the_functions_name(self, caplog):
        def f(x):
            return x

        runner = ExperimentRunner()
        runner.run("batch", [{"x": 2}], experiment(f), show_progress=False)
        changed = experiment(name="f")(lambda x: 2 * x)
        changed.__name__ = "f"
        runner.run("batch", [{"x": 2}], changed, show_progress=False)
        assert "1 of 1 results that are skipped were made by other code of f" in caplog.text
        runner.run("batch", [{"x": 2}], changed, show_progress=False, rerun="changed")
        assert [item.result for item in load_results("batch")] == [4]

    def test_copies_share_nothing_that_a_run_changes(self):
        for twin in (copy.copy(square), copy.deepcopy(square)):
            assert twin is not square
            assert twin(3) == 9
        assert len(square.observations()) == 2

    @pytest.mark.parametrize("kind", ["a module's", "a closure's"])
    def test_it_travels(self, kind):
        from smallab.storage.pickling import dumps

        factor = 2

        @experiment(format="json")
        def local(x):
            return factor * x

        made = pickle.loads(dumps(square if kind == "a module's" else local))
        assert made(3) == (9 if kind == "a module's" else 6)
        assert made.code == (square if kind == "a module's" else local).code

    def test_plain_pickle_takes_what_can_be_imported(self):
        assert pickle.loads(pickle.dumps(square))(2) == 4

    @pytest.mark.parametrize("backend", ["loky", "threading"])
    def test_from_a_script(self, tmp_path, backend):
        printed = script(
            tmp_path,
            f"""
            from smallab import ExperimentRunner, experiment, load_results
            @experiment(format="json")
            def fib(n):
                return n if n < 2 else fib(n - 1) + fib(n - 2)
            result = ExperimentRunner().run(
                "fibs", [{{"n": n}} for n in range(5)], fib, num_parallel=2, backend={backend!r}, show_progress=False
            )
            assert result, result.failed
            print(sorted(item.result for item in load_results("fibs")), len(fib.observations()))
            """,
        )
        assert printed == "[0, 1, 1, 2, 3] 14\n"

    def test_from_a_notebook(self, tmp_path):
        import nbclient
        import nbformat

        define = """
from smallab import ExperimentRunner, experiment, load_results
@experiment
def square(x):
    return x * x
square(3)"""
        use = """
process = square.run_in_new_process({"x": 4}); process.join()
ExperimentRunner().run("squares", [{"x": 5}, {"x": 6}], square, num_parallel=2, backend="loky")
print(square.observations()[-1].result, sorted(item.result for item in load_results("squares")))
print(square.observations()[0].metadata["code"])"""
        cells = [define, "square.observations()", use]
        notebook = nbformat.v4.new_notebook(cells=list(map(nbformat.v4.new_code_cell, cells)))
        nbclient.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
        assert "<td>3</td><td>9</td>" in notebook.cells[1].outputs[0]["data"]["text/html"]
        text = "".join(output.get("text", "") for output in notebook.cells[2].outputs)
        assert "16 [25, 36]" in text
        assert "@experiment\ndef square(x):\n    return x * x\n" in text


class TestInANewProcess:
    def test_it_is_recorded(self):
        process = square.run_in_new_process({"x": 3})
        assert isinstance(process, multiprocessing.Process)
        process.join(60)
        assert process.exitcode == 0
        (found,) = square.observations()
        assert (found.result, found.metadata["pid"]) == (9, process.pid)

    def test_what_it_raises_is_not_lost(self, capfd):
        process = broken.run_in_new_process({"x": 3})
        process.join(60)
        assert process.exitcode == 1
        assert broken.observations()[0].failure.message == "no 3"
        assert "ValueError: no 3" in capfd.readouterr().err

    def test_wrong_parameters_are_refused_here(self):
        with pytest.raises(SpecificationError, match="'z'"):
            square.run_in_new_process({"x": 3, "z": 1})

    def test_of_a_script_without_a_main_guard(self, tmp_path):
        printed = script(
            tmp_path,
            """
            import os
            from smallab import experiment
            here = os.getpid()
            @experiment
            def whoami(x):
                return [x, os.getcwd(), os.getpid() != here]
            processes = [whoami.run_in_new_process({"x": x}) for x in range(2)]
            for process in processes:
                process.join()
            print(sorted(item.result for item in whoami.observations()))
            """,
        )
        assert printed == f"{[[x, str(tmp_path), True] for x in range(2)]}\n"

    @pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
    def test_a_pool_of_multiprocessing_takes_a_scripts_own(self, tmp_path, method):
        printed = script(
            tmp_path,
            f"""
            import multiprocessing
            from smallab import experiment
            @experiment
            def fib(n):
                return n if n < 2 else fib(n - 1) + fib(n - 2)
            if __name__ == "__main__":
                with multiprocessing.get_context({method!r}).Pool(2) as pool:
                    print(pool.map(fib, range(5)))
                print(len(fib.observations()))
            """,
        )
        assert printed == "[0, 1, 1, 2, 3]\n19\n"

    def test_closures_and_lambdas_and_a_relative_root(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        factor = 5
        times = experiment(name="times", root="here")(lambda x: factor * x)
        process = times.run_in_new_process({"x": 2})
        process.join(60)
        assert [item.result for item in times.observations()] == [10]
        assert (tmp_path / "here" / "times").is_dir()

    def test_inside_another_it_is_reproducible_with_it(self):
        @experiment
        def starting():
            drawn.run_in_new_process({"n": 1}).join(60)

        starting(random_seed=1)
        starting(random_seed=1)
        first, second = (item.metadata["random_seed"] for item in drawn.observations())
        assert first == second

    def test_ten_at_once_lose_nothing(self):
        processes = [square.run_in_new_process({"x": x}) for x in range(10)]
        threads = [threading.Thread(target=square, args=(x,)) for x in range(10, 20)]
        for thread in threads:
            thread.start()
        for each in (*processes, *threads):
            each.join(120)
        assert sorted(item.specification["x"] for item in square.observations()) == list(range(20))


class Hears(CallbackManager):
    def __init__(self):
        self.heard = []

    def on_specification_complete(self, specification, result):
        self.heard.append((self.experiment_name, specification, result))

    def on_specification_failure(self, exception, specification):
        self.heard.append((self.experiment_name, specification, repr(exception)))


class TestCallbacks:
    def test_hear_of_every_call(self):
        hears = Hears()

        @experiment(callbacks=[hears])
        def half(x):
            return 1 / x

        half(2)
        with pytest.raises(ZeroDivisionError):
            half(0)
        assert hears.heard == [
            ("half", {"x": 2}, 0.5),
            ("half", {"x": 0}, "ZeroDivisionError('division by zero')"),
        ]

    def test_that_raise_change_nothing(self, caplog):
        class Raises(CallbackManager):
            def on_specification_complete(self, specification, result):
                raise RuntimeError("a broken hook")

        one = experiment(name="one", callbacks=[Raises()])(lambda: 1)
        assert one() == 1
        assert one.observations()[0].result == 1
        assert "a broken hook" in caplog.text


class TestTheDecorator:
    def test_keeps_name_docstring_signature_and_types(self):
        assert (square.__name__, square.__qualname__, square.__module__) == ("square", "square", __name__)
        assert square.__doc__ == "Raise a number to a power."
        assert str(inspect.signature(square)) == "(x: float, y: int = 2) -> float"
        assert repr(square) == "<experiment square(x: float, y: int = 2) -> float>"

    @pytest.mark.parametrize("thing", ["square", 3, Hears])
    def test_refuses_what_is_no_function(self, thing):
        with pytest.raises(TypeError, match="@experiment stands above a function"):
            experiment(thing)

    def test_refuses_what_does_not_return(self):
        async def later(x):
            return x

        def several(x):
            yield x

        with pytest.raises(TypeError, match=r"later.* is async; make it a function that calls asyncio.run"):
            experiment(later)
        with pytest.raises(TypeError, match=r"several.* yields; make it a function that returns"):
            experiment(several)

    def test_callbacks_are_checked(self):
        with pytest.raises(TypeError, match="is not an object of a subclass of CallbackManager"):
            experiment(name="one", callbacks=[Hears])(lambda: 1)

    def test_names_must_be_folders(self):
        with pytest.raises(ValueError, match="'<lambda>' cannot name a batch") as raised:
            experiment(lambda x: x)
        assert '@experiment(name="…")' in raised.value.__notes__[0]

    def test_unknown_format(self):
        with pytest.raises(ValueError, match="there is no format 'xml'; there are pickle, json"):
            experiment(name="f", format="xml")(lambda x: x)

    @pytest.mark.parametrize(
        "imports",
        [
            "from smallab import experiment; from smallab.experiment import Experiment",
            "from smallab.experiment import Experiment; from smallab import experiment",
            "import smallab.experiment; from smallab import experiment; from smallab.experiment import Experiment",
            "import smallab; experiment = smallab.experiment; from smallab.experiment import Experiment",
            "import smallab.experiment; experiment = smallab.experiment; Experiment = smallab.experiment.Experiment",
        ],
    )
    def test_whatever_was_imported_first_it_is_the_decorator(self, imports):
        code = f"{imports}; import smallab; assert Experiment is smallab.Experiment; print(type(experiment(len)))"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert "FunctionExperiment" in done.stdout

    def test_importing_it_imports_little(self):
        late = {"inspect", "dataclasses", "pathlib", "random", "multiprocessing", "importlib.metadata", "click"}
        code = "import sys; before = set(sys.modules); import smallab; print(*(set(sys.modules) - before))"
        done = subprocess.run(
            [sys.executable, "-S", "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONPATH": str(Path(smallab.__file__).parent.parent)},
        )
        assert late.isdisjoint(done.stdout.split())

    def test_mypy_sees_the_types(self, tmp_path):
        (tmp_path / "typed.py").write_text(
            textwrap.dedent(
                """
                from smallab import experiment, ExperimentRunner
                @experiment
                def square(x: float, y: int = 2) -> float:
                    return x ** y
                @experiment(name="b", cache=True)
                def brackets(text: str) -> list[str]:
                    return [text]
                reveal_type(square(3))
                reveal_type(brackets("a"))
                reveal_type(square.run({"x": 3}))
                ExperimentRunner().run("squares", [{"x": 3}], square)
                square("three")
                brackets(other=1)
                """
            )
        )
        done = subprocess.run(
            [sys.executable, "-m", "mypy", "--strict", "--cache-dir", tmp_path / "cache", "typed.py"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        lines = [line.partition(": ")[2] for line in done.stdout.splitlines()]
        assert [line for line in lines if line.startswith("note: Revealed")] == [
            'note: Revealed type is "float"',
            'note: Revealed type is "list[str]"',
            'note: Revealed type is "float"',
        ]
        errors = [line for line in lines if line.startswith("error")]
        assert len(errors) == 2, done.stdout
        assert 'incompatible type "str"; expected "float"' in errors[0]
        assert 'Unexpected keyword argument "other"' in errors[1]


def test_an_observation_pickles_and_is_made_by_position():
    square(3)
    (found,) = square.observations()
    assert pickle.loads(pickle.dumps(found)) == found == Observation(found.id, {"x": 3, "y": 2}, 9)
    assert pickle.loads(pickle.dumps(found)).metadata == found.metadata
    with pytest.raises(AttributeError):
        found.result = 10
    assert isinstance(square, FunctionExperiment)
