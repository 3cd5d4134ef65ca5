"""A call of an experiment in a process of its own, wherever its function was defined."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from typing import Any

from joblib.externals.loky.backend.process import LokyProcess

from smallab.storage.pickling import dumps, loads


class NewProcess(LokyProcess, multiprocessing.Process):  # type: ignore[misc]  # joblib has no types
    """A fresh interpreter, as with multiprocessing's "spawn", that does not import the script that started it.

    So nobody needs ``if __name__ == "__main__"``; what it runs comes along with cloudpickle.
    """


def start(function: Callable[..., Any], *arguments: Any) -> multiprocessing.Process:
    """Call a function in a new process, in the same folder; return the process, which has been started.

    An exception is printed there, on stderr, and the process's ``exitcode`` is 1.
    """
    task = dumps((function, arguments))
    process = NewProcess(target=_run, args=(task,))
    process.start()
    return process


def _run(task: bytes) -> None:
    function, arguments = loads(task)
    function(*arguments)
