"""Resources that one running specification at a time may hold: graphics cards, licences, ports."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from smallab.files import mark
from smallab.journal import Journal, _touched  # the rules of who is gone are the journal's lock's
from smallab.specification import canonical, digest
from smallab.storage import Storage


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
    journal, mine = Journal(storage), mark()
    order = sorted(resources, key=lambda resource: resource not in rather)
    locks = {_lock(storage, resource): resource for resource in order}
    while not (lock := next((lock for lock in locks if journal._take(lock, mine)), None)):  # noqa: SLF001
        if not os.path.isdir(storage.journal):
            raise FileNotFoundError(f"{storage.journal} vanished while the batch ran")
        for lock in locks:
            journal._break(lock)  # noqa: SLF001
        time.sleep(0.02)
    try:
        with _touched(f"{lock}/{mine}"):
            yield locks[lock]
    finally:
        with suppress(OSError):
            os.rmdir(lock)


def free(storage: Storage, resources: Sequence[Any]) -> None:
    """Clear away what killed workers held: the next holder would, but a batch that is over leaves nothing behind."""
    for resource in resources:
        Journal(storage)._break(_lock(storage, resource))  # noqa: SLF001


def _lock(storage: Storage, resource: Any) -> str:
    return f"{storage.journal}/resource-{digest(canonical({'resource': resource}))[:8]}"
