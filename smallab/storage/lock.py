"""The lock of a batch: only its holder writes the lists."""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from smallab.storage.files import entries, make_folder, remove, write_new
from smallab.storage.presence import HEARTBEAT_SECONDS, clock, presence, this_process, touched

_log = logging.getLogger("smallab")

_POLL_SECONDS = 0.02


class Lock:
    """An exclusive lock that works on every file system, and that the dead do not keep: a folder.

    A list is written into a file of the lock's holder, which is then renamed to be the list. Whoever breaks the lock
    removes these files first: so a runner that was stopped, lost the lock, and goes on hours later cannot put back an
    older list.

    Parameters
    ----------
    folder
        The folder that is the lock; its parent is there.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder

    @contextmanager
    def held(self) -> Iterator[dict[str, str]]:
        """Hold the lock; yield the files, which are empty and there while it is held, that lists are written into."""
        name = this_process().new_name()
        files = {which: f"{self._folder}/{name}-{which}" for which in ("completed", "counted", "failed")}
        own = [f"{self._folder}/{name}", *files.values()]
        say_at = time.monotonic() + 2 * HEARTBEAT_SECONDS
        while not self._take(own):
            if time.monotonic() > say_at:
                say_at = math.inf
                _log.warning("%s is held by another run: waiting for it. If there is none, delete it", self._folder)
            self._break()
            time.sleep(_POLL_SECONDS)
        try:
            with touched(own[0]):
                yield files
        finally:
            self._give_back(own)

    def _take(self, own: list[str]) -> bool:
        if not make_folder(self._folder):
            return False
        taken = False
        try:
            with suppress(FileExistsError, FileNotFoundError):  # while still empty, taken for an abandoned one
                for path in own:
                    write_new(path, b"")
                taken = entries(self._folder) == [os.path.basename(path) for path in own]
        finally:
            if not taken:
                self._give_back(own)
        return taken

    def _give_back(self, own: list[str]) -> None:
        for path in own:
            remove(path)
        with suppress(OSError):  # it is another's by now
            os.rmdir(self._folder)

    def _break(self) -> None:
        """Take away a lock whose owner is gone; only one can, the one that unlinks the owner's first file."""
        with suppress(OSError):  # somebody was faster, or it was given back
            owners = entries(self._folder)
            now = clock(os.path.dirname(self._folder))
            if owners:
                abandoned = presence(f"{self._folder}/{owners[0]}", now)[0] in {"killed", "silent"}
            else:  # killed before its owner was named
                abandoned = now - os.stat(self._folder).st_mtime > 2 * HEARTBEAT_SECONDS
            if abandoned:
                for owner in owners:
                    os.unlink(f"{self._folder}/{owner}")
                os.rmdir(self._folder)
