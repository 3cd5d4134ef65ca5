"""How a file is written so that nobody ever reads half of it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress

from smallab.storage.presence import this_process

_WRITE = os.O_WRONLY | getattr(os, "O_BINARY", 0)


def write_new(path: str, data: bytes) -> None:
    """Write a file that is not there yet; leave nothing behind where that fails."""
    descriptor = os.open(path, _WRITE | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        _write_all(descriptor, data)
    except BaseException:
        os.unlink(path)
        raise


def write_into(path: str, data: bytes) -> None:
    """Write an empty file that is there, and have it survive a power cut; FileNotFoundError where it is not."""
    _write_all(os.open(path, _WRITE), data)
    flush([path])


def _write_all(descriptor: int, data: bytes) -> None:
    try:
        written = os.write(descriptor, data)
        while written < len(data):
            written += os.write(descriptor, memoryview(data)[written:])
    finally:
        os.close(descriptor)  # a network file system may say only now that the disk is full


def write_aside(folder: str, data: bytes) -> str:
    """Write a file under a name that says who writes it; return its path, which is then renamed."""
    path = f"{folder}/{this_process().new_name()}.tmp"
    write_new(path, data)
    return path


def rename(aside: str, path: str) -> None:
    """Rename a file that was written aside over whatever was there; remove it where that fails."""
    try:
        os.replace(aside, path)
    except BaseException:
        with suppress(FileNotFoundError):  # a Ctrl-C right after it was renamed
            os.unlink(aside)
        raise


def replace(path: str, data: bytes) -> None:
    """Write a file aside, then rename it over whatever was there."""
    rename(write_aside(os.path.dirname(path), data), path)


def write(path: str, data: bytes) -> None:
    """Write a file: straight away where there is none (half the cost), else aside and renamed."""
    try:
        write_new(path, data)
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
    with suppress(FileNotFoundError, NotADirectoryError):
        return sorted(os.listdir(folder))
    return []


def is_there(path: str) -> bool:
    """Tell whether there is such a file or folder; that a share is away for a moment does not mean there is none."""
    try:
        os.stat(path)
    except OSError as error:
        return not isinstance(error, FileNotFoundError | NotADirectoryError)
    return True


def at_once(path: str, flags: int) -> int:
    """Open a file for reading, as `open` wants its opener; do not wait where somebody put a pipe in its place."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def signature_of(path: str) -> tuple[int, int, int] | None:
    """Return what differs when a file has been replaced; None where there is none."""
    with suppress(FileNotFoundError):
        found = os.stat(path)
        return found.st_mtime_ns, found.st_size, found.st_ino
    return None


def make_folder(path: str) -> bool:
    """Make a folder whose parent is there; return whether it was not there before."""
    try:
        os.mkdir(path)
    except FileExistsError:
        return False
    return True


def remove(path: str) -> None:
    """Remove a file, if it is there."""
    with suppress(FileNotFoundError):
        os.unlink(path)
