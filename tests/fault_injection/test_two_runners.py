"""Several runners on one batch at once: nothing is lost, and nobody waits for the dead."""

import errno
import hashlib
import json
import os
import signal
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial

import pytest

from smallab import ExperimentRunner
from smallab.specification import encode
from smallab.storage.base import open_storage

from .disk import Injector
from .experiments import Counted, note, specification, specifications
from .helpers import (
    PATIENCE,
    barrier,
    check_always,
    check_finished,
    end,
    executed,
    identity,
    listed,
    run,
    start,
    wait_for,
)

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no fork, and no SIGSTOP")

ROUNDS = 3


class MeetsAtTheEnd(Counted):
    """Waits for the other runners when it comes to its last specification, so that all end together."""

    meeting = None

    def main(self, specification):
        result = super().main(specification)
        if specification.get("last"):
            type(self).meeting.wait(PATIENCE)
        return result


def _run_among_others(root, batch, meeting, locks_work):
    if not locks_work:
        _break_locks()
    MeetsAtTheEnd.meeting = meeting
    meeting.wait(PATIENCE)
    assert run(root, batch, MeetsAtTheEnd(root / "executions"))


def _break_locks():
    import fcntl

    def no_locks(*arguments):
        raise OSError(errno.ENOLCK, "no locks available")

    fcntl.flock = fcntl.lockf = fcntl.fcntl = no_locks


def _batches(runners, same):
    """Return a list for each runner, and the specifications of all together."""
    if same:
        batch = [*specifications(8), specification(8, last=True)]
        return [batch] * runners, batch
    batches = [[*specifications(4, 10 * n), specification(10 * n + 4, last=True)] for n in range(runners)]
    return batches, [item for batch in batches for item in batch]


@pytest.mark.parametrize("runners", [2, 4])
@pytest.mark.parametrize("same", [True, False], ids=["the same list", "disjoint shards"])
@pytest.mark.parametrize("locks_work", [True, False], ids=["", "without the system's locks"])
def test_runners_that_end_together_lose_nothing(quick_folder, runners, same, locks_work):
    batches, everything = _batches(runners, same)
    for number in range(ROUNDS):
        root = quick_folder / str(number)
        root.mkdir()
        meeting = barrier(runners)
        processes = [start(_run_among_others, root, batch, meeting, locks_work) for batch in batches]
        for process in processes:
            end(process)
        check_finished(root / "batch", everything)
        assert len(run(root, everything, Counted(root / "executions")).skipped) == len(everything)


def test_two_runners_that_run_everything_again_at_once(quick_folder):
    """Each takes what it is about to run out of completed.json, and both put it back."""
    batches, everything = _batches(2, same=False)
    run(quick_folder, everything, Counted(quick_folder / "executions"))
    meeting = barrier(2)
    processes = [start(_run_again_among_others, quick_folder, batch, meeting) for batch in batches]
    for process in processes:
        end(process)
    check_finished(quick_folder / "batch", everything)


def _run_again_among_others(root, batch, meeting):
    MeetsAtTheEnd.meeting = meeting
    meeting.wait(PATIENCE)
    assert run(root, batch, MeetsAtTheEnd(root / "executions"), continue_from_last_run=False)


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "stopped"])
@pytest.mark.parametrize("operation", ["fsync", "replace", "half a write"])
def test_a_runner_that_is_gone_while_it_holds_the_lock_stops_nobody(quick_folder, sign, operation):
    """A stopped one is taken for dead after two minutes of silence; when it goes on again, it does no harm."""
    mine, others = specifications(3), specifications(3, 10)
    held = start(_hold_the_lock, quick_folder, mine, sign, operation)
    wait_for(lambda: not held.is_alive() if sign == signal.SIGKILL else _is_stopped(held.pid), "the runner to be gone")
    assert (quick_folder / "batch" / "journal" / "lock").exists()
    check_always(quick_folder / "batch")
    if sign == signal.SIGSTOP:
        _two_minutes_later(quick_folder / "batch" / "journal")
    end(start(_run, quick_folder, others))
    check_always(quick_folder / "batch")
    assert set(listed(quick_folder / "batch")) == {item["x"] for item in [*mine, *others]}
    if sign == signal.SIGSTOP:
        os.kill(held.pid, signal.SIGCONT)
        end(held)
    check_finished(quick_folder / "batch", [*mine, *others])


def test_a_runner_waits_while_another_one_writes_the_lists(quick_folder):
    mine, others = specifications(3), specifications(3, 10)
    holding = start(_hold_the_lock, quick_folder, mine, signal.SIGSTOP, "fsync")
    wait_for(lambda: _is_stopped(holding.pid), "the runner to hold the lock")
    waiting = start(_note_attempts, quick_folder, others)
    wait_for(
        lambda: not waiting.is_alive() or len(executed(quick_folder / "attempts")) > 2, "the other one to ask for it"
    )
    os.kill(holding.pid, signal.SIGCONT)
    for process in (holding, waiting):
        end(process)
    check_finished(quick_folder / "batch", [*mine, *others])


@pytest.mark.parametrize("files", [0, 1, 2, 3])
def test_a_runner_that_was_stopped_while_it_took_the_lock_does_not_share_it(quick_folder, files):
    """Its lock is broken and taken by another one; when it goes on, it leaves nothing of its own there."""
    mine, others = specifications(3), specifications(3, 10)
    taking = start(_stop_while_taking, quick_folder, mine, files)
    wait_for(lambda: _is_stopped(taking.pid), "the runner to take the lock")
    _two_minutes_later(quick_folder / "batch" / "journal")
    holding = start(_hold_the_lock, quick_folder, others, signal.SIGSTOP, "fsync")
    wait_for(lambda: _is_stopped(holding.pid), "the other one to hold it")
    os.kill(taking.pid, signal.SIGCONT)
    wait_for(lambda: len(executed(quick_folder / "attempts")) > 2, "the first to ask for it again")
    os.kill(holding.pid, signal.SIGCONT)
    for process in (holding, taking):
        end(process)
    check_finished(quick_folder / "batch", [*mine, *others])


def _stop_while_taking(root, batch, files):
    """Run a batch, and stop when the lock is made, but its owner's files are not all in it."""
    lock = str(root / "batch" / "journal" / "lock")
    opened = []

    def stop(name, path):
        if name == "mkdir" and path == lock:
            note(root / "attempts", 1)
        if name == "open" and os.path.dirname(path) == lock:
            opened.append(path)
            if len(opened) == files + 1:
                os.kill(os.getpid(), signal.SIGSTOP)

    Injector(root / "batch", on=stop).install()
    _run(root, batch)


def _note_attempts(root, batch):
    """Run a batch, and tell how often the lock was asked for."""
    lock = str(root / "batch" / "journal" / "lock")
    Injector(
        root / "batch", on=lambda name, path: name == "mkdir" and path == lock and note(root / "attempts", 1)
    ).install()
    _run(root, batch)


def _run(root, batch):
    assert run(root, batch, Counted(root / "executions"))


def _hold_the_lock(root, batch, sign, operation):
    """Run a batch, and be gone amid the writing of completed.json."""
    lock = root / "batch" / "journal" / "lock"
    sent = []

    def be_gone(name, path):
        the_list = path == "" or os.path.dirname(path) in {str(root / "batch"), str(lock)}
        if name == operation and the_list and lock.exists() and any(lock.iterdir()) and not sent:
            sent.append(sign)
            os.kill(os.getpid(), sign)

    Injector(root / "batch", on=be_gone).install()
    _run(root, batch)


def _is_stopped(pid):
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0] == "T"


def _two_minutes_later(folder, seconds=130):
    """Make everything in a folder look as old as it would be then."""
    for path in [*folder.rglob("*"), folder]:
        changed = path.stat().st_mtime - seconds
        os.utime(path, (changed, changed))


def _a_day_later(folder):
    _two_minutes_later(folder, 86_500)


def test_a_runner_that_is_stopped_amid_its_work_goes_on_as_if_nothing_had_been(quick_folder):
    mine, others = specifications(4), specifications(3, 10)
    held = start(_stop_amid_the_work, quick_folder, mine)
    wait_for(lambda: _is_stopped(held.pid), "the runner to stop")
    _two_minutes_later(quick_folder / "batch" / "journal")
    end(start(_run, quick_folder, others))
    assert {0, 1} <= set(listed(quick_folder / "batch"))
    os.kill(held.pid, signal.SIGCONT)
    end(held)
    check_finished(quick_folder / "batch", [*mine, *others])


def _stop_amid_the_work(root, batch, die_at=0, sign=signal.SIGSTOP):
    results = []

    def stop(name, path):
        if name == "replace" and len(path.split("/")) == len(str(root).split("/")) + 3 and "/runs/" not in path:
            results.append(path)
            if len(results) == 3:
                os.kill(os.getpid(), sign)
            if len(results) == die_at:
                os.kill(os.getpid(), signal.SIGKILL)

    Injector(root / "batch", on=stop).install()
    _run(root, batch)


def test_what_was_taken_out_while_a_run_slept_stays_out_when_it_ends(quick_folder):
    mine, others = specifications(4), specifications(3, 10)
    held = start(_stop_amid_the_work, quick_folder, mine)
    wait_for(lambda: _is_stopped(held.pid), "the runner to stop")
    _two_minutes_later(quick_folder / "batch" / "journal")
    end(start(_run, quick_folder, others))
    (quick_folder / "batch" / "completed.json").write_text(json.dumps([mine[1], *others]))
    os.kill(held.pid, signal.SIGCONT)
    end(held)
    check_finished(quick_folder / "batch", [*mine[1:], *others])


def test_a_journal_that_cannot_be_removed_has_been_counted(quick_folder, monkeypatch):
    """What is taken out of the list stays out, also with its run's heartbeat still there."""
    batch = specifications(3)
    with monkeypatch.context() as patch:
        _fail(patch, errno.EACCES, lambda path: path.endswith((".jsonl", ".heartbeat")), ["unlink"])
        run(quick_folder, batch, Counted(quick_folder / "executions"))
    assert {path.suffix for path in (quick_folder / "batch" / "journal").glob("2*")} == {".heartbeat", ".jsonl"}
    (quick_folder / "batch" / "completed.json").write_text(json.dumps(batch[1:]))
    again = run(quick_folder, batch, Counted(quick_folder / "executions"))
    assert [item["x"] for item in again.completed] == [0]
    _a_day_later(quick_folder / "batch" / "journal")
    run(quick_folder, batch, Counted(quick_folder / "executions"))
    check_finished(quick_folder / "batch", batch)


def test_what_a_killed_runner_left_half_written_goes_when_another_one_ends(quick_folder):
    """The other one began before, so that it did not find it at its start."""
    mine, others = specifications(4), specifications(3, 10)
    held = start(_stop_amid_the_work, quick_folder, others)
    wait_for(lambda: _is_stopped(held.pid), "the runner to stop")
    end(start(_stop_amid_the_work, quick_folder, mine, 0, signal.SIGKILL), -signal.SIGKILL)
    assert list((quick_folder / "batch").glob("*/*.tmp"))
    os.kill(held.pid, signal.SIGCONT)
    end(held)
    check_finished(quick_folder / "batch", [*mine[:2], *others])


def test_what_a_runner_left_half_written_goes_that_slept_and_was_then_killed(quick_folder):
    mine, others = specifications(4), specifications(3, 10)
    held = start(_stop_amid_the_work, quick_folder, mine)
    wait_for(lambda: _is_stopped(held.pid), "the runner to stop")
    _two_minutes_later(quick_folder / "batch" / "journal")
    end(start(_run, quick_folder, others))
    held.kill()
    end(held, -signal.SIGKILL)
    assert len(run(quick_folder, others, Counted(quick_folder / "executions")).skipped) == 3
    check_finished(quick_folder / "batch", [*mine[:2], *others])


@pytest.fixture
def elsewhere(quick_folder):
    """A batch that a run on another machine has saved and journaled, but not listed, and that run's journal."""
    batch = specifications(3)
    run(quick_folder, batch, Counted(quick_folder / "executions"))
    folder = quick_folder / "batch"
    (folder / "completed.json").unlink()
    for record in (folder / "runs").iterdir():
        record.unlink()
    journal = folder / "journal"
    journal.mkdir(exist_ok=True)
    lines = [_completed(folder, item) for item in batch]
    (journal / "2026-01-01_00-00-00_000000_abcdef.elsewhere.4711.jsonl").write_text("\n".join(lines) + "\n")
    (journal / "2026-01-01_00-00-00_000000_abcdef.elsewhere.4711.heartbeat").touch()
    return batch, quick_folder


def _completed(folder, item):
    id = identity(item)
    checks = json.loads((folder / id / "metadata.json").read_text())
    event = {"event": "completed", "id": id, "time": datetime.now(UTC).isoformat()}
    return json.dumps(event | {key: checks[key] for key in ("size", "digest")} | {"specification": item})


def test_what_a_living_run_elsewhere_completed_counts_and_its_journal_is_left_alone(elsewhere):
    batch, root = elsewhere
    before = executed(root / "executions")
    journal = root / "batch" / "journal"
    files = {path: path.read_bytes() for path in journal.iterdir()}
    result = run(root, [*batch, specification(7)], Counted(root / "executions"))
    assert [item["x"] for item in result.completed] == [7]
    assert executed(root / "executions") == [*before, 7]
    assert {path: path.read_bytes() for path in journal.iterdir()} == files


def test_what_a_silent_run_elsewhere_journaled_is_counted_and_its_files_stay(elsewhere):
    batch, root = elsewhere
    before = executed(root / "executions")
    journal = root / "batch" / "journal"
    _two_minutes_later(journal)
    files = {path.name for path in journal.iterdir()}
    result = run(root, batch, Counted(root / "executions"))
    assert len(result.skipped) == 3
    assert executed(root / "executions") == before
    check_always(root / "batch")
    assert set(listed(root / "batch")) == {0, 1, 2}
    assert {path.name for path in journal.iterdir()} == {*files, "counted.json"}


def test_what_was_counted_and_then_taken_out_of_the_list_stays_out(elsewhere):
    batch, root = elsewhere
    _two_minutes_later(root / "batch" / "journal")
    run(root, batch, Counted(root / "executions"))
    (root / "batch" / "completed.json").write_text(json.dumps(batch[1:]))
    assert set(listed(root / "batch")) == {1, 2}
    _two_minutes_later(root / "batch" / "journal")
    result = run(root, batch, Counted(root / "executions"))
    assert [item["x"] for item in result.completed] == [0]


def test_what_a_silent_run_journals_after_it_was_counted_is_counted_too(elsewhere):
    """It was asleep, and has gone on."""
    batch, root = elsewhere
    journal = root / "batch" / "journal"
    lines = (events := next(journal.glob("*.jsonl"))).read_bytes().splitlines(keepends=True)
    events.write_bytes(b"".join(lines[:2]))
    _two_minutes_later(journal)
    run(root, batch[:2], Counted(root / "executions"))
    assert set(listed(root / "batch")) == {0, 1}
    with events.open("ab") as file:
        file.write(lines[2])
    _two_minutes_later(journal)
    before = executed(root / "executions")
    assert len(run(root, batch, Counted(root / "executions")).skipped) == 3
    assert executed(root / "executions") == before


@pytest.mark.parametrize("offset", ["-5", "1" + "0" * 30, "1" + "0" * 15, '"7"', "true", "null", "[" * 100_000])
def test_what_cannot_be_how_far_a_journal_was_counted_has_counted_nothing(elsewhere, offset):
    batch, root = elsewhere
    journal = root / "batch" / "journal"
    events = next(journal.glob("*.jsonl"))
    (journal / "counted.json").write_text(f'{{"{events.name}": {offset}}}')
    _two_minutes_later(journal)
    assert len(run(root, batch, Counted(root / "executions")).skipped) == 3
    assert json.loads((journal / "counted.json").read_text()) == {events.name: events.stat().st_size}


def test_what_a_run_elsewhere_left_behind_goes_when_it_has_been_silent_for_a_day(elsewhere):
    batch, root = elsewhere
    before = executed(root / "executions")
    _a_day_later(root / "batch" / "journal")
    result = run(root, batch, Counted(root / "executions"))
    assert len(result.skipped) == 3
    assert executed(root / "executions") == before
    check_finished(root / "batch", batch)


def test_a_journaled_completion_whose_file_does_not_match_runs_again(elsewhere):
    batch, root = elsewhere
    id = identity(batch[1])
    (root / "batch" / id / f"{id}.pkl").write_bytes(b"torn by a power cut")
    (root / "batch" / identity(batch[2]) / f"{identity(batch[2])}.pkl").unlink()
    _a_day_later(root / "batch" / "journal")
    result = run(root, batch, Counted(root / "executions"))
    assert [item["x"] for item in result.completed] == [1, 2]
    check_finished(root / "batch", batch)


def test_who_lost_the_lock_does_not_put_back_how_far_a_journal_was_counted(elsewhere):
    batch, root = elsewhere
    journal = root / "batch" / "journal"
    lines = (events := next(journal.glob("*.jsonl"))).read_bytes().splitlines(keepends=True)
    events.write_bytes(b"".join(lines[:2]))
    _two_minutes_later(journal)
    held = start(_stop_before_it_is_written_how_far, root, batch[:2])
    wait_for(lambda: _is_stopped(held.pid), "the runner to stop")
    with events.open("ab") as file:
        file.write(lines[2])
    _two_minutes_later(journal)
    run(root, batch, Counted(root / "executions"))
    assert set(listed(root / "batch")) == {0, 1, 2}
    (root / "batch" / "completed.json").write_text(json.dumps(batch[:2]))
    os.kill(held.pid, signal.SIGCONT)
    end(held)
    _two_minutes_later(journal)
    assert [item["x"] for item in run(root, batch, Counted(root / "executions")).completed] == [2]


def _stop_before_it_is_written_how_far(root, batch):
    def stop(name, path):
        is_in_journal = path.startswith(str(root / "batch" / "journal"))
        if name == "replace" and is_in_journal and not path.endswith(("-completed", "-failed")):
            os.kill(os.getpid(), signal.SIGSTOP)

    Injector(root / "batch", on=stop).install()
    run(root, batch, Counted(root / "executions"))


@pytest.mark.parametrize("kind", ["metadata.json", "pkl", "specification.json"])
@pytest.mark.parametrize("error", [errno.EIO, errno.ESTALE, errno.EACCES])
def test_a_share_that_is_away_for_a_moment_is_no_damage(elsewhere, kind, error, monkeypatch):
    """Neither in a journal that is brought in nor in what is made anew from the folders."""
    batch, root = elsewhere
    events = next((root / "batch" / "journal").glob("*.jsonl"))
    events.write_text(events.read_text().replace('"digest"', '"another digest"'))
    _a_day_later(root / "batch" / "journal")
    ids = [identity(item) for item in batch]
    with monkeypatch.context() as patch:
        _fail(patch, error, lambda path: any(id in path for id in ids) and path.endswith(kind))
        assert len(run(root, batch, Counted(root / "executions")).skipped) == 3
        with suppress(OSError):
            open_storage(root, "batch").rebuild()
        result = run(root, batch, Counted(root / "executions"), rerun="missing")
        assert len(result.skipped) == 3
    assert len(run(root, batch, Counted(root / "executions")).skipped) == 3
    check_finished(root / "batch", batch)


def _fail(patch, error, is_meant, functions=("stat", "open")):
    """Let what opens or looks at some files fail, or other functions of `os`."""

    def failing(function, path, *arguments, **options):
        if isinstance(path, str) and is_meant(path):
            raise OSError(error, os.strerror(error), path)
        return function(path, *arguments, **options)

    for name in functions:
        patch.setattr(os, name, partial(failing, getattr(os, name)))
    if "open" in functions:
        patch.setattr("builtins.open", partial(failing, open))
        patch.setattr(os, "access", lambda path, mode: not is_meant(str(path)) and os.path.exists(path))


@pytest.mark.parametrize("order", [1, -1])
def test_what_two_killed_runs_both_completed_does_not_run_again(elsewhere, order):
    """The result is of one of them, and the metadata beside it may be of the other."""
    batch, root = elsewhere
    journal = root / "batch" / "journal"
    events = next(journal.glob("*.jsonl"))
    for item in batch:
        metadata = root / "batch" / identity(item) / "metadata.json"
        metadata.write_text(metadata.read_text().replace('"digest": "', '"digest": "of the other one '))
    lines = events.read_text()
    other = lines.replace('"digest": "', '"digest": "of the other one ')
    texts = [lines, other][::order]
    events.write_text(texts[0])
    (journal / "2026-01-02_00-00-00_000000_abcdef.elsewhere.4712.jsonl").write_text(texts[1])
    _a_day_later(journal)
    assert len(run(root, batch, Counted(root / "executions")).skipped) == 3
    assert set(listed(root / "batch")) == {0, 1, 2}


def test_a_completion_counts_whose_result_is_there_in_two_formats(elsewhere):
    batch, root = elsewhere
    for item in batch:
        (root / "batch" / identity(item) / f"{identity(item)}.json").write_text("{}")
        (root / "batch" / identity(item) / "metadata.json").write_text("{}")
    _a_day_later(root / "batch" / "journal")
    assert len(run(root, batch, Counted(root / "executions")).skipped) == 3
    for item in batch:
        path = root / "batch" / identity(item) / f"{identity(item)}.json"
        checks = json.dumps({"digest": hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()})
        (path.parent / "metadata.json").write_text(checks)
    open_storage(root, "batch").rebuild()
    assert set(listed(root / "batch")) == {0, 1, 2}


@pytest.mark.parametrize("junk", ["[1]", "{}", "7", "null"])
def test_a_digest_that_is_none_is_no_match(elsewhere, junk):
    batch, root = elsewhere
    metadata = root / "batch" / identity(batch[0]) / "metadata.json"
    metadata.write_text(f'{{"digest": {junk}}}')
    events = next((root / "batch" / "journal").glob("*.jsonl"))
    lines = [json.loads(line) for line in events.read_text().splitlines()]
    events.write_text("".join(json.dumps({**line, "digest": json.loads(junk)}) + "\n" for line in lines))
    _a_day_later(root / "batch" / "journal")
    assert [item["x"] for item in run(root, batch, Counted(root / "executions")).completed] == [0]


def test_torn_lines_in_a_journal_cost_only_what_they_told(elsewhere):
    batch, root = elsewhere
    path = root / "batch" / "journal" / "2026-01-01_00-00-00_000000_abcdef.elsewhere.4711.jsonl"
    first, second, third = path.read_bytes().splitlines()
    torn = [first, b'{"event":"comple', b"\x00\xff\xfe", b"[]", b"3", second[: len(second) // 2], third[:-1]]
    path.write_bytes(b"\n".join([*torn, b'{"event":"started"}', b'{"event":"completed","id":"x"}', b""]))
    _a_day_later(root / "batch" / "journal")
    assert [item["x"] for item in run(root, batch, Counted(root / "executions")).completed] == [1, 2]
    check_finished(root / "batch", batch)


@pytest.mark.parametrize("moment", [1, 2])
def test_two_runners_that_save_the_same_in_two_formats_leave_one(quick_folder, moment, monkeypatch):
    """Each takes the other's result for an older one, at the same moment."""
    batch = specifications(1)
    run(quick_folder, batch, Counted(quick_folder / "executions"))
    text, id = encode(batch[0]), identity(batch[0])
    first, second = (open_storage(quick_folder, "batch", format) for format in ("pickle", "json"))
    unlink, meeting = os.unlink, []

    def save_meanwhile(path, **options):
        if id in str(path):
            meeting.append(path)
            if len(meeting) == moment:
                second.save("run-2", text, {"x": 3}, {})
        unlink(path, **options)

    (quick_folder / "batch" / "journal").mkdir(exist_ok=True)
    monkeypatch.setattr(os, "unlink", save_meanwhile)
    first.save("run-1", text, {"x": 3}, {})
    assert first.has_result(text)
    assert first.load(text).value == {"x": 3}


@pytest.mark.parametrize("error", [errno.EIO, errno.ESTALE])
def test_a_share_that_is_away_when_a_run_ends_has_not_vanished(quick_folder, error, monkeypatch):
    batch = specifications(3)
    with monkeypatch.context() as patch:
        runner = ExperimentRunner(quick_folder)
        folder = str(quick_folder / "batch")
        away = partial(
            _fail, patch, error, lambda path: path.startswith(folder), ["stat", "open", "replace", "listdir"]
        )
        runner.on_specification_complete(lambda specification, result: specification["x"] == 2 and away())
        assert runner.run("batch", batch, Counted(quick_folder / "executions"), show_progress=False).completed == batch
    assert len(run(quick_folder, batch, Counted(quick_folder / "executions")).skipped) == 3
    check_finished(quick_folder / "batch", batch)
