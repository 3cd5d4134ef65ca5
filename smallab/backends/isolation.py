"""Runs specifications in a child process, so that what one of them does to its process costs no other.

The child is a fresh Python, with this process's environment, folder, modules, command line and flags. It leads a
process group of its own, which ends with it; and it ends with the process that started it.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from multiprocessing.connection import Connection, Pipe
from typing import Any

from smallab.backends.task import Task
from smallab.observation import Failure
from smallab.runner.execute import label_of, record_failure
from smallab.runner.outcome import Report
from smallab.running import Resource, Running
from smallab.storage.pickling import dumps

STARTS = 3  # a child that dies before it begins is not the specification's doing
CLOSE_SECONDS = 5.0  # for it to end in good order
TRACEBACK_SECONDS = 0.2  # between the child's telling where it is and its end

_START = (
    "import sys; from multiprocessing import connection as c; "
    "runner = getattr(c, 'PipeConnection', c.Connection)(int(sys.argv[1])); "
    "crash = int(sys.argv[2]) if sys.argv[2:] else None; "
    "sys.path[:], sys.argv[:] = runner.recv(); "
    "from smallab.backends.child import serve; serve(runner, crash)"
)


class ProcessDied(RuntimeError):  # noqa: N818  # it says what happened
    """The process that ran a specification died: of a signal, of ``os._exit``, of too little memory."""


class Isolated:
    """Runs a task's specifications, one at a time, in a child process that is replaced when it has died.

    Parameters
    ----------
    task
        What is run. Its experiment is only asked for labels here.
    resource
        What each of them holds; an int is also the child's graphics card.
    environment
        Variables that the child has besides this process's.
    arguments
        Its ``sys.argv``; where None, this process's.
    idle_seconds
        After how many seconds without anything to do the child ends by itself; never where None.
    """

    def __init__(
        self,
        task: Task,
        resource: Resource = None,
        environment: Mapping[str, str] | None = None,
        arguments: Sequence[str] | None = None,
        idle_seconds: float | None = None,
    ) -> None:
        self.resource = resource
        self._task, self._idle_seconds = task, idle_seconds
        self._arguments = sys.argv if arguments is None else arguments
        self._environment = {**(environment or {}), **_visible_card(resource)}
        self._child: _Child | None = None
        self._ended = False

    def __call__(self, text: str) -> Report:
        """Run the specification with this canonical JSON, as often as may be needed."""
        return self._task.tried(partial(self._attempt, text), lambda: self._ended)

    def end(self) -> None:
        """Start nothing more, and end at once what runs; called from another thread."""
        self._ended = True
        child = self._child  # `close` may take it away meanwhile
        if child:
            child.kill()

    def close(self) -> None:
        """Let the child end in good order, and wait for that."""
        if self._child:
            self._child.close()
            self._child = None

    def _attempt(self, text: str, attempt: int) -> Report:
        for _ in range(STARTS):
            if self._ended:
                return Report(text, text, "pending")
            child = self._child or self._started()
            if child.begins(text, attempt):
                return self._outcome(child, text, attempt)
            self.close()
        raise RuntimeError(f"{STARTS} processes died, one after the other, before they could begin with {text}")

    def _started(self) -> _Child:
        child = _Child(self._environment, self._arguments)
        self._child = child
        if self._ended:  # meanwhile
            child.kill()
        child.tell((os.getpid(), self.resource, self._idle_seconds))
        child.hand(dumps(self._task))
        problem = child.answer()
        if isinstance(problem, Failure):
            self.close()
            message = f"the experiment cannot be loaded in a process of its own: {problem.traceback}"
            raise RuntimeError(message)  # noqa: TRY004  # no argument's type is wrong
        return child

    def _outcome(self, child: _Child, text: str, attempt: int) -> Report:
        task, limit = self._task, self._task.limits.timeout
        running = Running(task.storage, task.run_id, text, attempt, self.resource)
        error: Exception | None = None
        try:
            report = child.answer(limit and limit + TRACEBACK_SECONDS)
        except TimeoutError:
            error = TimeoutError(f"it ran longer than timeout={limit} seconds; its process was killed")
            child.kill()
            report = child.answer()
        if isinstance(report, Report):
            return report
        metadata = running.metadata() | {"pid": child.pid}
        cause, where = child.end()
        self.close()
        if self._ended:
            return Report(text, text, "pending")
        label = label_of(task.experiment, text)
        if has_completed(task, text):  # it died between saving and answering
            return Report(text, label, "completed")
        return record_failure(task.storage, text, label, error or ProcessDied(cause), metadata, where)


def has_completed(task: Task, text: str) -> bool:
    """Tell whether a specification completed in this run, though its report was lost with the process that ran it."""
    return task.storage.completed_by(text) == task.run_id


class _Child:
    """A child process, seen from the one that started it."""

    def __init__(self, environment: Mapping[str, str], arguments: Sequence[str]) -> None:
        self._line, self._other_end = Pipe()
        self._crash = tempfile.TemporaryFile("a+b")  # noqa: SIM115  # closed in close(); it has no name to be left behind
        self._process = _start(self._other_end, self._crash.fileno(), environment)
        self.pid = self._process.pid
        self._waiter = threading.Thread(target=self._wait, daemon=True)
        self._waiter.start()
        self.tell(([str(entry) for entry in sys.path], list(arguments)))

    def _wait(self) -> None:
        self._process.wait()
        self.kill()  # what it started
        with suppress(OSError), self._other_end:  # what escaped from its group may hold that open for ever
            self._other_end.send(None)

    def tell(self, what: object) -> None:
        """Send it something; where it is dead, the answer will be that."""
        with suppress(OSError):
            self._line.send(what)

    def hand(self, data: bytes) -> None:
        """Send it bytes."""
        with suppress(OSError):
            self._line.send_bytes(data)

    def answer(self, timeout: float | None = None) -> Any:
        """Return what it says next, None where it has died; TimeoutError where nothing happens for so many seconds."""
        if timeout is not None and not self._line.poll(timeout):
            raise TimeoutError
        try:
            return self._line.recv()
        except (EOFError, OSError):
            return None

    def begins(self, text: str, attempt: int) -> bool:
        """Have it run a specification; tell whether it lived to begin."""
        self.tell((text, attempt))
        return self.answer() is not None

    def kill(self) -> None:
        """End it, and whatever it started."""
        if sys.platform == "win32":
            command = ["taskkill", "/F", "/T", "/PID", str(self.pid)]
            subprocess.run(command, check=False, capture_output=True)  # noqa: S603  # Windows has no groups
            return
        with suppress(ProcessLookupError, PermissionError):  # gone; macOS: nothing but zombies left
            os.killpg(self.pid, signal.SIGKILL)

    def end(self) -> tuple[str, str]:
        """Wait for its end; return in words how that was, and where in the code it was, as far as it could tell."""
        code = self._process.wait()
        self._crash.seek(0)
        told = self._crash.read().decode(errors="replace")
        threads = re.split(r"(?=^(?:Current thread|Thread) )", told, flags=re.MULTILINE)
        return _cause(code), "".join(thread for thread in threads if "in _end_with\n" not in thread)

    def close(self) -> None:
        """Let it go: it ends when it has nothing more to hear."""
        self._line.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(CLOSE_SECONDS)
        self.kill()
        self._waiter.join()
        self._crash.close()


def _start(line: Connection, crash: int, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    handle = line.fileno()
    command = [sys.executable, *_flags(), "-c", _START, str(handle)]
    variables = {**os.environ, **environment}
    if sys.platform == "win32":  # there nobody learns where it was
        os.set_handle_inheritable(handle, True)
        inherited = subprocess.STARTUPINFO(lpAttributeList={"handle_list": [handle]})
        group = subprocess.CREATE_NEW_PROCESS_GROUP
        return subprocess.Popen(  # noqa: S603  # this Python, with code of our own
            command, stdin=subprocess.DEVNULL, env=variables, startupinfo=inherited, creationflags=group
        )
    # A session of its own: Ctrl-C is its runner's business, and whatever it starts ends with it.
    return subprocess.Popen(  # noqa: S603  # this Python, with code of our own
        [*command, str(crash)],
        stdin=subprocess.DEVNULL,
        env=variables,
        pass_fds=[handle, crash],
        start_new_session=True,
    )


def _flags() -> list[str]:
    """Return the options that Python itself was started with."""
    flags: list[str] = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]  # noqa: SLF001  # as multiprocessing does
    options = sys._xoptions.items()  # noqa: SLF001  # of which that knows some only
    return [*flags, *(f"-X{name}" if value is True else f"-X{name}={value}" for name, value in options)]


def _visible_card(resource: Resource) -> dict[str, str]:
    """Return the variable that shows a process one graphics card: of those that this one sees, that of a place."""
    if not isinstance(resource, int):
        return {}
    cards = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    is_place = cards != [""] and 0 <= resource < len(cards)
    return {"CUDA_VISIBLE_DEVICES": cards[resource].strip() if is_place else str(resource)}


def _cause(code: int) -> str:
    """Say in words how a process ended."""
    if code >= 0:
        return f"the process that ran it ended with exit status {code}, in the middle (os._exit, or a native library)"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    hint = {
        "SIGKILL": " (often for want of memory: the kernel's log, or the cluster's, tells)",
        "SIGSEGV": " (an error in native code: where, is in the traceback)",
    }
    return f"the process that ran it was killed by {name}{hint.get(name, '')}"
