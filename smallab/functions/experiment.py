"""Experiments that are functions: what ``@experiment`` makes of one, and what it then can do."""

from __future__ import annotations

import copy
import copyreg
import functools
import inspect
import os
import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, NoReturn, ParamSpec, TypeVar, overload

from smallab.callbacks import CallbackManager, Hooks
from smallab.experiment_types.experiment import Experiment
from smallab.functions.kinds import plain
from smallab.functions.parameters import ParameterError, Parameters, declared
from smallab.functions.signature import arguments, parameters_of, takes_params
from smallab.functions.values import complete, separate, typed
from smallab.plugins import opened
from smallab.reading.notebook import Observations
from smallab.reading.tables import frame
from smallab.runner.execute import execute
from smallab.runner.record import is_by_other_code, run_record, source
from smallab.running import Running, current, new_seed
from smallab.specification import Specification, canonical, parsed
from smallab.storage.base import Format
from smallab.storage.calls import Calls
from smallab.storage.formats import format_named
from smallab.storage.paths import check_name, root_folder
from smallab.storage.pickling import dumps, loads

if TYPE_CHECKING:
    import logging
    import multiprocessing

    import pandas

P = ParamSpec("P")
R = TypeVar("R")

_Passed = tuple[Sequence[Any], Mapping[str, Any]]  # arguments, by position and by name
_travelling = threading.local()
_ONLY_HERE = {"_calls", "_parameters", "_running", "_signature"}  # what does not travel to another process


class FunctionExperiment(Experiment, Generic[P, R]):
    """A function whose calls are recorded; what `experiment` makes of it.

    It has the function's name, docstring, signature and types. ``runner.run`` takes it as any other `Experiment`.

    Parameters
    ----------
    function, name, root, format, cache, callbacks
        As for `experiment`.

    Attributes
    ----------
    name
        The folder that holds its observations.
    code
        The function's source when it was defined; None where it cannot be had (an old shell).
    """

    format: Format
    __module__: str
    __qualname__: str

    def __init__(
        self,
        function: Callable[P, R],
        name: str | None = None,
        root: str | os.PathLike[str] | None = None,
        format: str | Format = "pickle",
        cache: bool = False,
        callbacks: Iterable[CallbackManager] = (),
    ) -> None:
        if not callable(function) or isinstance(function, type):
            raise TypeError(f"@experiment stands above a function, not {function!r}; a class subclasses Experiment")
        if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
            raise TypeError(f"{function!r} is async; make it a function that calls asyncio.run")
        if inspect.isgeneratorfunction(function):
            raise TypeError(f"{function!r} yields; make it a function that returns, such as a list")
        functools.update_wrapper(self, function)
        self.__wrapped__ = function
        self.name = _checked(name or str(getattr(function, "__name__", "")))
        self.root, self.format, self.cache = root, format_named(format), cache
        self.hooks = Hooks(callbacks)
        self.code = source(function)  # now: its file may be edited before the first call
        self._calls: dict[str, Calls] = {}
        self._parameters: tuple[int, Parameters] | None = None

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function, record what comes of it, and return what it returns."""
        passed, specification = self._bound(args, dict(kwargs))
        return self._record(passed, specification)

    def run(self, given: Mapping[str, Any]) -> R:
        """Call the function with arguments from a dict, and record what comes of it.

        Parameters
        ----------
        given
            Arguments by name: typed, or what JSON holds of them. There may be ``random_seed`` as well, and, for this
            call alone, ``output_dir`` (the folder that holds the observations) and ``params_file`` (a file of
            arguments; those given here win).

        Returns
        -------
        object
            What the function returns.

        Raises
        ------
        ParameterError
            An argument is unknown, missing or ill-typed; the message names it.

        Examples
        --------
        >>> import tempfile
        >>> @experiment(root=tempfile.mkdtemp())
        ... def square(x: float, y: int = 2):
        ...     return x ** y
        >>> square.run({"x": 3})
        9
        """
        specification, root = self._completed(given)
        return self._record(self._passed(specification), specification, root)

    def run_in_new_process(self, given: Mapping[str, Any]) -> multiprocessing.Process:
        """Start a process that calls the function with arguments from a dict; do not wait for it.

        Parameters
        ----------
        given
            As for `run`.

        Returns
        -------
        multiprocessing.Process
            It has been started; ``join()`` waits for it. What the function raises is recorded as ever and printed on
            stderr, and ``exitcode`` is 1 then. Callbacks are called there, too.

        Raises
        ------
        ParameterError
            An argument is unknown, missing or ill-typed.
        """
        specification, root = self._completed(given)
        there = copy.copy(self)
        there.root = root_folder(root or self.root)  # its environment may be another one
        drawn_seed = None if _has_seed(specification) else _draw_seed()
        start = opened("functions.new_process").start
        process: multiprocessing.Process = start(_record_there, there, specification, drawn_seed)
        return process

    def cli(self, arguments: Sequence[str] | None = None) -> NoReturn:
        """Run the experiment with arguments from the command line, and exit (extra ``cli``).

        Parameters
        ----------
        arguments
            What stands on the command line; where None, ``sys.argv``.

        Raises
        ------
        SystemExit
            Always: 0 if it ran, 1 if it failed, 2 if the command line is wrong.
        ImportError
            click is not installed.
        """
        opened("command_line.program").run(self, arguments)
        raise SystemExit  # it has exited

    def observations(self, current_code_only: bool = False) -> Observations:
        """Return what is recorded of the experiment, by this session and earlier ones, the oldest call first.

        Parameters
        ----------
        current_code_only
            True leaves out what an older version of the function made.

        Returns
        -------
        list of Observation
            What batches of the experiment's name made comes first.
        """
        found = self._place().observations()
        return Observations(item for item in found if not (current_code_only and is_by_other_code(item.metadata, self)))

    def to_dataframe(self, current_code_only: bool = False) -> pandas.DataFrame:
        """Return `observations` as a table, one row each, as `smallab.to_dataframe` does (extra ``pandas``)."""
        return frame(self.observations(current_code_only))

    def artefacts(self, id: str) -> list[Path]:
        """Return the files that an observation wrote under ``current_dir()``, sorted.

        Parameters
        ----------
        id
            The observation's ``id``.

        Raises
        ------
        LookupError
            There is no such observation.
        """
        if not isinstance(id, str):
            raise TypeError(f"artefacts takes an observation's id, a str (observation.id), not {id!r}")
        return self._place().artefacts(id)

    def main(self, specification: Specification) -> Any:
        """Run one specification of a batch."""
        completed = complete(self.parameters, specification)
        if _has_seed(completed):
            current().seed = completed["random_seed"]
        args, kwargs = self._passed(completed)
        return self.__wrapped__(*args, **kwargs)

    @property
    def parameters(self) -> Parameters:
        """The parameters by name, from the signature, the docstring and ``@parameter``."""
        count = len(declared(self))  # a group may declare more, later on
        if self._parameters is None or self._parameters[0] != count:
            self._parameters = count, parameters_of(self)
        return self._parameters[1]

    @functools.cached_property
    def _signature(self) -> inspect.Signature:
        return inspect.signature(self.__wrapped__)

    @property
    def logger(self) -> logging.Logger:
        """A logger that writes to the ``log.txt`` of what is running, from INFO up."""
        return current().logger

    def _now_running(self) -> Running:
        return current()

    def _place(self, root: str | os.PathLike[str] | None = None) -> Calls:
        """Return the place where calls are recorded."""
        folder = root_folder(root or self.root)
        if folder not in self._calls:
            self._calls[folder] = Calls(folder, self.name, self.format)
        return self._calls[folder]

    def _record(
        self,
        passed: _Passed,
        specification: Specification,
        root: str | os.PathLike[str] | None = None,
        drawn_seed: int | None = None,
    ) -> R:
        """Call the function and record it; or return what an earlier call returned, where ``cache`` asks for that."""
        text, calls = canonical(specification, self.name), self._place(root)
        if not _has_seed(specification) and drawn_seed is None:
            drawn_seed = _draw_seed()
        if self.cache:
            earlier = calls.earlier(text, self.code)
            if earlier is not None:
                answer: R = earlier.result
                return answer
        place = calls.begin(lambda: run_record(self))
        call = _Call(self, passed, specification.get("random_seed") if drawn_seed is None else drawn_seed, drawn_seed)
        self.hooks.tell("set_experiment_name", lambda: self.name)
        report = execute(place, calls.run_id, call, text)
        if report.status == "completed":
            self.hooks.tell("on_specification_complete", lambda: parsed(text), lambda: place.load(text).value)
            returned: R = call.returned
            return returned
        error = call.raised or report.error()
        self.hooks.tell("on_specification_failure", lambda: error, lambda: parsed(text))
        raise error

    def _passed(self, specification: Specification) -> _Passed:
        """Return the arguments that the function gets for a specification."""
        return arguments(self.__wrapped__, typed(self.parameters, specification))

    def _completed(self, given: Mapping[str, Any]) -> tuple[Specification, Any]:
        """Return the specification that given arguments make, and the folder that is among them."""
        values, settings = separate(self.parameters, given)
        return complete(self.parameters, values), settings.get("output_dir")

    def _bound(self, args: Sequence[Any], kwargs: dict[str, Any]) -> tuple[_Passed, Specification]:
        """Return the arguments that the function gets in a call, and the specification that they make."""
        own = self.parameters
        seed = {}
        if "random_seed" in kwargs and "random_seed" not in own and own.others is None:
            seed = complete(Parameters(), {"random_seed": kwargs.pop("random_seed")})
        signature = self._signature
        given = _by_name(signature.bind_partial(*args, **kwargs))
        if list(signature.parameters) == ["params"] and takes_params(self.__wrapped__):
            (params,) = signature.bind(*args, **kwargs).args
            specification = complete(own, {**params, **seed})
            return self._passed(specification), specification
        rest = Parameters(item for name, item in own.items() if name not in given)
        try:
            defaults = complete(rest, {})
        except ParameterError:
            signature.bind(*args, **kwargs)  # says what is missing in Python's own words
            raise
        specification = {name: plain(given[name]) if name in given else defaults[name] for name in (own | given)}
        pythons = {name: item.default for name, item in signature.parameters.items()}
        others = Parameters(
            item
            for name, item in rest.items()
            if item.envvar or name not in pythons or item.default is not pythons[name]
        )
        if others:  # from @parameter or an environment variable: Python does not know these
            given |= typed(others, {name: defaults[name] for name in others})
            return arguments(self.__wrapped__, given), specification | seed
        return (args, kwargs), specification | seed

    def __copy__(self) -> FunctionExperiment[P, R]:
        made = object.__new__(type(self))
        vars(made).update(vars(self))
        return made

    def __deepcopy__(self, memo: object) -> FunctionExperiment[P, R]:
        return copy.copy(self)  # a run changes nothing of it

    def __reduce__(self) -> tuple[object, ...]:
        """Travel by name where another process can import it, else with the function, as cloudpickle takes it."""
        if _can_be_imported(self):
            return _imported, (self.__module__, self.__qualname__), {"root": self.root}
        if not getattr(_travelling, "inside", False):  # whoever pickles it (multiprocessing) may not take functions
            _travelling.inside = True
            try:
                return loads, (dumps(self),)
            finally:
                _travelling.inside = False
        state = {name: value for name, value in vars(self).items() if name not in _ONLY_HERE}
        return copyreg.__newobj__, (type(self),), state | {"_calls": {}, "_parameters": None}  # type: ignore[attr-defined]

    def __repr__(self) -> str:
        return f"<experiment {self.name}{inspect.signature(self.__wrapped__)}>"


def _checked(name: str) -> str:
    try:
        return check_name(name)
    except ValueError as error:
        error.add_note('@experiment(name="…") gives an experiment a name that its function does not have')
        raise


class _Call(Experiment):
    """A function about to be called: what it returns, or raises, is kept for the caller."""

    def __init__(
        self, experiment: FunctionExperiment[..., Any], passed: _Passed, seed: Any, drawn_seed: int | None
    ) -> None:
        self._experiment, self._passed, self._seed, self._drawn_seed = experiment, passed, seed, drawn_seed
        self.returned: Any = None
        self.raised: BaseException | None = None

    def main(self, specification: Specification) -> Any:  # noqa: ARG002  # the arguments are the caller's own objects
        """Call the function."""
        running = self._now_running()
        running.seed = self._seed
        if self._drawn_seed is not None:
            running.more["random_seed"] = self._drawn_seed
        args, kwargs = self._passed
        try:
            self.returned = self._experiment.__wrapped__(*args, **kwargs)
        except BaseException as error:
            self.raised = error
            raise
        return self.returned

    def __deepcopy__(self, memo: object) -> _Call:
        return self  # it is called once


def _has_seed(specification: Specification) -> bool:
    return isinstance(specification.get("random_seed"), int)


def _draw_seed() -> int:
    """Draw a seed: from what is running here, so that an experiment inside another is reproducible with it."""
    try:
        return new_seed()
    except RuntimeError:
        return int.from_bytes(os.urandom(4), "big")


def _by_name(bound: inspect.BoundArguments) -> dict[str, Any]:
    """Return the arguments of a call by name; those of ``**kwargs`` are arguments like others."""
    given = dict(bound.arguments)
    for name, item in bound.signature.parameters.items():
        if item.kind is item.VAR_KEYWORD:
            more = given.pop(name, {})
            if shared := more.keys() & bound.signature.parameters.keys():
                raise TypeError(f"{', '.join(sorted(shared))} would be twice in the specification; rename it")
            given |= more
    return given


def _record_there(
    experiment: FunctionExperiment[..., Any], specification: Specification, drawn_seed: int | None
) -> None:
    """Call an experiment in the process that was started for it."""
    experiment._record(experiment._passed(specification), specification, None, drawn_seed)  # noqa: SLF001  # its own


def _can_be_imported(experiment: FunctionExperiment[..., Any]) -> bool:
    """Tell whether another process finds an experiment where its function says that it is."""
    if experiment.__module__ in {"__main__", "__mp_main__"}:
        return False
    try:
        found = functools.reduce(getattr, experiment.__qualname__.split("."), sys.modules[experiment.__module__])
    except (AttributeError, KeyError):  # it was defined inside a function
        return False
    return isinstance(found, FunctionExperiment) and found.__wrapped__ is experiment.__wrapped__


def _imported(module: str, name: str) -> Any:
    import importlib

    return copy.copy(functools.reduce(getattr, name.split("."), importlib.import_module(module)))


@overload
def experiment(function: Callable[P, R], /) -> FunctionExperiment[P, R]: ...
@overload
def experiment(
    *,
    name: str | None = None,
    root: str | os.PathLike[str] | None = None,
    format: str | Format = "pickle",
    cache: bool = False,
    callbacks: Iterable[CallbackManager] = (),
) -> Callable[[Callable[P, R]], FunctionExperiment[P, R]]: ...
def experiment(function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Make an experiment of a function: its calls are recorded, and return what the function returns.

    Parameters
    ----------
    function
        Its arguments are JSON, or of types that have a place there (Path, Enum, numpy scalars). What it returns is
        the result; what it raises is recorded as a failure, and raised.
    name
        The folder of its observations; where None, the function's name.
    root
        The folder that holds that folder; where None, SMALLAB_ROOT, else ``experiment_runs``.
    format
        How results are saved: "pickle", "json", or a format of your own (see `smallab.formats`).
    cache
        True: a call is answered from an observation of the same arguments, made by the same code, if there is one.
    callbacks
        Hooks that are told of every call: ``on_specification_complete`` and ``on_specification_failure``.

    Returns
    -------
    FunctionExperiment
        The function, with ``observations()``, ``to_dataframe()``, ``artefacts(id)``, ``run(dict)``,
        ``run_in_new_process(dict)`` and ``cli()``.

    Examples
    --------
    >>> import tempfile
    >>> @experiment(root=tempfile.mkdtemp())
    ... def square(x: float, y: int = 2):
    ...     return x ** y
    >>> square(3)
    9
    >>> [(observation.specification, observation.result) for observation in square.observations()]
    [({'x': 3, 'y': 2}, 9)]
    """
    if function is None:
        return functools.partial(FunctionExperiment, **options)
    return FunctionExperiment(function, **options)


experiment.Experiment = Experiment  # type: ignore[attr-defined]  # `smallab.experiment` is this function, not the module
