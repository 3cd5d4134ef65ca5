"""What a run's record says of Python, packages, git and the source, and that git can neither stop nor delay a run."""

import importlib.metadata
import inspect
import json
import os
import platform
import re
import subprocess
import sys

import pytest

from smallab import Experiment, ExperimentRunner
from smallab.runner import record as environment


class Constant(Experiment):
    def main(self, specification):
        return "the source of this class"


def git(folder, *arguments):
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "-C", folder, *identity, *arguments], check=True, capture_output=True)


@pytest.fixture(autouse=True)
def no_other_repository(monkeypatch, tmp_path):
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))


@pytest.fixture
def checkout(tmp_path):
    folder = tmp_path / "checkout"
    folder.mkdir()
    git(folder, "init", "--initial-branch", "trunk")
    (folder / "code.py").write_text("x = 1\n")
    git(folder, "add", "code.py")
    git(folder, "commit", "-m", "first")
    return folder


@pytest.fixture
def fake_git(tmp_path, monkeypatch):
    """Return a function that puts a shell script in git's place."""
    if os.name == "nt":
        pytest.skip("a shell script stands in for git")

    def put(script):
        folder = tmp_path / "bin"
        folder.mkdir()
        (folder / "git").write_text(f"#!/bin/sh\n{script}\n")
        (folder / "git").chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")

    return put


def test_a_checkout_is_described(checkout):
    git(checkout, "remote", "add", "origin", "git@example.com:lab/code.git")
    found = environment.git(str(checkout))
    assert found == {
        "branch": "trunk",
        "commit": found["commit"],
        "remote": "git@example.com:lab/code.git",
        "dirty": False,
    }
    assert re.fullmatch("[0-9a-f]{40}", found["commit"])


def test_a_folder_inside_a_checkout_belongs_to_it(checkout):
    (checkout / "deep").mkdir()
    assert environment.git(str(checkout / "deep"))["branch"] == "trunk"


def test_a_changed_file_makes_a_checkout_dirty_and_an_unknown_one_does_not(checkout):
    (checkout / "notes.txt").write_text("a note")
    assert environment.git(str(checkout))["dirty"] is False
    (checkout / "code.py").write_text("x = 2\n")
    assert environment.git(str(checkout))["dirty"] is True


def test_a_commit_between_two_runs_is_seen(checkout):
    before = environment.git(str(checkout))["commit"]
    git(checkout, "commit", "--allow-empty", "-m", "second")
    assert environment.git(str(checkout))["commit"] != before


def test_a_detached_head_has_a_commit(checkout):
    git(checkout, "checkout", "--detach")
    assert re.fullmatch("[0-9a-f]{40}", environment.git(str(checkout))["commit"])


def test_before_the_first_commit_there_is_none(tmp_path):
    git(tmp_path, "init")
    assert environment.git(str(tmp_path)) == {"branch": None, "commit": None, "remote": None, "dirty": False}


@pytest.mark.parametrize(
    ("remote", "kept"),
    [
        ("https://user:secret@example.com/lab/code.git", "https://example.com/lab/code.git"),
        ("https://secret@example.com/lab/code.git", "https://example.com/lab/code.git"),
        ("https://example.com/lab/@code.git", "https://example.com/lab/@code.git"),
        ("ssh://git@example.com/lab/code.git", "ssh://git@example.com/lab/code.git"),
    ],
)
def test_a_password_in_the_remote_is_not_recorded(checkout, remote, kept):
    git(checkout, "remote", "add", "origin", remote)
    assert environment.git(str(checkout))["remote"] == kept


def test_asking_does_not_touch_the_index(checkout):
    index = checkout / ".git" / "index"
    os.utime(checkout / "code.py", (1, 1))  # git would like to write down that nothing has changed
    before = index.read_bytes()
    environment.git(str(checkout))
    assert index.read_bytes() == before


def test_where_there_is_no_checkout_there_is_nothing_to_say(tmp_path):
    assert environment.git(str(tmp_path)) is None


def test_without_git_there_is_nothing_to_say(checkout, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert environment.git(str(checkout)) is None


def test_git_that_hangs_delays_a_run_only_once_and_is_told_of(fake_git, monkeypatch, tmp_path, caplog):
    fake_git("echo called >> " + str(tmp_path / "calls") + "; exec sleep 600")
    monkeypatch.setattr(environment, "GIT_SECONDS", 1.0)
    assert ExperimentRunner().run("batch", [{"a": 1}], Constant(), show_progress=False)
    assert (tmp_path / "calls").read_text() == "called\n"
    assert "lacks what git says" in caplog.text


def test_git_that_hangs_on_the_changes_alone_still_tells_the_commit(fake_git, monkeypatch, tmp_path):
    fake_git('case "$*" in *status*) exec sleep 600;; *inside*) echo true;; *HEAD*) echo 12ab; echo trunk;; esac')
    monkeypatch.setattr(environment, "GIT_SECONDS", 2.0)
    found = environment.git(str(tmp_path))
    assert (found["commit"], found["branch"], found["dirty"]) == ("12ab", "trunk", None)


def test_git_that_cannot_start_is_told_of(fake_git, tmp_path, caplog, monkeypatch):
    fake_git("")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    (tmp_path / "bin" / "git").write_text("#!/no/such/shell\n")
    assert environment.git(str(tmp_path))["commit"] is None
    assert "lacks what git says" in caplog.text


def test_git_that_fails_in_the_middle_leaves_gaps(fake_git, tmp_path):
    fake_git('case "$*" in *inside*) echo true;; *) exit 1;; esac')
    assert environment.git(str(tmp_path))["commit"] is None


def test_packages_are_those_that_importlib_finds():
    expected = {
        re.sub(r"[-_.]+", "-", found.metadata["Name"]).lower(): found.version
        for found in reversed(list(importlib.metadata.distributions()))  # the first on sys.path wins
    }
    assert environment.packages() == expected


def test_an_old_editable_install_and_odd_entries_of_the_path(tmp_path, monkeypatch):
    (tmp_path / "Old_Style.egg-info").mkdir()
    (tmp_path / "Old_Style.egg-info" / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: Old_Style\nVersion: 1.5\n")
    (tmp_path / "empty.egg-info").mkdir()
    (tmp_path / "more-2.0-py3.11.egg-info").mkdir()
    (tmp_path / "file.zip").write_bytes(b"")
    monkeypatch.setattr(sys, "path", [str(tmp_path), str(tmp_path / "file.zip"), str(tmp_path / "missing"), ""])
    monkeypatch.chdir(tmp_path)
    assert environment.packages() == {"empty": "unknown", "more": "2.0", "old-style": "1.5"}


def test_a_run_is_recorded_with_all_of_it():
    runner = ExperimentRunner()
    runner.run("batch", [{"a": 1}], Constant(), show_progress=False)
    (path,) = runner.get_save_directory("batch").glob("runs/*.json")
    text = path.read_text()
    record = json.loads(text)
    assert record["experiment"].endswith("Constant")
    assert record["folder"] == os.getcwd()
    assert record["pid"] == os.getpid()
    assert record["command"] == sys.argv
    for words in ["the source of this class", json.dumps(sys.executable), platform.platform(), '"joblib": ', '"git": ']:
        assert words in text


def test_the_code_counts_not_the_folder_where_it_was_started(checkout, tmp_path):
    (checkout / "study.py").write_text(
        "import json, smallab.runner.record\n"
        "class Study:\n    pass\n    def main(self): pass\n"
        "print(json.dumps(smallab.runner.record._checkout(Study())))\n"
    )
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    command = [sys.executable, str(checkout / "study.py")]
    done = subprocess.run(command, cwd=elsewhere, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["branch"] == "trunk"


def test_code_outside_any_checkout_has_that_of_the_current_folder(checkout, monkeypatch, tmp_path):
    source = tmp_path / "outside.py"
    source.write_text("class Study:\n    def main(self): pass\n")
    namespace = {"__name__": "outside"}
    exec(compile(source.read_text(), source, "exec"), namespace)
    monkeypatch.chdir(checkout)
    assert environment._checkout(namespace["Study"]())["branch"] == "trunk"


@pytest.mark.skipif(os.name == "nt", reason="there, a folder in use cannot be deleted")
def test_a_current_folder_that_was_deleted_does_not_stop_a_run(tmp_path, monkeypatch):
    folder = tmp_path / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    assert environment.run_record(Constant())["folder"] is None


def test_the_source_of_a_function_and_of_nothing():
    assert "def git(folder" in environment.source(git)
    assert environment.source(len) is None
    assert environment.source(object()) is None


@pytest.mark.parametrize(("failures", "found"), [(1, True), (10**9, False)])
def test_other_threads_that_parse_cost_no_run(failures, found, monkeypatch, caplog):
    """In Python 3.11 ast.parse of two threads at once may raise SystemError."""
    getsource, left = inspect.getsource, failures

    def disturbed(code):
        nonlocal left
        left -= 1
        if left >= 0:
            raise SystemError("AST constructor recursion depth mismatch (before=69, after=65)")
        return getsource(code)

    monkeypatch.setattr(inspect, "getsource", disturbed)
    assert ("the source of this class" in (environment.source(Constant()) or "")) is found
    assert ("the source of Constant is not recorded" in caplog.text) is not found


def test_the_source_in_a_notebook_is_the_cell():
    import nbclient
    import nbformat

    cell = (
        "from smallab.runner.record import source\n"
        "class Study:\n"
        "    size = 3\n"
        "    def main(self, specification):\n"
        "        return 'written in a cell'\n"
        "print(source(Study()))"
    )
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell)])
    nbclient.NotebookClient(notebook, timeout=60, kernel_name="python3").execute()
    text = "".join(output.get("text", "") for output in notebook.cells[0].outputs)
    assert "written in a cell" in text
    assert "size = 3" in text
