"""Where specifications run: joblib's configuration says on which backend, and how many at once."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from smallab.backends.task import Task
from smallab.experiment_types.experiment import Experiment
from smallab.plugins import opened
from smallab.runner.options import Limits
from smallab.runner.outcome import Report
from smallab.storage.base import Storage
from smallab.storage.pickling import dumps

# The modules here that take the place of backends of joblib's, by the names under which it has those.
_MODULES = {
    "loky": "backends.processes",
    "multiprocessing": "backends.processes",  # its pool waits for dead workers for ever
    "dask": "backends.dask",
    "ray": "backends.ray",
}
_CLUSTERS = ("backends.dask", "backends.ray")


class Schedule:
    """Where a run's specifications run, and how many at once.

    Parameters
    ----------
    experiment
        What is run.
    backend
        As joblib's. Threads are the default, but a surrounding ``joblib.parallel_config`` wins.
    limits
        What holds for every specification.

    Raises
    ------
    ValueError, TypeError
        They do not go together, make no sense, or the experiment cannot be pickled.
    ModuleNotFoundError
        The backend needs an extra that is not installed.
    """

    def __init__(self, experiment: Experiment, backend: Any, limits: Limits) -> None:
        number = _asked_number(limits)
        self._backend, name, jobs = _configured(number, backend)
        self._module = _MODULES.get(name, "backends.joblib")
        if self._module in _CLUSTERS:
            self._at_once = number or -1  # as many as there is room for, then
        else:
            self._at_once = self._backend.effective_n_jobs(jobs)
        is_joblib = self._module == "backends.joblib"
        # joblib's word for threads; backends without it have none.
        is_threads = is_joblib and getattr(self._backend, "supports_sharedmem", False)
        if is_threads and limits.timeout is not None:
            raise ValueError(
                'timeout= needs a process to end, and a thread cannot be ended: say backend="loky", or another with '
                "processes"
            )
        if is_joblib and not is_threads and limits.resources:
            raise ValueError(f'resources= are handed out to threads, "loky", "dask" and "ray", not to {name!r}')
        self._experiment, self._limits = experiment, limits
        self._packed = b"" if is_threads else _packed(experiment)

    def reports(self, storage: Storage, run_id: str, pending: Iterable[str]) -> Generator[Report, None, None]:
        """Yield what came of each specification, as it comes.

        Parameters
        ----------
        storage, run_id
            Where it is saved, and by which run.
        pending
            Which specifications run.
        """
        task = Task(storage, run_id, self._experiment, self._limits, self._packed)
        module = opened(self._module)
        reports: Generator[Report, None, None] = module.reports(task, pending, self._at_once, self._backend)
        return reports


def _asked_number(limits: Limits) -> int | None:
    """Return how many were asked to run at once, and no more than there are resources."""
    from joblib.parallel import get_active_backend

    number: int | None = limits.num_parallel
    if number is None:
        number = get_active_backend()[1]  # with prefer=, joblib forgets the context's
    available = len(limits.resources)
    if available and (number is None or not 0 < number <= available):
        return available
    return number


def _configured(number: int | None, backend: Any) -> tuple[Any, str, int]:
    """Return joblib's backend, the name under which it is registered, and joblib's number of jobs."""
    import joblib

    context: AbstractContextManager[Any] = nullcontext()
    if backend == "dask":
        _need_dask()
        context, backend = joblib.parallel_config(backend="dask"), None  # so that joblib knows the name
    elif backend == "ray":
        _register_ray()
    with context:
        prefer = None if backend else "threads"
        configured = joblib.Parallel(n_jobs=number, backend=backend, prefer=prefer)
    found = configured._backend  # noqa: SLF001  # joblib has no public way to ask
    names = (name for name, factory in joblib.parallel.BACKENDS.items() if factory is type(found))
    return found, next(names, ""), configured.n_jobs


def _need_dask() -> None:
    try:
        import distributed  # noqa: F401  # joblib's own words are older than the extra
    except ImportError:
        raise ModuleNotFoundError('backend="dask" needs Dask: pip install "smallab[dask]"') from None


def _register_ray() -> None:
    try:
        from ray.util.joblib import register_ray
    except ImportError:
        raise ModuleNotFoundError('backend="ray" needs Ray: pip install "smallab[ray]"') from None
    register_ray()


def _packed(experiment: Experiment) -> bytes:
    try:
        return dumps(experiment)
    except Exception as error:  # whatever pickling its attributes raises
        raise TypeError(
            f"{type(experiment).__name__} cannot be pickled, and workers in other processes need it: {error}. "
            "Run it in threads, define its class in a module, or make what cannot be pickled in main"
        ) from error
