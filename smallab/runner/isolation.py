"""Runs specifications apart, in child processes of their own: what one of them does to its process costs no other.

A worker keeps its child for the next specification, so that a process is started only after one was killed. The child
belongs to a process group of its own and dies with its worker.
"""

from __future__ import annotations

import faulthandler
import json
import os
import pickle
import queue
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, BinaryIO

from smallab.metadata import Metadata
from smallab.observation import Failure
from smallab.runner.execute import Execution, name_of
from smallab.runner.report import Report
from smallab.runner.resources import held
from smallab.specification import digest
from smallab.storage import Storage

STARTS = 3  # a child that dies before it begins is not the specification's doing
IDLE_SECONDS = 10.0  # how long a child waits for more: it may hold a graphics card's memory
CLOSE_SECONDS = 5.0  # for it to end in good order
TRACEBACK_SECONDS = 0.2  # between the child's telling where it is and its end

_START = "import sys, json; sys.path[:] = json.loads(sys.argv[1]); import smallab.runner.isolation as it; it.serve()"


class ProcessDied(RuntimeError):  # noqa: N818  # it says what happened
    """The process that ran a specification died: of a signal, of ``os._exit``, of too little memory."""


class Isolated(Execution):
    """Runs each specification in a child process; what this run finished before its pool broke is only told."""

    def __call__(self, text: str) -> Report:
        """Run the specification with this canonical JSON."""
        return ended(self, text) or super().__call__(text)

    def attempt(self, text: str) -> Report:
        """Run it once, in a child; end that when the time is up."""
        for _ in range(STARTS):
            with held(self.storage, self.limits.resources, _at_hand(self)) as resource, _lent(self, resource) as child:
                if report := child.run(self, text):
                    return report
        raise RuntimeError(f"{STARTS} processes died, one after the other, before they could begin with {text}")


def ended(execution: Execution, text: str) -> Report | None:
    """Return how a specification ended in this run, if it did and the report was lost with its worker."""
    if completed(execution.storage, text):
        return Report(text, name_of(execution.experiment, text), "completed")
    failed = execution.storage.load_failure(text) if _failed(execution, text) else None
    return Report(text, name_of(execution.experiment, text), "failed", failed.failure) if failed else None


def completed(storage: Storage, text: str) -> bool:
    """Tell whether this run completed a specification; journal it, in case its worker died before it could."""
    id = digest(text)
    metadata = _details(f"{storage.folder_of(id)}/metadata.json")
    if metadata.get("run_id") != storage.run_id or not storage.whole(id):
        return False
    storage.tell("completed", id, text, f'"size":{metadata["size"]},"digest":"{metadata["digest"]}",')
    return True


def _failed(execution: Execution, text: str) -> bool:
    """Tell whether this run failed a specification for good; with retries, nobody knows, and it runs again."""
    details = _details(f"{execution.storage.folder_of(digest(text))}/failure.json")
    return details.get("run_id") == execution.storage.run_id and not execution.limits.retries


def _details(path: str) -> Metadata | dict[str, Any]:
    return Metadata(path) if os.path.exists(path) else {}


class _Child:
    """A process of its own, seen from the worker that started it."""

    def __init__(self, execution: Execution, resource: Any) -> None:
        self.key = (execution.path, execution.limits, resource)
        self.timer: threading.Timer | None = None
        self._answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._crash = tempfile.TemporaryFile("a+b")  # noqa: SIM115  # closed in close(); it has no name to be left behind
        inherited = [] if os.name == "nt" else [self._crash.fileno()]  # on Windows nobody learns where it was
        visible = {"CUDA_VISIBLE_DEVICES": str(resource)} if isinstance(resource, int) else {}
        options = [f"-W{option}" for option in sys.warnoptions]
        self.process = subprocess.Popen(  # noqa: S603  # this Python, with code of our own
            [sys.executable, *options, "-c", _START, json.dumps(sys.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **visible},
            pass_fds=inherited,
            start_new_session=True,  # Ctrl-C is its worker's business; and whatever it starts ends with it
        )
        self._requests: Any = self.process.stdin
        self._reports: Any = self.process.stdout
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        threading.Thread(target=self._wait, daemon=True).start()
        self._send((Execution.of(execution), resource, *inherited))

    def _listen(self) -> None:
        with suppress(EOFError, OSError, ValueError, pickle.UnpicklingError):  # however a process may end
            while True:
                self._answers.put(pickle.load(self._reports))  # noqa: S301  # our own child's

    def _wait(self) -> None:
        self.process.wait()
        self.kill()  # what it started
        self._listener.join(1)  # what escaped from its group may hold the pipe for ever
        self._answers.put(None)

    def _send(self, what: object) -> None:
        with suppress(OSError):  # it is dead: that is what the answer will be
            pickle.dump(what, self._requests)
            self._requests.flush()

    def run(self, execution: Execution, text: str) -> Report | None:
        """Have it run a specification, once; return its report, or that of its death, if it had begun."""
        running = execution.begun(text)
        self._send(text)
        begun = self._answers.get()
        if begun is None:
            return None
        if begun is not True:
            raise RuntimeError(f"the experiment cannot be loaded in a process of its own: {begun.traceback}")
        limit = execution.limits.timeout
        error: BaseException | None = None
        try:
            answer = self._answers.get(timeout=limit and limit + TRACEBACK_SECONDS)
        except queue.Empty:
            self.kill()
            answer = self._answers.get()
            error = TimeoutError(f"it ran longer than timeout={limit} seconds; its process was killed")
        if answer:
            report: Report = answer
            return report
        self.process.wait()
        if completed(execution.storage, text):  # it died between saving and answering
            return Report(text, name_of(execution.experiment, text), "completed")
        error = error or ProcessDied(_cause(self.process.returncode))
        return execution.failed(running, error, running.metadata() | {"pid": self.process.pid}, self._where())

    def _where(self) -> str:
        """Return where in the code it was, as far as it could tell."""
        self._crash.seek(0)
        text = self._crash.read().decode(errors="replace")
        threads = re.split(r"(?=^(?:Current thread|Thread) )", text, flags=re.MULTILINE)
        return "".join(thread for thread in threads if "in _hear\n" not in thread)

    def kill(self) -> None:
        """End it, and whatever it started."""
        if os.name == "nt":
            subprocess.run(["taskkill", "/F", "/T", "/PID", str(self.process.pid)], check=False, capture_output=True)  # noqa: S603, S607  # Windows has no groups
        else:
            with suppress(ProcessLookupError, PermissionError):  # gone; macOS: nothing but zombies left
                os.killpg(self.process.pid, signal.SIGKILL)

    def close(self) -> None:
        """Let it go: it ends when it has nothing more to hear."""
        with suppress(OSError):
            self._requests.close()
        self._listener.join(CLOSE_SECONDS)
        self.kill()
        self.process.wait()
        with suppress(OSError):
            self._reports.close()
        self._crash.close()


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


_idle: list[_Child] = []
_idle_lock = threading.Lock()


def _at_hand(execution: Execution) -> list[Any]:
    """Return the resources for which this process has a child waiting."""
    return [child.key[2] for child in _idle if child.key[:2] == (execution.path, execution.limits)]


@contextmanager
def _lent(execution: Execution, resource: Any) -> Iterator[_Child]:
    """Lend a child that has nothing to do, or a new one."""
    key = (execution.path, execution.limits, resource)
    with _idle_lock:
        child = next((child for child in _idle if child.key == key), None)
        if child:
            _idle.remove(child)
    if child and child.timer:
        child.timer.cancel()
    if child and child.process.poll() is not None:  # killed meanwhile
        child.close()
        child = None
    child = child or _Child(execution, resource)
    try:
        yield child
    except BaseException:  # Ctrl-C, or it cannot load the experiment
        child.kill()
        child.close()
        raise
    if child.process.poll() is None:
        child.timer = threading.Timer(IDLE_SECONDS, _retire, [child])
        child.timer.daemon = True
        with _idle_lock:
            _idle.append(child)
        child.timer.start()
    else:
        child.close()


def _retire(child: _Child) -> None:
    with _idle_lock:
        if child not in _idle:
            return
        _idle.remove(child)
    child.close()


def retire_all() -> None:
    """Let go of this process's idle children: its run is over."""
    with _idle_lock:
        children = [*_idle]
        _idle.clear()
    for child in children:
        if child.timer:
            child.timer.cancel()
        child.close()


def serve() -> None:
    """Be the child: run what comes in, one at a time, until the worker is gone."""
    requests, answers = _streams()
    with requests, answers:
        try:
            execution, resource, *inherited = pickle.load(requests)  # noqa: S301  # our own worker's
        except Exception as error:  # noqa: BLE001  # whatever importing the experiment's modules raises
            _answer(answers, Failure.of(error))
            return
        texts: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        busy = threading.Event()
        listener = threading.Thread(target=_hear, args=(requests, texts, busy), daemon=True)
        listener.start()
        with open(inherited[0] if inherited else os.devnull, "ab", buffering=0) as where:
            faulthandler.enable(where)
            while (text := texts.get()) is not None:
                busy.set()
                _answer(answers, True)  # it begins
                where.truncate(0)
                if execution.limits.timeout:
                    faulthandler.dump_traceback_later(execution.limits.timeout, file=where)  # even if the GIL is held
                report = execution.main(text, resource)
                faulthandler.cancel_dump_traceback_later()
                busy.clear()
                _answer(answers, report)
            faulthandler.disable()
        listener.join()


def _streams() -> tuple[BinaryIO, BinaryIO]:
    """Take both pipes for ourselves: what an experiment prints goes to stderr, and it has nothing to read."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return requests, answers


def _answer(answers: BinaryIO, what: Report | Failure | bool) -> None:
    pickle.dump(what, answers)
    answers.flush()


def _hear(requests: BinaryIO, texts: queue.SimpleQueue[str | None], busy: threading.Event) -> None:
    """Take in what is to run; when the worker is gone, end: at once, with all that was started, if busy."""
    with suppress(EOFError, OSError, pickle.UnpicklingError):
        while True:
            texts.put(pickle.load(requests))  # noqa: S301  # our own worker's
    if busy.is_set() and os.name != "nt":
        os.killpg(0, signal.SIGKILL)
    elif busy.is_set():
        os._exit(1)
    texts.put(None)
