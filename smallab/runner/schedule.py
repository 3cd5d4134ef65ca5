"""How a batch is spread over threads, processes and clusters, through joblib, and what happens when a pool breaks."""

from __future__ import annotations

import itertools
import logging
import warnings
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import BrokenExecutor
from typing import Any

from smallab.experiment_types.overlapping_output_experiment import OverlappingOutputCheckpointedExperiment
from smallab.journal import Journal
from smallab.runner.execute import Execution, Limits
from smallab.runner.report import Report
from smallab.runner.resources import free

_log = logging.getLogger("smallab")

BREAKS_IN_VAIN = 3  # pools that broke one after the other before anything ended: then the machine is to blame


class Schedule:
    """Where specifications run, and how many at once.

    Parameters
    ----------
    num_parallel, backend
        As joblib's ``n_jobs`` and ``backend``. Threads are the default, but a surrounding ``parallel_config`` wins.
    limits
        What holds for every specification.

    Raises
    ------
    ValueError, TypeError
        They do not go together, or make no sense.
    """

    def __init__(self, num_parallel: int | None, backend: Any, limits: Limits) -> None:
        from joblib.parallel import get_active_backend

        if num_parallel is None:
            num_parallel = get_active_backend()[1]  # with prefer=, joblib forgets the context's
        if limits.resources and (num_parallel is None or num_parallel < 0 or num_parallel > len(limits.resources)):
            num_parallel = len(limits.resources)
        self.limits = limits
        self.options: dict[str, Any] = _options(num_parallel, backend)
        self.processes = not getattr(self.options["backend"], "supports_sharedmem", False)  # joblib's word for threads
        if limits.timeout is not None and not self.processes:
            raise ValueError(
                'timeout= needs a process to end, and a thread cannot be ended: say backend="loky", or another with '
                "processes"
            )

    def reports(self, execution: Execution, pending: Iterable[str]) -> Generator[Report, None, None]:
        """Yield the workers' reports as they come."""
        if not self.processes:
            yield from self._run(execution, pending)
            return
        from smallab.runner.isolation import Isolated, retire_all

        way, waiting, in_vain = self._way(execution), dict.fromkeys(pending), 0
        try:
            while waiting:
                try:
                    for report in self._run(way, list(waiting)):
                        waiting.pop(report.text, None)
                        in_vain = 0
                        yield report
                    break
                except BrokenExecutor as error:
                    in_vain += 1
                    if execution.stopped.is_set() or in_vain > BREAKS_IN_VAIN:
                        raise
                    _log.warning(
                        "%s: a worker died, and joblib ended those beside it (%s). What they had in hand runs again, "
                        "and from now on each specification in a process of its own",
                        execution.storage.folder,
                        str(error).partition("\n")[0],
                    )
                    way = Isolated.of(execution)
        finally:
            retire_all()
            free(execution.storage, self.limits.resources)
        if isinstance(execution.experiment, OverlappingOutputCheckpointedExperiment):
            run = execution.storage.run_id  # parts whose report died with a worker
            Journal(execution.storage).fold(read={run})

    def _way(self, execution: Execution) -> Execution:
        """Return how one specification runs on this backend, such that it can kill no more than itself."""
        from smallab.runner.isolation import Isolated

        backend = self.options["backend"]
        in_pool = type(backend).__name__ == "LokyBackend" and backend.effective_n_jobs(self.options["n_jobs"]) > 1
        if self.limits.timeout is None and not self.limits.resources:
            if in_pool:
                return execution
            if hasattr(backend, "way"):
                return backend.way.of(execution)  # type: ignore[no-any-return]
        return Isolated.of(execution)

    def _run(self, execution: Execution, pending: Iterable[str]) -> Iterator[Report]:
        import joblib

        task, stopped, produced = joblib.delayed(execution), execution.stopped, set[str]()
        wanted = itertools.takewhile(lambda _: not stopped.is_set(), (text for text in pending if text not in produced))
        reports = joblib.Parallel(**self.options)(task(text) for text in wanted)
        try:
            for report in reports:
                produced.update(report.parts)
                yield from (Report(part, part, "completed") for part in report.parts)
                yield report
        finally:
            if hasattr(reports, "close"):
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # joblib's, that tasks were cancelled: they were meant to be
                    reports.close()


def check_options(num_parallel: object, retries: object, timeout: object, resources: object) -> Limits:
    """Return what holds for every specification; ValueError or TypeError where an option of ``run`` makes no sense."""
    if num_parallel is not None and (isinstance(num_parallel, bool) or not isinstance(num_parallel, int)):
        raise TypeError(f"num_parallel is {num_parallel!r}; it is a whole number, or None")
    if num_parallel == 0:
        raise ValueError("num_parallel is 0: nothing would run; None or 1 is one at a time, -1 is one for each core")
    if isinstance(retries, bool) or not isinstance(retries, int) or retries < 0:
        raise ValueError(f"retries is {retries!r}; it is how often a failed one runs again: 0, 1, 2, …")
    if timeout is not None and (isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or not timeout > 0):
        raise ValueError(f"timeout is {timeout!r}; it is a number of seconds, or None")
    if isinstance(resources, str) or not isinstance(resources, Iterable):
        raise TypeError(f"resources is {resources!r}; it is a list of what there is to hold, such as [0, 1]")
    held = tuple(resources)
    for resource in held:
        if isinstance(resource, bool) or not isinstance(resource, (int, str)):
            raise TypeError(f"resources holds {resource!r}; each is an int (a graphics card's number) or a str")
    if len(set(held)) < len(held):
        raise ValueError(f"resources is {list(held)!r}: each may be listed once, for one at a time holds it")
    return Limits(retries, timeout, held)


def _options(num_parallel: int | None, backend: Any) -> dict[str, Any]:
    """Return what `joblib.Parallel` is told."""
    import joblib

    if backend == "dask":
        _need_dask()
        with joblib.parallel_config(backend="dask"):  # so that joblib knows the name
            return _options(num_parallel, None)
    if backend == "ray":
        from smallab.runner.clusters import Ray

        backend = Ray()
    configured = joblib.Parallel(n_jobs=num_parallel, backend=backend, prefer=None if backend else "threads")
    backend = _improved(configured._backend)  # noqa: SLF001  # joblib has no public way to ask
    # One at a time: joblib hands quick tasks to processes in batches, of which nobody hears before the last one ended.
    options = {"n_jobs": configured.n_jobs, "backend": backend, "batch_size": 1}
    if backend.supports_return_generator:
        options["return_as"] = "generator_unordered"
    return options | backend.options(num_parallel) if hasattr(backend, "way") else options


def _need_dask() -> None:
    try:
        import distributed  # noqa: F401  # joblib's own words are older than the extra
    except ImportError:
        raise ModuleNotFoundError('backend="dask" needs Dask: pip install "smallab[dask]"') from None


def _improved(backend: Any) -> Any:
    """Return what takes the place of joblib's backend for Dask, or Ray's for joblib, with the same settings."""
    name = type(backend).__name__
    if name not in {"DaskDistributedBackend", "RayBackend"}:
        return backend
    from smallab.runner.clusters import Dask, Ray

    return Dask(backend) if name == "DaskDistributedBackend" else Ray(backend)
