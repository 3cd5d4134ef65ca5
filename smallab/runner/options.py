"""What a run is asked for: it is refused here, before anything has run, where it makes no sense."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

from smallab.experiment_types.experiment import Experiment
from smallab.specification import Specification, SpecificationError, Texts, canonical

Rerun = Literal["pending", "missing", "failed", "changed", "all"]


@dataclass(frozen=True)
class Limits:
    """What `ExperimentRunner.run` was told about every specification: see there."""

    num_parallel: int | None = None
    retries: int = 0
    timeout: float | None = None
    resources: tuple[int | str, ...] = ()


def as_texts(specifications: Iterable[Specification]) -> Texts:
    """Return specifications as canonical JSON; SpecificationError, which names the place, where one cannot be."""
    if isinstance(specifications, (dict, str)) or not isinstance(specifications, Iterable):
        raise SpecificationError(
            f"specifications is a {type(specifications).__name__}, not a list of dicts; a dict of lists becomes one "
            "with SpecificationGenerator().generate(…)"
        )
    return dict.fromkeys(canonical(item, f"specifications[{index}]") for index, item in enumerate(specifications))


def check_rerun(rerun: Rerun, continue_from_last_run: bool) -> Rerun:
    """Return which specifications run; ValueError where the two options of ``run`` make no sense together."""
    if rerun not in get_args(Rerun):
        raise ValueError(f"rerun is {rerun!r}; it is one of {', '.join(get_args(Rerun))}")
    if not continue_from_last_run and rerun not in {"pending", "all"}:
        raise ValueError(f"continue_from_last_run=False runs all again, and rerun={rerun!r} does not: say one of them")
    return rerun if continue_from_last_run else "all"


def checked_copy(experiment: Experiment) -> Experiment:
    """Return a copy of an experiment; TypeError where it is none, or cannot be copied."""
    if isinstance(experiment, type) and issubclass(experiment, Experiment):
        raise TypeError(f"{experiment.__name__} is a class; pass an object of it: {experiment.__name__}(…)")
    if not isinstance(experiment, Experiment):
        raise TypeError(f"{experiment!r} is not an Experiment; subclass smallab.Experiment and write its main")
    try:
        return copy.deepcopy(experiment)
    except Exception as error:  # whatever copying its attributes raises
        raise TypeError(
            f"{type(experiment).__name__} cannot be copied, and every specification runs on a copy of it: {error}. "
            "Make what cannot be copied (locks, files, connections) in main, not in __init__"
        ) from error


def check_limits(num_parallel: object, retries: object, timeout: object, resources: object) -> Limits:
    """Return what holds for every specification; ValueError or TypeError where an option of ``run`` makes no sense."""
    number, attempts = _checked_number(num_parallel), _checked_retries(retries)
    return Limits(number, attempts, _checked_timeout(timeout), _checked_resources(resources))


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
