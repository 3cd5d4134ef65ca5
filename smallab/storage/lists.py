"""What has completed and what has failed: the two lists, brought up to date from the journals."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass, field

from smallab.specification import Texts, canonical, digest
from smallab.storage.files import entries, flush, remove, signature_of, write_into, write_new
from smallab.storage.journal import Journaled, count_completions, read_counted
from smallab.storage.list_files import UnreadableListError, read_list, write_list
from smallab.storage.lock import Lock
from smallab.storage.paths import Owner, Paths, Which, is_id, new_id
from smallab.storage.presence import clock, is_abandoned, presence
from smallab.storage.results import is_whole

_log = logging.getLogger("smallab")


@dataclass
class LeftBehind:
    """Files in the journal's folder of runs that are not alive.

    Attributes
    ----------
    to_count
        Journals that tell what the lists do not yet hold.
    to_clear
        Files of those who will not come back.
    """

    to_count: list[str] = field(default_factory=list)
    to_clear: list[str] = field(default_factory=list)


class Lists:
    """completed.json and failed.json of one batch, and what the journals add to them.

    Parameters
    ----------
    paths
        The batch's files.
    """

    def __init__(self, paths: Paths) -> None:
        self._paths = paths
        self._lock = Lock(paths.lock)
        self._before: tuple[object, tuple[Texts, Texts]] | None = None  # what `listed` returned, and of which files

    def known(self) -> tuple[Texts, Texts]:
        """Return the completed and the failed specifications, in order; UnreadableListError where a list is no list."""
        journaled = self.journaled(entries(self._paths.journal))  # first: what is listed meanwhile is seen twice
        completed = self._listed("completed") | dict.fromkeys(journaled.completed)
        failed = self._listed("failed") | journaled.failed
        return completed, _without(failed, completed)

    def listed(self) -> tuple[Texts, Texts]:
        """Return what the lists alone hold, or the folders where a list is no list; read again when a file changes."""
        paths = self._paths
        files = (paths.list_file("completed"), paths.list_file("failed"), paths.counted)
        signature = [signature_of(path) for path in files]
        if self._before is None or self._before[0] != signature:
            self._before = signature, self.or_folders(self._in_lists)
        return self._before[1]

    def _in_lists(self) -> tuple[Texts, Texts]:
        completed = self._listed("completed")
        return completed, _without(self._listed("failed"), completed)

    def or_folders(self, read: Callable[[], tuple[Texts, Texts]]) -> tuple[Texts, Texts]:
        """Return what is read; where a list cannot be read, what the folders tell."""
        try:
            return read()
        except UnreadableListError as error:
            _log.warning("%s. Until then, the folders tell", error)
            return self.in_folders()

    def _listed(self, which: Which) -> Texts:
        path = self._paths.list_file(which)
        try:
            return read_list(path)
        except ValueError as error:
            name = os.path.basename(self._paths.folder)
            raise UnreadableListError(
                f"{path} cannot be read: {error}. Mend it there, or have it made anew from the folders: "
                f"smallab rebuild {name}"
            ) from None

    def journaled(self, names: Iterable[str], from_start: bool = False) -> Journaled:
        """Return what journals tell that has not been counted, or all of it."""
        counted = {} if from_start else read_counted(self._paths.counted)
        journaled = Journaled()
        owned = self.owned(".jsonl")
        for name in names:
            if owner := owned.get(name):
                journaled.read(f"{self._paths.journal}/{name}", owner, counted.get(name, 0))
        return journaled

    def completions(self, names: Iterable[str]) -> int:
        """Return how many completions journals tell, at a fraction of the cost of reading what they tell."""
        return sum(count_completions(f"{self._paths.journal}/{name}") for name in names if name.endswith(".jsonl"))

    def left_behind(self) -> LeftBehind:
        """Return what runs left behind that are not alive."""
        left, folder = LeftBehind(), self._paths.journal
        files = self.files()
        if not files:
            return left
        now = clock(folder)
        counted = read_counted(self._paths.counted)
        for names in files.values():
            heartbeat = next((f"{folder}/{name}" for name in names if name.endswith(".heartbeat")), None)
            if heartbeat is None or is_abandoned(heartbeat, now):
                left.to_count += names
                left.to_clear += names
            elif presence(heartbeat, now)[0] == "silent":
                left.to_count += [name for name in names if _size(f"{folder}/{name}") != counted.get(name, 0)]
        return left

    def owned(self, suffix: str = "") -> dict[str, Owner]:
        """Return the names of the files of runs, all or some, and whose they are; those of the oldest run first."""
        found = {}
        for name in entries(self._paths.journal):
            owner = Owner.of(name)
            if owner is not None and owner.run_id and name.endswith(suffix):
                found[name] = owner
        return found

    def files(self) -> dict[str, list[str]]:
        """Return the names of the journal's files by run, the oldest run first."""
        found: dict[str, list[str]] = {}
        for name, owner in self.owned().items():
            found.setdefault(owner.run_id, []).append(name)
        return found

    def update(
        self,
        completed: Collection[str] = (),
        failed: Collection[str] = (),
        forgotten: Collection[str] = (),
        to_count: Collection[str] = (),
        to_clear: Collection[str] = (),
    ) -> Journaled:
        """Bring both lists up to date.

        Parameters
        ----------
        completed, failed
            What a run's workers reported.
        forgotten
            What is to run again: taken out of both lists.
        to_count
            Journals that are brought in; what they call completed counts if its result is whole.
        to_clear
            Files in the journal's folder that are removed once both lists are safe.

        Returns
        -------
        Journaled
            What the journals told; of what completed, what counts.
        """
        if hasattr(os, "sync"):
            os.sync()  # what is listed survives a power cut: once for all results, where fsync is once for each
        else:
            for text in completed:
                flush(self._result_files(digest(text)))
        while True:
            try:
                with self._lock.held() as files_in_lock:
                    journaled = self.journaled(to_count)
                    now_completed, now_failed = self._listed("completed"), self._listed("failed")
                    self._keep_whole(journaled, {**now_completed, **dict.fromkeys(completed)})
                    now_completed |= dict.fromkeys(journaled.completed)
                    now_failed |= journaled.failed
                    for text in forgotten:
                        now_completed.pop(text, None)
                        now_failed.pop(text, None)
                    now_completed |= dict.fromkeys(completed)
                    now_failed |= dict.fromkeys(failed)
                    write_list(self._paths.list_file("completed"), now_completed, files_in_lock["completed"])
                    failed_alone = _without(now_failed, now_completed)
                    write_list(self._paths.list_file("failed"), failed_alone, files_in_lock["failed"])
                    staying = self._clear(to_clear)
                    self._write_counted(staying | journaled.offsets, files_in_lock["counted"])
                    return journaled
            except FileNotFoundError:  # the lock was lost to somebody who took this run for dead: once more
                if not os.path.isdir(self._paths.journal):
                    raise

    def _keep_whole(self, journaled: Journaled, already_known: Texts) -> None:
        """Leave out of what completed those whose result is not there, or torn."""
        for text, expected in list(journaled.completed.items()):
            if text not in already_known and not is_whole(self._paths, digest(text), expected):
                del journaled.completed[text]

    def _clear(self, names: Collection[str]) -> dict[str, int]:
        """Remove files in the journal's folder; return those that stay, and that all of them has been counted."""
        staying: dict[str, int] = {}
        for name in names:
            path = f"{self._paths.journal}/{name}"
            try:
                remove(path)
            except OSError:  # Windows: a worker has it open; the next run's turn
                staying[name] = _size(path)
        return staying

    def _write_counted(self, offsets: dict[str, int], file_in_lock: str) -> None:
        """Write down how far the journals have been counted that are there; FileNotFoundError without the lock."""
        before = read_counted(self._paths.counted)
        there = set(entries(self._paths.journal))
        counted = {name: offset for name, offset in (before | offsets).items() if name in there}
        if counted and counted != before:
            write_into(file_in_lock, json.dumps(counted).encode())
            os.replace(file_in_lock, self._paths.counted)
        elif not counted and before:
            os.unlink(file_in_lock)
            remove(self._paths.counted)

    def _result_files(self, id: str) -> list[str]:
        folder = self._paths.of(id)
        return [f"{folder}/{name}" for name in entries(folder) if name.startswith(f"{id}.")]

    def rebuild(self) -> list[str]:
        """Put both lists aside, make them anew from the folders; return where the old ones are kept."""
        os.makedirs(self._paths.journal, exist_ok=True)
        kept = []
        with self._lock.held() as files_in_lock:
            completed, failed = self.in_folders()
            found: dict[Which, Texts] = {"completed": completed, "failed": failed}
            for which, texts in found.items():
                path = self._paths.list_file(which)
                with suppress(FileNotFoundError), open(path, "rb") as file:
                    kept.append(f"{path}.before-{new_id()}")
                    write_new(kept[-1], file.read())  # and not renamed: without a list, all would run again
                write_list(path, texts, files_in_lock[which])
        return kept

    def in_folders(self) -> tuple[Texts, Texts]:
        """Return what the folders tell: failed where there is a failure.json, completed if the result is whole."""
        completed, failed = Texts(), Texts()
        for id in filter(is_id, entries(self._paths.folder)):
            try:
                with open(self._paths.specification(id), encoding="utf-8") as file:
                    text = canonical(json.load(file))
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError, ValueError, RecursionError):
                continue  # not a folder of ours, or not whole: it runs again
            if digest(text) != id:
                continue
            if os.path.exists(self._paths.failure(id)):
                failed[text] = None
            elif is_whole(self._paths, id):
                completed[text] = None
        return completed, failed


def _without(texts: Texts, others: Texts) -> Texts:
    return {text: None for text in texts if text not in others}


def _size(path: str) -> int:
    with suppress(FileNotFoundError):
        return os.stat(path).st_size if path.endswith(".jsonl") else 0
    return 0
