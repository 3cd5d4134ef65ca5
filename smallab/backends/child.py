"""What a child process does: it runs what it is sent, one specification at a time, until its runner is gone."""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from typing import BinaryIO

from smallab.backends.task import Task
from smallab.runner.outcome import Report
from smallab.running import Resource
from smallab.storage.exceptions import failure_of
from smallab.storage.pickling import loads

_WATCH_SECONDS = 0.5


def serve(runner: Connection, crash: int | None) -> None:
    """Be the child: take in the task, then run specifications until there are no more.

    Parameters
    ----------
    runner
        The line to the process that started this one, here called its runner.
    crash
        The descriptor of the file that is to tell where the code was, should this process not live to tell.
    """
    multiprocessing.current_process().name = "smallab worker"  # so that whoever asks knows that it is one
    with suppress(EOFError, OSError):  # nobody is left to tell
        pid, resource, idle_seconds = runner.recv()
        threading.Thread(target=_end_with, args=(pid,), daemon=True).start()
        try:
            task = loads(runner.recv_bytes())
        except Exception as error:  # noqa: BLE001  # whatever importing the experiment's modules raises
            runner.send(failure_of(error))
            return
        runner.send(True)
        with open(os.devnull if crash is None else crash, "ab", buffering=0) as where:
            faulthandler.enable(where)
            try:
                _run(task, runner, resource, idle_seconds, where)
            finally:
                faulthandler.disable()


def _run(task: Task, runner: Connection, resource: Resource, idle_seconds: float | None, where: BinaryIO) -> None:
    while idle_seconds is None or runner.poll(idle_seconds):
        text, attempt = runner.recv()
        runner.send(True)  # it begins
        where.truncate(0)
        runner.send(_report(task, text, attempt, resource, where))


def _report(task: Task, text: str, attempt: int, resource: Resource, where: BinaryIO) -> Report:
    if task.limits.timeout:
        faulthandler.dump_traceback_later(task.limits.timeout, file=where)  # also where the GIL is held
    try:
        return task.attempt(text, attempt, resource)
    except KeyboardInterrupt:
        return Report(text, text, "pending")
    finally:
        faulthandler.cancel_dump_traceback_later()


def _end_with(runner: int) -> None:
    """End this process at once, with all that it started, when its runner is gone.

    The line would tell, too, but not where a fork of the runner's still holds its other end.
    """
    if sys.platform == "win32":
        import _winapi

        wait([_winapi.OpenProcess(_winapi.SYNCHRONIZE, False, runner)])
        os._exit(1)
    while os.getppid() == runner:
        time.sleep(_WATCH_SECONDS)
    os.killpg(0, signal.SIGKILL)
