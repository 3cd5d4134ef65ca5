"""The folder tree, byte for byte, and what becomes of it when people or accidents change it."""

import json
import os
import pickle
import platform
import re
import shutil
import sys
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from misbehaving import WAYS, FailsOn, LogsALot, Square

import smallab
from smallab import ExperimentRunner, load_result, load_results, specification_hash
from smallab.storage import paths
from smallab.storage.base import open_storage

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?\+00:00")


def batch():
    return ExperimentRunner().get_save_directory("batch")


def run(specifications, experiment=None, **options):
    experiment = experiment or Square()
    return ExperimentRunner().run("batch", specifications, experiment, show_progress=False, **options)


def tree():
    return sorted(str(path.relative_to(batch())).replace(os.sep, "/") for path in batch().rglob("*"))


def listed(which="completed"):
    return json.loads((batch() / f"{which}.json").read_text(encoding="utf-8"))


def folder_of(specification):
    return batch() / specification_hash(specification)


def result_of(specification):
    return folder_of(specification) / f"{specification_hash(specification)}.pkl"


def specifications(*values):
    return [{"x": x} for x in values]


# The tree.


@pytest.mark.parametrize("options", WAYS.values(), ids=WAYS)
def test_the_tree_is_exactly_this(options):
    run(specifications(1, 2), FailsOn(2), **options)
    good, bad = specification_hash({"x": 1}), specification_hash({"x": 2})
    (record,) = os.listdir(batch() / "runs")
    assert tree() == sorted(
        [
            "completed.json",
            "failed.json",
            "journal",
            "runs",
            f"runs/{record}",
            good,
            f"{good}/specification.json",
            f"{good}/metadata.json",
            f"{good}/{good}.pkl",
            bad,
            f"{bad}/specification.json",
            f"{bad}/failure.json",
        ]
    )
    assert listed() == [{"x": 1}]
    assert listed("failed") == [{"x": 2}]
    assert json.loads((folder_of({"x": 1}) / "specification.json").read_text(encoding="utf-8")) == {"x": 1}


def test_no_name_is_illegal_on_windows():
    run(specifications(*range(3)), LogsALot())
    assert not [name for name in tree() if re.search(r'[<>:"\\|?*]|[. ]$|[. ]/', name)]


def test_the_lists_hold_one_specification_a_line():
    run([{"b": 1, "a": "größe"}, {"x": 1}, {"x": 2.0}], FailsOn(2.0))
    assert (batch() / "completed.json").read_text(encoding="utf-8") == '[\n{"x":1}\n]\n'
    lines = (batch() / "failed.json").read_text(encoding="utf-8").splitlines()
    assert sorted(line.rstrip(",") for line in lines) == ["[", "]", '{"a":"größe","b":1}', '{"x":2.0}']


def test_a_result_is_a_dict_of_two_keys_that_plain_pickle_reads():
    run(specifications(3))
    with open(result_of({"x": 3}), "rb") as file:
        assert pickle.load(file) == {"specification": {"x": 3}, "result": {"square": 9}}
    assert b"dill" not in result_of({"x": 3}).read_bytes()


@pytest.mark.parametrize("options", WAYS.values(), ids=WAYS)
def test_metadata(options):
    run(specifications(1), **options)
    metadata = json.loads((folder_of({"x": 1}) / "metadata.json").read_text(encoding="utf-8"))
    assert {"run_id", "started", "ended", "duration", "host", "pid", "attempt", "digest"} <= metadata.keys()
    assert TIME.fullmatch(metadata["started"])
    assert TIME.fullmatch(metadata["ended"])
    took = datetime.fromisoformat(metadata["ended"]) - datetime.fromisoformat(metadata["started"])
    assert abs(took.total_seconds() - metadata["duration"]) < 1e-3
    assert metadata["attempt"] == 1
    assert (metadata["pid"] == os.getpid()) == ("backend" not in options)
    assert (batch() / "runs" / f"{metadata['run_id']}.json").exists()
    assert {key: load_result("batch", {"x": 1}).metadata[key] for key in metadata} == metadata


@pytest.mark.parametrize("options", WAYS.values(), ids=WAYS)
def test_failure(options):
    run(specifications(1), FailsOn(1), **options)
    failure = json.loads((folder_of({"x": 1}) / "failure.json").read_text(encoding="utf-8"))
    assert {"type", "message", "traceback", "run_id", "started", "ended", "duration", "host", "pid"} <= failure.keys()
    assert (failure["type"], failure["message"]) == ("ValueError", "1 will not do")
    assert failure["traceback"].startswith("Traceback (most recent call last):\n")
    assert failure["traceback"].endswith("ValueError: 1 will not do\n")
    assert "misbehaving.py" in failure["traceback"]
    assert "execute.py" not in failure["traceback"]
    assert failure["attempt"] == 1


def test_attempts_are_counted_within_a_run_and_a_failure_goes_once_one_succeeds(tmp_path):
    obstacle = tmp_path / "obstacle"
    obstacle.touch()
    experiment = FailsOn(1, while_there=str(obstacle))
    for retries in (0, 2):
        assert not run(specifications(1), experiment, retries=retries)
        failure = json.loads((folder_of({"x": 1}) / "failure.json").read_text(encoding="utf-8"))
        assert failure["attempt"] == retries + 1
        assert (listed(), listed("failed")) == ([], [{"x": 1}])
    obstacle.unlink()
    assert run(specifications(1), experiment)
    assert sorted(os.listdir(folder_of({"x": 1}))) == sorted(
        ["metadata.json", "specification.json", result_of({"x": 1}).name]
    )
    assert load_result("batch", {"x": 1}).metadata["attempt"] == 1
    assert (listed(), listed("failed")) == ([{"x": 1}], [])


def test_a_run_with_something_to_do_leaves_a_record():
    started = datetime.now().astimezone() - timedelta(seconds=1)
    run(specifications(1, 2, 3), FailsOn(2))
    run(specifications(1, 3))
    (name,) = os.listdir(batch() / "runs")
    record = json.loads((batch() / "runs" / name).read_text(encoding="utf-8"))
    assert (record["completed"], record["failed"], record["skipped"]) == (2, 1, 0)
    assert record["command"] == sys.argv
    environment = record["environment"]
    assert environment["python"]["version"] == platform.python_version()
    assert environment["system"]["platform"] == platform.platform()
    assert {"joblib", "dill"} <= environment["packages"].keys()
    assert "git" in environment
    assert "class FailsOn" in record["code"]
    assert started < datetime.fromisoformat(record["started"]) < datetime.now().astimezone()
    run(specifications(1, 2, 3, 4))
    last = json.loads((batch() / "runs" / max(os.listdir(batch() / "runs"))).read_text(encoding="utf-8"))
    assert (last["completed"], last["failed"], last["skipped"]) == (2, 0, 2)


@pytest.mark.parametrize("options", WAYS.values(), ids=WAYS)
def test_nothing_is_left_in_the_journal_after_a_clean_end(options):
    for first in (0, 10):
        run(specifications(*range(first, first + 10)), FailsOn(3), **options)
        assert os.listdir(batch() / "journal") == []
    assert not [name for name in tree() if name.endswith(".tmp")]


def test_a_batch_of_nothing_writes_nothing(batches_in_tmp_path):
    result = run([])
    assert result
    assert (result.completed, result.skipped, result.failed) == ([], [], [])
    assert not batches_in_tmp_path.exists()


def test_a_run_with_nothing_to_do_changes_nothing():
    run(specifications(1, 2))
    before = {name: (batch() / name).stat().st_mtime_ns for name in tree()}
    run(specifications(2, 1))
    assert {name: (batch() / name).stat().st_mtime_ns for name in tree()} == before


# Where it is.


def test_the_folder_is_the_argument_else_the_variable_else_experiment_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SMALLAB_ROOT", str(tmp_path / "variable"))
    runner = ExperimentRunner(experiment_folder="argument")
    assert runner.get_save_directory("a") == tmp_path / "argument" / "a"
    assert ExperimentRunner().get_save_directory("a") == tmp_path / "variable" / "a"
    monkeypatch.delenv("SMALLAB_ROOT")
    assert ExperimentRunner().get_save_directory("a") == tmp_path / "experiment_runs" / "a"
    runner.set_experiment_folder(tmp_path / "setter")
    assert runner.get_batch_save_folder("a") == runner.get_save_directory("a") == tmp_path / "setter" / "a"
    runner.run("a", specifications(1), Square(), show_progress=False)
    assert os.listdir(tmp_path) == ["setter"]
    assert [found.specification for found in load_results("a", tmp_path / "setter")] == specifications(1)


# Names.


@pytest.mark.parametrize(
    "name",
    ["random_number", "2026-11-23 digits", "größe", "日本語", ".hidden", "v1.2", "-x", "a" * 200, "console", "a'b&c"],
)
def test_names_that_are_folders_on_every_system(name):
    assert ExperimentRunner().run(name, specifications(1), Square(), show_progress=False)
    assert next(load_results(name)).result == {"square": 1}


@pytest.mark.parametrize(
    "name",
    [
        *["", ".", "..", "a/b", "a\\b", "/abs", "../up", "C:", "a:b", "a*", "a?", 'a"b', "a<b", "a|b", "a\0b", "a\nb"],
        *["con", "CON", "con.txt", "Nul", "aux.", "PRN", "COM1", "lpt9.log", "com¹", "a.", "a ", " a"],
        *["x" * 201, "é" * 101, "\ud800", None, 3, b"a", Path("a")],
    ],
    ids=ascii,
)
def test_other_names_are_refused_before_anything_is_written(name, batches_in_tmp_path):
    for use in (
        lambda: ExperimentRunner().run(name, specifications(1), Square()),
        lambda: ExperimentRunner().get_save_directory(name),
        lambda: list(load_results(name)),
    ):
        with pytest.raises(ValueError) as caught:
            use()
        assert repr(name)[:20] in str(caught.value)
    assert not batches_in_tmp_path.exists()


# completed.json decides.


def test_what_is_taken_out_of_completed_json_runs_again_and_what_is_put_in_does_not():
    run(specifications(1, 2, 3))
    (batch() / "completed.json").write_text(json.dumps(specifications(1, 3, 4)), encoding="utf-8")
    result = run(specifications(1, 2, 3, 4))
    assert result.completed == specifications(2)
    assert result.skipped == specifications(1, 3, 4)
    assert listed() == specifications(1, 3, 4, 2)


def test_without_completed_json_nothing_is_completed():
    run(specifications(1, 2))
    (batch() / "completed.json").unlink()
    assert run(specifications(1, 2)).completed == specifications(1, 2)


def _canonical(item):
    return json.dumps(item, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


EDITED = {
    "one line": json.dumps,
    "pretty-printed": lambda items: json.dumps(items, indent=2),
    "pretty-printed with tabs": lambda items: json.dumps(items, indent="\t") + "\n",
    "saved by Notepad": lambda items: "\ufeff" + json.dumps(items, indent=4).replace("\n", "\r\n"),
    "in our own layout, saved on Windows": lambda items: "[\r\n" + ",\r\n".join(map(json.dumps, items)) + "\r\n]\r\n",
    "in our own layout, with spaces": lambda items: "[\n" + ",\n".join(map(json.dumps, items)) + "\n]\n",
    "with empty lines": lambda items: "[\n\n" + ",\n\n".join(map(json.dumps, items)) + "\n\n]\n\n",
    "without a last line break": lambda items: "[\n" + ",\n".join(map(json.dumps, items)) + "\n]",
    "two on a line": lambda items: "[\n" + ",".join(map(_canonical, items)) + "\n]\n",
    "one on two lines": lambda items: "[\n" + ",\n".join(map(_canonical, items)).replace(',"x', ',\n"x') + "\n]\n",
    "keys in another order": lambda items: json.dumps([dict(reversed(item.items())) for item in items]),
    "each twice": lambda items: json.dumps(items * 2),
    "in ASCII": lambda items: json.dumps(items, ensure_ascii=True),
}


@pytest.mark.parametrize("which", ["completed", "failed"])
@pytest.mark.parametrize("edit", EDITED.values(), ids=EDITED)
def test_a_list_edited_by_hand_counts_as_it_stands(edit, which, caplog):
    many = [{"x": x, "name": "größe", "sizes": [x, {"deep": x}]} for x in range(4)]
    run(many, FailsOn(*range(4)) if which == "failed" else None)
    (batch() / f"{which}.json").write_bytes(edit(many[:2]).encode("utf-8"))
    found = list(load_results("batch"))
    assert [each.specification for each in found] == many[:2]
    result = run(many)
    assert result.completed == (many if which == "failed" else many[2:])
    assert "cannot be read" not in caplog.text
    assert sorted(each["x"] for each in listed()) == [0, 1, 2, 3]


def test_the_comma_that_is_left_where_the_last_line_was_deleted_is_forgiven():
    run(specifications(1, 2, 3))
    lines = (batch() / "completed.json").read_text(encoding="utf-8").splitlines(keepends=True)
    del lines[-2]
    (batch() / "completed.json").write_text("".join(lines), encoding="utf-8")
    assert run(specifications(1, 2, 3)).completed == specifications(3)


UNREADABLE = {
    "empty": b"",
    "zeroes, as after a power cut": b"\0" * 100,
    "cut short at a line's end": b'[\n{"x":1},\n',
    "cut short within a line": b'[\n{"x":1},\n{"x"',
    "nothing but a bracket": b"[\n",
    "a dict": b'{"x": 1}',
    "null": b"null",
    "a list of other things": b"[1, 2]",
    "a list of other things, in our own layout": b"[\n1,\n2\n]\n",
    "not a number": b'[{"x": NaN}]',
    "two lists, one after the other": b'[\n{"x":1}\n]\n[\n{"x":2}\n]\n',
    "not UTF-8": b'[\n{"x":"\xff"}\n]\n',
    "brackets without end": b"[" * 100_000,
}


@pytest.mark.parametrize("which", ["completed", "failed"])
@pytest.mark.parametrize("content", UNREADABLE.values(), ids=UNREADABLE)
def test_an_unreadable_list_is_an_error_that_names_the_place_and_the_way_out(content, which):
    run(specifications(1, 2, 3), FailsOn(3))
    path = batch() / f"{which}.json"
    path.write_bytes(content)
    before = {name: (batch() / name).stat().st_mtime_ns for name in tree()}
    with pytest.raises(ValueError) as caught:
        run(specifications(1, 2, 3, 4), FailsOn(3))
    assert str(caught.value).startswith(f"{path} cannot be read: ")
    assert "smallab rebuild batch" in str(caught.value)
    assert {name: (batch() / name).stat().st_mtime_ns for name in tree()} == before


def test_the_error_of_an_unreadable_list_tells_the_line():
    run(specifications(1, 2, 3))
    (batch() / "completed.json").write_text('[\n{"x":1},\n{"x":2\n]\n', encoding="utf-8")
    with pytest.raises(ValueError, match="line 4"):
        run(specifications(1))


@pytest.mark.parametrize("content", UNREADABLE.values(), ids=UNREADABLE)
def test_rebuilding_puts_the_lists_aside_and_makes_them_anew_from_the_folders(content):
    run(specifications(1, 2, 3, 4), FailsOn(3))
    (batch() / "completed.json").write_bytes(content)
    open_storage(None, "batch").rebuild()
    assert content in [path.read_bytes() for path in batch().glob("completed.json.*")]
    assert sorted(each["x"] for each in listed()) == [1, 2, 4]
    assert listed("failed") == specifications(3)
    result = run(specifications(1, 2, 3, 4), FailsOn(3))
    assert sorted(each["x"] for each in result.skipped) == [1, 2, 4]
    assert [specification for specification, _ in result.failed] == [{"x": 3}]


def test_rebuilding_gives_back_a_list_that_was_deleted():
    run(specifications(1, 2))
    (batch() / "completed.json").unlink()
    open_storage(None, "batch").rebuild()
    assert listed() == sorted(specifications(1, 2), key=specification_hash)


def test_readers_write_nothing_and_read_on_when_a_list_is_unreadable():
    run(specifications(1, 2, 3), FailsOn(3))
    for which in ("completed", "failed"):
        (batch() / f"{which}.json").write_bytes(b"{")
    before = {name: (batch() / name).stat().st_mtime_ns for name in tree()}
    found = list(load_results("batch"))
    assert [each.metadata["run_id"] for each in found] == [found[0].metadata["run_id"]] * 3
    assert sorted((each.specification["x"], bool(each.failure)) for each in found) == [
        (1, False),
        (2, False),
        (3, True),
    ]
    assert {name: (batch() / name).stat().st_mtime_ns for name in tree()} == before


def test_rebuilding_takes_only_what_is_whole_and_ours():
    run(specifications(*range(8)))
    with open(result_of({"x": 1}), "r+b") as file:  # damaged
        file.write(b"\0\0\0")
    result_of({"x": 2}).unlink()
    (folder_of({"x": 3}) / "specification.json").write_text('{"x": 4}', encoding="utf-8")
    (folder_of({"x": 4}) / "specification.json").write_text("[", encoding="utf-8")
    (folder_of({"x": 5}) / "metadata.json").write_text("3", encoding="utf-8")
    (folder_of({"x": 6}) / "metadata.json").unlink()
    (batch() / ("0" * 32)).mkdir()
    (batch() / "completed.json").write_bytes(b"")
    open_storage(None, "batch").rebuild()
    result = run(specifications(*range(8)))
    assert result.skipped == specifications(0, 7)
    assert result.completed == specifications(*range(1, 7))
    assert all(found.result == {"square": found.specification["x"] ** 2} for found in load_results("batch"))


def test_what_was_put_aside_is_not_lost_when_more_is():
    run(specifications(1))
    for content in (b"{", b"[", b"("):
        (batch() / "completed.json").write_bytes(content)
        open_storage(None, "batch").rebuild()
    assert sorted(path.read_bytes() for path in batch().glob("completed.json.*")) == [b"(", b"[", b"{"]


# Damage.


def test_missing_results_are_skipped_with_one_warning_that_counts_them(caplog):
    run(specifications(*range(10)))
    for x in (2, 5):
        shutil.rmtree(folder_of({"x": x}))
    result_of({"x": 7}).unlink()
    result = run(specifications(*range(10)))
    assert (len(result.skipped), result.completed) == (10, [])
    (warning,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert "3 of 10" in warning
    assert str(batch()) in warning
    caplog.clear()
    run(specifications(0, 1))
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


DAMAGE = {
    "empty": lambda data: b"",
    "cut short": lambda data: data[:-5],
    "zeroes": lambda data: bytes(len(data)),
    "text": lambda data: b"not a pickle",
    "another's result": lambda data: result_of({"x": 3}).read_bytes(),
    "another record": lambda data: pickle.dumps({"result": 1}),
    "no record": lambda data: pickle.dumps(3),
    "of a class that is gone": lambda data: b"cnowhere_to_be_found\nThing\n)R.",
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_result_is_a_failure_that_names_the_file_and_hides_no_other(damage):
    run(specifications(1, 2, 3))
    path = result_of({"x": 2})
    path.write_bytes(damage(path.read_bytes()))
    found = {each.specification["x"]: each for each in load_results("batch")}
    assert found[1].result == {"square": 1}
    assert found[3].result == {"square": 9}
    assert found[2].result is None
    assert str(path) in found[2].failure.message
    assert run(specifications(1, 2, 3)).completed == []  # completed.json decides


def test_a_result_in_the_wrong_folder_names_both():
    run(specifications(1, 2))
    shutil.copy(result_of({"x": 1}), result_of({"x": 2}))
    failure = load_result("batch", {"x": 2}).failure
    assert "{'x': 1}" in failure.message
    assert "{'x': 2}" in failure.message


@pytest.mark.parametrize(
    "content", ["", "{", "3", "null", "[]", "[1]", "{}", '{"attempt": "many"}', '{"attempt": null}']
)
def test_damaged_records_beside_a_result_cost_nothing(content, tmp_path):
    obstacle = tmp_path / "obstacle"
    obstacle.touch()
    experiment = FailsOn(2, 3, while_there=str(obstacle))
    run(specifications(1, 2, 3), experiment)
    (folder_of({"x": 1}) / "metadata.json").write_text(content, encoding="utf-8")
    (folder_of({"x": 2}) / "failure.json").write_text(content, encoding="utf-8")
    found = {each.specification["x"]: each for each in load_results("batch")}
    assert found[1].result == {"square": 1}
    assert isinstance(dict(found[1].metadata), dict)
    assert str(folder_of({"x": 2}) / "failure.json") in found[2].failure.message
    assert found[3].failure.message == "3 will not do"
    result = run(specifications(1, 2, 3), experiment)  # fails once more, and counts on from what it can
    assert {specification["x"] for specification, _ in result.failed} == {2, 3}
    assert load_result("batch", {"x": 2}).failure.message == "2 will not do"
    obstacle.unlink()
    assert run(specifications(1, 2, 3), experiment).completed == specifications(2, 3)


def test_foreign_files_and_folders_are_left_alone(tmp_path):
    foreign = [
        "notes.txt",
        "plots/figure.png",
        "journal/README",
        "runs/old.txt",
        "f" * 32 + "/x.pkl",
        "old.pkl",
        "a.tmp",
    ]
    foreign.append(f"{specification_hash({'x': 1})}/plot.pdf")
    for name in foreign:
        path = batch() / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name, encoding="utf-8")
    run(specifications(1, 2), FailsOn(2))
    (batch() / "completed.json").write_bytes(b"{")
    open_storage(None, "batch").rebuild()
    run(specifications(1, 2), FailsOn(2))
    run(specifications(1, 2), continue_from_last_run=False)
    assert [found.specification["x"] for found in load_results("batch")] == [1, 2]
    for name in foreign:
        assert (batch() / name).read_text(encoding="utf-8") == name


def test_a_folder_that_is_a_file_is_an_error_that_names_it(batches_in_tmp_path):
    batches_in_tmp_path.write_text("a file", encoding="utf-8")
    with pytest.raises(OSError, match="experiment_runs"):
        run(specifications(1))
    assert batches_in_tmp_path.read_text(encoding="utf-8") == "a file"


def test_a_new_version_finds_what_is_there_by_its_hash():
    """What was written by hand as the page describes it is read, whoever wrote it."""
    folder = folder_of({"x": 5})
    folder.mkdir(parents=True)
    (folder / "specification.json").write_text('{"x": 5}', encoding="utf-8")
    result_of({"x": 5}).write_bytes(pickle.dumps({"specification": {"x": 5}, "result": "by hand"}))
    (batch() / "completed.json").write_text('[{"x": 5}]', encoding="utf-8")
    assert run(specifications(5, 6)).skipped == specifications(5)
    assert load_result("batch", {"x": 5}).result == "by hand"
    assert dict(load_result("batch", {"x": 5}).metadata) == {}
    assert smallab.__version__


# Whose a file is.


@pytest.mark.parametrize("token", ["25298930", "a5298930", "00000000"])
def test_a_file_tells_whose_it_is_whatever_was_drawn_for_its_name(token, monkeypatch):
    monkeypatch.setattr(paths, "_token", token)
    owner = paths.Owner("vm-7e3716c5", 30622)
    assert paths.Owner.of(owner.new_name()) == owner
    assert paths.Owner.of(f"{owner.new_name()}.tmp") == owner
    assert paths.Owner.of(f"{owner.new_name()}-completed") == owner


def test_a_file_of_a_run_tells_whose_it_is():
    owner = paths.Owner("vm-7e3716c5", 30622, paths.new_id())
    for path in (paths.Paths("batch").events(owner), paths.Paths("batch").heartbeat(owner)):
        assert paths.Owner.of(os.path.basename(path)) == owner
    assert paths.Owner.of("completed.json") is None
