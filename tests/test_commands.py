"""The command smallab, run as somebody runs it, on batches that were really run."""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import smallab
from smallab import ExperimentRunner, load_results, specification_hash
from smallab.reading.batch import Batch
from smallab.reading.conditions import where
from smallab.specification import canonical
from smallab.storage.calls import Calls
from smallab.storage.paths import root_folder

pexpect = pytest.importorskip("pexpect") if os.name != "nt" else None
on_a_terminal = pytest.mark.skipif(os.name == "nt", reason="pexpect has no terminals there")

WALKS = '''
import os
import time

from smallab import Experiment, experiment


class Walk(Experiment):
    def main(self, specification):
        if specification["seed"] == 3:
            raise ValueError("three is\\nunlucky")
        self.logger.info("walked")
        return {"end": specification["seed"] * 10, "path": [1, 2]}


class NeedsArguments(Walk):
    def __init__(self, start):
        self.start = start


class Waits(Experiment):
    """Ends when there is a file of the specification's name."""

    def get_name(self, specification):
        return f"waiting for {specification['file']}"

    def main(self, specification):
        while not os.path.exists(specification["file"]):
            time.sleep(0.01)
        return os.getpid()


@experiment
def square(x: float, y: int = 2):
    if x == 13:
        raise ValueError("unlucky")
    return x**y


number = 3
'''
BOUND = 60  # seconds, for what should take one


def prepare(folder):
    (folder / "walks.py").write_text(WALKS, encoding="utf-8")
    (folder / "grid.json").write_text('{"seed": [1, 2, 3], "steps": [10, 20]}', encoding="utf-8")


@pytest.fixture
def folder(tmp_path):
    prepare(tmp_path)
    return tmp_path


def start(folder, *arguments, **environment):
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", "from smallab.__main__ import main; main()", *map(str, arguments)],
        cwd=folder,
        env={**os.environ, "PYTHONIOENCODING": "utf-8", "COLUMNS": "100", **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )


@pytest.fixture
def run(folder):
    """Return a function that runs the command; it expects an exit status."""

    def run(*arguments, expected=0, **environment):
        process = start(folder, *arguments, **environment)
        out, error = process.communicate()
        assert process.returncode == expected, (out, error)
        return error if expected == 2 else out

    return run


@pytest.fixture(scope="module")
def walks_once(tmp_path_factory):
    """Run a batch of six, four that complete and two that fail; return the folder that it is in."""
    folder = tmp_path_factory.mktemp("walks")
    prepare(folder)
    root = folder / "experiment_runs"
    started = start(folder, "run", "walks.py:Walk", "grid.json", "--name", "walks", SMALLAB_ROOT=str(root))
    assert started.communicate()
    assert started.returncode == 1
    return root


@pytest.fixture
def walks(run, walks_once, batches_in_tmp_path):
    """Return the function that runs the command, where there is a copy of that batch."""
    shutil.copytree(walks_once, batches_in_tmp_path)
    return run


# run


def test_the_command_is_installed(folder):
    command = shutil.which("smallab", path=os.path.dirname(sys.executable))
    assert command, "pip install -e . makes it"
    done = subprocess.run([command, "--version"], capture_output=True, encoding="utf-8", check=True)
    assert smallab.__version__ in done.stdout


def test_run_says_what_it_did_and_exits_with_1_if_something_failed(run, folder, batches_in_tmp_path):
    out = run("run", "walks.py:Walk", "grid.json", "--num-parallel", 2, expected=1)
    place = batches_in_tmp_path / "Walk"
    assert out == f"Walk: 4 completed, 0 skipped, 2 failed; {place}\nsmallab show Walk says why\n"
    assert len(json.loads((place / "completed.json").read_text(encoding="utf-8"))) == 4
    (folder / "grid.json").write_text('{"seed": [1, 2], "steps": [10]}', encoding="utf-8")
    assert run("run", "walks:Walk", "grid.json").startswith("Walk: 0 completed, 2 skipped, 0 failed; ")
    out = run("run", "walks:Walk", "grid.json", "--rerun", "all", "--json")
    assert json.loads(out) == {"name": "Walk", "completed": 2, "skipped": 0, "failed": 0, "folder": str(place)}


def test_run_with_processes_a_function_and_a_folder(run, folder):
    (folder / "grid.json").write_text('{"x": [1, 2, 3]}', encoding="utf-8")
    run("run", "walks.py:square", "grid.json", "--backend", "loky", "-j", 2, "--folder", "elsewhere", "--name", "s")
    assert sorted(found.result for found in load_results("s", folder=folder / "elsewhere")) == [1, 4, 9]


def test_shards_are_disjoint_and_together_the_whole(run, folder):
    (folder / "grid.json").write_text('{"seed": [4, 5], "steps": [10, 20, 30]}', encoding="utf-8")
    told = [json.loads(run("run", "walks:Walk", "grid.json", "--json", "--shard", f"{i}/4")) for i in range(4)]
    assert [found["completed"] for found in told] == [2, 2, 1, 1]
    assert sum(found["skipped"] for found in told) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["walks.py:Wlk", "grid.json"], "walks.py has no 'Wlk'; its experiments: Walk, NeedsArguments, Waits, square"),
        (["walks.py", "grid.json"], "write MODULE:EXPERIMENT"),
        (["walk.py:Walk", "grid.json"], "there is no file walk.py"),
        (["walk:Walk", "grid.json"], "there is no module 'walk'"),
        (["walks:number", "grid.json"], "walks:number is a int, no experiment"),
        (["walks:NeedsArguments", "grid.json"], "NeedsArguments cannot be made without arguments"),
        (["walks:Walk", "none.json"], "none.json"),
        (["walks:Walk", "walks.py"], "walks.py, line 2, column 1"),
        (["walks:Walk", "grid.json", "--shard", "3/3"], "--shard 3/3: write I/N, I from 0 to N-1"),
        (["walks:Walk", "grid.json", "--shard", "a"], "--shard a: write I/N"),
        (["walks:Walk", "grid.json", "--rerun", "some"], "Invalid value for '--rerun': 'some' is not one of"),
        (["walks:Walk", "grid.json", "--name", "a/b"], "'a/b' cannot name a batch"),
        (["walks:Walk", "grid.json", "-j", "0"], "num_parallel is 0"),
        (["walks:Walk"], "Missing argument 'SPECIFICATIONS.json'"),
        (["walks:Walk", "grid.json", "--name"], "'--name' requires an argument"),
    ],
)
def test_a_wrong_command_line_is_told_with_the_usage(run, batches_in_tmp_path, arguments, message):
    error = run("run", *arguments, expected=2)
    assert error.startswith("Usage: smallab run [OPTIONS] MODULE:EXPERIMENT SPECIFICATIONS.json\n")
    assert message in error
    assert not batches_in_tmp_path.exists()


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import nothing_of_that_name", "No module named 'nothing_of_that_name'"),
        ("\nopen('data.csv')", 'broken.py", line 2, in <module>'),
        ("x = = 1", "SyntaxError"),
    ],
)
def test_a_module_that_itself_cannot_be_imported_says_so(run, folder, code, message):
    (folder / "broken.py").write_text(code, encoding="utf-8")
    error = run("run", "broken.py:Walk", "grid.json", expected=2)
    assert "broken.py cannot be imported:\n" in error
    assert message in error
    assert "importlib" not in error


def test_a_file_that_is_named_as_another_module_says_so(run, folder):
    (folder / "time.py").write_text("", encoding="utf-8")
    assert "time.py is hidden by another module" in run("run", "time.py:Walk", "grid.json", expected=2)


@pytest.mark.skipif(os.name == "nt", reason="it is a POSIX shell's pipe")
def test_a_reader_that_has_seen_enough_is_no_mistake(walks, run, folder):
    with subprocess.Popen(
        [sys.executable, "-m", "smallab", "status"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=folder
    ) as process:
        process.stdout.close()
        assert process.stderr.read() == b""


# status


def test_status_counts_and_exits_with_1_for_a_named_batch_with_failures(walks, run, folder):
    (folder / "grid.json").write_text('{"seed": [1]}', encoding="utf-8")
    run("run", "walks.py:Walk", "grid.json", "--name", "well")
    header, first, second = walks("status").splitlines()
    assert header.split() == ["batch", "completed", "failed", "pending", "running", "last", "run"]
    assert first.split()[:3] == ["walks", "4", "2"]
    assert second.split()[:3] == ["well", "1", "0"]
    assert re.search(r"  0  \d{4}-\d\d-\d\d \d\d:\d\d:\d\d$", first)
    assert "\x1b" not in header + first
    walks("status", "walks", expected=1)
    assert len(walks("status", "well").splitlines()) == 2
    (told,) = json.loads(walks("status", "walks", "--json", expected=1))
    assert {**told, "pending": 0, "last_run": ""} == {
        "name": "walks",
        "completed": 4,
        "failed": 2,
        "pending": 0,
        "running": 0,
        "folder": str(Path(os.environ["SMALLAB_ROOT"]) / "walks"),
        "last_run": "",
    }


def test_status_without_batches_and_of_one_that_is_not_there(run, walks):
    assert run("status", "--folder", "nowhere").startswith("no batches in ")
    error = run("status", "wlaks", expected=2)
    assert "there is no batch 'wlaks' in " in error
    assert "did you mean 'walks'?; there are walks" in error


def test_status_of_a_function_s_calls(run, folder):
    code = "from walks import square\nsquare(2)\nsquare(3)\ntry: square(13)\nexcept ValueError: pass\n"
    subprocess.run([sys.executable, "-c", code], cwd=folder, check=True)
    assert run("status").splitlines()[1].split()[:5] == ["square", "2", "1", "0", "0"]
    out = run("show", "square")
    ids = re.findall(r"^  (\d{4}-\S+)  (\{.*\})$", out, flags=re.MULTILINE)
    assert [json.loads(text)["x"] for _, text in ids] == [13, 2, 3]
    assert "ValueError: unlucky" in out
    assert "  x  3\n" in run("show", "square", ids[2][0])
    assert "is a call of a function" in run("forget", "square", ids[2][0], expected=2)
    run("export", "square", "square.json")
    assert [found["result"] for found in json.loads((folder / "square.json").read_text())] == [4, 9, None]


@pytest.fixture
def waiting(run, folder):
    """Start a batch of five, two at once, of which one ends; yield the process when two are running."""
    files = [str(folder / name) for name in "abcde"]
    (folder / "files.json").write_text(json.dumps({"file": files}), encoding="utf-8")
    process = start(folder, "run", "walks.py:Waits", "files.json", "-j", 2, "--name", "waits")
    Path(files[0]).touch()
    until(lambda: (found := state()) and len(found.completed) == 1 and len(found.running) == 2, process)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def state():
    calls = Calls(root_folder(None), "waits")
    return Batch(calls).view if calls.exists() else None


def until(condition, process):
    deadline = time.monotonic() + BOUND
    while not condition():
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)


def test_status_and_show_of_a_batch_that_is_running(waiting, run):
    (told,) = json.loads(run("status", "--json"))
    assert (told["completed"], told["failed"], told["running"]) == (1, 0, 2)
    out = run("show", "waits")
    assert re.search(r"^running\n(  [0-9a-f]{12}  waiting for .*[bc]\n){2}", out, re.MULTILINE)
    running = json.loads(run("show", "waits", "--json"))["specifications"][:2]
    assert [found["status"] for found in running] == ["running", "running"]
    assert '"status": "running"' in run("show", "waits", running[0]["id"], "--json")


def test_what_a_killed_run_had_in_hand_is_not_running(waiting, run):
    waiting.kill()
    waiting.communicate()
    (told,) = json.loads(run("status", "--json"))
    assert (told["completed"], told["failed"], told["running"]) == (1, 0, 0)


def test_pending_is_what_the_run_s_record_says_less_what_has_ended_and_is_running(waiting, run):
    (path,) = Path(os.environ["SMALLAB_ROOT"], "waits", "runs").glob("*.json")
    record = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**record, "pending": 5}), encoding="utf-8")
    assert json.loads(run("status", "--json"))[0]["pending"] == 2
    waiting.kill()
    waiting.communicate()
    assert json.loads(run("status", "--json"))[0]["pending"] == 4


@pytest.mark.skipif(os.name == "nt", reason="there Ctrl-C is another matter")
def test_ctrl_c_exits_with_130_and_keeps_what_finished(waiting, run, folder):
    waiting.send_signal(signal.SIGINT)
    (folder / "b").touch()
    until(lambda: len(state().completed) == 2, waiting)  # meanwhile the signal is handled, and c holds the process
    for name in "cde":
        (folder / name).touch()
    waiting.communicate(timeout=BOUND)
    assert waiting.returncode == 130
    # What ran may finish; one more may have begun before the signal was handled.
    (told,) = json.loads(run("status", "--json"))
    assert told["completed"] in {3, 4}
    assert told["completed"] + told["pending"] == 5


def test_status_reads_no_folder_of_a_specification(walks, batches_in_tmp_path):
    for path in (batches_in_tmp_path / "walks").iterdir():
        if re.fullmatch("[0-9a-f]{32}", path.name):
            shutil.rmtree(path)
    assert walks("status").splitlines()[1].split()[:3] == ["walks", "4", "2"]


def test_one_torn_line_in_a_journal_stops_nothing(waiting, run):
    (path,) = Path(os.environ["SMALLAB_ROOT"], "waits", "journal").glob("*.jsonl")
    line = path.read_bytes().partition(b"\n")[0]
    with path.open("ab") as file:
        file.write(line[:60] + b"\n" + line[:150])  # what a full disk leaves
    (told,) = json.loads(run("status", "--json"))
    assert (told["completed"], told["failed"], told["running"]) == (1, 0, 2)
    assert "waiting for" in run("show", "waits")
    assert "0 completed and 0 failed forgotten" in run("forget", "waits", "--all", expected=1)


def test_foreign_files_and_folders_of_any_name_stop_nothing(walks, batches_in_tmp_path):
    names = ["runs", "why", " leading", "a.b", "n" * 255]
    names += [] if os.name == "nt" else ["sweep 3: old", "why?", "bell\x07", os.fsdecode(b"caf\xe9")]
    for name in names:
        (batches_in_tmp_path / name / "runs").mkdir(parents=True)
    (batches_in_tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    (batches_in_tmp_path / "walks" / "journal" / "mine.jsonl").write_text("mine", encoding="utf-8")
    (batches_in_tmp_path / "walks" / "journal" / "lock").mkdir()
    found = {told["name"]: told["completed"] for told in json.loads(walks("status", "--json"))}
    assert found == {"walks": 4, "runs": 0, "why": 0, "a.b": 0}
    assert walks("show", "walks").startswith("walks\n4 completed, 2 failed, ")
    assert "there is no batch 'wlaks'" in walks("show", "wlaks", expected=2)


SKEWED = """
import sys, time
real, skew = time.time, float(sys.argv.pop(1))
time.time = lambda: real() + skew
from smallab.__main__ import main
main()
"""


def with_clock(folder, skew, *arguments):
    """Run a command on a machine whose clock is wrong by so many seconds."""
    command = [sys.executable, "-c", SKEWED, str(skew), *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, encoding="utf-8", check=True)
    return done.stdout


@pytest.mark.parametrize("skew", [-300, 0, 300])
def test_every_command_goes_by_the_clock_of_the_place(waiting, folder, skew):
    (told,) = json.loads(with_clock(folder, skew, "status", "--json"))
    assert (told["completed"], told["failed"], told["running"]) == (1, 0, 2)
    assert "1 completed, 0 failed, " in with_clock(folder, skew, "show", "waits")
    assert with_clock(folder, skew, "show", "waits").count("waiting for") == 2
    pytest.importorskip("rich")
    shown = with_clock(folder, skew, "dashboard", "waits", "--once")
    assert shown.startswith("waits  running")
    assert len(re.findall(r"^ +0:[0-5]\d waiting for", shown, re.MULTILINE)) == 2
    assert "sign of life" not in shown


@pytest.mark.parametrize("skew", [-300, 0, 300])
def test_a_runner_that_was_not_heard_of_for_minutes_is_not_alive_by_any_clock(waiting, folder, skew):
    waiting.kill()
    waiting.communicate()
    (heartbeat,) = Path(os.environ["SMALLAB_ROOT"], "waits", "journal").glob("*.heartbeat")
    run_id = heartbeat.name.partition(".")[0]
    elsewhere = heartbeat.with_name(f"{run_id}.elsewhere.1.heartbeat")  # where nobody can ask whether it is gone
    heartbeat.rename(elsewhere)
    os.utime(elsewhere, (time.time() - 200,) * 2)
    (told,) = json.loads(with_clock(folder, skew, "status", "--json"))
    assert (told["completed"], told["failed"], told["running"]) == (1, 0, 0)
    pytest.importorskip("rich")
    assert with_clock(folder, skew, "dashboard", "waits", "--once").startswith("waits  silent")


# show


def test_show_lists_what_failed_with_its_message(walks):
    out = walks("show", "walks")
    head, failed, completed = out.split("\n\n")
    name, counts, last = head.splitlines()
    assert name == "walks"
    assert counts.startswith("4 completed, 2 failed, ")
    assert re.match(r"last run \d{4}-.* on \S+.*: .*run walks.py:Walk grid.json --name walks$", last)
    id = specification_hash({"seed": 3, "steps": 10})[:12]
    assert failed.startswith(f'failed\n  {id}  {{"seed":3,"steps":10}}\n  {"":12}  ValueError: three is unlucky\n')
    assert len(failed.splitlines()) == len(completed.splitlines()) == 5
    assert "\x1b" not in out


def test_show_lists_some_and_all(run, folder):
    (folder / "grid.json").write_text(json.dumps({"seed": list(range(4, 34))}), encoding="utf-8")
    run("run", "walks.py:Walk", "grid.json", "--name", "many", "--json")
    assert run("show", "many").endswith('"seed":23}\n  … and 10 more: --all shows them\n')
    assert run("show", "many", "--all").endswith('{"seed":33}\n')
    assert len(json.loads(run("show", "many", "--json"))["specifications"]) == 30


def test_show_one_that_completed(walks):
    id = specification_hash({"seed": 1, "steps": 10})
    out = walks("show", "walks", id[:6])
    assert out.startswith(f"{id}  completed  ")
    assert "\nspecification\n  seed   1\n  steps  10\n" in out
    assert re.search(r"\n  duration +\d", out)
    assert re.search(rf"\n  {id}.pkl +\d+\n", out)
    assert re.search(r"\nlog.txt, its last 10 lines\n  .* INFO walked\n", out)


def test_show_one_that_failed_with_its_traceback(walks):
    id = specification_hash({"seed": 3, "steps": 20})
    assert re.search(
        r"\nfailure\n  Traceback [^\0]*\n  ValueError: three is\n  unlucky\n$", walks("show", "walks", id[:8])
    )
    told = json.loads(walks("show", "walks", id, "--json"))
    assert (told["status"], told["failure"]["message"]) == ("failed", "three is\nunlucky")


def test_show_an_id_that_is_not_there_or_not_unique(walks):
    assert "no id begins with 'xyz' in the batch 'walks'" in walks("show", "walks", "xyz", expected=2)
    assert "6 ids begin with ''" in walks("show", "walks", "", expected=2)


def test_results_are_not_loaded(walks, batches_in_tmp_path):
    for path in batches_in_tmp_path.rglob("*.pkl"):
        path.write_bytes(b"cos\nabort\n(tR.")  # whoever unpickles it dies
    for arguments in (["status"], ["show", "walks"], ["show", "walks", "--json"]):
        walks(*arguments)
    walks("show", "walks", specification_hash({"seed": 1, "steps": 10}))
    walks("forget", "walks", "--where", "seed=1")


@on_a_terminal
def test_colours_and_the_width_of_a_terminal(walks, folder):
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "40"}
    arguments = ["-c", "from smallab.__main__ import main; main()", "show", "walks"]
    for more, coloured in (({}, True), ({"NO_COLOR": "1"}, False)):
        child = pexpect.spawn(
            sys.executable,
            arguments,
            cwd=folder,
            env=environment | more,
            encoding="utf-8",
            timeout=BOUND,
            dimensions=(40, 40),
        )
        child.expect(pexpect.EOF)
        assert ("\x1b[" in child.before) == coloured
        assert '{"seed":3,"steps":10}' in child.before
        child.close()


HOSTILE = "a\x1b]0;title\x07 \x9b2J \x1b[31mred\x1b[0m\u202e"


def test_whatever_an_experiment_says_is_only_text(run, folder, batches_in_tmp_path):
    code = f"""
from smallab import Experiment

class Hostile(Experiment):
    def get_name(self, specification):
        return {HOSTILE!r}

    def main(self, specification):
        self.logger.info({HOSTILE!r})
        raise ValueError({HOSTILE!r})
"""
    (folder / "hostile.py").write_text(code, encoding="utf-8")
    (folder / "grid.json").write_text(json.dumps({"x": [1], HOSTILE: [HOSTILE]}), encoding="utf-8")
    run("run", "hostile.py:Hostile", "grid.json", "--name", "h\x9bh", "--quiet", expected=1)
    (id,) = [path.name for path in (batches_in_tmp_path / "h\x9bh").iterdir() if len(path.name) == 32]
    if os.name != "nt":
        (batches_in_tmp_path / "h\x9bh" / id / "file\x1b[2J").touch()
    printed = [run("status"), run("show", "h\x9bh"), run("show", "h\x9bh", id), run("show", "nobody", expected=2)]
    printed += [run("show", "h\x9bh", "--json"), run("show", "h\x9bh", id, "--json"), run("forget", "h\x9bh", "--all")]
    for text in printed:
        assert all(character.isprintable() or character == "\n" for character in text), text
    assert json.loads(printed[4])["specifications"][0]["specification"] == {"x": 1, HOSTILE: HOSTILE}


# dashboard


def test_dashboard_once(walks):
    pytest.importorskip("textual")
    out = walks("dashboard", "walks", "--once")
    assert "walks" in out
    assert "three is" in out
    assert "'a/b' cannot name a batch" in walks("dashboard", "a/b", expected=2)


# export


def test_export_as_a_table(walks, folder):
    out = walks("export", "walks", "walks.csv")
    assert out == "6 specifications of walks written to walks.csv\n"
    with open(folder / "walks.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["status"] for row in rows] == ["completed"] * 4 + ["failed"] * 2
    assert (rows[0]["seed"], float(rows[0]["result.end"])) == ("1", 10)


def test_export_as_json(walks, folder):
    (folder / "walks.json").write_text("an older one", encoding="utf-8")
    walks("export", "walks", "walks.json")
    found = json.loads((folder / "walks.json").read_text(encoding="utf-8"))
    assert [item["result"] for item in found[:2]] == [{"end": 10, "path": [1, 2]}] * 2
    assert found[-1]["failure"] == {"type": "ValueError", "message": "three is\nunlucky"}
    assert not list(folder.glob("*.tmp"))


def test_export_as_parquet(walks, folder):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    walks("export", "walks", "walks.parquet")
    table = pandas.read_parquet(folder / "walks.parquet")
    assert list(table["result.end"][:4]) == [10, 10, 20, 20]
    assert list(table["result.path"][0]) == [1, 2]


def test_parquet_takes_columns_of_several_types_as_json(tmp_path):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    from smallab import Experiment
    from smallab.reading.exports import export

    class Mixed(Experiment):
        def main(self, specification):
            return [1, "one", {"deep": [1]}, {1, 2}][specification["x"]]

    ExperimentRunner().run("mixed", [{"x": x} for x in range(4)], Mixed(), show_progress=False)
    assert export(load_results("mixed"), tmp_path / "mixed.parquet") == 4
    assert list(pandas.read_parquet(tmp_path / "mixed.parquet")["result"][:2]) == ["1", '"one"']
    assert export(load_results("mixed"), tmp_path / "mixed.json") == 4
    results = [item["result"] for item in json.loads((tmp_path / "mixed.json").read_text(encoding="utf-8"))]
    assert results == [1, "one", {"deep": [1]}, [1, 2]]


@pytest.mark.parametrize(
    ("missing", "file", "extra"), [("pandas", "w.csv", "pandas"), ("pyarrow", "w.parquet", "parquet")]
)
def test_what_export_needs_is_named(walks, folder, missing, file, extra):
    code = f"import sys; sys.modules[{missing!r}] = None; from smallab.__main__ import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "export", "walks", file],
        cwd=folder,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 2
    assert f'pip install "smallab[{extra}]"' in done.stderr
    assert not (folder / file).exists()


def test_export_into_what_is_unknown(walks, folder):
    assert "w.xls does not end in .csv, .json, .parquet" in walks("export", "walks", "w.xls", expected=2)


# forget


def completed():
    found = json.loads(Path(os.environ["SMALLAB_ROOT"], "walks", "completed.json").read_text(encoding="utf-8"))
    return [(item["seed"], item["steps"]) for item in found]


def test_forget_by_id(walks):
    id = specification_hash({"seed": 1, "steps": 10})
    out = walks("forget", "walks", id[:10])
    assert out == "walks: 1 completed and 0 failed forgotten; they run again the next time\n"
    assert completed() == [(1, 20), (2, 10), (2, 20)]
    assert walks("run", "walks:Walk", "grid.json", "--name", "walks", expected=1).startswith(
        "walks: 1 completed, 3 skipped, 2"
    )


@pytest.mark.parametrize(
    ("options", "left"),
    [
        (["--where", "seed=1"], [(2, 10), (2, 20)]),
        (["--where", "seed=1", "--where", "steps=20"], [(1, 10), (2, 10), (2, 20)]),
        (["--where", "seed=5"], [(1, 10), (1, 20), (2, 10), (2, 20)]),
        (["--failed"], [(1, 10), (1, 20), (2, 10), (2, 20)]),
        (["--all"], []),
        (["--all", "--yes", "--where", "steps=10"], [(1, 20), (2, 20)]),
    ],
)
def test_forget_in_other_ways(walks, options, left):
    walks("forget", "walks", *options)
    assert completed() == left


def test_forgetting_what_failed(walks):
    assert walks("forget", "walks", "--failed", "--where", "steps=10") == (
        "walks: 0 completed and 1 failed forgotten; they run again the next time\n"
    )
    assert walks("status", "--json").count('"failed": 1') == 1
    walks("forget", "walks", "--failed")
    walks("status", "walks")
    assert walks("forget", "walks", "--failed") == "walks: nothing to forget\n"
    said = walks("forget", "walks", "--where", "sed=1")
    assert said == "walks: nothing to forget: none has sed=1; there are seed, steps\n"


def test_forget_nothing_in_particular_is_refused(walks):
    assert "Give ids, --where KEY=VALUE, --failed or --all" in walks("forget", "walks", expected=2)
    assert "'seed' is no condition: write key=value" in walks("forget", "walks", "--where", "seed", expected=2)
    assert "no id begins with 'xyz'" in walks("forget", "walks", "xyz", expected=2)
    assert len(completed()) == 4


def test_forget_what_a_killed_run_left_in_its_journal(waiting, run, folder):
    waiting.kill()
    waiting.communicate()
    assert "1 completed and 0 failed forgotten" in run("forget", "waits", "--all")
    assert json.loads(run("status", "--json"))[0]["completed"] == 0


def test_what_a_running_batch_has_just_ended_is_not_forgotten_and_that_is_said(waiting, run):
    out = run("forget", "waits", "--all", expected=1)
    assert "0 completed and 0 failed forgotten" in out
    assert "1 not: a run that is going on has just ended them" in out


@on_a_terminal
@pytest.mark.parametrize(("answer", "left"), [("n", 4), ("y", 0)])
def test_forgetting_all_asks_on_a_terminal(walks, folder, answer, left):
    child = pexpect.spawn(
        sys.executable,
        ["-c", "from smallab.__main__ import main; main()", "forget", "walks", "--all"],
        cwd=str(folder),
        encoding="utf-8",
        timeout=BOUND,
    )
    child.expect_exact("Run all 6 of walks again? [y/N]")
    child.sendline(answer)
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
    assert len(completed()) == left


# rebuild


def test_a_list_that_cannot_be_read_is_rebuilt_when_somebody_asks_for_it(walks, batches_in_tmp_path):
    path = batches_in_tmp_path / "walks" / "completed.json"
    before = path.read_bytes()
    path.write_bytes(before[:-20])
    error = walks("run", "walks:Walk", "grid.json", "--name", "walks", expected=2)
    assert f"{path} cannot be read: " in error
    assert "smallab rebuild walks" in error
    assert "smallab rebuild walks" in walks("forget", "walks", "--all", expected=2)
    assert path.read_bytes() == before[:-20]
    first, *kept = walks("rebuild", "walks").splitlines()
    assert first == "walks: 4 completed and 2 failed, as its folders tell"
    places = [Path(line.removeprefix("an old list is kept as ")) for line in kept]
    assert [place.name.partition(".json.")[0] for place in places] == ["completed", "failed"]
    assert places[0].read_bytes() == before[:-20]
    assert sorted(json.loads(path.read_bytes()), key=str) == sorted(json.loads(before), key=str)
    assert walks("run", "walks:Walk", "grid.json", "--name", "walks", expected=1).startswith("walks: 0 completed, 4")


def test_rebuilding_a_batch_that_is_not_there_or_has_lost_its_lists(walks, batches_in_tmp_path):
    assert "there is no batch 'wlaks'" in walks("rebuild", "wlaks", expected=2)
    for path in (batches_in_tmp_path / "walks").glob("*.json"):
        path.unlink()
    assert walks("rebuild", "walks") == "walks: 4 completed and 2 failed, as its folders tell\n"


def test_status_of_a_list_that_cannot_be_read_is_what_the_folders_tell(walks, batches_in_tmp_path):
    (batches_in_tmp_path / "walks" / "completed.json").write_text("[", encoding="utf-8")
    assert walks("status").splitlines()[1].split()[:3] == ["walks", "4", "2"]


# Conditions.


@pytest.mark.parametrize(
    ("condition", "met"),
    [
        ("a=1", True),
        ("a=1.0", True),
        ("a=true", False),
        ("a=2", False),
        ("b.c=x", True),
        ('b.c="x"', True),
        ("b.d=null", True),
        ("b.e=null", False),
        ("b.c.d=x", False),
        ("l=[1, 2]", True),
        ("n.m=dotted", True),
        ("s=a=b", True),
    ],
)
def test_conditions(condition, met):
    text = canonical({"a": 1, "b": {"c": "x", "d": None}, "l": [1, 2], "n.m": "dotted", "s": "a=b"})
    assert where([condition])(text) == met


# All of them.


def test_python_m_smallab_is_the_command(folder):
    command = [sys.executable, "-m", "smallab", "--version"]
    done = subprocess.run(command, cwd=folder, capture_output=True, encoding="utf-8", check=True)
    assert done.stdout == f"smallab, version {smallab.__version__}\n"


def test_help_of_everything(run):
    out = run("--help")
    for name in ("run", "status", "dashboard", "show", "export", "forget", "rebuild"):
        assert f"\n  {name} " in out
        text = run(name, "-h")
        assert text.startswith(f"Usage: smallab {name} [OPTIONS]")
        assert "  --folder FOLDER" in text
        assert max(map(len, text.splitlines())) <= 100
    assert "Did you mean 'status'" in run("statsu", expected=2) or "statsu" in run("statsu", expected=2)


def test_without_click_the_error_names_the_extra(folder):
    code = "import sys; sys.modules['click'] = None; from smallab.__main__ import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 1
    assert done.stderr == 'smallab: command lines need click: pip install "smallab[cli]"\n'


# The README.


@on_a_terminal  # it is bash
def test_the_readme_s_command_line_runs(tmp_path):
    readme = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
    section = readme.partition("\n## Command line\n")[2].partition("\n## ")[0]
    (script,) = re.findall(r"^```bash\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    path = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PATH": path},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("27\npowers: 6 completed, 0 skipped, 0 failed; ")
    assert "6 specifications of powers written to powers.json\n" in done.stdout
    assert done.stdout.endswith("powers: 1 completed and 0 failed forgotten; they run again the next time\n")
    assert len(json.loads((tmp_path / "powers.json").read_text(encoding="utf-8"))) == 6


def test_the_readme_names_every_command(run):
    readme = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
    commands = re.findall(r"^  (\w+)  ", run("-h").partition("Commands:")[2], re.MULTILINE)
    assert len(commands) == 7
    assert all(f"| `smallab {name} " in readme for name in commands)
