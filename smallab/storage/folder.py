"""A batch as a folder tree: a folder for each specification, two lists, journals, and a record of each run.

- A visible result is whole, and so are the two JSON files beside it: it is written under another name, and renamed
  last. Whatever replaces a file does the same.
- What a worker does is appended to its process's own journal, so the hot path needs no lock. The lists are brought up
  to date from it when a run ends.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import lru_cache, partial
from typing import Any

from smallab.observation import Failure, Metadata, Observation
from smallab.specification import Specification, SpecificationError, Texts, digest, encode, parsed
from smallab.storage.base import Event, Format, Run, SeenRun, Status, Storage, iso
from smallab.storage.exceptions import failure_of
from smallab.storage.files import (
    entries,
    is_there,
    make_folder,
    remove,
    rename,
    replace,
    write,
    write_aside,
    write_new,
)
from smallab.storage.formats import by_name, format_named, formats
from smallab.storage.journal import appender, event_line, parsed_event, read_counted, read_lines
from smallab.storage.list_files import UnreadableListError
from smallab.storage.lists import LeftBehind, Lists
from smallab.storage.paths import Owner, Paths, check_name, is_name, new_id, root_folder, run_ids
from smallab.storage.presence import HOST, clock, is_abandoned, presence, this_process, touched
from smallab.storage.results import find_result, is_whole, read_metadata, read_object, read_record

_log = logging.getLogger("smallab")


_id_of = lru_cache(maxsize=256)(digest)  # asked for whenever something of what runs is written


class FolderRun(Run):
    """A run that is going on, and what its workers have reported so far."""

    def __init__(self, id: str) -> None:
        self.id = id
        self.reported: dict[Status, Texts] = {"completed": {}, "failed": {}, "pending": {}}

    @property
    def counts(self) -> dict[str, int]:
        """How many specifications completed, and how many failed."""
        completed, failed = self.reported["completed"], self.reported["failed"]
        return {"completed": len(completed), "failed": len(failed.keys() - completed.keys())}

    def note(self, text: str, status: Status) -> None:
        """Note what came of a specification, so that it is listed when the run ends."""
        self.reported[status][text] = None


class Folder(Storage):
    """One batch's folder tree.

    Parameters
    ----------
    root
        The folder that holds the batches, absolute.
    name
        The batch's name: one path component.
    format
        How results are written.
    """

    def __init__(self, root: str, name: str, format: str | Format = "pickle") -> None:
        self.root, self.name, self.folder = root, name, os.path.join(root, name)
        self.format = format_named(format)
        self.paths = Paths(self.folder)
        self._lists = Lists(self.paths)

    def __reduce__(self) -> tuple[type[Folder], tuple[str, str, str | Format]]:
        return type(self), (self.root, self.name, by_name(self.format))

    def id_of(self, text: str) -> str:
        """Return what names a specification: its hash."""
        return _id_of(text)

    def exists(self) -> bool:
        """Tell whether there is such a batch: a folder that holds a list, a journal or a run's record."""
        signs = (self.paths.list_file("completed"), self.paths.list_file("failed"), self.paths.journal, self.paths.runs)
        return any(map(os.path.exists, signs))

    # The lists.

    def known(self) -> tuple[Texts, Texts]:
        """Return the completed and the failed specifications; where a list cannot be read, what the folders tell."""
        return self._lists.or_folders(self._lists.known)

    def listed(self) -> tuple[Texts, Texts]:
        """Return what the lists alone hold; the same pair as before where no file has changed."""
        return self._lists.listed()

    def recover(self) -> tuple[Texts, Texts]:
        """Bring in what runs left behind that did not end in good order; return what is known then."""
        left = entries(self.paths.journal)
        if left:
            try:
                self._bring_in(left)
            except OSError as error:  # a share that is away for a moment: what was journaled counts all the same
                _log.warning("%s: what earlier runs left behind stays for now: %s", self.folder, error)
        return self._lists.known()

    def _bring_in(self, names: list[str]) -> None:
        left = self._lists.left_behind()
        expected = {*self._lists.owned(), os.path.basename(self.paths.counted)}
        foreign = set(names) - expected  # somebody's lock, half-written files
        if left.to_count or left.to_clear or foreign:
            self._tidy_up(left)
            self._lists.update(to_count=left.to_count, to_clear=left.to_clear)

    def _tidy_up(self, left: LeftBehind) -> None:
        """Remove what killed workers left half written, and the checkpoints of what they completed.

        Their journals are still there: nothing else tells where to look.
        """
        journaled = self._lists.journaled(left.to_clear, from_start=True)
        for text in journaled.started:
            self._sweep(self.paths.of(digest(text)))
        for id in map(digest, journaled.completed):
            if os.path.exists(self.paths.checkpoints(id)) and is_whole(self.paths, id):
                self._remove_checkpoints(id)
        for folder in (self.folder, self.paths.journal, self.paths.runs):
            self._sweep(folder)

    def _sweep(self, folder: str) -> None:
        """Remove what killed writers left half written in a folder."""
        half_written = [name for name in entries(folder) if name.endswith(".tmp")]
        now = clock(self.paths.journal) if half_written else 0.0
        for name in half_written:
            if Owner.of(name) and is_abandoned(f"{folder}/{name}", now):
                with suppress(OSError):  # another user's: it must not stop what is to be listed
                    remove(f"{folder}/{name}")

    def forget(self, texts: Iterable[str]) -> None:
        """Have specifications count as never run; what was saved of them stays until it is replaced."""
        forgotten = list(texts)
        if forgotten:
            os.makedirs(self.paths.journal, exist_ok=True)
            self._lists.update(forgotten=forgotten)

    def rebuild(self) -> list[str]:
        """Put both lists aside, make them anew from the folders; return where the old ones are kept."""
        return self._lists.rebuild()

    # A run.

    @contextmanager
    def run(self, record: Mapping[str, Any]) -> Iterator[Run]:
        """Be known as a run that is alive until the block ends; then list what came of it."""
        os.makedirs(self.paths.journal, exist_ok=True)
        run = FolderRun(new_id())
        owner = this_process(run.id)
        recorded = {**record, "host": HOST, "pid": owner.pid}
        write_new(self.paths.heartbeat(owner), b"")
        with touched(self.paths.heartbeat(owner)):
            self._write_record(run.id, recorded | {"completed": 0, "failed": 0})
            try:
                yield run
            except BaseException as error:  # Ctrl-C, or trouble of joblib's own: keep what finished, then pass it on
                if not _interrupted_twice(error):  # else threads still run: the next run brings in what they finish
                    self._end(run, recorded, is_complete=False)
                _log.warning("%s: stopped; what finished is saved, run it again to go on", self.folder)
                raise
            self._end(run, recorded, is_complete=True)

    def _end(self, run: FolderRun, record: Mapping[str, Any], is_complete: bool) -> None:
        """List what a run's workers reported, and what they journaled where not all of it was reported."""
        appender.close(run.id)
        try:
            with suppress(FileNotFoundError):  # where the batch vanished, the reports are still here
                make_folder(self.paths.journal)
            own_files = self._lists.files().get(run.id, [])
            completed, failed = self._to_list(run, own_files, is_complete)
            self._write_record(run.id, {**record, **run.counts, "ended": iso(time.time())})
            left = self._lists.left_behind()
            if left.to_clear:
                self._tidy_up(left)
            self._lists.update(completed, failed, to_count=left.to_count, to_clear=[*left.to_clear, *own_files])
        except (OSError, UnreadableListError) as error:
            if not is_there(self.folder):
                raise FileNotFoundError(
                    f"{self.folder} vanished while the batch ran, with the results in it"
                ) from error
            _log.error("%s: the lists cannot be written (%s); the results are safe, run it again", self.folder, error)

    def _to_list(self, run: FolderRun, own_files: list[str], is_complete: bool) -> tuple[Texts, Texts]:
        """Return what is to be listed as completed and as failed; have the run know what nobody reported to it."""
        completed, failed = run.reported["completed"], run.reported["failed"]
        was_counted = not read_counted(self.paths.counted).keys().isdisjoint(own_files)
        reports_were_lost = self._lists.completions(own_files) > len(completed)  # with the workers that died
        if is_complete and not was_counted and not reports_were_lost:
            return completed, failed
        journaled = self._lists.journaled(own_files)
        completed |= dict.fromkeys(journaled.completed)
        failed |= journaled.failed
        if was_counted:  # while it slept: what somebody has taken out of the lists since stays out
            return dict.fromkeys(journaled.completed), journaled.failed
        return completed, failed

    def _write_record(self, run_id: str, record: Mapping[str, Any]) -> None:
        make_folder(self.paths.runs)
        replace(self.paths.run_record(run_id), json.dumps(record, indent=2).encode())

    # One specification.

    def workspace(self, text: str) -> str:
        """Return a specification's folder."""
        return self.paths.of(self.id_of(text))

    def save(self, run_id: str, text: str, result: Any, metadata: Mapping[str, Any]) -> None:
        """Save a result, whole or not at all; then journal it."""
        id = self.id_of(text)
        try:
            data = self.format.dump({"specification": parsed(text), "result": result})
        except Exception as error:
            error.add_note("main returned, but what it returned cannot be saved")
            raise
        checks = {"size": len(data), "digest": digest(data)}
        is_new = make_folder(self.paths.of(id))
        aside = write_aside(self.paths.of(id), data)  # first what is most likely to fail: an older result stays whole
        try:
            write(self.paths.specification(id), f"{text}\n".encode())
            write(self.paths.metadata(id), json.dumps(self._signed(metadata) | checks).encode())
        except BaseException:
            remove(aside)
            raise
        path = self.paths.result(id, self.format.suffix)
        rename(aside, path)
        self.tell(run_id, "completed", text, checks)
        if not is_new:
            self._remove_what_was_replaced(id)
            if not os.path.exists(path):  # another run saved it in another format, and each took the other's for older
                replace(path, data)

    def _remove_what_was_replaced(self, id: str) -> None:
        older = [self.paths.result(id, format.suffix) for format in formats() if format.suffix != self.format.suffix]
        for path in (self.paths.failure(id), *older):
            with suppress(OSError):  # it is not there; or somebody reads it, on Windows: the result is safe anyhow
                os.unlink(path)
        self._remove_checkpoints(id)

    def _remove_checkpoints(self, id: str) -> None:
        folder = self.paths.checkpoints(id)
        for name in entries(folder):
            if name.endswith(".checkpoint"):
                with suppress(OSError):
                    os.unlink(f"{folder}/{name}")
        with suppress(OSError):  # not there; or another still writes there, or something in it is the user's own
            os.rmdir(folder)

    def fail(self, run_id: str, text: str, failure: Failure, metadata: Mapping[str, Any]) -> None:
        """Record that a specification's last attempt failed; an older result stays where it is."""
        id = self.id_of(text)
        make_folder(self.paths.of(id))
        write(self.paths.specification(id), f"{text}\n".encode())
        replace(self.paths.failure(id), json.dumps(dataclasses.asdict(failure) | self._signed(metadata)).encode())
        self.tell(run_id, "failed", text, {})

    def _signed(self, metadata: Mapping[str, Any]) -> dict[str, Any]:
        return {"host": HOST, "pid": os.getpid(), **metadata}

    def tell(self, run_id: str, event: str, text: str, details: Mapping[str, Any]) -> None:
        """Journal what happens to a specification."""
        line = event_line(event, self.id_of(text), iso(time.time()), details, text)
        appender.append(self.paths.events(this_process(run_id)), line)

    def has_result(self, text: str) -> bool:
        """Tell whether there is a result of a specification, without opening it."""
        id = self.id_of(text)
        if os.access(self.paths.result(id, self.format.suffix), os.F_OK):  # asked of all that completed: half the cost
            return True
        return find_result(self.paths, id) is not None

    def completed_by(self, text: str) -> str | None:
        """Return the run that saved the whole result that is there; None where there is none."""
        id = self.id_of(text)
        if not is_whole(self.paths, id):
            return None
        run_id: str | None = read_object(self.paths.metadata(id)).get("run_id")
        return run_id

    # Reading.

    def metadata(self, text: str) -> Metadata:
        """Return what is recorded about a specification's result."""
        return Metadata(partial(read_metadata, self.paths.metadata(self.id_of(text)), self.paths))

    def load(self, text: str) -> Observation:
        """Return what completed; a result that cannot be read comes as a failure that names the file."""
        id = self.id_of(text)
        path = self.paths.result(id, self.format.suffix)
        try:
            try:
                record = self.format.load(path)
            except FileNotFoundError:  # looked for only now: most batches have one format
                path, format = find_result(self.paths, id) or (path, self.format)
                record = format.load(path)
            _check_identity(record["specification"], text)
            return Observation(id, record["specification"], record["result"], None, self.metadata(text))
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001  # whatever unpickling raises: it must not hide the others
            failure = failure_of(error)
            failure = dataclasses.replace(failure, message=f"{path} cannot be read: {failure.message}")
            return Observation(id, parsed(text), None, failure, self.metadata(text))

    def load_failure(self, text: str) -> Observation:
        """Return why a specification failed."""
        id = self.id_of(text)
        path = self.paths.failure(id)
        details = read_metadata(path, self.paths)
        unknown = {"type": "unknown", "message": f"{path} cannot be read", "traceback": ""}
        failure = Failure(**{key: str(details.pop(key, value)) for key, value in unknown.items()})
        return Observation(id, parsed(text), None, failure, Metadata(partial(dict, details)))

    def events(self, since: dict[str, int]) -> Iterator[Event]:
        """Yield what is new in the journals; of a line that is still being written, nothing yet."""
        journals = self._lists.owned(".jsonl")
        for name in since.keys() - journals:
            del since[name]
        counted = read_counted(self.paths.counted)
        for name, owner in journals.items():
            for line, end in read_lines(f"{self.paths.journal}/{name}", since.get(name, 0)):
                since[name] = end
                event = parsed_event(line, owner, end <= counted.get(name, 0))
                if event is not None:
                    yield event

    def runs(self, newest: int | None = None) -> list[SeenRun]:
        """Return the runs that have a heartbeat, and all or so many of the newest others; sorted by their time."""
        recorded = run_ids(entries(self.paths.runs))  # before the heartbeats: a run's comes before its record
        heartbeats = self._lists.owned(".heartbeat")
        now = clock(self.paths.journal) if heartbeats else 0.0
        seen: dict[str, SeenRun] = {}
        for name, owner in heartbeats.items():
            state, silence = presence(f"{self.paths.journal}/{name}", now)
            if state != "ended":
                record = self._record(owner.run_id)
                host = str(record.get("host") or owner.host)
                seen[owner.run_id] = SeenRun(owner.run_id, state, silence, now, host, owner.pid, record)
        over = [run_id for run_id in recorded if run_id not in seen]
        for run_id in over if newest is None else over[max(0, len(over) - newest) :]:
            record = self._record(run_id)
            host, pid = record.get("host", ""), record.get("pid", 0)
            seen[run_id] = SeenRun(run_id, "ended", 0.0, 0.0, host, pid, record)
        return sorted(seen.values(), key=lambda run: run.id)

    def _record(self, run_id: str) -> dict[str, Any]:
        """Return a run's record; empty where there is none, or none that can be read."""
        try:
            return read_record(self.paths.run_record(run_id))
        except (OSError, ValueError, TypeError, RecursionError):
            return {}


def _check_identity(saved: Specification, text: str) -> None:
    if encode(saved) != text:
        raise SpecificationError(f"it holds {saved}, but is in the folder of {parsed(text)}")


def _interrupted_twice(error: BaseException | None) -> bool:
    """Tell whether a second Ctrl-C came while what the first one had raised was on its way."""
    interruptions = 0
    while error:
        interruptions += isinstance(error, KeyboardInterrupt)
        error = error.__context__
    return interruptions > 1


def open_folder(folder: str | os.PathLike[str] | None, name: str, format: str | Format) -> Folder:
    """Return a batch's folder tree; ValueError where a folder cannot be called so."""
    return Folder(root_folder(folder), check_name(name), format)


def batch_names(folder: str | os.PathLike[str] | None) -> list[str]:
    """Return the names of the batches in a folder."""
    root = root_folder(folder)
    return [name for name in entries(root) if is_name(name) and Folder(root, name).exists()]
