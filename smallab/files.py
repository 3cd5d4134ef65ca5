"""How a file is written so that nobody ever reads half of it, and how it tells who was writing."""

from __future__ import annotations

import errno
import itertools
import os
import re
import threading
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime

_WRITE = os.O_WRONLY | getattr(os, "O_BINARY", 0)


def new_id() -> str:
    """Return a name that sorts by time, is unique across processes and machines, and is legal on Windows."""
    return f"{datetime.now(UTC):%Y-%m-%d_%H-%M-%S_%f}_{os.urandom(3).hex()}"


def iso(seconds: float) -> str:
    """Return a time (seconds since 1970) as ISO 8601 in UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def _host() -> str:
    """Return this machine's name as file names hold it, and the pid namespace where that is a container's own."""
    namespace = ""
    with suppress(OSError):  # only Linux has them; 4026531836 is the machine's own
        namespace = os.readlink("/proc/self/ns/pid").strip("pid:[]").replace("4026531836", "")
    name = os.uname().nodename if hasattr(os, "uname") else os.environ.get("COMPUTERNAME", "windows")
    return re.sub(r"[^\w-]", "_", f"{name}-{namespace}").rstrip("-")


HOST = _host()
_token = os.urandom(4).hex()
_numbers = itertools.count()


def mark() -> str:
    """Return a new name that tells who is writing under it."""
    return f"{HOST}.{os.getpid()}.{_token}{next(_numbers)}"


def process_gone(host: str, pid: int) -> bool:
    """Tell whether a process is known to be gone: on this machine, and neither running nor asleep."""
    if host != HOST or os.name == "nt":  # on Windows os.kill ends a process; there the heartbeat alone must do
        return False
    try:
        os.kill(pid, 0)
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            return file.read().rpartition(")")[2].split()[0] in "ZX"  # killed, but not yet waited for
    except ProcessLookupError:
        return True
    except OSError:  # another user's process, or no /proc (macOS)
        return False


def write(path: str, data: bytes) -> None:
    """Write a file that is not there yet; leave nothing behind where that fails."""
    descriptor = os.open(path, _WRITE | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        _fill(descriptor, data)
    except BaseException:
        os.unlink(path)
        raise


def overwrite(path: str, data: bytes) -> None:
    """Write an empty file that is there, and have it survive a power cut; FileNotFoundError where it is not."""
    _fill(os.open(path, _WRITE), data)
    flush([path])


def _fill(descriptor: int, data: bytes) -> None:
    try:
        written = os.write(descriptor, data)
        while written < len(data):
            written += os.write(descriptor, memoryview(data)[written:])
    finally:
        os.close(descriptor)  # a network file system may say only now that the disk is full


def replace(path: str, data: bytes) -> None:
    """Write a file aside, then rename it over whatever was there."""
    aside = f"{os.path.dirname(path)}/{mark()}.tmp"
    write(aside, data)
    try:
        os.replace(aside, path)
    except BaseException:
        with suppress(FileNotFoundError):  # a Ctrl-C right after it was renamed
            os.unlink(aside)
        raise


def put(path: str, data: bytes) -> None:
    """Write a file: straight away where there is none (half the cost), else aside and renamed."""
    try:
        write(path, data)
    except FileExistsError:
        replace(path, data)


def flush(paths: Iterable[str]) -> None:
    """Have files, or folders, survive a power cut."""
    for path in paths:
        descriptor = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def entries(folder: str) -> list[str]:
    """Return the sorted names in a folder; none where it is not there."""
    with suppress(FileNotFoundError):
        return sorted(os.listdir(folder))
    return []


_journals: dict[str, int] = {}  # this process's journals: path and descriptor
_journals_lock = threading.Lock()
_torn: set[str] = set()  # journals whose last line a full disk cut short


def append(path: str, line: str) -> None:
    """Append a line to a journal of this process, in one write."""
    if path not in _journals:
        with _journals_lock:
            for other in [other for other in _journals if not os.path.exists(other)]:  # their runs are over
                os.close(_journals.pop(other))
            if path not in _journals:
                _journals[path] = os.open(path, _WRITE | os.O_CREAT | os.O_APPEND, 0o666)
    data = f"\n{line}\n".encode() if path in _torn else f"{line}\n".encode()
    if os.write(_journals[path], data) != len(data):
        _torn.add(path)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
    _torn.discard(path)


def reopen_journals() -> None:
    """Go on in new files where this process's journals were taken away: it was asleep, and taken for dead."""
    with _journals_lock:
        for path, descriptor in _journals.items():
            if not os.path.exists(path) and os.path.isdir(os.path.dirname(path)):
                new = os.open(path, _WRITE | os.O_CREAT | os.O_APPEND, 0o666)
                os.dup2(new, descriptor, inheritable=False)  # whoever writes now writes whole, into one of them
                os.close(new)


def close_journals(run_id: str) -> None:
    """Close what this process has open of a run's journals."""
    with _journals_lock:
        for path in [path for path in _journals if run_id in path]:
            os.close(_journals.pop(path))
