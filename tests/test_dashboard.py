"""Watching a batch: what is read of it while it runs, is killed, and ends; and what a person sees in a terminal."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

pytest.importorskip("rich")

from rich.console import Console

from smallab import Experiment, ExperimentRunner
from smallab.dashboard import _Frame, _marks, _parse, _Places, dashboard
from smallab.journal import GRACE_SECONDS, Journal
from smallab.observation import Failure
from smallab.specification import canonical, digest
from smallab.storage import Storage
from smallab.watching import Watch

BOUND = 60  # seconds, for what should take one
not_on_windows = pytest.mark.skipif(os.name == "nt", reason="there, nobody can tell that a process is gone")

SCRIPT = """
import os, sys, time
from pathlib import Path
from smallab import Experiment, ExperimentRunner
from smallab.experiment_types import CheckpointedExperiment

def wait_for(name):
    until = time.monotonic() + 120
    while not Path(name).exists():
        assert time.monotonic() < until, name
        time.sleep(0.005)

class Steps(CheckpointedExperiment):
    def get_name(self, specification):
        return f"net {specification['n']}"
    def initialize(self, specification):
        self.n, self.steps = specification["n"], 0
    def step(self):
        self.steps += 1
        if self.n == 0:
            raise ValueError("the loss is not a number")
        if self.steps == 2 and self.n > 1:
            wait_for(f"go{self.n}")
        return {} if self.steps == 3 else (self.steps, 3)

if __name__ == "__main__":
    begin, end, parallel, backend = *map(int, sys.argv[1:4]), sys.argv[4]
    batch = [{"n": n} for n in range(begin, end)]
    ExperimentRunner(Path("runs")).run("digits", batch, Steps(), num_parallel=parallel, backend=backend)
"""


@pytest.fixture
def storage(tmp_path):
    return Storage(str(tmp_path / "runs"), "digits")


@pytest.fixture
def start(tmp_path):
    """Return a function that starts a batch in a process of its own: net 0 fails, net 1 completes, the others wait."""
    (tmp_path / "batch.py").write_text(SCRIPT, encoding="utf-8")
    processes = []

    def start(begin, end, parallel=2, backend="threading"):
        command = [sys.executable, "batch.py", *map(str, (begin, end, parallel)), backend]
        process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL)
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.wait()


def wait_for(condition):
    until = time.monotonic() + BOUND
    while not (found := condition()):
        assert time.monotonic() < until
        time.sleep(0.02)
    return found


def seen(watch, **wanted):
    """Look until the counts are those that are wanted; return what was seen."""

    def counts(view):
        figures = view.figures
        known = {"running": len(view.running), "interrupted": len(view.interrupted), "failures": len(view.failures)}
        return known | {"completed": figures and figures.completed, "states": [run.state for run in view.runs]}

    def look():
        view = watch.look()
        return view if wanted.items() <= counts(view).items() else None

    return wait_for(look)


# A run's traces, left by this process: what a worker and a runner leave, with their own functions.


@contextmanager
def living(storage, pending=10, skipped=0, started=None):
    record = {"started": (started or datetime.now(UTC)).isoformat(), "pending": pending, "skipped": skipped}
    with Journal(storage).living(set()):
        storage.write_run({**record, "completed": 0, "failed": 0})
        yield


def text(x):
    return canonical({"x": x})


def tell(storage, event, x, more=""):
    storage.tell(event, digest(text(x)), text(x), more)


def fail(storage, x, message="no"):
    os.makedirs(storage.folder_of(digest(text(x))), exist_ok=True)
    details = {"run_id": storage.run_id, "started": "", "ended": datetime.now(UTC).isoformat()}
    storage.save_failure(digest(text(x)), text(x), Failure("ValueError", message), details)


def journal_of_another(storage, pid, *events):
    """Write a journal as another process would: (event, x, seconds)."""
    begin = datetime(2026, 11, 21, tzinfo=UTC)
    lines = [
        {"event": event, "id": digest(text(x)), "time": (begin + timedelta(seconds=seconds)).isoformat(),
         "specification": {"x": x}}
        for event, x, seconds in events
    ]  # fmt: skip
    path = Path(storage.journal, f"{storage.run_id}.elsewhere.{pid}.jsonl")
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


# What is read.


def test_a_batch_that_is_not_there_is_waited_for_and_not_made(storage, tmp_path):
    view = Watch(storage).look()
    assert not view.exists
    assert view.figures is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("backend", ["threading", "loky"])
def test_a_run_is_seen_from_its_start_to_its_end(storage, start, tmp_path, backend):
    watch = Watch(storage)
    process = start(0, 4, backend=backend)
    view = seen(watch, completed=1, failures=1, running=2)
    assert [run.state for run in view.runs] == ["running"]
    assert {item.label for item in view.running} == {"net 2", "net 3"}
    assert wait_for(lambda: [item.share for item in watch.look().running] == [1 / 3, 1 / 3])
    ((id, label, _, message),) = view.failures.latest(0, 10)
    assert (id, label) == (digest(canonical({"n": 0})), "net 0")
    assert message == "ValueError: the loss is not a number"
    for n in (2, 3):
        (tmp_path / f"go{n}").touch()
    assert process.wait(BOUND) == 0
    view = watch.look()
    assert [run.state for run in view.runs] == ["ended"]
    assert (view.figures.completed, view.figures.failed, view.figures.total, view.completed) == (3, 1, 4, 3)
    assert (len(view.running), len(view.interrupted)) == (0, 0)
    assert [label for _, label, _, _ in view.failures.latest(0, 10)] == ["net 0"]
    assert repr(Watch(storage).look().figures) == repr(view.figures), "who comes later sees the same"


def test_the_total_is_known_from_the_start(storage, start):
    start(0, 9)
    assert seen(Watch(storage), completed=1, failures=1, running=2).figures.total == 9


def test_nothing_is_written_into_the_batch_s_folder(storage, start):
    start(0, 4)
    seen(Watch(storage), completed=1, failures=1, running=2)

    def tree():
        paths = [Path(storage.folder), *Path(storage.folder).rglob("*")]
        return {path: path.stat().st_mtime_ns for path in paths if path.suffix != ".heartbeat"}

    before = tree()
    for _ in range(3):
        dashboard("digits", storage.root, once=True)
    assert tree() == before


@not_on_windows
@pytest.mark.parametrize("backend", ["threading", "loky"])
def test_a_killed_runner_is_not_shown_as_running(storage, start, tmp_path, backend):
    watch = Watch(storage)
    process = start(0, 4, backend=backend)
    seen(watch, completed=1, failures=1, running=2)
    process.kill()
    process.wait()
    for view in (watch.look(), Watch(storage).look()):
        assert [run.state for run in view.runs] == ["killed"]
        assert (len(view.running), {item.label for item in view.interrupted}) == (0, {"net 2", "net 3"})
        assert (view.figures.completed, view.figures.failed) == (1, 1)
    for n in (2, 3):
        (tmp_path / f"go{n}").touch()
    assert start(0, 4).wait(BOUND) == 0
    view = watch.look()
    assert [run.state for run in view.runs] == ["ended"]
    assert (view.completed, len(view.failures)) == (3, 1)
    assert view.figures.skipped in (
        {1} if backend == "threading" else {1, 2, 3}
    )  # processes end what they have in hand


def test_a_runner_that_is_silent_for_too_long_is_not_shown_as_running(storage):
    with living(storage):
        heartbeat = Path(storage.own("heartbeat"))
        old = time.time() - GRACE_SECONDS - 10
        elsewhere = heartbeat.with_name(f"{storage.run_id}.elsewhere.1.heartbeat")
        elsewhere.touch()
        heartbeat.unlink()
        os.utime(elsewhere, (old, old))
        watch = Watch(storage)
        assert [run.state for run in watch.look().runs] == ["silent"]
        os.utime(elsewhere, (old + 5, old + 5))  # its clock is another one, but it beats
        assert [run.state for run in watch.look().runs] == ["running"]
        elsewhere.unlink()
        heartbeat.touch()


def test_only_what_is_new_is_read(storage):
    with living(storage):
        watch = Watch(storage)
        for x in range(5):
            tell(storage, "started", x)
        assert len(watch.look().running) == 5
        path = Path(storage.own("jsonl"))
        path.write_bytes(b"?" * path.stat().st_size)  # nobody looks there again
        tell(storage, "completed", 3)
        view = watch.look()
        assert (view.figures.completed, len(view.running)) == (1, 4)


def test_lines_that_are_being_written_or_were_cut_short(storage):
    with living(storage):
        watch = Watch(storage)
        tell(storage, "started", 1)
        path = Path(storage.own("jsonl"))
        whole = path.read_bytes()
        path.write_bytes(whole + whole[:40])
        assert len(watch.look().running) == 1
        path.write_bytes(whole + whole[:40] + b"\n" + whole.replace(b"started", b"completed"))
        view = watch.look()
        assert (view.figures.completed, len(view.running)) == (1, 0)


def test_of_one_specification_events_come_from_several_processes_in_any_order(storage):
    with living(storage):
        journal_of_another(storage, 1, ("completed", 0, 9), ("started", 1, 5), ("failed", 2, 9), ("started", 3, 9))
        journal_of_another(storage, 2, ("started", 0, 1), ("failed", 1, 1), ("started", 2, 1), ("failed", 3, 1))
        view = Watch(storage).look()
        assert (view.figures.completed, view.figures.failed) == (1, 1)
        assert {item.label for item in view.running} == {'{"x":1}', '{"x":3}'}
        assert {item.pid for item in view.running} == {1}


def test_a_specification_that_is_tried_again_has_not_failed_yet(storage):
    with living(storage):
        watch = Watch(storage)
        fail(storage, 1)
        assert (watch.look().figures.failed, len(watch.look().failures)) == (1, 1)
        tell(storage, "started", 1)
        assert (watch.look().figures.failed, len(watch.look().failures)) == (0, 0)
        fail(storage, 1, "never")
        assert [message for *_, message in watch.look().failures.latest(0, 9)] == ["ValueError: never"]
        tell(storage, "completed", 1)
        assert (watch.look().figures.failed, len(watch.look().failures)) == (0, 0)


def test_the_latest_failures_come_first_and_only_those_that_are_asked_for_are_read(storage):
    with living(storage, 100):
        for x in range(50):
            fail(storage, x, f"number {x}")
        Path(storage.folder_of(digest(text(48))), "failure.json").write_text("[", encoding="utf-8")
        Path(storage.folder_of(digest(text(47))), "failure.json").unlink()
        failures = Watch(storage).look().failures
        messages = [message for *_, message in failures.latest(0, 4)]
        damaged = "(its failure.json cannot be read)"
        assert messages == ["ValueError: number 49", damaged, damaged, "ValueError: number 46"]
        assert [message for *_, message in failures.latest(49, 60)] == ["ValueError: number 0"]


def test_a_journal_that_is_deleted_between_two_looks_or_within_one(storage):
    with living(storage):
        watch = Watch(storage)
        tell(storage, "started", 1)
        assert len(watch.look().running) == 1
        path = Path(storage.own("jsonl"))
        content = path.read_bytes()
        path.unlink()
        if os.name != "nt":
            path.symlink_to("deleted since the folder was listed")
            assert len(watch.look().running) == 1
            path.unlink()
        assert len(watch.look().running) == 0
        path.write_bytes(content)
        assert len(watch.look().running) == 1


def test_several_runs_are_shown_together(storage):
    begin = datetime.now(UTC) - timedelta(seconds=100)
    other = Storage(storage.root, storage.name)
    with living(storage, 10, 2, begin), living(other, 20, 0, begin):
        for x in range(4):
            tell(storage, "completed", x)
            tell(other, "completed", x + 100)
        tell(storage, "started", 50)
        tell(other, "started", 51)
        view = Watch(storage).look()
        assert len(view.alive) == 2
        assert (view.figures.total, view.figures.all_completed, view.figures.skipped) == (32, 10, 2)
        assert view.figures.rate == pytest.approx(8 / 100, rel=0.1)
        assert len(view.running) == 2


def test_a_run_that_has_ended_counts_while_another_that_ran_beside_it_goes_on(storage):
    class Nothing(Experiment):
        def main(self, specification):
            return None

    watch = Watch(storage)
    with living(storage, 10):
        ExperimentRunner(storage.root).run("digits", [{"y": 1}, {"y": 2}], Nothing())
        view = watch.look()
        assert [run.state for run in view.runs] == ["ended", "running"]
        assert (view.figures.total, view.figures.all_completed) == (12, 2)


def test_a_run_from_before_is_not_counted(storage):
    class Nothing(Experiment):
        def main(self, specification):
            return None

    ExperimentRunner(storage.root).run("digits", [{"y": 1}, {"y": 2}], Nothing())
    with living(storage, 10, started=datetime.now(UTC) + timedelta(seconds=1)):
        assert [run.state for run in Watch(storage).look().runs] == ["running"]


def test_a_run_that_was_interrupted_is_said_to_have_stopped(storage):
    class Stop(Experiment):
        def main(self, specification):
            if specification["x"]:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ExperimentRunner(storage.root).run("digits", [{"x": 0}, {"x": 1}, {"x": 2}], Stop())
    view = Watch(storage).look()
    assert [run.state for run in view.runs] == ["stopped"]
    assert view.completed == 1


@pytest.mark.parametrize("damaged", ["completed.json", "failed.json", "runs/{}.json", "journal/{}.h.1.jsonl"])
def test_damaged_files_are_no_reason_to_fail(storage, damaged):
    with living(storage):
        fail(storage, 1)
    path = Path(storage.folder, damaged.format(storage.run_id))
    path.write_bytes(b'\xff\x00{"event":3}\n[1]\n{"event":"started","id":"a"}\n7\n')
    watch = Watch(storage)
    for _ in range(2):
        assert watch.look().exists
    path.unlink()
    assert watch.look().exists


def test_what_an_experiment_says_of_its_progress_may_make_no_sense(storage):
    with living(storage):
        tell(storage, "started", 1)
        for more in (
            '"done":null,"total":1,',
            '"done":NaN,"total":2,',
            '"done":1,"total":0,',
            '"done":"a","total":[],',
            "",
        ):
            tell(storage, "progress", 1, more)
            assert Watch(storage).look().running[0].share is None
        tell(storage, "progress", 1, '"done":1.5,"total":2,')
        assert Watch(storage).look().running[0].share == 0.75
        tell(storage, "progress", 1, '"done":9,"total":2,')
        assert Watch(storage).look().running[0].share == 1.0


# What is drawn.

HOSTILE = "a\nb\x1b[31mred\x1b[0m\x1b]0;title\x07\x9b2J\t模型émigré🙂\r" + "x" * 5000


@pytest.fixture
def full(storage):
    """What is seen of a batch with much in it, and nasty names."""
    with living(storage, 1000):
        for x in range(30):
            tell(storage, "started", x, f'"label":{json.dumps(HOSTILE)},')
            tell(storage, "progress", x, f'"done":{x},"total":{30 if x % 2 else 1e9},')
            fail(storage, x + 100, HOSTILE)
        yield Watch(storage).look()


def drawn(view, width, height, places=None):
    console = Console(width=width, height=height)
    return _Frame(view, width, height, places or _Places(), _marks(console)).lines(footer=True)


@pytest.mark.parametrize("height", [1, 2, 4, 10, 24, 40, 200])
@pytest.mark.parametrize("width", [1, 2, 12, 40, 80, 99, 100, 120, 400])
def test_a_frame_fits_whatever_the_terminal_s_size(full, width, height):
    lines = drawn(full, width, height)
    assert len(lines) == height
    assert max(line.cell_len for line in lines) <= width
    assert all(line.plain.isprintable() for line in lines)


@pytest.mark.parametrize(("width", "height"), [(40, 10), (80, 24), (120, 40)])
def test_both_lists_are_seen(full, width, height):
    text = "\n".join(line.plain for line in drawn(full, width, height))
    assert "Running (" in text
    assert "Failed (" in text
    assert text.count("a bred") >= 2
    assert "ValueE" in text


def test_keys_scroll_the_list_that_they_are_in(full):
    places = _Places()

    def heading(*keys):
        for key in keys:
            places.press(key)
        lines = [line.plain for line in drawn(full, 80, 24, places)]
        return next(line for line in lines if line.startswith("▸"))

    assert heading() == "▸ Running (1 to 9 of 30)"
    assert heading("down", "down", "up") == "▸ Running (2 to 10 of 30)"
    assert heading("page down") == "▸ Running (10 to 18 of 30)"
    assert heading("end") == "▸ Running (22 to 30 of 30)"
    assert heading("page down", "down") == "▸ Running (22 to 30 of 30)"
    assert heading("home", "up") == "▸ Running (1 to 9 of 30)"
    assert heading("tab", "down").startswith("▸ Failed (2 to 5 of 30,")
    assert heading("tab") == "▸ Running (1 to 9 of 30)"


def test_keys_as_terminals_send_them_whole_or_in_pieces():
    assert _parse("\x1b[A\x1bOBjq") == (["up", "down", "down", "q"], "")
    assert _parse("q\x1b[") == (["q"], "\x1b[")
    assert _parse("\x1b[" + "5~") == (["page up"], "")
    assert _parse("\x1bxyz?\x1b[99;5u\t") == (["tab"], "")
    assert _parse("\x1b") == ([], "")


def printed(arguments, **environment):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", f"from smallab.dashboard import dashboard; dashboard({arguments})"],
        env=os.environ | environment,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def test_where_stdout_is_no_terminal_one_plain_frame_is_printed(full, storage):
    text = printed(f"'digits', {storage.root!r}", PYTHONIOENCODING="utf-8", COLUMNS="100").decode()
    assert text.startswith("digits  running  ")
    assert "0/1000 completed, 30 failed" in text
    assert "\x1b" not in text
    assert "Tab" not in text


def test_a_file_that_does_not_take_all_of_unicode_gets_what_it_can_take(full, storage):
    assert b"Running (" in printed(f"'digits', {storage.root!r}, once=True", PYTHONIOENCODING="ascii")


def test_a_batch_that_is_not_there_names_those_that_are(full, storage, capsys):
    dashboard("letters", storage.root, once=True)
    output = " ".join(capsys.readouterr().out.split())
    assert output.startswith("letters not started")
    assert output.endswith("there are: digits")


def test_a_name_that_no_batch_can_have_is_refused():
    with pytest.raises(ValueError, match="cannot name a batch"):
        dashboard("../digits", once=True)


def test_without_rich_the_error_names_what_to_install():
    code = "import sys; sys.modules['rich'] = None; import smallab.dashboard"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert 'ImportError: the dashboard needs rich: pip install "smallab[progress]"' in done.stderr


# In a terminal.


class Screen:
    """A terminal of tmux's, in which a shell command runs."""

    def __init__(self, folder, width, height):
        self.folder, self.size = folder, ["-x", str(width), "-y", str(height)]
        self.socket = str(folder / "tmux")

    def tmux(self, *arguments):
        environment = {key: value for key, value in os.environ.items() if not key.startswith("TMUX")}
        command = ["tmux", "-S", self.socket, "-f", os.devnull, *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout

    def start(self):
        code = "from smallab.dashboard import dashboard; dashboard('digits', 'runs')"
        command = f"'{sys.executable}' -c \"{code}\""
        shell = f"cd '{self.folder}'; echo before; stty -a >before; {command}; stty -a >after; echo ended; exec cat"
        self.tmux("new-session", "-d", *self.size, shell)

    def text(self):
        return "\n".join(line.rstrip() for line in self.tmux("capture-pane", "-p").splitlines()).rstrip()

    def wait(self, pattern):
        def look():
            self.last = self.text()
            return re.search(pattern, self.last, re.MULTILINE)

        try:
            wait_for(look)
        except AssertionError:
            pytest.fail(f"{pattern!r} is not on the screen:\n{self.last}")
        return self.last

    def ended(self):
        text = self.wait("^ended$")
        assert text == "before\nended", "the screen is as it was"
        assert (self.folder / "after").read_text() == (self.folder / "before").read_text(), "and so is the terminal"


@pytest.fixture
def screen(tmp_path):
    try:
        subprocess.run(["tmux", "-V"], check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("needs tmux, to see what a terminal shows")
    screen = Screen(tmp_path, 80, 24)
    yield screen
    subprocess.run(["tmux", "-S", screen.socket, "kill-server"], check=False, capture_output=True)


def test_a_batch_from_before_its_start_to_its_end(screen, start, tmp_path):
    screen.start()
    screen.wait("^digits  not started")
    start(0, 4)
    screen.wait(r"^1/\d completed, 1 failed, .* left, ends ")
    screen.wait(r"^ +0:\d\d net 2 +━+─+ 1/3$")
    screen.wait(r"^ +ValueError: the loss is not a number$")
    for n in (2, 3):
        (tmp_path / f"go{n}").touch()
    screen.wait("^digits  ended")
    screen.wait(r"^3/4 completed, 1 failed, .* took 0:\d\d$")
    screen.wait("^in the batch: 3 completed, 1 failed$")
    screen.tmux("send-keys", "q")
    screen.ended()


def test_a_killed_runner_is_said_to_be_killed(screen, start):
    process = start(0, 4)
    screen.start()
    screen.wait(r"^▸ Running \(2\)")
    process.kill()
    process.wait()
    screen.wait("^digits  killed")
    text = screen.wait(rf"^its runner was killed \(process {process.pid} on .*\): run it again to go on$")
    assert "Running" not in text
    assert "▸ In hand when it was killed (2)" in text


def test_keys_and_resizing(screen, storage):
    with living(storage, 1000):
        for x in range(50):
            tell(storage, "started", x)
            fail(storage, x + 100, "no " * 100)
        screen.start()
        screen.wait(r"^▸ Running \(1 to 9 of 50\)")
        screen.tmux("send-keys", "Down", "Down")
        screen.wait(r"^▸ Running \(3 to 11 of 50\)")
        screen.tmux("send-keys", "NPage", "End", "Up")
        screen.wait(r"^▸ Running \(41 to 49 of 50\)")
        screen.tmux("send-keys", "Tab", "NPage")
        screen.wait(r"^▸ Failed \(4 to 7 of 50, ")
        for width, height in ((120, 40), (40, 10), (12, 4), (80, 24)):
            screen.tmux("resize-window", "-x", str(width), "-y", str(height))

            def fits(width=width, height=height):
                lines = screen.text().splitlines()
                return len(lines) == height and lines[0].startswith("digits  run") and lines[-1].startswith(" q")

            wait_for(fits)
        screen.wait(r"^▸ Failed \(\d+ to \d+ of 50, ")
        screen.tmux("send-keys", "C-z", "q")
        screen.ended()


@pytest.mark.parametrize("how", ["C-c", signal.SIGTERM])
def test_it_gives_the_terminal_back_however_it_ends(screen, how, tmp_path):
    screen.start()
    screen.wait("^digits  not started")
    if how == "C-c":
        screen.tmux("send-keys", how)
    else:
        shell = screen.tmux("list-panes", "-F", "#{pane_pid}").strip()
        children = Path(f"/proc/{shell}/task/{shell}/children")
        if not children.exists():
            pytest.skip("needs /proc, to find the process")
        os.kill(int(children.read_text().split()[0]), how)
    screen.wait("ended$")
    assert (tmp_path / "after").read_text() == (tmp_path / "before").read_text()


def test_where_nobody_can_press_keys_it_is_shown_all_the_same(storage, tmp_path):
    pexpect = pytest.importorskip("pexpect")
    if os.name == "nt":
        pytest.skip("pexpect has no terminals there")
    code = f"from smallab.dashboard import dashboard; dashboard('digits', {storage.root!r})"
    shell = pexpect.spawn(
        "sh", ["-c", f"'{sys.executable}' -c \"{code}\" </dev/null"], timeout=BOUND, cwd=str(tmp_path)
    )
    shell.expect("not started")
    shell.sendintr()
    shell.expect(pexpect.EOF)


def test_a_batch_that_is_written_while_it_is_read_is_right_at_every_look(storage):
    with living(storage, 200):
        thread = threading.Thread(
            target=lambda: [(tell(storage, "started", x), tell(storage, "completed", x)) for x in range(200)]
        )
        watch = Watch(storage)
        thread.start()
        counts = []
        while not counts or counts[-1] < 200:
            view = watch.look()
            assert len(view.running) <= 1
            counts.append(view.figures.completed)
            assert len(counts) < 100_000
        thread.join()
        assert counts == sorted(counts)
