"""How an execution travels to other processes: by its names; the experiment waits in a file that they read once."""

from __future__ import annotations

import os
import threading
import time
from functools import cache, lru_cache
from weakref import WeakSet

from smallab.experiment_types.experiment import Experiment
from smallab.files import HOST, process_gone
from smallab.formats import Format, format_named
from smallab.storage.pickling import dumps, load
from smallab.runner.execute import Execution, Limits
from smallab.storage import Storage


def packed(execution: Execution) -> bytes:
    """Pickle an experiment for workers in other processes; TypeError where that cannot be done."""
    experiment = execution.experiment
    try:
        return dumps((execution.storage.format, experiment))
    except Exception as error:  # whatever pickling its attributes raises
        raise TypeError(
            f"{type(experiment).__name__} cannot be pickled, and workers in other processes need it: {error}. "
            "Run it in threads, define its class in a module, or make what cannot be pickled in main"
        ) from error


@lru_cache(maxsize=1)
def _load_experiment(path: str) -> tuple[Format, Experiment]:
    if not os.path.exists(path):
        raise FileNotFoundError(f"{path} is not on {HOST}: every worker must see the batch's folder, by that name")
    with open(path, "rb") as file:
        format, experiment = load(file)
    return format_named(format), experiment


class _RunnerGone(threading.Event):
    """The stop sign in another process: a worker whose runner was killed starts nothing more."""

    def __init__(self, host: str, pid: int) -> None:
        super().__init__()
        self._host, self._pid = host, pid

    def is_set(self) -> bool:
        """Tell whether the runner is gone, or this process was interrupted."""
        return super().is_set() or process_gone(self._host, self._pid)


_arrived: WeakSet[Execution] = WeakSet()


@cache
def _end_with_its_runner(host: str, pid: int) -> None:
    """End this process, once it has nothing in hand, when the runner that started it is gone.

    loky's workers would else wait five minutes for more to do, with all the memory and graphics cards that they hold.
    """

    def watch() -> None:
        while not process_gone(host, pid) or any(execution.running for execution in list(_arrived)):
            time.sleep(1)
        os._exit(0)

    if pid == os.getppid():
        threading.Thread(target=watch, name="smallab watches its runner", daemon=True).start()


@lru_cache(maxsize=8)
def arrive(kind: type[Execution], root: str, name: str, run_id: str, path: str, limits: Limits) -> Execution:
    """Return an execution that has come to this process: the experiment is read here, once."""
    format, experiment = _load_experiment(path)
    execution = kind(Storage(root, name, run_id, format), experiment, limits)
    execution.path = path
    host, pid = os.path.basename(path).split(".")[1:3]
    execution.stopped = _RunnerGone(host, int(pid))
    _arrived.add(execution)
    _end_with_its_runner(host, int(pid))
    return execution
