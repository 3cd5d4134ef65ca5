"""Groups: several experiments under one command line, and the parameters that they have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NoReturn, ParamSpec, TypeVar, overload

from smallab import parameters

if TYPE_CHECKING:
    from smallab.experiment import FunctionExperiment

P = ParamSpec("P")
R = TypeVar("R")


class Group:
    """Experiments under one command line; what `group` makes of a function, which is never run.

    Parameters
    ----------
    function
        Its name and docstring, and what ``@parameter`` says of it, are the group's.
    name
        Another name.
    """

    def __init__(self, function: Callable[..., Any], name: str | None = None) -> None:
        self.name = name or function.__name__
        self.__name__ = self.name
        self.__doc__ = function.__doc__
        self.__module__ = function.__module__
        self._members: dict[str, Any] = {}
        parameters.declare(parameters.declared(function), self)
        inspected = function.__code__.co_varnames[: function.__code__.co_argcount]
        if inspected:
            raise TypeError(
                f"the group {self.name} has arguments ({', '.join(inspected)}); a group's parameters are declared "
                f"above it: @parameter({inspected[0]!r}, …)"
            )

    @property
    def members(self) -> Mapping[str, Any]:
        """Its experiments and groups, by name, in the order of the source."""
        return MappingProxyType(self._members)

    @overload
    def experiment(self, function: Callable[P, R], /, **options: Any) -> FunctionExperiment[P, R]: ...
    @overload
    def experiment(self, /, **options: Any) -> Callable[[Callable[P, R]], FunctionExperiment[P, R]]: ...
    def experiment(self, function: Any = None, /, **options: Any) -> Any:
        """Make an experiment of a function, as `smallab.experiment` does, with the group's parameters.

        A function that takes a dict (``def f(params)``) is passed all of them; any other, those that its signature
        names.

        Parameters
        ----------
        function
            The function, or an experiment already made of one.
        options
            As for `smallab.experiment`: ``@my_group.experiment(cache=True)``.

        Returns
        -------
        FunctionExperiment
            The experiment.

        Raises
        ------
        ValueError
            The group has a member of that name.
        """
        from smallab.experiment import FunctionExperiment, experiment

        if function is None:
            return lambda function: self.experiment(function, **options)
        made = function if isinstance(function, FunctionExperiment) else experiment(function, **options)
        return self._add(made.name, made)

    @overload
    def group(self, function: Callable[..., Any], /, name: str | None = None) -> Group: ...
    @overload
    def group(self, /, *, name: str | None = None) -> Callable[[Callable[..., Any]], Group]: ...
    def group(self, function: Any = None, /, name: str | None = None) -> Any:
        """Make a group inside this one, as `smallab.group` does; it inherits the parameters, and hands them down."""
        if function is None:
            return lambda function: self.group(function, name=name)
        made = function if isinstance(function, Group) else Group(function, name)
        return self._add(made.name, made)

    def _add(self, name: str, member: Any) -> Any:
        if name in self._members:
            raise ValueError(f"the group {self.name} has a member {name!r} already; give one of them another name=")
        self._members[name] = member
        return parameters.declare(_inherited(parameters.declared(self)), member)

    def hand_down(self, declarations: Sequence[parameters.Declaration]) -> None:
        """Have the members inherit declarations too: called when ``@parameter`` comes after they do."""
        for member in self._members.values():
            parameters.declare(_inherited(declarations), member)

    def cli(self, arguments: Sequence[str] | None = None) -> NoReturn:
        """Run the experiment that the command line names, and exit (extra ``cli``).

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
        from smallab.command_line.program import run

        run(self, arguments)

    def __repr__(self) -> str:
        return f"<group {self.name}: {', '.join(self._members) or 'empty'}>"


def _inherited(declarations: Sequence[parameters.Declaration]) -> list[parameters.Declaration]:
    return [(name, {**options, "inherited": True}) for name, options in declarations]


@overload
def group(function: Callable[..., Any], /) -> Group: ...
@overload
def group(*, name: str | None = None) -> Callable[[Callable[..., Any]], Group]: ...
def group(
    function: Callable[..., Any] | None = None, /, *, name: str | None = None
) -> Group | Callable[[Callable[..., Any]], Group]:
    """Make a group of experiments, with one command line for all of them.

    Parameters
    ----------
    function
        Never run: its name and docstring are the group's, and the parameters that ``@parameter`` declares on it are
        inherited by all experiments in it.
    name
        Another name.

    Returns
    -------
    Group
        Its ``experiment`` and ``group`` are decorators for what is in it; its ``cli()`` is the command line.

    Examples
    --------
    >>> @group
    ... def tools():
    ...     '''Everything for the paper.'''
    >>> @tools.group
    ... def data():
    ...     '''What comes before.'''
    >>> tools
    <group tools: data>
    """
    if function is None:
        return lambda function: Group(function, name)
    return Group(function, name)
