"""What runs in the workers of a cluster: they lend a run's specifications child processes that are the run's own.

So a specification cannot kill a cluster's worker, which may have others in hand and has nobody to start it again; and
what runs is the code as it is today, however long the worker has been there.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any

from smallab.backends.isolation import Isolated, has_completed
from smallab.backends.task import Task
from smallab.experiment_types.experiment import Experiment
from smallab.runner.outcome import Report
from smallab.running import Resource
from smallab.specification import Specification
from smallab.storage.pickling import dumps, loads

IDLE_SECONDS = 10.0  # how long a child waits for more: it may hold a graphics card's memory


class _Packed(Experiment):
    """Stands in for an experiment where that is only passed on: it is unpacked in the child alone."""

    def main(self, specification: Specification) -> Any:
        """Raise an error: this is no experiment."""
        raise NotImplementedError


def packed(task: Task) -> bytes:
    """Return what the workers of a cluster need to know of a task, to make `Children` of."""
    return dumps((task.storage, task.run_id, task.packed, task.limits, sys.argv))


class Children:
    """The child processes that a worker of a cluster has for one run; each runs one specification at a time.

    Parameters
    ----------
    data
        What `packed` made of the run's task.
    """

    def __init__(self, data: bytes) -> None:
        storage, run_id, experiment, limits, self._arguments = loads(data)
        self._task = Task(storage, run_id, _Packed(), limits, experiment)
        self._lock = threading.Lock()
        self._busy: list[Isolated] = []
        self._idle: list[Isolated] = []
        self._ended = False

    def run(self, text: str, resource: Resource = None) -> Report:
        """Run a specification in a child; only tell what came of it where it is a cluster's second try."""
        if has_completed(self._task, text):
            return Report(text, text, "completed")
        child = self._lent(resource)
        try:
            return child(text)
        finally:
            self._give_back(child)

    def _lent(self, resource: Resource) -> Isolated:
        with self._lock:
            fitting = (child for child in self._idle if child.resource == resource)
            child = next(fitting, None) or Isolated(self._task, resource, None, self._arguments, IDLE_SECONDS)
            if child in self._idle:
                self._idle.remove(child)
            if self._ended:
                child.end()
            self._busy.append(child)
            return child

    def _give_back(self, child: Isolated) -> None:
        with self._lock:
            self._busy.remove(child)
            if not self._ended:
                self._idle.append(child)
                return
        child.close()

    def end(self) -> None:
        """Let go of those who have nothing to do, and end the others at once: the run is over."""
        with self._lock:
            self._ended = True
            idle, self._idle = self._idle, []
            for child in self._busy:
                child.end()
        for child in idle:
            child.close()


_children: dict[str, Children] = {}
_lock = threading.Lock()


def children_of(run_id: str, data: Callable[[], bytes]) -> Children:
    """Return this process's children for a run; those of others, which are over, are let go.

    Parameters
    ----------
    run_id
        The run.
    data
        Returns what `packed` made of its task.
    """
    with _lock:
        if run_id not in _children:
            for other in _children.values():
                other.end()
            _children.clear()
            _children[run_id] = Children(data())
        return _children[run_id]


def run_apart(run_id: str, data: bytes, text: str) -> Report:
    """Run a specification in a child process of this one."""
    return children_of(run_id, lambda: data).run(text)
