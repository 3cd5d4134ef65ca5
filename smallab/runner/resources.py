"""Resources that one running specification at a time may hold: graphics cards, licences, ports."""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from smallab.files import entries, mark, write
from smallab.journal import HEARTBEAT_SECONDS
from smallab.journal import _clock as clock  # the rules of who is gone are the journal's
from smallab.journal import _gone as gone
from smallab.journal import _touched as touched
from smallab.specification import canonical, digest
from smallab.storage import Storage

_log = logging.getLogger("smallab")


@contextmanager
def held(storage: Storage, resources: Sequence[Any], rather: Sequence[Any] = ()) -> Iterator[Any]:
    """Hold one of several resources until the block ends; None where there are none.

    It is exclusive among the threads, processes and hosts that run the batch, whichever run they belong to: a folder
    under ``journal/`` for each resource that is held. What a killed process held is free again.

    Parameters
    ----------
    storage
        The batch.
    resources
        What there is.
    rather
        Those of them that are tried first.
    """
    if not resources:
        yield None
        return
    mine = mark()
    order = sorted(resources, key=lambda resource: resource not in rather)
    locks = {_lock(storage, resource): resource for resource in order}
    say_at = time.monotonic() + HEARTBEAT_SECONDS
    while not (lock := next((lock for lock in locks if _take(lock, mine)), None)):
        if not os.path.isdir(storage.journal):
            raise FileNotFoundError(f"{storage.journal} vanished while the batch ran")
        free(storage, resources)
        if time.monotonic() > say_at:
            say_at = math.inf
            holders = ", ".join(owner.rpartition(".")[0] for lock in locks for owner in entries(lock))
            _log.warning("%s: waiting for one of %s, held by (host.pid) %s", storage.folder, list(resources), holders)
        time.sleep(0.02)
    try:
        with touched(f"{lock}/{mine}"):
            yield locks[lock]
    finally:
        with suppress(OSError):
            os.rmdir(lock)


def free(storage: Storage, resources: Sequence[Any]) -> None:
    """Free what those held who are gone."""
    now = clock(storage.journal) if resources else 0.0
    for lock in (_lock(storage, resource) for resource in resources):
        with suppress(OSError):  # somebody was faster, or it was given back
            owners = entries(lock)
            if owners and gone(lock, owners[0], now):
                os.unlink(f"{lock}/{owners[0]}")  # only one of several can: so it is freed once
                os.rmdir(lock)
            elif not owners and now - os.stat(lock).st_mtime > 2 * HEARTBEAT_SECONDS:  # killed before it was named
                os.rmdir(lock)


def _take(lock: str, mine: str) -> bool:
    with suppress(FileExistsError, FileNotFoundError):  # taken; or, while still empty, taken for an abandoned one
        os.mkdir(lock)
        write(f"{lock}/{mine}", b"")
        if entries(lock) == [mine]:
            return True
        os.unlink(f"{lock}/{mine}")
    return False


def _lock(storage: Storage, resource: Any) -> str:
    return f"{storage.journal}/resource-{digest(canonical({'resource': resource}))[:8]}"
