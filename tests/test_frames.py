"""Tables: the columns, their types, what shares no column, and what is missing."""

import json
import re
import subprocess
import sys
from collections import Counter

import numpy
import pandas
import pytest

from smallab import Experiment, ExperimentRunner, Failure, Observation, specification_hash, to_dataframe
from smallab.reading.tables import frame

FIXED = ["id", "status", "duration", "failure.type", "failure.message"]


def observation(specification, result=None, failure=None, duration=0.5):
    return Observation(f"{id(specification):032x}", specification, result, failure, {"duration": duration})


class Divide(Experiment):
    def main(self, specification):
        return {"quotient": specification["a"] / specification["b"], "parts": {"a": specification["a"]}}


def test_one_row_a_specification_those_that_failed_included():
    runner = ExperimentRunner()
    specifications = [{"a": 6, "b": 3}, {"a": 1, "b": 0}, {"a": 1, "b": 2}]
    result = runner.run("divisions", specifications, Divide(), show_progress=False)
    for table in (to_dataframe("divisions"), result.to_dataframe()):
        assert list(table.columns) == [*FIXED[:3], "a", "b", "result.quotient", "result.parts.a", *FIXED[3:]]
        assert list(table["status"]) == ["completed", "completed", "failed"]
        assert list(table["a"]) == [6, 1, 1]
        assert list(table["result.quotient"][:2]) == [2.0, 0.5]
        assert numpy.isnan(table["result.quotient"][2])
        assert (table["duration"] >= 0).all()
        assert list(table["failure.type"].isna()) == [True, True, False]
        assert table["failure.type"][2] == "ZeroDivisionError"
        assert table["failure.message"][2] == "division by zero"
        assert list(table["id"]) == [specification_hash(row) for row in table[["a", "b"]].to_dict("records")]


def test_what_was_skipped_is_in_the_table_of_the_call():
    runner = ExperimentRunner()
    runner.run("divisions", [{"a": 6, "b": 3}], Divide(), show_progress=False)
    again = runner.run("divisions", [{"a": 6, "b": 3}, {"a": 4, "b": 2}], Divide(), show_progress=False)
    assert sorted(again.to_dataframe()["a"]) == [4, 6]


@pytest.mark.parametrize("table", [lambda: frame([]), lambda: frame(iter(()))])
def test_an_empty_batch_is_an_empty_table_with_the_fixed_columns(table):
    table = table()
    assert list(table.columns) == FIXED
    assert len(table) == 0
    assert table["duration"].dtype == float
    assert table["failure.type"].dtype == object


def test_a_batch_without_failures_still_has_their_columns_and_they_can_be_searched():
    table = frame([observation({"a": 1}, 1)])
    assert not table["failure.type"].str.contains("Error").fillna(False).any()


def test_a_result_that_is_no_dict_is_one_column():
    table = frame([observation({"a": 1}, 0.5), observation({"a": 2}, 1.5)])
    assert list(table["result"]) == [0.5, 1.5]


def test_results_of_both_kinds_stand_side_by_side():
    table = frame([observation({"a": 1}, 0.5), observation({"a": 2}, {"x": 3})])
    assert table["result"][0] == 0.5
    assert table["result.x"][1] == 3
    assert list(table[["result", "result.x"]].isna().sum()) == [1, 1]


def test_none_is_a_result():
    assert "result" in frame([observation({"a": 1}, None)])


def test_nested_keys_are_joined_with_a_dot_and_empty_dicts_stay():
    table = frame([observation({"model": {"kind": {"name": "tree"}, "options": {}}}, {"loss": {"train": 1}})])
    assert table["model.kind.name"][0] == "tree"
    assert table["model.options"][0] == {}
    assert table["result.loss.train"][0] == 1


def test_an_empty_dict_as_result_adds_no_column():
    assert list(frame([observation({"a": 1}, {})]).columns) == [*FIXED[:3], "a", *FIXED[3:]]


def test_types_are_kept_where_every_row_has_a_value():
    rows = [observation({"n": n, "lr": n / 2, "on": n > 1, "kind": "x"}, {"n": n}) for n in range(3)]
    types = frame(rows).dtypes
    assert [types[name].kind for name in ("n", "lr", "on", "result.n")] == list("ifbi")
    assert pandas.api.types.is_string_dtype(types["kind"])


@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_missing_value_is_missing_in_its_own_row(at):
    rows = [observation({"n": n} if n != at else {"other": n}) for n in range(3)]
    table = frame(rows)
    assert list(table["n"].isna()) == [n == at for n in range(3)]
    assert list(table["other"].isna()) == [n != at for n in range(3)]
    assert [int(n) for n in table["n"].dropna()] == [n for n in range(3) if n != at]


def test_lists_and_arrays_are_one_cell_each():
    rows = [
        observation(
            {"sizes": [n, 2]}, {"curve": numpy.arange(2), "matrix": numpy.eye(2), "point": (n, n), "text": ["a"]}
        )
        for n in range(2)
    ]
    table = frame(rows)
    assert table["sizes"][1] == [1, 2]
    assert table["result.curve"][1].tolist() == [0, 1]
    assert table["result.matrix"][0].shape == (2, 2)
    assert table["result.point"][1] == (1, 1)


def test_tables_inside_a_table_are_cells_too():
    inner = pandas.DataFrame({"x": [1, 2]})
    assert frame([observation({}, {"table": inner}), observation({}, {"table": inner})])["result.table"][1].equals(
        inner
    )


def test_numpy_numbers_are_numbers():
    rows = [
        observation({}, {"n": numpy.int64(n), "loss": numpy.float64(n), "zero": numpy.array(1.0)}) for n in range(2)
    ]
    types = frame(rows).dtypes
    assert types["result.n"] == numpy.int64
    assert types["result.loss"] == numpy.float64


def test_numpy_results_without_keys_are_a_column():
    table = frame([observation({"a": 1}, numpy.zeros(3)), observation({"a": 2}, numpy.zeros(3))])
    assert table["result"][1].tolist() == [0, 0, 0]


def test_kinds_of_dicts_are_dicts():
    assert frame([observation({}, Counter("aab"))])["result.a"][0] == 2


def test_keys_that_are_no_strings_name_columns():
    assert frame([observation({}, {1: "x", None: "y"})])["result.1"][0] == "x"


@pytest.mark.parametrize(
    ("specifications", "results", "named"),
    [
        ([{"status": 1}], [None], ["status", 'specification["status"]', "a column that every table has"]),
        ([{"id": 1, "duration": 2}], [None], ["id: ", "duration: "]),
        ([{"failure": {"type": "x"}}], [None], ["failure.type", 'specification["failure"]["type"]']),
        ([{"a.b": 1, "a": {"b": 2}}], [None], ["a.b", 'specification["a.b"]', 'specification["a"]["b"]']),
        ([{"a.b": 1}, {"a": {"b": 2}}], [None, None], ["a.b", 'specification["a.b"]', 'specification["a"]["b"]']),
        ([{"result": 1}], [0.5], ["result: ", 'specification["result"]']),
        ([{"result.x": 1}], [{"x": 2}], ["result.x", 'specification["result.x"]', 'result["x"]']),
        ([{}], [{1: "x", "1": "y"}], ["result.1", "result[1]", 'result["1"]']),
        ([{}], [{"a": {"b": 1}, "a.b": 2}], ["result.a.b"]),
    ],
)
def test_values_that_would_share_a_column_are_refused_with_their_places(specifications, results, named):
    with pytest.raises(ValueError, match="a column of the table would hold values from two places") as caught:
        frame(map(observation, specifications, results))
    for words in [*named, "load_results"]:
        assert words in str(caught.value)


def test_names_that_only_look_alike_share_no_column():
    table = frame([observation({"a": {"b": 1}, "b": 2, "result": 3}, {"a": 4})])
    assert [table[name][0] for name in ("a.b", "b", "result", "result.a")] == [1, 2, 3, 4]


def test_a_hundred_collisions_are_told_in_a_message_that_can_be_read():
    keys = {f"k{n}.x": 1 for n in range(100)} | {f"k{n}": {"x": 2} for n in range(100)}
    with pytest.raises(ValueError, match=re.escape("and 90 more")):
        frame([observation(keys)])


@pytest.mark.parametrize("content", ["{", "", "[]", '{"duration": "long"}', "{}", '{"duration": null}'])
def test_a_duration_that_cannot_be_read_is_missing(content):
    runner = ExperimentRunner()
    runner.run("divisions", [{"a": 6, "b": 3}], Divide(), show_progress=False)
    (path,) = runner.get_save_directory("divisions").glob("*/metadata.json")
    path.write_text(content)
    table = to_dataframe("divisions")
    assert numpy.isnan(table["duration"][0])
    assert table["result.quotient"][0] == 2.0


def test_a_damaged_result_is_a_failure_that_names_its_file():
    runner = ExperimentRunner()
    runner.run("divisions", [{"a": 6, "b": 3}, {"a": 1, "b": 1}], Divide(), show_progress=False)
    path = next(runner.get_save_directory("divisions").glob("*/*.pkl"))
    path.write_bytes(b"half")
    table = to_dataframe("divisions")
    assert sorted(table["status"]) == ["completed", "failed"]
    assert path.name in table[table["status"] == "failed"]["failure.message"].iloc[0]


def test_observations_are_let_go_one_by_one():
    """So a table of small values fits in memory where all the results together do not."""
    alive = []

    class Result(dict):
        def __init__(self):
            super().__init__(x=1)
            alive.append(1)

        def __del__(self):
            alive.pop()

    most = 0

    def observations():
        nonlocal most
        for n in range(10):
            yield observation({"n": n}, Result())
            most = max(most, len(alive))

    frame(observations())
    assert most <= 2


def test_without_pandas_the_error_tells_what_to_install():
    script = (
        "import sys; sys.modules['pandas'] = None\n"
        "from smallab.reading.tables import frame\n"
        "try: frame([])\n"
        "except ImportError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert 'pip install "smallab[pandas]"' in done.stdout


def test_importing_frames_does_not_import_pandas():
    script = "import json, sys, smallab.reading.tables; print(json.dumps('pandas' in sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) is False


def test_a_failure_without_a_record_is_still_a_row():
    table = frame([observation({"a": 1}, None, Failure("ValueError", "no"))])
    assert "result" not in table
    assert table["failure.message"][0] == "no"
