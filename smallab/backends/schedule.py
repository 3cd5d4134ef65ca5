"""Where specifications run: joblib's configuration says on which backend, and how many at once."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from smallab.experiment_types.experiment import Experiment
from smallab.pickling import dumps
from smallab.plugins import opened
from smallab.runner.execute import Limits, Task
from smallab.runner.outcome import Report

# The modules here that take the place of backends of joblib's, by the names under which it has those.
_MODULES = {
    "loky": "backends.processes",
    "multiprocessing": "backends.processes",  # its pool waits for dead workers for ever
    "dask": "backends.dask",
    "ray": "backends.ray",
}
_CLUSTERS = ("backends.dask", "backends.ray")


def checked_limits(num_parallel: object, retries: object, timeout: object, resources: object) -> Limits:
    """Return what holds for every specification; ValueError or TypeError where an option of ``run`` makes no sense."""
    return Limits(
        _checked_number(num_parallel),
        _checked_retries(retries),
        _checked_timeout(timeout),
        _checked_resources(resources),
    )


def _checked_number(number: object) -> int | None:
    if number is not None and (isinstance(number, bool) or not isinstance(number, int)):
        raise TypeError(f"num_parallel is {number!r}; it is a whole number, or None")
    if number == 0:
        raise ValueError("num_parallel is 0: nothing would run; None or 1 is one at a time, -1 is one for each core")
    return number


def _checked_retries(retries: object) -> int:
    if isinstance(retries, bool) or not isinstance(retries, int) or retries < 0:
        raise ValueError(f"retries is {retries!r}; it is how often a failed one runs again: 0, 1, 2, …")
    return retries


def _checked_timeout(timeout: object) -> float | None:
    if timeout is None:
        return None
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or not timeout > 0:
        raise ValueError(f"timeout is {timeout!r}; it is a number of seconds, or None")
    return timeout


def _checked_resources(resources: object) -> tuple[int | str, ...]:
    if isinstance(resources, str) or not isinstance(resources, Iterable):
        raise TypeError(f"resources is {resources!r}; it is a list of what there is to hold, such as [0, 1]")
    held = tuple(resources)
    for resource in held:
        if isinstance(resource, bool) or not isinstance(resource, (int, str)):
            raise TypeError(f"resources holds {resource!r}; each is an int (a graphics card's number) or a str")
    if len(set(held)) < len(held):
        raise ValueError(f"resources is {list(held)!r}: each may be listed once, for one at a time holds it")
    return held


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

    Attributes
    ----------
    packed
        The experiment, pickled, where it is to travel to other processes.

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
        self.packed = b"" if is_threads else _packed(experiment)

    def reports(self, task: Task, pending: Iterable[str]) -> Generator[Report, None, None]:
        """Yield what came of each specification, as it comes.

        Parameters
        ----------
        task
            What runs them.
        pending
            Which.
        """
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
