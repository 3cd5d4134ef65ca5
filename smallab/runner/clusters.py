"""Clusters as joblib backends: one task at a time goes out, and its report comes back the moment it exists.

joblib's own backend for Dask waits for ever where a task is lost (it tells nobody that a future failed), makes no use
of workers that join later, and where there is only one runs in the client; Ray's cannot stream. So these take their
place, with what those were configured with.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from joblib.parallel import ParallelBackendBase

from smallab.files import HOST, entries, write
from smallab.runner.execute import Execution
from smallab.runner.isolation import Isolated, ProcessDied, ended
from smallab.runner.report import Report
from smallab.specification import digest

_log = logging.getLogger("smallab")

LOSSES = 4  # of workers, until the specification that each of them ran is taken for the cause
SILENCE_SECONDS = 5.0  # until it is asked whether there are workers at all
IN_FLIGHT = 1000  # at the least: workers may join while all that was sent is running


class Watched(Execution):
    """Runs specifications in the worker, and apart where one's earlier worker did not live to see the end of it.

    A file in the specification's folder says that it has begun; it ends in .tmp, as all that a killed process may
    leave behind.
    """

    def __call__(self, text: str) -> Report:
        """Run the specification with this canonical JSON."""
        folder, run_id = self.storage.folder_of(digest(text)), self.storage.run_id
        begun = [name for name in entries(folder) if name.startswith(f"{run_id}.") and name.endswith(".tmp")]
        if begun:
            report = Isolated.of(self)(text)
            for name in begun:
                with suppress(FileNotFoundError):
                    os.unlink(f"{folder}/{name}")
            return report
        if report := ended(self, text):  # type: ignore[assignment]  # its worker died before the report was fetched
            return report
        mine = f"{folder}/{run_id}.{HOST}.{os.getpid()}.begun.tmp"
        with suppress(FileExistsError):
            os.mkdir(folder)
        with suppress(FileExistsError):
            write(mine, b"")
        report = super().__call__(text)
        with suppress(FileNotFoundError):
            os.unlink(mine)
        return report


class _Cluster(ParallelBackendBase):  # type: ignore[misc]  # joblib ships no types
    """What clusters have in common: `_send` hands out one task and returns its future."""

    supports_retrieve_callback = True
    supports_sharedmem = False
    way: type[Execution] = Execution

    def __init__(self, lost: tuple[type[BaseException], ...]) -> None:
        super().__init__(nesting_level=0)
        self._lost = lost  # what says that a task's worker died, and that the cluster will not try again
        self._losses: dict[str, int] = {}
        self._sent: dict[Any, tuple[Execution, str, Callable[[Any], object]]] = {}
        self._done: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def cores(self) -> int:
        """Return how many specifications the cluster can run at once, now."""
        raise NotImplementedError

    def options(self, num_parallel: int | None) -> dict[str, Any]:
        """Return what joblib is to do: how many tasks are under way at a time."""
        limited = num_parallel is not None and num_parallel > 0
        return {"pre_dispatch": num_parallel if limited else max(IN_FLIGHT, 2 * self.cores())}

    def effective_n_jobs(self, n_jobs: int) -> int:  # noqa: ARG002  # joblib's signature
        """Return at least 2: one job joblib would run right here."""
        return max(2, self.cores())

    def configure(self, n_jobs: int = 1, parallel: Any = None, **_: Any) -> int:
        """Take joblib's settings."""
        self.parallel = parallel
        threading.Thread(target=self._collect, name="smallab collects", daemon=True).start()
        return self.effective_n_jobs(n_jobs)

    def submit(self, func: Any, callback: Callable[[Any], object]) -> None:
        """Send a task; the callback is called when it has ended, however that was."""
        ((execution, (text,), _),) = func.items
        self._submit(execution, text, callback)

    def _submit(self, execution: Execution, text: str, callback: Callable[[Any], object]) -> None:
        try:
            future = self._send(execution, text)
            self._sent[future] = execution, text, callback
            future.add_done_callback(self._done.put)
        except Exception as error:  # noqa: BLE001  # the cluster is gone; nobody hears what is raised where joblib calls
            callback(error)

    def _collect(self) -> None:
        """Hand on what has ended, all that has at a time, until told to stop."""
        said = False
        while True:
            try:
                batch = [self._done.get(timeout=SILENCE_SECONDS)]
            except queue.Empty:
                with suppress(Exception):  # the scheduler does not answer: if it is gone, the futures will tell
                    if self._sent and not said and not self.cores():
                        said = True
                        _log.warning("the cluster has no workers: what was sent to it waits for one to join")
                continue
            while not self._done.empty():
                batch.append(self._done.get())
            ended = [future for future in batch if future in self._sent]
            self._fetch(ended)
            for future in ended:
                if sent := self._sent.pop(future, None):
                    self._ended(future, *sent)
            if None in batch:
                return

    def terminate(self) -> None:
        """Stop collecting: the batch is over."""
        self._done.put(None)

    def _fetch(self, futures: list[Any]) -> None:
        """Get the results of all of them in one go, where the cluster can."""

    def _ended(self, future: Any, execution: Execution, text: str, callback: Callable[[Any], object]) -> None:
        """Hand on a task's report, or what went wrong, which joblib raises; give one whose worker died a second try."""
        outcome: Report | BaseException
        try:
            outcome = self._result(future)
        except self._lost as error:
            lost = self._losses[text] = self._losses.get(text, 0) + 1
            if lost <= LOSSES:  # apart it cannot kill its worker: one beside it did
                _log.info("a worker died running %s (%s): it runs again, in a process of its own", text, error)
                self._submit(Isolated.of(execution), text, callback)
                return
            outcome = _died_again(execution, text, error)
        except BaseException as error:  # noqa: BLE001  # joblib raises it where the report would have been taken
            outcome = error
        callback(outcome)

    def retrieve_result_callback(self, outcome: Report | BaseException) -> list[Report]:
        """Return a task's reports, as joblib asks for them."""
        if isinstance(outcome, Report):
            return [outcome]
        raise outcome

    def abort_everything(self, ensure_ready: bool = True) -> None:  # noqa: ARG002  # joblib's signature
        """Take back what has not begun."""
        futures = list(self._sent)
        self._sent.clear()
        self._cancel(futures)

    def _send(self, execution: Execution, text: str) -> Any:
        raise NotImplementedError

    def _result(self, future: Any) -> Report:
        report: Report = future.result()
        return report

    def _cancel(self, futures: list[Any]) -> None:
        raise NotImplementedError


class Dask(_Cluster):
    """Futures of a `dask.distributed.Client`.

    Parameters
    ----------
    like
        joblib's own backend for Dask: whose client, and with what options.
    """

    way = Watched

    def __init__(self, like: Any) -> None:
        from distributed import KilledWorker

        super().__init__((KilledWorker,))
        self._client, self._options = like.client, like.submit_kwargs
        self._fetched: dict[Any, Report] = {}

    def cores(self) -> int:
        """Return how many specifications the cluster can run at once, now."""
        return sum(self._client.ncores().values())

    def _send(self, execution: Execution, text: str) -> Any:
        # A new key for each try: to one that it knows, the client returns the old future, with the old failure.
        key = f"{type(execution).__name__}-{execution.storage.run_id}-{digest(text)}-{self._losses.get(text, 0)}"
        return self._client.submit(execution, text, key=key, pure=False, **self._options)

    def _fetch(self, futures: list[Any]) -> None:
        finished = [future for future in futures if future.status == "finished"]
        with suppress(Exception):  # one of them is lost again: each tells for itself
            self._fetched.update(zip(finished, self._client.gather(finished), strict=True))

    def _result(self, future: Any) -> Report:
        if future in self._fetched:
            return self._fetched.pop(future)
        if future.cancelled():
            raise ConnectionError(
                "the Dask scheduler is gone, or took back what it was sent; what finished is saved, run it again"
            )
        return super()._result(future)

    def _cancel(self, futures: list[Any]) -> None:
        if futures and self._client.status == "running":
            self._client.cancel(futures)


class Ray(_Cluster):
    """Ray's tasks, each in a worker process that has no other meanwhile.

    Parameters
    ----------
    like
        Ray's own backend for joblib, where that is configured: with what options.
    """

    def __init__(self, like: Any = None) -> None:
        try:
            import ray
        except ImportError:
            raise ModuleNotFoundError('backend="ray" needs Ray: pip install "smallab[ray]"') from None
        errors = ray.exceptions
        super().__init__((errors.WorkerCrashedError, errors.OutOfMemoryError, errors.NodeDiedError))
        if not ray.is_initialized():
            ray.init()
        self._ray = ray
        self._task = ray.remote(**(getattr(like, "ray_remote_args", None) or {}), max_retries=0)(_call)
        self._references: dict[Any, Any] = {}

    def cores(self) -> int:
        """Return how many specifications the cluster can run at once, now."""
        return int(self._ray.cluster_resources().get("CPU", 1))

    def _send(self, execution: Execution, text: str) -> Any:
        reference = self._task.remote(execution, text)
        future = reference.future()
        self._references[future] = reference
        return future

    def _result(self, future: Any) -> Report:
        self._references.pop(future, None)
        return super()._result(future)

    def _cancel(self, futures: list[Any]) -> None:
        for reference in filter(None, (self._references.pop(future, None) for future in futures)):
            self._ray.cancel(reference)


def _died_again(execution: Execution, text: str, error: BaseException) -> Report | BaseException:
    died = ProcessDied(f"the workers that ran it died, {LOSSES + 1} times: {error}")
    try:
        return execution.failed(execution.begun(text), died, {"run_id": execution.storage.run_id})
    except Exception as unsaved:  # noqa: BLE001  # whatever it is, this thread must live to tell
        return unsaved


def _call(execution: Execution, text: str) -> Report:
    return execution(text)
