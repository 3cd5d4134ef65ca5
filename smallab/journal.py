"""The journal: what happened since completed.json was written, whoever died meanwhile.

- Each process appends to a file of its own; readers merge them.
- A run is alive while its runner touches its heartbeat, by the file system's own clock. A living run's files are
  touched by nobody else; it folds into the lists what its workers reported. What a dead run left, the next one folds.
- Only the holder of ``journal/lock`` writes the lists: an exclusive mkdir, which every file system has.
- A journal is deleted after completed.json was read back with its entries in it. So what is in neither was taken out
  by somebody, and stays out.
"""

from __future__ import annotations

import json
import logging
import math
import os
import re
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from smallab.files import append, close_journals, entries, flush, mark, process_gone, reopen_journals, write
from smallab.lists import from_tree, read_list, write_list
from smallab.specification import canonical, digest
from smallab.storage import Storage, Which

_log = logging.getLogger("smallab")

HEARTBEAT_SECONDS = 5.0
FOLD_SECONDS = 30.0
FOLD_SHARE = 0.02  # of the time at the most: for a million specifications the lists take seconds to write
_WRITER = re.compile(r"([^.]+)\.(\d+)\.([0-9a-f]{8}\d+(\.tmp|-completed|-failed)?|begun\.tmp|heartbeat)$")
GRACE_SECONDS = 120.0  # generous: a network file system may show a file's time a minute late


def _clock(folder: str) -> float:
    """Return the time by the file system's own clock, so that machines need not agree."""
    probe = f"{folder}/{mark()}.tmp"
    write(probe, b"")
    now = os.stat(probe).st_mtime
    os.unlink(probe)
    return now


def _gone(folder: str, entry: str, now: float) -> bool:
    """Tell whether the writer of a file named ``[<run-id>.]<host>.<pid>.…`` is gone, or silent for too long."""
    try:
        silent = now - os.stat(f"{folder}/{entry}").st_mtime
    except FileNotFoundError:
        return False  # it has just ended in good order
    owner = _WRITER.search(entry)
    return owner is not None and (silent > GRACE_SECONDS or process_gone(owner[1], int(owner[2])))


def _files(mine: str) -> list[str]:
    return [mine, f"{mine}-completed", f"{mine}-failed"]


def _sweep(folder: str, now: float) -> None:
    """Remove what killed writers left half written in a folder."""
    for entry in entries(folder):
        if entry.endswith(".tmp") and _gone(folder, entry, now):
            with suppress(FileNotFoundError):
                os.unlink(f"{folder}/{entry}")


def _events(path: str) -> Iterator[dict[str, Any]]:
    """Yield a journal's events; a line that a kill or a full disk cut short is passed over."""
    with suppress(FileNotFoundError, IsADirectoryError), open(path, encoding="utf-8", errors="replace") as file:
        for line in file:
            with suppress(ValueError, RecursionError):
                event = json.loads(line)
                if isinstance(event, dict) and "event" in event:
                    yield event


@contextmanager
def _touched(path: str, revive: Callable[[], None] | None = None) -> Iterator[None]:
    """Touch a file now and then, the sign that its owner is alive; remove it when the block ends."""
    stop = threading.Event()

    def touch() -> None:
        while not stop.wait(HEARTBEAT_SECONDS):
            with suppress(OSError):  # a share that is away for a moment; the grace is longer
                try:
                    os.utime(path)
                except FileNotFoundError:  # it was asleep, and taken for dead
                    if revive is not None:
                        write(path, b"")
                        revive()

    threading.Thread(target=touch, name="smallab heartbeat", daemon=True).start()
    try:
        yield
    finally:
        stop.set()
        with suppress(FileNotFoundError):
            os.unlink(path)


class Journal:
    """One batch's journals, of all runs, and what comes of them."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._folder = storage.journal
        self._reported: dict[str, list[str]] = {"completed": [], "failed": []}  # and not yet folded
        self._fold_at = time.monotonic() + FOLD_SECONDS

    def _entries(self, runs: Collection[str] | None = None) -> list[str]:
        """Return the files of some or all runs, the oldest run first."""
        found = [entry for entry in entries(self._folder) if entry.endswith((".jsonl", ".heartbeat", ".experiment"))]
        return [entry for entry in found if runs is None or entry.partition(".")[0] in runs]

    def state(self, mend: bool = False) -> tuple[dict[str, None], dict[str, None]]:
        """Return the completed and the failed specifications, as canonical JSON and in order.

        An unreadable list is rebuilt from the folders: on disk too, if mend.
        """
        journaled = self._read(self._entries())  # before the lists: what is folded meanwhile is seen twice, not never
        completed, failed = ({**self._listed(which, mend), **journaled[which]} for which in ("completed", "failed"))
        return completed, {text: None for text in failed if text not in completed}

    def _listed(self, which: Which, mend: bool) -> dict[str, None]:
        path = self._storage.list_file(which)
        try:
            return read_list(path)
        except ValueError as error:
            if mend:
                os.makedirs(self._folder, exist_ok=True)
                self.fold()
                return read_list(path)
            _log.warning("%s cannot be read (%s); the folders tell instead", path, error)
            return from_tree(self._storage, which)

    def _mended(self, which: Which) -> dict[str, None]:
        """Return a list; put it aside and rebuild it from the folders where it cannot be read."""
        path = self._storage.list_file(which)
        try:
            return read_list(path)
        except ValueError as error:
            aside = f"{path}.unreadable-{self._storage.run_id}"
            with open(path, "rb") as file:
                write(aside, file.read())
            _log.warning("%s cannot be read (%s): kept as %s and rebuilt from the folders", path, error, aside)
            return from_tree(self._storage, which)

    def _read(self, names: Iterable[str], check: bool = False) -> dict[str, dict[str, None]]:
        """Return what journals say that was not folded yet; with check, only results whose file matches."""
        seen: dict[str, dict[str, tuple[str, Any]]] = {"started": {}, "completed": {}, "failed": {}}
        folded: dict[str, set[str]] = {"completed": set(), "failed": set()}
        for name in names:
            for event in _events(f"{self._folder}/{name}"):
                with suppress(KeyError, TypeError, ValueError):  # JSON, but not an event that smallab wrote
                    if event["event"] == "folded":
                        folded["completed"].update(event["completed"])
                        folded["failed"].update(event["failed"])
                    elif event["event"] in seen:
                        seen[event["event"]][event["id"]] = canonical(event["specification"]), event.get("digest")
        if check:
            now = _clock(self._folder)
            for id in seen["started"]:
                _sweep(self._storage.folder_of(id), now)
            for id in seen["completed"]:
                self._storage.remove_checkpoints(id)
        return {
            which: {
                text: None
                for id, (text, expected) in seen[which].items()
                if id not in folded[which] and (which == "failed" or not check or self._storage.whole(id, expected))
            }
            for which in folded
        }

    def recover(self) -> tuple[dict[str, None], dict[str, None]]:
        """Fold in what dead runs left behind; return the completed and the failed specifications."""
        names = entries(self._folder)
        if names and ((dead := self._dead()) or not set(names) <= set(self._entries())):
            self.fold(read=dead, delete=dead)
            for folder in (self._storage.folder, self._folder, f"{self._storage.folder}/runs"):
                _sweep(folder, _clock(self._folder))
        return self.state(mend=True)

    def _dead(self) -> set[str]:
        """Return the runs whose runner is gone. Its workers start nothing more; what they have in hand runs again."""
        names, now = self._entries(), _clock(self._folder)
        beating = [name for name in names if name.endswith(".heartbeat") and not _gone(self._folder, name, now)]
        return {name.partition(".")[0] for name in names} - {name.partition(".")[0] for name in beating}

    @contextmanager
    def living(self, running: Collection[str]) -> Iterator[None]:
        """Make the batch's folders and show that this run is alive until the block ends; then fold its journals.

        Where threads are still running then (a second Ctrl-C), the journals are left for the next run to read.
        """
        os.makedirs(self._folder, exist_ok=True)
        heartbeat = self._storage.own("heartbeat")
        write(heartbeat, b"")
        with _touched(heartbeat, reopen_journals):
            try:
                yield
            except BaseException:  # Ctrl-C, or trouble of joblib's own: keep what finished, then pass it on
                if not running:
                    self._finish({self._storage.run_id})
                _log.warning("%s: stopped; what finished is saved, run it again to go on", self._storage.folder)
                raise
            self._finish(set())

    def _finish(self, read: set[str]) -> None:
        close_journals(self._storage.run_id)
        with self._nothing_lost():
            with suppress(FileExistsError, FileNotFoundError):  # where it vanished, the reports are still here
                os.mkdir(self._folder)
            dead = self._dead()
            self.fold(**self._reported, read=dead | read, delete=dead | {self._storage.run_id})

    def ended(self, text: str, status: str) -> None:
        """Take a worker's report; now and then, fold."""
        if status in self._reported:
            self._reported[status].append(text)
        if time.monotonic() > self._fold_at:
            started = time.monotonic()
            with self._nothing_lost():
                self.fold(**self._reported)
                self._reported = {"completed": [], "failed": []}
            self._fold_at = time.monotonic() + max(FOLD_SECONDS, (time.monotonic() - started) / FOLD_SHARE)

    @contextmanager
    def _nothing_lost(self) -> Iterator[None]:
        """Say that the lists cannot be written now: the results and the journals are, and the next run folds them."""
        try:
            yield
        except OSError as error:
            folder = self._storage.folder
            if not os.path.isdir(folder):
                raise FileNotFoundError(f"{folder} vanished while the batch ran, with the results in it") from error
            _log.error("%s: the lists cannot be written (%s); the results are safe, run it again", folder, error)

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
            What is to run again: taken out of both lists.
        read, delete
            Runs whose journals are read, and runs whose journals are deleted once both lists are safe.
        """
        storage = self._storage
        if hasattr(os, "sync"):
            os.sync()  # what is listed survives a power cut: once for all results, where fsync is once for each
        else:
            flush(storage.result(digest(text)) for text in completed)
        while True:
            try:
                with self._lock() as mine:
                    journaled = self._read(self._entries(read), check=True)
                    done = self._mended("completed") | journaled["completed"]
                    broken = self._mended("failed") | journaled["failed"]
                    for text in forgotten:
                        done.pop(text, None)
                        broken.pop(text, None)
                    done |= dict.fromkeys(completed)
                    broken |= dict.fromkeys(failed)
                    write_list(storage, "completed", done, f"{mine}-completed")
                    write_list(storage, "failed", [text for text in broken if text not in done], f"{mine}-failed")
                    for entry in self._entries(delete):
                        with suppress(
                            FileNotFoundError, PermissionError
                        ):  # Windows: a worker has it open; the next run's turn
                            os.unlink(f"{self._folder}/{entry}")
                break
            except FileNotFoundError:  # the lock was lost to somebody who took this run for dead: fold again
                if not os.path.isdir(self._folder):
                    raise
        if storage.run_id not in delete and (completed or failed):
            ids = {"completed": list(map(digest, completed)), "failed": list(map(digest, failed))}
            append(storage.own("jsonl"), json.dumps({"event": "folded", **ids}))

    @contextmanager
    def _lock(self) -> Iterator[str]:
        """Hold the lock; yield what its holder's files in it begin with.

        A list is written into such a file, which is then renamed to be the list. Whoever breaks the lock removes them
        first: so a runner that was stopped, lost the lock, and goes on hours later cannot put back an older list.
        """
        lock, mine = f"{self._folder}/lock", mark()
        say_at = time.monotonic() + 2 * HEARTBEAT_SECONDS
        while not self._take(lock, mine):
            if time.monotonic() > say_at:
                say_at = math.inf
                _log.warning("%s is held by another run: waiting for it. If there is none, delete it", lock)
            self._break(lock)
            time.sleep(0.02)
        try:
            with _touched(f"{lock}/{mine}"):
                yield f"{lock}/{mine}"
        finally:
            self._give_back(lock, mine)

    def _give_back(self, lock: str, mine: str) -> None:
        for name in _files(mine):
            with suppress(FileNotFoundError):
                os.unlink(f"{lock}/{name}")
        with suppress(OSError):  # it is another's by now
            os.rmdir(lock)

    def _take(self, lock: str, mine: str) -> bool:
        try:
            os.mkdir(lock)
        except FileExistsError:
            return False
        taken = False
        try:
            with suppress(FileExistsError, FileNotFoundError):  # while still empty, taken for an abandoned one
                for name in _files(mine):
                    write(f"{lock}/{name}", b"")
                taken = entries(lock) == _files(mine)
        finally:
            if not taken:
                self._give_back(lock, mine)
        return taken

    def _break(self, lock: str) -> None:
        """Take away a lock whose owner is gone; only one can, the one that unlinks the owner's first file."""
        now = _clock(self._folder)
        with suppress(OSError):  # somebody was faster, or it was given back
            owners = entries(lock)
            if all(_gone(lock, owner, now) for owner in owners[:1]) and (
                owners or now - os.stat(lock).st_mtime > 2 * HEARTBEAT_SECONDS  # killed before it was named
            ):
                for owner in owners:
                    os.unlink(f"{lock}/{owner}")
                os.rmdir(lock)
