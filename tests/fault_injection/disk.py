"""Every operation that changes the disk, counted, and the process killed at the k-th."""

import builtins
import os
import signal
from collections import Counter
from collections.abc import Callable
from functools import partial

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
CHANGING = (
    "mkdir", "rmdir", "unlink", "remove", "replace", "rename", "link", "symlink", "utime", "truncate", "chmod", "chown",
)  # fmt: skip


class Injector:
    """Stands in for the functions of `os` that change the disk below a folder.

    Parameters
    ----------
    folder
        What is elsewhere is not counted.
    kill_at
        At which operation to die; 0 is never. Each counts once, and a write twice: to die before it, and half-way.
    on
        Called with each operation's name and path.
    """

    def __init__(self, folder, kill_at: int = 0, on: Callable[[str, str], object] = lambda name, path: None):
        self.folder, self.kill_at, self.on = str(folder), kill_at, on
        self.points = 0
        self.counts: Counter[str] = Counter()
        self.open_files: dict[int, str] = {}
        self.original = {name: getattr(os, name) for name in (*CHANGING, "open", "write", "close", "fsync", "sync")}

    def install(self) -> None:
        for name in CHANGING:
            setattr(os, name, partial(self._change, name))
        for name in ("open", "write", "close", "fsync", "sync"):
            setattr(os, name, getattr(self, f"_{name}"))
        self._plain_open = builtins.open
        builtins.open = self._builtin_open

    def _point(self, name: str, path: str) -> bool:
        """Count a place to die at; tell whether it is the one."""
        self.points += 1
        self.counts[name] += 1
        self.on(name, path)
        return self.points == self.kill_at

    def _die(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def _ours(self, path: object) -> bool:
        return str(path).startswith(self.folder)

    def _change(self, name, path, *arguments, **options):
        if self._ours(path) and self._point(name, str(path)):
            self._die()
        return self.original[name](path, *arguments, **options)

    def _open(self, path, flags, *arguments, **options):
        if not (flags & WRITING and self._ours(path)):
            return self.original["open"](path, flags, *arguments, **options)
        if self._point("open", str(path)):
            self._die()
        descriptor = self.original["open"](path, flags, *arguments, **options)
        self.open_files[descriptor] = str(path)
        return descriptor

    def _write(self, descriptor, data):
        if descriptor in self.open_files:
            if self._point("write", self.open_files[descriptor]):
                self._die()
            if len(data) > 1 and self._point("half a write", self.open_files[descriptor]):
                self.original["write"](descriptor, bytes(data)[: len(data) // 2])
                self._die()
        return self.original["write"](descriptor, data)

    def _close(self, descriptor):
        if descriptor in self.open_files and self._point("close", self.open_files.pop(descriptor)):
            self._die()
        self.original["close"](descriptor)

    def _fsync(self, descriptor):  # nobody cuts the power here, so nothing needs to wait for the disk
        if self._point("fsync", ""):
            self._die()

    def _sync(self):
        if self._point("sync", ""):
            self._die()

    def _builtin_open(self, file, mode="r", *arguments, **options):
        if not (self._ours(file) and set(mode) & set("wax+")):
            return self._plain_open(file, mode, *arguments, **options)
        assert "b" in mode, f"{file} is opened for writing in a way that is not counted"
        flags = {"r": os.O_RDWR, "w": os.O_RDWR | os.O_CREAT | os.O_TRUNC, "x": os.O_RDWR | os.O_CREAT | os.O_EXCL}
        return _File(self._open(file, flags[mode[0]], 0o666))


class _File:
    """A file that was opened with the built-in open, written to through the counted functions."""

    def __init__(self, descriptor):
        self._descriptor = descriptor

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        os.close(self._descriptor)

    def write(self, data):
        return os.write(self._descriptor, data)

    def flush(self):
        pass

    def fileno(self):
        return self._descriptor
