"""Reading a batch back: in another process, in part, damaged, and while it is written."""

import json
import os
import subprocess
import sys

import pytest

from smallab import (
    Experiment,
    ExperimentRunner,
    SpecificationError,
    load_result,
    load_results,
    specification_hash,
    to_dataframe,
)


class Half(Experiment):
    def main(self, specification):
        if specification["n"] % 2:
            raise ValueError(f"{specification['n']} is odd")
        return {"half": specification["n"] // 2}


@pytest.fixture
def runner():
    runner = ExperimentRunner()
    runner.run("halves", [{"n": n} for n in range(6)], Half(), show_progress=False)
    return runner


def tree(runner):
    folder = runner.get_save_directory("halves")
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_completed_ones_come_first_then_failed_ones(runner):
    observations = list(load_results("halves"))
    assert [found.specification["n"] for found in observations] == [0, 2, 4, 1, 3, 5]
    assert [found.result for found in observations[:3]] == [{"half": n} for n in range(3)]
    assert [str(found.failure) for found in observations[3:]] == [f"ValueError: {n} is odd" for n in (1, 3, 5)]
    assert all("Half" not in found.failure.message and "main" in found.failure.traceback for found in observations[3:])
    assert [found.id for found in observations] == [specification_hash(found.specification) for found in observations]
    assert all(found.metadata["duration"] >= 0 for found in observations)


def test_only_those_asked_for_in_the_order_asked_for(runner):
    asked = [{"n": 5}, {"n": 4}, {"n": 99}, {"n": 0}, {"n": 4}]
    assert [found.specification["n"] for found in load_results("halves", specifications=asked)] == [4, 0, 5]
    assert list(load_results("halves", specifications=iter([]))) == []


def test_a_specification_that_is_none_is_named_by_its_place(runner):
    with pytest.raises(SpecificationError, match=r"specifications\[1\]"):
        load_results("halves", specifications=[{"n": 1}, {"n": {1}}])


def test_results_are_read_when_their_turn_comes(runner):
    observations = load_results("halves")
    first = next(observations)
    runner.get_save_directory("halves").joinpath(specification_hash({"n": 2}), "metadata.json").unlink()
    path = runner.get_save_directory("halves") / specification_hash({"n": 2}) / f"{specification_hash({'n': 2})}.pkl"
    path.write_bytes(b"damaged meanwhile")
    assert first.result == {"half": 0}
    assert path.name in next(observations).failure.message
    assert next(observations).result == {"half": 2}


def test_one_result(runner):
    assert load_result("halves", {"n": 4}).result == {"half": 2}
    assert load_result("halves", {"n": 3}).failure.type == "ValueError"


def test_one_result_that_is_not_there(runner):
    with pytest.raises(LookupError, match=r'\{"n":99\}.*\'halves\''):
        load_result("halves", {"n": 99})


@pytest.mark.parametrize("read", [load_results, to_dataframe, lambda name: load_result(name, {"n": 1})])
def test_a_batch_that_is_not_there_is_named_at_once_with_its_folder(read, batches_in_tmp_path):
    with pytest.raises(FileNotFoundError, match="no batch 'halfs'") as caught:
        read("halfs")
    assert str(batches_in_tmp_path) in str(caught.value)
    assert not batches_in_tmp_path.exists()


def test_a_name_that_names_no_folder_is_refused():
    with pytest.raises(ValueError, match="cannot name a batch"):
        load_results("../halves")


def test_the_folder_can_be_given(tmp_path):
    ExperimentRunner(tmp_path / "mine").run("halves", [{"n": 2}], Half(), show_progress=False)
    with pytest.raises(FileNotFoundError):
        load_results("halves")
    assert load_result("halves", {"n": 2}, folder=tmp_path / "mine").result == {"half": 1}
    assert len(list(load_results("halves", tmp_path / "mine"))) == 1
    assert len(to_dataframe("halves", str(tmp_path / "mine"))) == 1


def test_another_process_reads_the_same(runner):
    script = "import smallab; print([found.result for found in smallab.load_results('halves') if not found.failure])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[{'half': 0}, {'half': 1}, {'half': 2}]"


def test_reading_writes_nothing_not_even_where_much_is_broken(runner):
    folder = runner.get_save_directory("halves")
    (folder / "completed.json").write_text("[{")
    (folder / specification_hash({"n": 1}) / "failure.json").write_text("{")
    (folder / specification_hash({"n": 2}) / f"{specification_hash({'n': 2})}.pkl").write_bytes(b"")
    before = tree(runner)
    list(load_results("halves"))
    to_dataframe("halves")
    assert tree(runner) == before


def test_a_batch_whose_list_is_broken_is_read_from_its_folders(runner):
    (runner.get_save_directory("halves") / "completed.json").write_text("[{")
    assert sorted(found.result["half"] for found in load_results("halves") if not found.failure) == [0, 1, 2]


@pytest.mark.parametrize("content", [b"", b"half", b"\x80\x05N."])
def test_a_damaged_result_hides_no_other_and_names_its_file(runner, content):
    path = runner.get_save_directory("halves") / specification_hash({"n": 2}) / f"{specification_hash({'n': 2})}.pkl"
    path.write_bytes(content)
    found = {found.specification["n"]: found for found in load_results("halves")}
    assert str(path) in found[2].failure.message
    assert found[0].result == {"half": 0}
    assert found[4].result == {"half": 2}


def test_a_result_in_the_wrong_folder_is_told_with_both_specifications(runner):
    folder = runner.get_save_directory("halves")
    ids = [specification_hash({"n": n}) for n in (0, 2)]
    os.replace(folder / ids[0] / f"{ids[0]}.pkl", folder / ids[1] / f"{ids[1]}.pkl")
    message = load_result("halves", {"n": 2}).failure.message
    assert "{'n': 0}" in message
    assert "{'n': 2}" in message


def test_a_failure_whose_record_is_broken_is_still_a_failure(runner):
    path = runner.get_save_directory("halves") / specification_hash({"n": 1}) / "failure.json"
    path.write_text("{")
    assert path.name in load_result("halves", {"n": 1}).failure.message


def test_a_failure_that_was_mended_is_given_once_as_completed(runner):
    class Mended(Experiment):
        def main(self, specification):
            return "mended"

    runner.run("halves", [{"n": 1}], Mended(), show_progress=False)
    assert [found.result for found in load_results("halves", specifications=[{"n": 1}])] == ["mended"]


def test_what_completed_is_read_while_the_batch_still_runs(runner):
    seen = []
    runner.on_specification_complete(
        lambda specification, result: seen.append(load_result("halves", specification).result == result)
    )
    runner.run("halves", [{"n": 10}, {"n": 12}], Half(), show_progress=False)
    assert seen == [True, True]


def test_metadata_is_what_was_written(runner):
    found = load_result("halves", {"n": 4})
    path = runner.get_save_directory("halves") / found.id / "metadata.json"
    written = json.loads(path.read_text())
    assert written.keys() >= {"run_id", "started", "ended", "duration", "host", "pid"}
    assert {key: found.metadata[key] for key in written} == written


def test_a_batch_without_any_result_is_empty(batches_in_tmp_path):
    (batches_in_tmp_path / "empty").mkdir(parents=True)
    assert list(load_results("empty")) == []
    assert len(to_dataframe("empty")) == 0
