"""Watching a batch: what is read of it while it runs, is killed, and ends; and what a person sees in a terminal."""

import asyncio
import html
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

pytest.importorskip("textual")

from smallab.journal import GRACE_SECONDS, Journal
from smallab.watching import UNREADABLE, Details, Watch

from smallab import Experiment, ExperimentRunner
from smallab.command_line.dashboard import Dashboard
from smallab.command_line.frame import Drawing
from smallab.dashboard import dashboard
from smallab.observation import Failure
from smallab.specification import canonical, digest
from smallab.storage import Storage

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
    (failure,) = view.failures.latest(0, 10)
    assert (failure.id, failure.label) == (digest(canonical({"n": 0})), "net 0")
    assert failure.why == "ValueError: the loss is not a number"
    for n in (2, 3):
        (tmp_path / f"go{n}").touch()
    assert process.wait(BOUND) == 0
    view = watch.look()
    assert [run.state for run in view.runs] == ["ended"]
    assert (view.figures.completed, view.figures.failed, view.figures.total, view.completed) == (3, 1, 4, 3)
    assert (len(view.running), len(view.interrupted)) == (0, 0)
    assert [failure.label for failure in view.failures.latest(0, 10)] == ["net 0"]
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
        assert [failure.why for failure in watch.look().failures.latest(0, 9)] == ["ValueError: never"]
        tell(storage, "completed", 1)
        assert (watch.look().figures.failed, len(watch.look().failures)) == (0, 0)


def test_the_latest_failures_come_first_and_only_those_that_are_asked_for_are_read(storage):
    with living(storage, 100):
        for x in range(50):
            fail(storage, x, f"number {x}")
        Path(storage.folder_of(digest(text(48))), "failure.json").write_text("[", encoding="utf-8")
        Path(storage.folder_of(digest(text(47))), "failure.json").unlink()
        failures = Watch(storage).look().failures
        messages = [failure.why for failure in failures.latest(0, 4)]
        assert messages == ["ValueError: number 49", UNREADABLE, UNREADABLE, "ValueError: number 46"]
        assert [failure.why for failure in failures.latest(49, 60)] == ["ValueError: number 0"]


def test_failures_are_grouped_by_their_message_whatever_the_numbers_in_it(storage):
    with living(storage, 100):
        for x, message in enumerate(["the loss is 1e9", "the loss is -2.5", "no", "no", "the loss is 0x7f", "never"]):
            fail(storage, x, message)
        watch = Watch(storage)
        groups = watch.look().failures.groups(BOUND)
        assert [(len(group.members), group.why) for group in groups] == [
            (3, "ValueError: the loss is …"),
            (2, "ValueError: no"),
            (1, "ValueError: never"),
        ]
        assert [one.label for one in groups[0].members] == ['{"x":4}', '{"x":1}', '{"x":0}'], "the latest first"
        assert groups[0].time == groups[0].members[0].time
        tell(storage, "started", 5)
        tell(storage, "completed", 2)
        assert [len(group.members) for group in watch.look().failures.groups(BOUND)] == [3, 1]


def test_failures_that_are_not_read_yet_are_a_group_of_their_own(storage):
    with living(storage, 100):
        for x in range(5):
            fail(storage, x)
        failures = Watch(storage).look().failures
        (unread,) = failures.groups(0)
        assert (unread.unread, len(unread.members)) == (True, 5)
        failures.latest(0, 2)
        assert [len(group.members) for group in failures.groups(0)] == [2, 3]
        assert [len(group.members) for group in failures.groups(BOUND)] == [5]


def test_a_failure_that_cannot_be_read_is_tried_again_later(storage, monkeypatch):
    with living(storage):
        fail(storage, 1, "no")
        path = Path(storage.folder_of(digest(text(1))), "failure.json")
        content = path.read_bytes()
        path.unlink()
        failures = Watch(storage).look().failures
        assert [group.why for group in failures.groups(BOUND)] == [UNREADABLE]
        path.write_bytes(content)
        assert [group.why for group in failures.groups(BOUND)] == [UNREADABLE]
        monkeypatch.setattr(failures, "_retry", 0.0)
        assert [group.why for group in failures.groups(BOUND)] == ["ValueError: no"]


def test_what_there_is_to_read_of_one_specification(storage):
    with living(storage):
        fail(storage, 1, "no")
        folder = Path(storage.folder_of(digest(text(1))))
        (folder / "specification.json").write_text(text(1), encoding="utf-8")
        (folder / "log.txt").write_text("begin\n" + "x" * 20_000 + "\nend\n", encoding="utf-8")
        tell(storage, "started", 2)
        view = Watch(storage).look()
        failed, running = view.details(digest(text(1))), view.details(digest(text(2)))
        assert failed.failed
        assert (failed.label, failed.specification, failed.type, failed.message) == (
            '{"x":1}',
            {"x": 1},
            "ValueError",
            "no",
        )
        assert failed.log == "end\n", "whole lines, and not all of a long log"
        assert running == Details(digest(text(2)), '{"x":2}', {"x": 2}, running.time, False, "", "", "", "")
        assert view.details(digest(text(3))) is None
        (folder / "specification.json").unlink()
        (folder / "failure.json").write_text("[", encoding="utf-8")
        assert view.details(digest(text(1))).message == UNREADABLE


def test_an_id_that_is_no_id_is_not_taken_for_a_folder(storage, tmp_path):
    (tmp_path / "failure.json").write_text('{"type":"E","message":"secret"}', encoding="utf-8")
    with living(storage):
        tell(storage, "started", 1)
        path = Path(storage.own("jsonl"))
        line = {"event": "failed", "id": "../..", "time": "2026-11-21", "specification": {}}
        path.write_text(json.dumps(line) + "\n", encoding="utf-8")
        assert len(Watch(storage).look().failures) == 0


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
        assert (view.figures.total, view.figures.done, view.figures.skipped) == (32, 10, 2)
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
        assert (view.figures.total, view.figures.done) == (12, 2)


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


def plain(lines):
    return [line.plain for line in lines]


@pytest.mark.parametrize("height", [1, 2, 4, 10, 24, 40, 200])
@pytest.mark.parametrize("width", [1, 2, 12, 40, 80, 99, 100, 120, 400])
def test_a_frame_fits_whatever_the_terminal_s_size(full, width, height):
    lines = Drawing().frame(full, full.failures.groups(BOUND), width, height)
    assert len(lines) <= height
    assert max(line.cell_len for line in lines) <= width
    assert all(line.plain.isprintable() for line in lines)


@pytest.mark.parametrize(("width", "height"), [(40, 10), (80, 24), (120, 40)])
def test_both_lists_are_in_a_frame(full, width, height):
    lines = plain(Drawing().frame(full, full.failures.groups(BOUND), width, height))
    text = "\n".join(lines)
    assert re.search(r"^  Running \((1 to \d+ of )?30\)$", text, re.MULTILINE)
    assert "  Failed (30, for 1 reason)" in lines
    assert text.count("a bred") >= 2
    assert "     30 " in text
    assert "ValueE" in text


def test_what_an_experiment_names_or_raises_is_only_text(full):
    drawing = Drawing()
    (group,) = full.failures.groups(BOUND)
    rows = [drawing.group(group, 200), drawing.failed(group.members[0], 200, True)]
    rows.append(drawing.running(full.running[0], 200, hosts=True, goes_on=True))
    assert all(row.plain.isprintable() for row in rows)
    details = full.details(group.members[0].id)
    assert all(line.isprintable() for line in drawing.details(details).plain.split("\n"))
    assert drawing.line(80, "[red]\ud800 \x1b[2J").plain == "[red]   [2J"
    assert len(drawing.plain_lines("x" * 10**6)) < 10**6, "what is too long for a screen is left out"


def test_a_terminal_that_takes_only_ascii_gets_only_ascii(full):
    drawing = Drawing("#", "-", "~", ascii_only=True)
    lines = drawing.frame(full, full.failures.groups(BOUND), 80, 24)
    lines.append(drawing.details(full.details(full.failures.latest(0, 1)[0].id)))
    assert all(line.plain.isascii() for line in lines)


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
    assert "30/1000 done, 30 failed" in text
    assert "\x1b" not in text
    assert "Search" not in text


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


@pytest.mark.parametrize("missing", ["rich", "textual"])
def test_without_textual_the_error_names_what_to_install(missing):
    code = f"import sys; sys.modules['{missing}'] = None; import smallab.dashboard"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert 'ImportError: the dashboard needs textual: pip install "smallab[dashboard]"' in done.stderr


# The application, without a terminal.


def drive(storage, steps, width=80, height=24):
    """Run the application, and do with it what the steps do."""

    async def main():
        application = Dashboard(Watch(storage), Drawing())
        async with application.run_test(size=(width, height)) as pilot:
            await steps(Driven(application, pilot))

    asyncio.run(main())


class Driven:
    def __init__(self, application, pilot):
        self.application, self.pilot = application, pilot

    def text(self):
        """What is on the screen, taken from a picture of it."""
        image = self.application.export_screenshot()
        rows = {}
        for x, y, found in re.findall(r'<text class="[^"]*" x="([\d.]+)" y="([\d.]+)"[^>]*>(.*?)</text>', image):
            rows.setdefault(float(y), []).append((float(x), html.unescape(found).replace("\xa0", " ")))
        lines = []
        for _, parts in sorted(rows.items()):
            line = ""
            for x, part in sorted(parts):
                line = line.ljust(round(x / 12.2)) + part
            lines.append(line.rstrip())
        return "\n".join(lines)

    async def press(self, *keys):
        await self.pilot.press(*keys)

    async def see(self, pattern):
        until = time.monotonic() + BOUND
        while not re.search(pattern, self.text(), re.MULTILINE):
            assert time.monotonic() < until, f"{pattern!r} is not on the screen:\n{self.text()}"
            await self.pilot.pause(0.05)

    @property
    def table(self):
        return self.application.focused

    @property
    def chosen(self):
        return self.table.rows[self.table.cursor]


@pytest.fixture
def many(storage):
    """50 that run, and 50 that failed for three reasons."""
    with living(storage, 1000):
        for x in range(50):
            tell(storage, "started", x)
            fail(storage, x + 100, ["no", "never", "[bold]the loss is nan"][min(2, x % 4)])
        yield storage


def test_enter_opens_a_group_a_failure_and_its_traceback(many):
    folder = Path(many.folder_of(digest(text(149))))
    failure = {
        "type": "ValueError",
        "message": "never",
        "traceback": "Traceback:\n  File [bold]\x1b[31m.py",
        "ended": "",
    }
    (folder / "failure.json").write_text(json.dumps(failure), encoding="utf-8")
    (folder / "specification.json").write_text(text(149), encoding="utf-8")

    async def steps(driven):
        await driven.see(r"Failed \(50, for 3 reasons\)")
        await driven.see(r"^ +24 .* ValueError: \[bold\]the loss is nan")
        await driven.press("tab", "down", "enter")
        await driven.see(r"^ValueError: never$")
        await driven.see(r"^  Failed \(13, the latest first\)$")
        await driven.press("enter")
        await driven.see(r"^  File \[bold\] *.py$")
        await driven.see(r'^  "x": 149$')
        await driven.press("escape")
        await driven.see(r"^  Failed \(13, the latest first\)$")
        await driven.press("escape", "escape")
        await driven.see(r"Failed \(50, for 3 reasons\)")

    drive(many, steps)


def test_enter_opens_what_runs_and_follows_its_log(many):
    folder = Path(many.folder_of(digest(text(3))))
    folder.mkdir(parents=True)
    (folder / "log.txt").write_text("epoch 1\n", encoding="utf-8")

    async def steps(driven):
        await driven.see(r"Running \(50\)")
        await driven.press("down", "down", "down", "enter")
        await driven.see("^epoch 1$")
        (folder / "log.txt").write_text("epoch 1\nepoch 2\n", encoding="utf-8")
        await driven.see("^epoch 2$")
        tell(many, "completed", 3)
        await driven.pilot.pause(1.0)
        await driven.see("^epoch 2$")
        await driven.press("escape")
        await driven.see(r"Running \(49\)")
        await driven.press("q")

    drive(many, steps)


def test_the_cursor_stays_with_its_row_and_the_list_where_it_was_scrolled(many):
    async def steps(driven):
        await driven.see(r"Running \(50\)")
        await driven.press("pagedown", "pagedown", "down")
        chosen, line = driven.chosen.id, driven.table.cursor - driven.table.scroll_offset.y
        for x in range(5):
            tell(many, "completed", x)
        await driven.see(r"Running \(45\)")
        assert driven.chosen.id == chosen
        assert driven.table.cursor - driven.table.scroll_offset.y == line
        await driven.press("end")
        assert driven.table.cursor == 44
        await driven.press("home", "up")
        assert driven.table.cursor == 0
        await driven.see(r'\{"x":5\}')

    drive(many, steps)


def test_a_search_filters_both_lists_until_escape(many):
    async def steps(driven):
        await driven.see(r"Running \(50\)")
        await driven.press("slash", *'"X":4')
        await driven.see(r"""Running \(11\) with '"X":4'""")
        await driven.see(r"""^  Failed \(0, for 0 reasons\)|^ tab""")
        await driven.press("enter", "j", "j")
        assert json.loads(driven.chosen.label)["x"] == 41
        await driven.press("slash", *["backspace"] * 5, *"never")
        await driven.see(r"""Failed \(13, for 1 reason\) with 'never'""")
        await driven.press("enter", "enter")
        await driven.see(r"^  Failed \(13, the latest first\)$")
        await driven.press("escape", "escape")
        await driven.see(r"Running \(50\)$")
        await driven.see(r"Failed \(50, for 3 reasons\)$")

    drive(many, steps)


def test_a_click_moves_the_cursor_and_another_opens(many):
    async def steps(driven):
        await driven.see(r"Running \(50\)")
        await driven.pilot.click("#failures", offset=(20, 1))
        assert driven.table.id == "failures"
        assert driven.table.cursor == 1
        await driven.pilot.click("#failures", offset=(20, 1))
        await driven.see(r"the latest first\)$")

    drive(many, steps)


@pytest.mark.parametrize(("width", "height"), [(1, 1), (12, 4), (40, 10), (80, 24), (200, 60)])
def test_the_application_fits_whatever_the_terminal_s_size(full, storage, width, height):
    async def steps(driven):
        for key in ("tab", "enter", "enter", "escape", "escape", "slash", "x", "escape"):
            await driven.press(key)
            await driven.pilot.pause(0.2)
        if width >= 40:
            await driven.see("^digits  running")
            await driven.see(r"Running \(30\)")
            await driven.see(r"Failed \(30, for 1 reason\)")

    drive(storage, steps, width, height)


def test_keys_are_answered_while_the_share_is_not(storage, monkeypatch):
    answered = threading.Event()
    look = Watch.look
    monkeypatch.setattr(Watch, "look", lambda watch: answered.wait(BOUND) and look(watch))
    monkeypatch.setattr("smallab.command_line.dashboard.SLOW_SECONDS", 0.1)

    async def steps(driven):
        await driven.see("^no answer from the batch's folder for 0:0")
        await driven.press("slash", "x")
        assert driven.application.screen.search.value == "x"
        await driven.press("escape")
        answered.set()
        await driven.see("^digits  not started")
        await driven.see("^waiting for a batch 'digits' in")
        assert "no answer" not in driven.text()

    drive(storage, steps)


def test_a_share_that_fails_is_told_and_looked_at_again(storage, monkeypatch):
    look = Watch.look
    errors = [OSError(116, "Stale file handle"), OSError(116, "Stale file handle")]

    def failing(watch):
        if errors:
            raise errors.pop()
        return look(watch)

    monkeypatch.setattr(Watch, "look", failing)

    async def steps(driven):
        await driven.see("^the batch cannot be read: .*Stale file handle")
        await driven.see("^digits  not started")
        assert "Stale" not in driven.text()

    drive(storage, steps)


def test_an_error_of_ours_ends_it_and_is_raised(storage, monkeypatch):
    monkeypatch.setattr(Watch, "look", lambda _: 1 / 0)
    application = Dashboard(Watch(storage), Drawing())

    async def main():
        async with application.run_test() as pilot:
            while application.error is None:
                await pilot.pause(0.05)

    asyncio.run(main())
    assert isinstance(application.error, ZeroDivisionError)


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
    screen.wait(r"^2/\d done, 1 failed, .* left, ends ")
    screen.wait(r"^ +0:\d\d net 2 +━+─+ +1/3$")
    screen.wait(r"^ +1 \d\d:\d\d:\d\d  ValueError: the loss is not a number +net 0$")
    for n in (2, 3):
        (tmp_path / f"go{n}").touch()
    screen.wait("^digits  ended")
    screen.wait(r"^4/4 done, 1 failed, .* took 0:\d\d$")
    screen.wait("^in the batch: 3 completed, 1 failed$")
    screen.tmux("send-keys", "q")
    screen.ended()


def test_a_killed_runner_is_said_to_be_killed(screen, start):
    process = start(0, 4)
    screen.start()
    screen.wait(r"^  Running \(2\)")
    process.kill()
    process.wait()
    screen.wait("^digits  killed")
    text = screen.wait(rf"^its runner was killed \(process {process.pid} on .*\): run it again to go on$")
    assert "Running" not in text
    assert "  In hand when it was killed (2)" in text


def test_keys_and_resizing(screen, storage):
    with living(storage, 1000):
        for x in range(50):
            tell(storage, "started", x, f'"label":"net {x}",')
            fail(storage, x + 100, "no " * 100)
        screen.start()
        screen.wait(r"^ +\d:\d\d net 0$")
        screen.tmux("send-keys", "NPage", "NPage")
        screen.wait(r"^ +\d:\d\d net 30\b")
        screen.tmux("send-keys", "End")
        screen.wait(r"^ +\d:\d\d net 49\b")
        screen.tmux("send-keys", "Tab", "Enter")
        screen.wait(r"^  Failed \(50, the latest first\)")
        screen.tmux("send-keys", "Escape")
        for width, height in ((120, 40), (40, 10), (12, 4), (200, 60), (80, 24)):
            screen.tmux("resize-window", "-x", str(width), "-y", str(height))

            def fits(width=width, height=height):
                lines = screen.text().splitlines()
                return len(lines) == height and lines[0].startswith("digits  run") and max(map(len, lines)) <= width

            wait_for(fits)
        screen.wait(r"^ +\d:\d\d net 49\b")
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
