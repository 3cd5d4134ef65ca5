"""How results are saved: every format keeps what storage promises, and what it cannot keep it refuses by its place."""

import enum
import io
import json
import math
import os
import pickle
import subprocess
import sys

import numpy
import pytest

from smallab import Experiment, ExperimentRunner, experiment, load_result, load_results, specification_hash
from smallab.formats import Json, register_format
from smallab.specification import canonical, digest
from smallab.storage import formats as module
from smallab.storage.base import open_storage
from smallab.storage.folder import Folder
from smallab.storage.formats import PICKLE, format_named, formats


class Npz:
    """A dict of arrays, as numpy saves it; the specification beside them as JSON."""

    name = "npz"
    suffix = "npz"

    def dump(self, record):
        file = io.BytesIO()
        numpy.savez(file, specification=json.dumps(record["specification"]), **record["result"])
        return file.getvalue()

    def load(self, path):
        with open(path, "rb") as file, numpy.load(file) as found:
            arrays = {name: found[name] for name in found.files if name != "specification"}
            return {"specification": json.loads(str(found["specification"])), "result": arrays}


class Arrays(Experiment):
    def __init__(self, format="pickle"):
        self.format = format

    def main(self, specification):
        return {"x": numpy.arange(specification["x"]).tolist() if self.format == "json" else [1]}


@pytest.fixture(autouse=True)
def only_those_of_this_test():
    before = dict(module._known)
    yield
    module._known.clear()
    module._known.update(before)


@pytest.fixture(params=["pickle", "json", "npz"])
def format(request):
    return format_named(Npz() if request.param == "npz" else request.param)


RESULT = {"x": [1.5, 2.0, 3.25]}


def plain(result):
    return {key: numpy.asarray(value).tolist() for key, value in result.items()}


class TestStorageOnEveryFormat:
    @pytest.fixture
    def storage(self, tmp_path, format):
        (tmp_path / "batch" / "journal").mkdir(parents=True)
        return Folder(str(tmp_path), "batch", format)

    @pytest.fixture
    def saved(self, storage):
        text = canonical({"a": 1, "b": "ü"})
        storage.save("1", text, RESULT, {"run_id": "1"})
        return text

    @staticmethod
    def file_of(storage, text):
        return f"{storage.workspace(text)}/{digest(text)}.{storage.format.suffix}"

    def test_what_is_saved_is_found_and_read_by_whoever_knows_the_format(self, storage, saved):
        assert os.path.exists(self.file_of(storage, saved))
        for reader in (storage, Folder(storage.root, "batch")):
            assert reader.has_result(saved)
            observation = reader.load(saved)
            assert (observation.specification, plain(observation.result)) == ({"a": 1, "b": "ü"}, RESULT)

    def test_it_is_whole_and_rebuilt_from_the_folders(self, storage, saved):
        for reader in (storage, Folder(storage.root, "batch")):
            assert reader.completed_by(saved) == "1"
            reader.rebuild()
            assert list(reader.listed()[0]) == [saved]
        with open(self.file_of(storage, saved), "ab") as file:
            file.write(b"more")
        assert storage.completed_by(saved) is None
        storage.rebuild()
        assert list(storage.listed()[0]) == []

    def test_a_damaged_one_is_a_failure_that_names_the_file(self, storage, saved):
        path = self.file_of(storage, saved)
        with open(path, "rb+") as file:
            file.truncate(10)
        assert path in storage.load(saved).failure.message

    def test_one_of_another_specification_is_a_failure(self, storage, saved):
        other = canonical({"a": 2})
        os.mkdir(storage.workspace(other))
        os.replace(self.file_of(storage, saved), self.file_of(storage, other))
        assert "but is in the folder of" in storage.load(other).failure.message

    def test_what_cannot_be_saved_leaves_nothing_behind(self, storage):
        text = canonical({"a": 3})
        with pytest.raises(Exception):  # noqa: B017  # whatever the format raises
            storage.save("1", text, (x for x in "abc"), {})
        assert not os.path.exists(storage.workspace(text))

    def test_saved_in_another_format_it_takes_the_older_ones_place(self, storage, saved, format):
        other = Folder(storage.root, "batch", "json" if format.name == "pickle" else "pickle")
        other.save("2", saved, {"x": [0]}, {"run_id": "2"})
        for reader in (storage, other, Folder(storage.root, "batch")):
            assert plain(reader.load(saved).result) == {"x": [0]}
        assert not os.path.exists(self.file_of(storage, saved))


class TestBatches:
    @pytest.mark.parametrize("workers", [{}, {"num_parallel": 2, "backend": "loky"}])
    def test_a_batch_in_a_format_is_skipped_read_and_rebuilt_as_any_other(
        self, format, workers, batches_in_tmp_path, caplog
    ):
        specifications = [{"x": x} for x in range(3)]
        runner = ExperimentRunner()
        assert runner.run("batch", specifications, Arrays(format.name), show_progress=False, **workers)
        assert len(list(batches_in_tmp_path.glob(f"batch/*/*.{format.suffix}"))) >= 3
        assert sorted(item.specification["x"] for item in load_results("batch")) == [0, 1, 2]
        assert all(item.failure is None for item in load_results("batch"))

        (batches_in_tmp_path / "batch" / "completed.json").write_text("[{")
        open_storage(None, "batch").rebuild()
        caplog.clear()
        assert len(runner.run("batch", specifications, Arrays(format.name), show_progress=False).skipped) == 3
        again = runner.run("batch", specifications, Arrays(), show_progress=False, rerun="missing")
        assert len(again.skipped) == 3
        assert "no result" not in caplog.text

    def test_a_killed_batchs_journal_is_believed(self, format, tmp_path):
        (tmp_path / "batch" / "journal").mkdir(parents=True)
        storage = Folder(str(tmp_path), "batch", format)
        text = canonical({"a": 1})
        storage.save("1", text, RESULT, {})
        completed, _ = Folder(str(tmp_path), "batch").recover()
        assert list(completed) == [text]

    def test_a_format_of_ones_own_in_other_processes(self):
        experiment = Arrays(Npz())
        result = ExperimentRunner().run(
            "batch", [{"x": 1}], experiment, num_parallel=2, backend="loky", show_progress=False
        )
        assert result, result.failed
        assert load_result("batch", {"x": 1}).result["x"].tolist() == [1]

    def test_a_format_that_is_not_known_here_is_a_failure_that_names_the_file(self):
        ExperimentRunner().run("batch", [{"x": 1}], Arrays(Npz()), show_progress=False)
        del module._known["npz"]
        failure = load_result("batch", {"x": 1}).failure
        assert specification_hash({"x": 1}) in failure.message


class TestFunctions:
    def test_json_and_pickle_and_ones_own(self, format, batches_in_tmp_path):
        @experiment(format=format)
        def f(x):
            return {"x": [x]}

        assert f(3) == {"x": [3]}
        (found,) = f.observations()
        assert plain(found.result) == {"x": [3]}
        assert (batches_in_tmp_path / "f" / found.id / f"{found.id}.{format.suffix}").is_file()

    def test_json_is_json(self, batches_in_tmp_path):
        @experiment(format="json")
        def cube(x):
            return x**3

        cube(4)
        (path,) = (path for path in batches_in_tmp_path.glob("cube/2*/2*.json"))
        assert json.loads(path.read_text()) == {"specification": {"x": 4}, "result": 64}


class Colour(enum.StrEnum):
    RED = "red"


class TestJson:
    @pytest.mark.parametrize(
        ("result", "expected"),
        [
            ({"a": [1, 2.5, None, True, "ü\n"]}, {"a": [1, 2.5, None, True, "ü\n"]}),
            ((1, (2,)), [1, [2]]),
            ({"z": 1, "a": 2}, {"z": 1, "a": 2}),
            (numpy.float32(0.5), 0.5),
            ([numpy.int64(3), numpy.bool_(True)], [3, True]),
            (math.inf, math.inf),
            ("\ud800", "\ud800"),
            (1 << 200, 1 << 200),
        ],
    )
    def test_comes_back(self, tmp_path, result, expected):
        (tmp_path / "file").write_bytes(Json().dump({"specification": {}, "result": result}))
        found = Json().load(str(tmp_path / "file"))["result"]
        assert found == expected
        assert json.dumps(found) == json.dumps(expected)  # the order of keys, too

    def test_nan_comes_back(self, tmp_path):
        (tmp_path / "file").write_bytes(Json().dump({"specification": {}, "result": {"loss": math.nan}}))
        assert math.isnan(Json().load(str(tmp_path / "file"))["result"]["loss"])

    @pytest.mark.parametrize(
        ("result", "message"),
        [
            ({"a": [1, {2}]}, r"result\['a'\]\[1\]: set is not JSON"),
            ({"a": {1: 2}}, r"result\['a'\]: the key 1 is no string"),
            (numpy.arange(3), "result: ndarray is not JSON"),
            (Colour.RED, "result: Colour is not JSON"),
            (b"abc", "result: bytes is not JSON"),
            (numpy.complex64(1), "result: complex64 is not JSON"),
        ],
    )
    def test_refuses_by_its_place_what_would_not(self, result, message):
        with pytest.raises(TypeError, match=message):
            Json().dump({"specification": {}, "result": result})

    def test_a_specification_that_cannot_be_saved_fails_alone(self):
        class Sets(Experiment):
            format = "json"

            def main(self, specification):
                return {1} if specification["x"] else 1

        result = ExperimentRunner().run("batch", [{"x": 0}, {"x": 1}], Sets(), show_progress=False)
        assert len(result.completed) == 1
        assert "result: set is not JSON" in result.failed[0][1].message


class TestRegistering:
    def test_the_built_in_ones(self):
        assert [format.name for format in formats()][:2] == ["pickle", "json"]
        assert format_named("pickle") is PICKLE

    def test_by_name_afterwards(self):
        register_format(Npz())
        assert format_named("npz").suffix == "npz"
        register_format(newer := Npz())  # a notebook's cell, run again
        assert format_named("npz") is newer

    @pytest.mark.parametrize(
        ("attributes", "error", "message"),
        [
            ({"suffix": ".npz"}, ValueError, "written without the dot"),
            ({"suffix": "tmp"}, ValueError, 'never "tmp"'),
            ({"suffix": "a/b"}, ValueError, "'a/b'"),
            ({"suffix": "pkl"}, ValueError, "writes .pkl files, and so does 'pickle'"),
            ({"name": "json"}, ValueError, "as a format of smallab's does"),
            ({"name": 3}, TypeError, "needs a name, a suffix"),
            ({"load": None}, TypeError, "needs a name, a suffix"),
        ],
    )
    def test_what_does_not_fit_is_refused(self, attributes, error, message):
        wrong = type("Wrong", (Npz,), attributes)()
        with pytest.raises(error, match=message):
            register_format(wrong)

    def test_a_class_is_no_format(self):
        with pytest.raises(TypeError, match=r"Npz is a class; a format is an object of it: Npz\(\)"):
            register_format(Npz)

    def test_an_unknown_name_is_refused_before_anything_runs(self, batches_in_tmp_path):
        with pytest.raises(ValueError, match="there is no format 'xml'; there are pickle, json"):
            ExperimentRunner().run("batch", [{"x": 1}], Arrays("xml"))
        assert not (batches_in_tmp_path / "batch").exists()


def test_pickle_stays_plain_where_that_is_faithful(tmp_path):
    data = PICKLE.dump({"specification": {}, "result": {"x": 1}})
    assert pickle.loads(data) == {"specification": {}, "result": {"x": 1}}


def test_pickle_takes_classes_and_lambdas_of_a_script_along(tmp_path):
    (tmp_path / "write.py").write_text(
        "from smallab import experiment\n"
        "class Model:\n    def __init__(self, f): self.f = f\n"
        "@experiment\ndef train(k):\n    return Model(lambda x: k * x)\n"
        "train(3)\n"
    )
    (tmp_path / "read.py").write_text(
        "from smallab import experiment\n@experiment\ndef train(k): pass\nprint(train.observations()[0].result.f(2))\n"
    )
    for name in ("write.py", "read.py"):
        done = subprocess.run([sys.executable, name], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "6\n"
