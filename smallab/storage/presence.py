"""Who is there: which process on which machine writes, whether it is alive, and who holds the lock.

A run is alive while its runner touches its heartbeat, and so is the holder of a lock. All ask here, by one clock: that
of the file system on which the batch is, so that machines need not agree on the time.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache

from smallab.storage.base import Presence
from smallab.storage.paths import Owner

_log = logging.getLogger("smallab")

HEARTBEAT_SECONDS = 5.0
GRACE_SECONDS = 120.0  # generous: a network file system may show a file's time a minute late
ABANDONED_SECONDS = 86_400.0  # after a day, what a silent process left behind may be cleared up


def _machine() -> str:
    """Return what tells this machine, since it was started, from any other of the same name.

    In a container of its own, process numbers are its own, too.
    """
    found = []
    for path in ("/proc/sys/kernel/random/boot_id", "/proc/self/ns/pid"):
        with suppress(OSError):  # only Linux has them
            found.append(os.readlink(path) if path.endswith("pid") else _read(path))
    return " ".join(found) or str(uuid.getnode())


def _read(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        return file.read()


def _host_name() -> str:
    name = os.uname().nodename if hasattr(os, "uname") else os.environ.get("COMPUTERNAME", "windows")
    return re.sub(r"[^\w-]", "_", name)


HOST = _host_name()
_MACHINE = f"{HOST}-{hashlib.blake2b(_machine().encode(), digest_size=4).hexdigest()}"


def this_process(run_id: str = "") -> Owner:
    """Return this process as its files' names tell it."""
    return _owner(os.getpid(), run_id)


@lru_cache(maxsize=64)  # asked for with every file that is written
def _owner(pid: int, run_id: str) -> Owner:
    return Owner(_MACHINE, pid, run_id)


def clock(folder: str) -> float:
    """Return the time in seconds since 1970 by the clock of the file system that a folder is on."""
    try:
        with suppress(AttributeError, OSError):  # Linux alone has files without a name, and not on every file system
            descriptor = os.open(folder, os.O_TMPFILE | os.O_WRONLY)
            try:
                return os.fstat(descriptor).st_mtime
            finally:
                os.close(descriptor)
        probe = f"{folder}/{this_process().new_name()}.tmp"
        with open(probe, "xb") as file:
            now = os.fstat(file.fileno()).st_mtime
        os.unlink(probe)
    except OSError:  # nothing may be written there: then nothing is alive there either, or it is a reader who asks
        return time.time()
    return now


def is_gone(host: str, pid: int) -> bool:
    """Tell whether a process is known to be gone: it was on this machine, and neither runs nor sleeps any more."""
    if host != _MACHINE or os.name == "nt":  # on Windows os.kill ends a process; the heartbeat alone must do
        return False
    try:
        os.kill(pid, 0)
        state = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()[0]
    except (ProcessLookupError, OverflowError):  # the last one: no process has such a number
        return True
    except OSError:  # another user's process, or no /proc (macOS)
        return False
    return state in "ZX"  # killed, but not yet waited for


def presence(path: str, now: float) -> tuple[Presence, float]:
    """Tell whether the owner of a file that is touched now and then is alive, and for how many seconds it was silent.

    Parameters
    ----------
    path
        A heartbeat, or a file in a lock.
    now
        What `clock` says.
    """
    try:
        silence = max(0.0, now - os.stat(path).st_mtime)
    except FileNotFoundError:  # it has just ended in good order
        return "ended", 0.0
    owner = Owner.of(os.path.basename(path))
    if owner is not None and is_gone(owner.host, owner.pid):
        return "killed", silence
    return "silent" if silence > GRACE_SECONDS else "running", silence


def is_abandoned(path: str, now: float) -> bool:
    """Tell whether a file's owner will not come back to it: known to be gone, or silent for a day."""
    state, silence = presence(path, now)
    return state == "killed" or silence > ABANDONED_SECONDS


@contextmanager
def touched(path: str) -> Iterator[None]:
    """Touch a file now and then, the sign that its owner is alive; remove it when the block ends."""
    stop = threading.Event()

    def touch() -> None:
        while not stop.wait(HEARTBEAT_SECONDS):
            with suppress(OSError):  # a share that is away for a moment; the grace is longer
                os.utime(path)

    threading.Thread(target=touch, name="smallab heartbeat", daemon=True).start()
    try:
        yield
    finally:
        stop.set()
        try:
            os.unlink(path)
        except FileNotFoundError:
            pass
        except OSError as error:  # the share is away: it is taken for silent, and cleared up later
            _log.warning("%s cannot be removed: %s", path, error)
