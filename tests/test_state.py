"""What is read of a batch while it runs, is killed, and ends."""

import json
import os
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from traces import (
    BOUND,
    batches_in_processes,
    fail,
    id_of,
    journal_of,
    journal_of_another,
    living,
    tell,
    text,
    wait_for,
)

from smallab import Experiment, ExperimentRunner
from smallab.reading.failures import UNREADABLE
from smallab.reading.state import Details, Watch
from smallab.specification import canonical, digest
from smallab.storage.base import open_storage
from smallab.storage.presence import GRACE_SECONDS

not_on_windows = pytest.mark.skipif(os.name == "nt", reason="there, nobody can tell that a process is gone")


@pytest.fixture
def storage(tmp_path):
    return open_storage(tmp_path / "runs", "digits")


@pytest.fixture
def start(tmp_path):
    with batches_in_processes(tmp_path) as start:
        yield start


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


def counts(view):
    return tuple(view.counts.values())


class Nothing(Experiment):
    def main(self, specification):
        return None


# A run from its start to its end.


def test_a_batch_that_is_not_there_is_waited_for_and_not_made(storage, tmp_path):
    view = Watch(storage).look()
    assert not view.exists
    assert view.others == []
    assert view.figures is None
    assert view.counts == {"completed": 0, "failed": 0, "pending": None, "running": 0}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("backend", ["threading", "loky"])
def test_a_run_is_seen_from_its_start_to_its_end(storage, start, tmp_path, backend):
    watch = Watch(storage)
    process = start(0, 4, backend=backend)
    view = seen(watch, completed=1, failures=1, running=2)
    assert counts(view) == counts(Watch(storage).look()) == (1, 1, 0, 2)
    assert [run.state for run in view.runs] == ["running"]
    assert {item.label for item in view.running} == {"net 2", "net 3"}
    assert not any(item.gone for item in view.running)
    assert wait_for(lambda: [item.share for item in watch.look().running] == [1 / 3, 1 / 3])
    (failure,) = view.failures.latest(0, 10)
    assert (failure.id, failure.label) == (digest(canonical({"n": 0})), "net 0")
    assert failure.why == "ValueError: the loss is not a number"
    for n in (2, 3):
        (tmp_path / f"go{n}").touch()
    assert process.wait(BOUND) == 0
    view = watch.look()
    assert [run.state for run in view.runs] == ["ended"]
    assert (view.figures.completed, view.figures.failed, view.figures.total) == (3, 1, 4)
    assert counts(view) == (3, 1, 0, 0)
    assert len(view.interrupted) == 0
    assert [failure.label for failure in view.failures.latest(0, 10)] == ["net 0"]
    assert repr(Watch(storage).look().figures) == repr(view.figures), "who comes later sees the same"


def test_the_total_is_known_from_the_start(storage, start):
    start(0, 9)
    view = seen(Watch(storage), completed=1, failures=1, running=2)
    assert view.figures.total == 9
    assert view.pending == 5


def test_nothing_is_written_into_the_batch_s_folder(storage, start):
    start(0, 4)
    watch = Watch(storage)
    seen(watch, completed=1, failures=1, running=2)  # net 1 is behind us: nothing more happens by itself
    wait_for(lambda: [item.share for item in watch.look().running] == [1 / 3, 1 / 3])
    running = watch.look().running
    wait_for(lambda: all(list(Path(storage.folder, item.id).rglob("*.checkpoint")) for item in running))

    def tree():
        return {path: path.stat().st_size for path in Path(storage.folder).rglob("*")}

    before = tree()
    for _ in range(3):
        Watch(storage).look().failures.groups(BOUND)
    assert tree() == before


@not_on_windows
@pytest.mark.parametrize("backend", ["threading", "loky"])
def test_a_killed_runner_is_not_shown_as_running(storage, start, tmp_path, backend):
    watch = Watch(storage)
    process = start(0, 5, backend=backend)
    seen(watch, completed=1, failures=1, running=2)
    process.kill()
    process.wait()
    for view in (watch.look(), Watch(storage).look()):
        assert [run.state for run in view.runs] == ["killed"]
        assert {item.label for item in view.interrupted} == {"net 2", "net 3"}
        assert counts(view) == (1, 1, 3, 0), "what it had in hand is pending"
    for n in (2, 3, 4):
        (tmp_path / f"go{n}").touch()
    assert start(0, 5).wait(BOUND) == 0
    view = watch.look()
    assert [run.state for run in view.runs] == ["ended"]
    assert counts(view) == (4, 1, 0, 0)


# Alive or not: one clock, the place's.


def heartbeat_of(storage, run):
    (path,) = Path(storage.folder, "journal").glob(f"{run.id}.*.heartbeat")
    return path


def test_a_runner_that_is_silent_for_too_long_is_not_shown_as_running(storage):
    with living(storage) as run:
        heartbeat = heartbeat_of(storage, run)
        old = time.time() - GRACE_SECONDS - 10
        elsewhere = heartbeat.with_name(f"{run.id}.elsewhere.1.heartbeat")
        elsewhere.touch()
        heartbeat.unlink()
        tell(storage, run, "started", 1)
        os.utime(elsewhere, (old, old))
        watch = Watch(storage)
        view = watch.look()
        assert [run.state for run in view.runs] == ["silent"]
        assert (len(view.running), len(view.interrupted)) == (0, 1)
        os.utime(elsewhere)
        view = watch.look()
        assert [run.state for run in view.runs] == ["running"]
        assert (len(view.running), len(view.interrupted)) == (1, 0)
        elsewhere.unlink()
        heartbeat.touch()


@pytest.mark.parametrize("skew", [300, -300])
def test_this_machine_s_own_clock_is_not_asked(storage, monkeypatch, skew):
    real = time.time
    with living(storage, started=datetime.now(UTC) - timedelta(seconds=10)) as run:
        tell(storage, run, "started", 1)
        right = Watch(storage).look()
        monkeypatch.setattr(time, "time", lambda: real() + skew)
        view = Watch(storage).look()
        monkeypatch.undo()
        assert counts(view) == counts(right) == (0, 0, 9, 1)
        assert [run.state for run in view.runs] == ["running"]
        assert view.runs[0].silence < 60
        assert view.figures.seconds == pytest.approx(10, abs=5)
        assert view.running[0].seconds == pytest.approx(0, abs=5)


# Events.


def test_only_what_is_new_is_read(storage):
    with living(storage) as run:
        watch = Watch(storage)
        for x in range(5):
            tell(storage, run, "started", x)
        assert len(watch.look().running) == 5
        path = journal_of(storage, run)
        path.write_bytes(b"?" * path.stat().st_size)  # nobody looks there again
        tell(storage, run, "completed", 3)
        view = watch.look()
        assert (view.figures.completed, len(view.running)) == (1, 4)


def test_lines_that_are_being_written_or_were_cut_short(storage):
    with living(storage) as run:
        watch = Watch(storage)
        tell(storage, run, "started", 1)
        path = journal_of(storage, run)
        whole = path.read_bytes()
        path.write_bytes(whole + whole[:40])
        assert len(watch.look().running) == 1
        path.write_bytes(whole + whole[:40] + b"\n" + whole.replace(b"started", b"completed"))
        view = watch.look()
        assert (view.figures.completed, len(view.running)) == (1, 0)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b"[1]",
        b"\xff\x00",
        b"3",
        b'{"event":3}',
        b'{"event":"started","id":"../..","time":"2026","specification":{}}',
        b'{"event":"failed","id":"../..","time":"2026","specification":{}}',
        b'{"event":"started","id":"%s","time":"2026","specification":{"x":2}}' % id_of(1).encode(),
        b'{"event":"started","id":"%s","time":2026,"specification":{"x":1}}' % id_of(1).encode(),
        b'{"event":["started"],"id":"%s","time":"2026","specification":{"x":1}}' % id_of(1).encode(),
        b'{"event":"started","id":"%s","time":"2026"}' % id_of(1).encode(),
        b'{"event":"started","id":"%s","time":"2026","specification":[1]}' % digest("[1]").encode(),
        b'{"event":"never heard of","id":"%s","time":"2026","specification":{"x":1}}' % id_of(1).encode(),
        b"[" * 10_000,
    ],
)
def test_a_foreign_line_tells_nothing_and_stops_nothing(storage, line):
    with living(storage) as run:
        tell(storage, run, "completed", 0)
        with journal_of(storage, run).open("ab") as file:
            file.write(line + b"\n")
        tell(storage, run, "started", 5)
        assert counts(Watch(storage).look()) == (1, 0, 8, 1)


def test_lines_of_another_layout_are_read(storage):
    with living(storage) as run:
        tell(storage, run, "started", 1)
        line = {"specification": {"x": 2}, "time": "2026", "row": {"specification": 3}, "id": id_of(2)}
        with journal_of(storage, run).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line | {"event": "completed"}, indent=None) + "\n")
        tell(storage, run, "completed", 3, row={"specification": {"x": 7}})
        assert list(Watch(storage).look().completed) == [text(2), text(3)]


def test_foreign_files_beside_the_journals_tell_nothing(storage):
    with living(storage) as run:
        tell(storage, run, "started", 1)
        folder = Path(storage.folder, "journal")
        for name in ("mine.jsonl", "a.b.c.jsonl", "notes.heartbeat", "a.b.1.heartbeat.jsonl", "README", "x.1.tmp"):
            (folder / name).write_bytes(journal_of(storage, run).read_bytes())
        (folder / "lock").mkdir()
        (folder / "a.b.2.jsonl").mkdir()
        assert counts(Watch(storage).look()) == (0, 0, 9, 1)
        for name in ("lock", "a.b.2.jsonl"):
            (folder / name).rmdir()


@pytest.mark.skipif(os.name == "nt", reason="there are no such pipes there")
@pytest.mark.parametrize("place", ["completed.json", "failed.json", "journal/{}.h.1.jsonl", "runs/2020.json"])
def test_a_pipe_in_a_file_s_place_lets_nobody_wait(storage, place):
    with living(storage) as run:
        storage.save(run.id, text(1), 1, {"run_id": run.id})
        path = Path(storage.folder, place.format(run.id))
        os.mkfifo(path)
        assert counts(Watch(storage).look()) == (1, 0, 9, 0)
        path.unlink()


def test_of_one_specification_events_come_from_several_processes_in_any_order(storage):
    with living(storage) as run:
        journal_of_another(storage, run, 1, ("completed", 0, 9), ("started", 1, 5), ("failed", 2, 9), ("started", 3, 9))
        journal_of_another(storage, run, 2, ("started", 0, 1), ("failed", 1, 1), ("started", 2, 1), ("failed", 3, 1))
        view = Watch(storage).look()
        assert (view.figures.completed, view.figures.failed) == (1, 1)
        assert counts(view) == (1, 1, 6, 2)
        assert {item.label for item in view.running} == {'{"x":1}', '{"x":3}'}
        assert {item.pid for item in view.running} == {1}


def test_what_an_experiment_says_of_its_progress_may_make_no_sense(storage):
    with living(storage) as run:
        tell(storage, run, "started", 1)
        for done, total in ((None, 1), (float("nan"), 2), (1, 0), ("a", []), (10**400, 1)):
            tell(storage, run, "progress", 1, done=done, total=total)
            assert Watch(storage).look().running[0].share is None
        tell(storage, run, "progress", 1, done=1.5, total=2)
        assert Watch(storage).look().running[0].share == 0.75
        tell(storage, run, "progress", 1, done=9, total=2)
        assert Watch(storage).look().running[0].share == 1.0


def test_a_journal_that_is_deleted_between_two_looks_or_within_one(storage):
    with living(storage) as run:
        watch = Watch(storage)
        tell(storage, run, "started", 1)
        assert len(watch.look().running) == 1
        path = journal_of(storage, run)
        content = path.read_bytes()
        path.unlink()
        if os.name != "nt":
            path.symlink_to("deleted since the folder was listed")
            assert len(watch.look().running) == 1
            path.unlink()
        assert len(watch.look().running) == 0
        path.write_bytes(content)
        assert len(watch.look().running) == 1


@pytest.mark.parametrize("damaged", ["completed.json", "failed.json", "runs/{}.json", "journal/{}.h.1.jsonl"])
def test_damaged_files_are_no_reason_to_fail(storage, damaged):
    with living(storage) as run:
        fail(storage, run, 1)
    path = Path(storage.folder, damaged.format(run.id))
    path.write_bytes(b'\xff\x00{"event":3}\n[1]\n{"event":"started","id":"a"}\n7\n')
    watch = Watch(storage)
    for _ in range(2):
        assert watch.look().exists
    path.unlink()
    assert watch.look().exists


def test_a_batch_that_is_written_while_it_is_read_is_right_at_every_look(storage):
    with living(storage, 200) as run:
        thread = threading.Thread(
            target=lambda: [(tell(storage, run, "started", x), tell(storage, run, "completed", x)) for x in range(200)]
        )
        watch = Watch(storage)
        thread.start()
        found = []
        while not found or found[-1] < 200:
            view = watch.look()
            assert len(view.running) <= 1
            found.append(view.figures.completed)
            assert len(found) < 100_000
        thread.join()
        assert found == sorted(found)


# Each specification is counted once.


class FailsUntil(Experiment):
    """Fails, until there is a file of that name; then it waits for another."""

    def __init__(self, path):
        self.path = path

    def main(self, specification):
        if not Path(self.path).exists():
            raise ValueError("not yet")
        while not Path(f"{self.path}.go").exists():
            time.sleep(0.01)


def test_one_that_failed_and_runs_again_is_running_and_those_that_wait_for_it_have_failed(storage, tmp_path):
    experiment, batch = FailsUntil(str(tmp_path / "file")), [{"x": x} for x in range(3)]
    runner, watch = ExperimentRunner(storage.root), Watch(storage)
    runner.run("digits", batch, experiment, show_progress=False)
    assert counts(watch.look()) == (0, 3, 0, 0)
    (tmp_path / "file").touch()
    thread = threading.Thread(target=lambda: runner.run("digits", [*batch, {"x": 3}], experiment, show_progress=False))
    thread.start()
    view = seen(watch, running=1)
    assert counts(view) == counts(Watch(storage).look()) == (0, 2, 1, 1)
    assert set(view.failures.texts()) == {text(1), text(2)}
    (tmp_path / "file.go").touch()
    thread.join()
    assert counts(watch.look()) == counts(Watch(storage).look()) == (4, 0, 0, 0)


def test_of_a_run_that_was_stopped_what_failed_before_has_failed(storage):
    class Stops(Experiment):
        def main(self, specification):
            raise KeyboardInterrupt

    class Fails(Experiment):
        def main(self, specification):
            raise ValueError

    runner = ExperimentRunner(storage.root)
    runner.run("digits", [{"x": 0}, {"x": 1}], Fails(), show_progress=False)
    with pytest.raises(KeyboardInterrupt):
        runner.run("digits", [{"x": x} for x in range(5)], Stops(), show_progress=False)
    assert counts(Watch(storage).look()) == (0, 2, 3, 0)


def test_what_another_run_has_completed_meanwhile_is_completed(storage):
    with living(storage, 2) as first, living(open_storage(storage.root, "digits"), 2) as second:
        tell(storage, first, "started", 1)
        tell(storage, second, "started", 1)
        assert counts(Watch(storage).look())[3] == 1
        fail(storage, second, 1)
        assert counts(Watch(storage).look())[:2] == (0, 0), "the first one is still at it"
        tell(storage, first, "completed", 1)
        fail(storage, second, 1)
        tell(storage, second, "started", 1)
        assert counts(Watch(storage).look()) == (1, 0, 2, 0)


def test_a_specification_that_is_tried_again_has_not_failed_yet(storage):
    with living(storage) as run:
        watch = Watch(storage)
        fail(storage, run, 1)
        assert (watch.look().figures.failed, len(watch.look().failures)) == (1, 1)
        tell(storage, run, "started", 1)
        assert (watch.look().figures.failed, len(watch.look().failures)) == (0, 0)
        fail(storage, run, 1, "never")
        assert [failure.why for failure in watch.look().failures.latest(0, 9)] == ["ValueError: never"]
        tell(storage, run, "completed", 1)
        assert (watch.look().figures.failed, len(watch.look().failures)) == (0, 0)


def test_what_a_silent_run_journaled_and_somebody_has_forgotten_stays_forgotten(storage):
    with living(storage) as run:
        storage.save(run.id, text(1), 1, {"run_id": run.id})
        heartbeat = heartbeat_of(storage, run)
        elsewhere = heartbeat.with_name(f"{run.id}.elsewhere.1.heartbeat")
        heartbeat.rename(elsewhere)
        old = time.time() - GRACE_SECONDS - 10
        os.utime(elsewhere, (old, old))
        watch = Watch(storage)
        assert list(watch.look().completed) == [text(1)]
        storage.recover()
        storage.forget([text(1)])
        assert storage.known() == ({}, {})
        for each in (watch, Watch(storage)):
            assert list(each.look().completed) == []
        elsewhere.rename(heartbeat)


# Several runs.


def test_several_runs_are_shown_together(storage):
    begin = datetime.now(UTC) - timedelta(seconds=100)
    other = open_storage(storage.root, storage.name)
    with living(storage, 10, 2, begin) as first, living(other, 20, 0, begin) as second:
        for x in range(4):
            tell(storage, first, "completed", x)
            tell(other, second, "completed", x + 100)
        tell(storage, first, "started", 50)
        tell(other, second, "started", 51)
        view = Watch(storage).look()
        assert len(view.alive) == 2
        assert (view.figures.total, view.figures.ended, view.figures.skipped) == (32, 8, 2)
        assert view.figures.rate == pytest.approx(8 / 100, rel=0.1)
        assert counts(view) == (8, 0, 20, 2)


def test_a_run_that_has_ended_counts_while_another_that_ran_beside_it_goes_on(storage):
    watch = Watch(storage)
    with living(storage, 10):
        ExperimentRunner(storage.root).run("digits", [{"y": 1}, {"y": 2}], Nothing())
        view = watch.look()
        assert [run.state for run in view.runs] == ["ended", "running"]
        assert (view.figures.total, view.figures.ended) == (12, 2)


def test_a_run_from_before_is_not_counted(storage):
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
    assert counts(view) == (1, 0, 2, 0)


# Failures.


def test_the_latest_failures_come_first_and_only_those_that_are_asked_for_are_read(storage):
    with living(storage, 100) as run:
        for x in range(50):
            fail(storage, run, x, f"number {x}")
        Path(storage.workspace(text(48)), "failure.json").write_text("[", encoding="utf-8")
        Path(storage.workspace(text(47)), "failure.json").unlink()
        failures = Watch(storage).look().failures
        messages = [failure.why for failure in failures.latest(0, 4)]
        assert messages == ["ValueError: number 49", UNREADABLE, UNREADABLE, "ValueError: number 46"]
        assert [failure.why for failure in failures.latest(49, 60)] == ["ValueError: number 0"]


def test_failures_are_grouped_by_their_message_whatever_the_numbers_in_it(storage):
    with living(storage, 100) as run:
        for x, message in enumerate(["the loss is 1e9", "the loss is -2.5", "no", "no", "the loss is 0x7f", "never"]):
            fail(storage, run, x, message)
        watch = Watch(storage)
        groups = watch.look().failures.groups(BOUND)
        assert [(len(group.members), group.why) for group in groups] == [
            (3, "ValueError: the loss is …"),
            (2, "ValueError: no"),
            (1, "ValueError: never"),
        ]
        assert [one.label for one in groups[0].members] == ['{"x":4}', '{"x":1}', '{"x":0}'], "the latest first"
        assert groups[0].time == groups[0].members[0].time
        tell(storage, run, "started", 5)
        tell(storage, run, "completed", 2)
        assert [len(group.members) for group in watch.look().failures.groups(BOUND)] == [3, 1]


def test_the_numbers_of_a_message_s_colours_do_not_count(storage):
    with living(storage) as run:
        for x in (4, 5):
            fail(storage, run, x, f"\x1b[1;31mred\x1b[0m {x}\n")
        (group,) = Watch(storage).look().failures.groups(BOUND)
        assert (group.why, group.members[0].message) == ("ValueError: red … ", "red 5 ")


def test_failures_that_are_not_read_yet_are_a_group_of_their_own(storage):
    with living(storage, 100) as run:
        for x in range(5):
            fail(storage, run, x)
        failures = Watch(storage).look().failures
        (unread,) = failures.groups(0)
        assert (unread.unread, len(unread.members)) == (True, 5)
        failures.latest(0, 2)
        assert [len(group.members) for group in failures.groups(0)] == [2, 3]
        assert [len(group.members) for group in failures.groups(BOUND)] == [5]


def test_a_failure_that_cannot_be_read_is_tried_again_later(storage, monkeypatch):
    with living(storage) as run:
        fail(storage, run, 1, "no")
        path = Path(storage.workspace(text(1)), "failure.json")
        content = path.read_bytes()
        path.unlink()
        failures = Watch(storage).look().failures
        assert [group.why for group in failures.groups(BOUND)] == [UNREADABLE]
        path.write_bytes(content)
        assert [group.why for group in failures.groups(BOUND)] == [UNREADABLE]
        monkeypatch.setattr(failures, "_retry", 0.0)
        assert [group.why for group in failures.groups(BOUND)] == ["ValueError: no"]


def test_what_there_is_to_read_of_one_specification(storage):
    with living(storage) as run:
        fail(storage, run, 1, "no")
        folder = Path(storage.workspace(text(1)))
        (folder / "log.txt").write_text("begin\n" + "x" * 20_000 + "\nend\n", encoding="utf-8")
        tell(storage, run, "started", 2)
        view = Watch(storage).look()
        failed, running = view.details(id_of(1)), view.details(id_of(2))
        assert failed.failed
        assert (failed.label, failed.specification) == ('{"x":1}', {"x": 1})
        assert (failed.type, failed.message) == ("ValueError", "no")
        assert failed.log == "end\n", "whole lines, and not all of a long log"
        assert running == Details(id_of(2), '{"x":2}', {"x": 2}, running.time, failed=False, log="")
        assert view.details(id_of(3)) is None
        (folder / "failure.json").write_text("[", encoding="utf-8")
        assert view.details(id_of(1)).message == UNREADABLE
