"""One batch's folder tree: the only module that joins paths or writes files.

What always holds, and how:

- A visible ``.pkl`` is whole, and so are the two JSON files beside it: it is written under another name and renamed
  last. Anything that replaces a file does the same.
- ``completed.json`` decides. Between two writes of it, the journal holds what happened: each process appends to a
  file of its own, so the hot path needs no lock, and a killed run's journals are folded in by the next run.
- Only whoever holds ``journal/lock`` (an exclusive mkdir, which works on every file system) writes the two lists.
- A run is alive while its runner touches its heartbeat. Only its own runner folds what it reported; anybody folds
  what a dead run left behind.
"""

from __future__ import annotations

import errno
import hashlib
import itertools
import json
import logging
import os
import pickle
import re
import secrets
import socket
import threading
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from smallab.observation import Failure, Observation
from smallab.specification import SpecificationError, canonical, canonical_list, digest, parse

_log = logging.getLogger("smallab")

HEARTBEAT_SECONDS = 5.0
GRACE_SECONDS = 120.0  # generous: a network file system may show a file's time a minute late
_FLAGS = os.O_WRONLY | os.O_CREAT | getattr(os, "O_BINARY", 0)
_LINES_AT_ONCE = 1000
_HASH = re.compile(r"[0-9a-f]{32}")
_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\..*)?", re.IGNORECASE)


def check_name(name: str) -> str:
    """Return a batch's name if it is one path component on Linux, macOS and Windows; else raise ValueError."""
    if not isinstance(name, str) or not name:
        raise ValueError(f"a batch's name is a string that is not empty, not {name!r}")
    if re.search(r'[<>:"/\\|?*\x00-\x1f\ud800-\udfff]', name) or name.endswith((".", " ")) or name.startswith(" "):
        raise ValueError(f"{name!r} cannot name a batch: it names a folder, on Windows too (no / \\ : * ? \" < > |)")
    if _RESERVED.fullmatch(name) or len(name.encode()) > 200:
        raise ValueError(f"{name!r} cannot name a batch: it is reserved on Windows, or longer than 200 bytes")
    return name


def root_folder(folder: str | os.PathLike[str] | None) -> str:
    """Return where the batches are, absolute: the argument, else SMALLAB_ROOT, else ``experiment_runs``."""
    return os.path.abspath(folder or os.environ.get("SMALLAB_ROOT") or "experiment_runs")


def new_id() -> str:
    """Return a name for a run: sorts by time, is unique across processes and machines, and is legal on Windows."""
    return f"{datetime.now(UTC):%Y-%m-%d_%H-%M-%S_%f}_{secrets.token_hex(3)}"


def iso(seconds: float) -> str:
    """Return a time (seconds since 1970) as ISO 8601 in UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def _host() -> str:
    """Return this machine's name as file names hold it, with the pid namespace where that is not the machine's."""
    with suppress(OSError):  # only Linux has it; 4026531836 is the machine's own, anything else a container's
        namespace = os.readlink("/proc/self/ns/pid")[5:-1]
        if namespace != "4026531836":
            return re.sub(r"[^\w-]", "_", f"{socket.gethostname()}-{namespace}")
    return re.sub(r"[^\w-]", "_", socket.gethostname())


HOST = _host()


def _process_gone(host: str, pid: int) -> bool:
    """Tell whether a process is known to be gone: on this machine, and neither running nor asleep."""
    if host != HOST or os.name == "nt":  # there os.kill ends a process; the heartbeat alone must do
        return False
    try:
        os.kill(pid, 0)
        with open(f"/proc/{pid}/stat") as file:  # a killed process whose parent has not asked for it is a zombie
            return file.read().rpartition(")")[2].split()[0] in "ZX"
    except ProcessLookupError:
        return True
    except OSError:  # somebody else's process, or no /proc (macOS): it is there
        return False


def _write(path: str, data: bytes, flags: int = os.O_EXCL) -> None:
    """Write a file that is not there; leave none behind where that fails."""
    descriptor = os.open(path, _FLAGS | flags, 0o666)
    try:
        try:
            written = os.write(descriptor, data)
            while written < len(data):
                written += os.write(descriptor, memoryview(data)[written:])
        finally:
            os.close(descriptor)
    except BaseException:
        os.unlink(path)
        raise


_token = secrets.token_hex(4)
_numbers = itertools.count()


def _aside(folder: str) -> str:
    """Return a new name in a folder, which says who is writing under it."""
    return f"{folder}/{HOST}.{os.getpid()}.{_token}{next(_numbers)}.tmp"


def _replace(path: str, data: bytes, flush: bool = False) -> None:
    """Write a file aside, then rename it over whatever was there."""
    aside = _aside(os.path.dirname(path))
    _write(aside, data)
    if flush:
        _flush([aside])
    os.replace(aside, path)
    if flush and os.name != "nt":
        _flush([os.path.dirname(path)])


def _put(path: str, data: bytes) -> None:
    """Write a file whole: straight away where there is none (half the cost), else aside and renamed."""
    try:
        _write(path, data)
    except FileExistsError:
        _replace(path, data)


def _flush(paths: Iterable[str]) -> None:
    for path in paths:
        descriptor = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _entries(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except FileNotFoundError:
        return []


def _clock(folder: str) -> float:
    """Return the time as the file system's own clock tells it, so that machines need not agree."""
    probe = _aside(folder)
    _write(probe, b"")
    now = os.stat(probe).st_mtime
    os.unlink(probe)
    return now


def _gone(folder: str, entry: str, now: float) -> bool:
    """Tell whether the writer of a file named ``[<run-id>.]<host>.<pid>.…`` is gone, or silent for too long."""
    try:
        silent = now - os.stat(f"{folder}/{entry}").st_mtime
    except FileNotFoundError:
        return False  # it has just ended in good order
    owner = re.search(r"([^.]+)\.(\d+)\.[^.]+$", entry.removesuffix(".tmp"))
    return silent > GRACE_SECONDS or (owner is not None and _process_gone(owner[1], int(owner[2])))


def _sweep(folder: str) -> None:
    """Remove what killed writers left half written in a folder."""
    for entry in [entry for entry in _entries(folder) if entry.endswith(".tmp")]:
        with suppress(FileNotFoundError):
            if _gone(folder, entry, time.time()):
                os.unlink(f"{folder}/{entry}")


def dump_pickle(record: object) -> bytes:
    """Pickle a record; with dill where plain pickle would not load again in another process."""
    with suppress(Exception):  # what plain pickle cannot do, dill tries, and its error is the one to be told
        data = pickle.dumps(record, protocol=pickle.HIGHEST_PROTOCOL)
        if b"__main__" not in data and b"__mp_main__" not in data:
            return data
    import dill

    return bytes(dill.dumps(record, protocol=pickle.HIGHEST_PROTOCOL, recurse=True))


def load_pickle(path: str) -> Any:
    """Load a record that `dump_pickle` made."""
    with open(path, "rb") as file:
        try:
            return pickle.load(file)  # noqa: S301  # the user's own results
        except Exception:  # dill finds a few things that pickle does not; if it fails too, its error is told
            import dill

            file.seek(0)
            return dill.load(file)


def _read_list(path: str) -> dict[str, None]:
    """Return the specifications of a list file, as canonical JSON and in order.

    A file as `_write_list` leaves it is checked a thousand lines at a time and never held whole; any other JSON
    list of specifications (edited by hand, pretty-printed) is read as well. Raises ValueError for anything else.
    """
    texts: list[str] = []
    try:
        with open(path, encoding="utf-8") as file:
            regular = file.readline() == "[\n"
            while regular and (lines := list(itertools.islice(file, _LINES_AT_ONCE))):
                chunk = [line.rstrip(",\n") for line in lines if line != "]\n"]
                joined = ",".join(chunk)
                regular = canonical_list(json.loads(f"[{joined}]")) == joined
                texts += chunk
            if not regular:
                file.seek(0)
                content = json.load(file)
                if not isinstance(content, list):
                    raise ValueError("not a list of specifications")
                texts = [canonical(item) for item in content]
    except FileNotFoundError:
        return {}
    return dict.fromkeys(texts)


def _events(path: str) -> Iterator[dict[str, Any]]:
    """Yield a journal's events; a line that a kill or a full disk cut short is passed over."""
    with suppress(FileNotFoundError), open(path, encoding="utf-8", errors="replace") as file:
        for line in file:
            with suppress(ValueError):
                event = json.loads(line)
                if isinstance(event, dict) and "event" in event:
                    yield event


@contextmanager
def _touching(path: str) -> Iterator[None]:
    """Touch a file now and then, the sign that its owner is alive; remove it when the block ends."""
    stop = threading.Event()

    def beat() -> None:
        while not stop.wait(HEARTBEAT_SECONDS):
            with suppress(OSError):  # a share that is away for a moment; the grace is longer
                os.utime(path)

    threading.Thread(target=beat, name="smallab heartbeat", daemon=True).start()
    try:
        yield
    finally:
        stop.set()
        with suppress(FileNotFoundError):
            os.unlink(path)


_journals: dict[str, int] = {}  # this process's journals: path and descriptor
_journals_lock = threading.Lock()
_torn: set[str] = set()  # journals whose last line a full disk cut short


def _append(path: str, line: str) -> None:
    """Append a line to a journal of this process, in one write."""
    if path not in _journals:
        with _journals_lock:
            for other in [other for other in _journals if not os.path.exists(other)]:  # their runs are over
                os.close(_journals.pop(other))
            if path not in _journals:
                _journals[path] = os.open(path, _FLAGS | os.O_APPEND, 0o666)
    data = f"\n{line}\n".encode() if path in _torn else f"{line}\n".encode()
    if os.write(_journals[path], data) != len(data):
        _torn.add(path)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
    _torn.discard(path)


class Metadata(Mapping[str, Any]):
    """A specification's metadata, read from its file when first asked for; empty where that cannot be read."""

    def __init__(self, path: str) -> None:
        self._path = path

    @cached_property
    def _values(self) -> dict[str, Any]:
        try:
            with open(self._path, encoding="utf-8") as file:
                return dict(json.load(file))
        except (OSError, ValueError) as error:
            _log.warning("%s cannot be read: %s", self._path, error)
            return {}

    def __getitem__(self, key: str) -> Any:
        return self._values[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


class Storage:
    """One batch's folder tree.

    Parameters
    ----------
    root
        The folder that holds the batches, absolute.
    name
        The batch's name: one path component, legal on Linux, macOS and Windows.
    run_id
        The run that writes here; a new one where none is given.
    """

    def __init__(self, root: str, name: str, run_id: str | None = None) -> None:
        self.name = check_name(name)
        self.folder = os.path.join(root, name)
        self.run_id = run_id or new_id()
        self._journal = f"{self.folder}/journal"
        self._lists = {"completed": f"{self.folder}/completed.json", "failed": f"{self.folder}/failed.json"}

    # The names of files.

    def folder_of(self, id: str) -> str:
        return f"{self.folder}/{id}"

    def result(self, id: str) -> str:
        return f"{self.folder}/{id}/{id}.pkl"

    def log(self, id: str) -> str:
        return f"{self.folder}/{id}/log.txt"

    def _journal_path(self) -> str:
        return f"{self._journal}/{self.run_id}.{HOST}.{os.getpid()}.jsonl"

    @property
    def experiment(self) -> str:
        """Where this run leaves its experiment for workers in other processes."""
        return f"{self._journal}/{self.run_id}.{HOST}.{os.getpid()}.experiment"

    # What a worker does.

    def tell(self, event: str, id: str, text: str, more: str = "") -> None:
        """Append an event of a specification to this process's journal; text is its canonical JSON."""
        now = iso(time.time())
        _append(self._journal_path(), f'{{"event":"{event}","id":"{id}","time":"{now}",{more}"specification":{text}}}')

    def save(self, id: str, text: str, record: bytes, metadata: dict[str, Any]) -> None:
        """Save a result: whole or not at all, then journal it."""
        folder, result = self.folder_of(id), self.result(id)
        new = self._make(folder)
        aside = _aside(folder)
        _write(aside, record)  # first what is most likely to fail: an older result keeps its metadata
        try:
            checks = {"size": len(record), "digest": digest(record)}
            details = {**metadata, "attempt": 1 if new else self._attempts(id) + 1, **checks}
            _put(f"{folder}/specification.json", f"{text}\n".encode())
            _put(f"{folder}/metadata.json", json.dumps(details).encode())
            os.replace(aside, result)
        except BaseException:
            os.unlink(aside)
            raise
        if not new:
            with suppress(FileNotFoundError):
                os.unlink(f"{folder}/failure.json")
            _sweep(folder)
        self.tell("completed", id, text, f'"size":{checks["size"]},"digest":"{checks["digest"]}",')

    def save_failure(self, id: str, text: str, failure: Failure, metadata: dict[str, Any]) -> None:
        """Record that a specification's last attempt failed; an older result stays where it is."""
        folder = self.folder_of(id)
        attempt = 1 if self._make(folder) else self._attempts(id) + 1
        _put(f"{folder}/specification.json", f"{text}\n".encode())
        details = {**asdict(failure), **metadata, "attempt": attempt}
        _replace(f"{folder}/failure.json", json.dumps(details).encode())
        _sweep(folder)
        self.tell("failed", id, text, f'"type":{json.dumps(failure.type)},')

    def _make(self, folder: str) -> bool:
        """Make a specification's folder; tell whether it is new."""
        try:
            os.mkdir(folder)
        except FileExistsError:
            return False
        return True

    def _attempts(self, id: str) -> int:
        """Return how many attempts failed in a row."""
        with suppress(OSError, ValueError, TypeError):  # none did, or the file was changed: the count starts anew
            with open(f"{self.folder_of(id)}/failure.json", encoding="utf-8") as file:
                return int(json.load(file)["attempt"])
        return 0

    # What a reader does: nothing is written.

    def load(self, text: str) -> Observation:
        """Return what is saved of a specification; what cannot be read comes as a failure that names the file."""
        id, specification = digest(text), parse(text)
        path, metadata = self.result(id), Metadata(f"{self.folder_of(id)}/metadata.json")
        try:
            record = load_pickle(path)
            if canonical(record["specification"]) != text:
                raise SpecificationError(f"it holds {record['specification']}, but its folder is that of {specification}")
            return Observation(id, specification, record["result"], None, metadata)
        except FileNotFoundError:
            failure = Failure("FileNotFoundError", f"{path}: listed as completed, but the result is gone")
        except Exception as error:  # whatever unpickling raises: a damaged result must not hide the others
            failure = Failure.of(error)
            failure = replace(failure, message=f"{path} cannot be read: {failure.message}")
        return Observation(id, specification, None, failure, metadata)

    def load_failure(self, text: str) -> Observation:
        """Return why a specification failed."""
        id = digest(text)
        path = f"{self.folder_of(id)}/failure.json"
        try:
            with open(path, encoding="utf-8") as file:
                details = json.load(file)
            failure = Failure(details.pop("type"), details.pop("message"), details.pop("traceback"))
        except (OSError, ValueError, KeyError, AttributeError) as error:
            details, failure = {}, Failure(type(error).__name__, f"{path} cannot be read: {error}")
        return Observation(id, parse(text), None, failure, details)

    def state(self, mend: bool = False) -> tuple[dict[str, None], dict[str, None]]:
        """Return the completed and the failed specifications, journals included, as canonical JSON and in order.

        An unreadable list is rebuilt from the folders: on disk too, if mend.
        """
        journaled = self._journaled(self._entries())  # before the lists: what is folded meanwhile is then seen twice
        completed = self._listed("completed", mend) | journaled["completed"]
        failed = self._listed("failed", mend) | journaled["failed"]
        return completed, {text: None for text in failed if text not in completed}

    def missing(self, texts: Iterable[str]) -> list[str]:
        """Return those specifications whose result is not there."""
        return [text for text in texts if not os.path.exists(self.result(digest(text)))]

    def _listed(self, which: str, mend: bool) -> dict[str, None]:
        try:
            return _read_list(self._lists[which])
        except ValueError as error:
            if mend:
                with self._locked():
                    return self._mended(which)
            _log.warning("%s cannot be read (%s); the folders tell what it held", self._lists[which], error)
            return self._from_tree(which)

    def _from_tree(self, which: str) -> dict[str, None]:
        """Rebuild a list from the folders: failed where there is a failure.json, completed where the result is whole."""
        texts = {}
        for id in filter(_HASH.fullmatch, _entries(self.folder)):
            with suppress(OSError, ValueError):  # not a folder of ours, or not whole: it runs again
                with open(f"{self.folder_of(id)}/specification.json", encoding="utf-8") as file:
                    text = canonical(json.load(file))
                failed = os.path.exists(f"{self.folder_of(id)}/failure.json")
                if digest(text) == id and (failed if which == "failed" else not failed and self._whole(id)):
                    texts[text] = None
        return texts

    def _whole(self, id: str, expected: str | None = None) -> bool:
        """Tell whether a result has the digest that is expected, or that its metadata holds."""
        try:
            with open(self.result(id), "rb") as file:
                found = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
        except OSError:
            return False
        return found == expected or found == Metadata(f"{self.folder_of(id)}/metadata.json").get("digest")

    def _entries(self, runs: Collection[str] | None = None) -> list[str]:
        """Return the files of runs in the journal's folder, the oldest run first."""
        entries = [entry for entry in _entries(self._journal) if entry.endswith((".jsonl", ".heartbeat", ".experiment"))]
        return [entry for entry in entries if runs is None or entry.partition(".")[0] in runs]

    def _journaled(self, entries: Iterable[str], check: bool = False) -> dict[str, dict[str, None]]:
        """Return what journals say and the lists may not; with check, only results whose file matches."""
        events: dict[str, dict[str, dict[str, Any]]] = {"started": {}, "completed": {}, "failed": {}}
        folded: dict[str, set[str]] = {"completed": set(), "failed": set()}
        for entry in entries:
            for event in _events(f"{self._journal}/{entry}"):
                if event["event"] == "folded":  # whoever took them out of a list since then meant it
                    folded["completed"].update(event["completed"])
                    folded["failed"].update(event["failed"])
                elif event["event"] in events:
                    events[event["event"]][event["id"]] = event
        for id in events["started"].keys() - events["completed"].keys() if check else ():
            _sweep(self.folder_of(id))
        return {
            which: {
                canonical(event["specification"]): None
                for id, event in events[which].items()
                if id not in folded[which] and (which == "failed" or not check or self._whole(id, event["digest"]))
            }
            for which in folded
        }

    # What the runner does.

    @contextmanager
    def living(self) -> Iterator[None]:
        """Make the batch's folders, and show that this run is alive until the block ends."""
        os.makedirs(self._journal, exist_ok=True)
        heartbeat = f"{self._journal}/{self.run_id}.{HOST}.{os.getpid()}.heartbeat"
        _write(heartbeat, b"")
        with _touching(heartbeat):
            yield

    def recover(self) -> None:
        """Fold in what dead runs left behind."""
        if self._entries() and (dead := self._dead()):
            self.fold(read=dead, delete=dead)

    def _dead(self) -> set[str]:
        """Return the runs of which nobody is alive: neither the runner nor a worker that still writes."""
        entries, now = self._entries(), _clock(self._journal)
        alive = {entry.partition(".")[0] for entry in entries if not _gone(self._journal, entry, now)}
        return {entry.partition(".")[0] for entry in entries} - alive

    def finish(self, completed: Collection[str], failed: Collection[str], interrupted: bool) -> None:
        """Fold in this run's last reports and delete its journals; where it was interrupted, read them first."""
        for path in [path for path in _journals if self.run_id in path]:
            os.close(_journals.pop(path))
        dead, own = self._dead(), {self.run_id}
        self.fold(completed, failed, read=dead | own if interrupted else dead, delete=dead | own)

    def fold(
        self,
        completed: Collection[str] = (),
        failed: Collection[str] = (),
        forgotten: Collection[str] = (),
        read: Collection[str] = (),
        delete: Collection[str] = (),
    ) -> None:
        """Bring completed.json and failed.json up to date.

        Parameters
        ----------
        completed, failed
            What this run's workers reported.
        forgotten
            What is to run again: taken out of completed.json.
        read, delete
            Runs whose journals are read, and runs whose journals are deleted once both lists are safe.
        """
        if hasattr(os, "sync"):
            os.sync()  # after a power cut what is listed is whole: once for all results, where fsync is once for each
        else:
            _flush(self.result(digest(text)) for text in completed)
        with self._locked():
            journaled = self._journaled(self._entries(read), check=True)
            listed, broken = self._mended("completed"), self._mended("failed")
            out = set(forgotten)
            done = {text: None for text in listed | journaled["completed"] if text not in out} | dict.fromkeys(completed)
            broken |= journaled["failed"] | dict.fromkeys(failed)
            self._write_list("completed", done)
            self._write_list("failed", {text: None for text in broken if text not in done})
            for entry in self._entries(delete):
                with suppress(FileNotFoundError, PermissionError):  # Windows: a worker has it open; the next run's turn
                    os.unlink(f"{self._journal}/{entry}")
            if read:
                for folder in (self.folder, self._journal, f"{self.folder}/runs"):
                    _sweep(folder)
        if self.run_id not in delete and (completed or failed):
            ids = {"completed": list(map(digest, completed)), "failed": list(map(digest, failed))}
            _append(self._journal_path(), json.dumps({"event": "folded", **ids}))

    def _mended(self, which: str) -> dict[str, None]:
        """Return a list; put it aside and rebuild it from the folders where it cannot be read."""
        path = self._lists[which]
        try:
            return _read_list(path)
        except ValueError as error:
            aside = f"{path}.unreadable-{self.run_id}"
            os.replace(path, aside)
            _log.warning("%s cannot be read (%s): moved to %s and rebuilt from the folders", path, error, aside)
            texts = self._from_tree(which)
            self._write_list(which, texts)
            return texts

    def _write_list(self, which: str, texts: Collection[str]) -> None:
        path = self._lists[which]
        data = ("[\n" + ",\n".join(texts) + "\n]\n" if texts else "[]\n").encode()
        with suppress(FileNotFoundError), open(path, "rb") as file:
            if file.read() == data:
                return
        _replace(path, data, flush=True)
        with open(path, "rb") as file:
            if file.read() != data:  # only where a lock was broken that should have held; no journal is deleted then
                raise OSError(errno.EBUSY, "changed by another run while it was written; run again", path)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the one lock: an exclusive mkdir, with a file inside that says whose it is."""
        os.makedirs(self._journal, exist_ok=True)
        lock = f"{self._journal}/lock"
        mine = f"{HOST}.{os.getpid()}.{_token}{next(_numbers)}"
        while not self._take(lock, mine):
            self._break(lock)
            time.sleep(0.02)
        try:
            with _touching(f"{lock}/{mine}"):
                yield
        finally:
            with suppress(OSError):
                os.rmdir(lock)

    def _take(self, lock: str, mine: str) -> bool:
        with suppress(FileExistsError, FileNotFoundError):  # taken; or, while still empty, taken for an abandoned one
            os.mkdir(lock)
            _write(f"{lock}/{mine}", b"")
            if os.listdir(lock) == [mine]:
                return True
            os.unlink(f"{lock}/{mine}")
        return False

    def _break(self, lock: str) -> None:
        """Take away a lock whose owner is gone. Only one process can: the one that unlinks the owner's file."""
        now = _clock(self._journal)
        with suppress(OSError):  # somebody was faster, or the lock was given back
            for owner in os.listdir(lock):
                if not _gone(lock, owner, now):
                    return
                os.unlink(f"{lock}/{owner}")
                os.rmdir(lock)
            if now - os.stat(lock).st_mtime > 2 * HEARTBEAT_SECONDS:  # killed before it could say whose it is
                os.rmdir(lock)

    def write_experiment(self, data: bytes) -> None:
        """Leave the experiment, pickled, for workers in other processes."""
        _replace(self.experiment, data)

    def write_run(self, record: dict[str, Any]) -> None:
        """Write this run's record under runs/."""
        os.makedirs(f"{self.folder}/runs", exist_ok=True)
        _replace(f"{self.folder}/runs/{self.run_id}.json", json.dumps(record, indent=2).encode())
