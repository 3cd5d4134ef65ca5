"""Results made by other code: told with counts, left alone, and run again where that is asked for."""

import textwrap

import pytest

from smallab import Experiment, ExperimentRunner, experiment, load_results


def define(folder, number, factor, kind):
    """Return an experiment whose source is in a file of its own."""
    code = {
        "class": f"""
            from smallab import Experiment
            class Times(Experiment):
                def main(self, specification):
                    return {factor} * specification["x"]
            times = Times()
        """,
        "function": f"""
            from smallab import experiment
            @experiment
            def times(x):
                return {factor} * x
        """,
    }[kind]
    path = folder / f"study{number}.py"
    path.write_text(textwrap.dedent(code))
    namespace = {"__name__": "study", "__file__": str(path)}
    exec(compile(path.read_text(), path, "exec"), namespace)
    return namespace["times"]


@pytest.fixture(params=["class", "function"])
def versions(request, tmp_path):
    """Return two versions of an experiment."""
    made = [define(tmp_path, number, factor, request.param) for number, factor in enumerate((1, 10))]
    if request.param == "class":  # its source is looked for by the module's name
        for number, version in enumerate(made):
            type(version).__module__ = f"study{number}"
    return made


def results():
    return {item.specification["x"]: item.result for item in load_results("batch")}


def test_skipped_results_of_other_code_are_told_of_with_counts(versions, caplog):
    old, new = versions
    runner = ExperimentRunner()
    runner.run("batch", [{"x": 1}, {"x": 2}], old, show_progress=False)
    runner.run("batch", [{"x": 1}, {"x": 2}], old, show_progress=False)
    assert "other code" not in caplog.text
    result = runner.run("batch", [{"x": 1}, {"x": 2}, {"x": 3}], new, show_progress=False)
    assert "2 of 2 results that are skipped were made by other code of" in caplog.text
    assert 'rerun="changed" runs them again' in caplog.text
    assert len(result.skipped) == 2
    assert results() == {1: 1, 2: 2, 3: 30}


def test_rerun_changed_runs_exactly_those(versions, caplog):
    old, new = versions
    runner = ExperimentRunner()
    runner.run("batch", [{"x": 1}, {"x": 2}], old, show_progress=False)
    runner.run("batch", [{"x": 3}], new, show_progress=False)
    result = runner.run("batch", [{"x": x} for x in range(1, 5)], new, show_progress=False, rerun="changed")
    assert result.completed == [{"x": 1}, {"x": 2}]
    assert results() == {1: 10, 2: 20, 3: 30}
    caplog.clear()
    assert (
        runner.run("batch", [{"x": x} for x in range(1, 4)], new, show_progress=False, rerun="changed").completed == []
    )
    runner.run("batch", [{"x": 1}], new, show_progress=False)
    assert "other code" not in caplog.text


def test_without_a_source_nothing_counts_as_changed(versions, caplog):
    old, _ = versions
    namespace = {"Experiment": Experiment}
    exec("class Times(Experiment):\n    def main(self, specification):\n        return 5\n", namespace)
    runner = ExperimentRunner()
    runner.run("batch", [{"x": 1}], old, show_progress=False)
    runner.run("batch", [{"x": 1}], namespace["Times"](), show_progress=False)
    runner.run("batch", [{"x": 2}], namespace["Times"](), show_progress=False)
    runner.run("batch", [{"x": 2}], old, show_progress=False)
    assert "other code" not in caplog.text


def test_a_damaged_record_of_a_run_changes_nothing(versions, batches_in_tmp_path):
    old, new = versions
    runner = ExperimentRunner()
    runner.run("batch", [{"x": 1}], old, show_progress=False)
    for path in (batches_in_tmp_path / "batch" / "runs").iterdir():
        path.write_text('{"code": ')
    assert runner.run("batch", [{"x": 1}], new, show_progress=False, rerun="changed").completed == []


def test_the_metadata_tells_the_code(versions):
    ExperimentRunner().run("batch", [{"x": 1}], versions[0], show_progress=False)
    (found,) = load_results("batch")
    assert "return 1 * " in found.metadata["code"]
    assert found.metadata["environment"]["system"]["machine"]


def test_an_observation_knows_nothing_of_a_run_whose_record_is_gone(versions, batches_in_tmp_path):
    ExperimentRunner().run("batch", [{"x": 1}], versions[0], show_progress=False)
    for path in (batches_in_tmp_path / "batch" / "runs").iterdir():
        path.unlink()
    (found,) = load_results("batch")
    assert "code" not in found.metadata
    assert found.metadata["timing"]["duration"] == found.metadata["duration"]


def test_calls_of_functions(tmp_path):
    old, new = (define(tmp_path, number, factor, "function") for number, factor in enumerate((1, 10)))
    old(1), new(1)
    assert [item.result for item in new.observations()] == [1, 10]
    assert [item.result for item in new.observations(current_code_only=True)] == [10]
    assert [item.result for item in old.observations(current_code_only=True)] == [1]
    assert experiment(name="times")(lambda x: x).observations(current_code_only=True) == []
