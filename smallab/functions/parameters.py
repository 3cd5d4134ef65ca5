"""Parameters: what one is, what can be wrong with one, and how ``@parameter`` declares it."""

from __future__ import annotations

import difflib
import functools
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, TypeVar

from smallab.functions.kinds import SIMPLE, Kind, ListOf, OneOf, kind_of
from smallab.specification import SpecificationError

T = TypeVar("T")
Function = Callable[..., Any]

_DECLARATIONS = "__smallab_parameters__"  # on a function or a group


class Missing:
    """What stands where there is no default: `MISSING`, the only one."""

    def __repr__(self) -> str:
        return "MISSING"

    def __reduce__(self) -> str:
        return "MISSING"  # so that what is unpickled is the same one


MISSING = Missing()


@dataclass(frozen=True)
class Factory:
    """A default that is made anew each time.

    Attributes
    ----------
    make
        Called without arguments.
    """

    make: Callable[[], Any]


@dataclass(frozen=True)
class Parameter:
    """One parameter of an experiment.

    Attributes
    ----------
    name
        As Python spells it; on the command line ``_`` becomes ``-``.
    type
        An annotation: int, float, str, bool, Path, an Enum, a Literal, a list or a union of these; Any takes all JSON.
    default
        A value, or a `Factory` that makes one; `MISSING` where somebody must give one.
    allowed_values
        The only values that it (or each of its values, if it is a list) may have.
    envvar
        The environment variable that is read where nothing is given.
    help
        One sentence for ``--help``.
    hidden
        Not shown in ``--help``.

    Examples
    --------
    >>> sizes = Parameter("sizes", list[int], (1, 2))
    >>> sizes.multiple, sizes.required, sizes.expected
    (True, False, 'a list, each item an integer')
    """

    name: str
    type: Any = Any
    default: Any = None
    _: KW_ONLY
    allowed_values: Sequence[Any] | None = None
    envvar: str | None = None
    help: str = ""
    hidden: bool = False

    @functools.cached_property
    def kind(self) -> Kind:
        """What its type accepts."""
        return kind_of(self.type)

    @functools.cached_property
    def text_kind(self) -> Kind:
        """What a text is read as: without an annotation, as what the default is."""
        default_type = type(self.default)
        if self.type is not Any or self.default is None or default_type not in SIMPLE:
            return self.kind
        return kind_of(float if default_type is int else default_type)

    @property
    def required(self) -> bool:
        """Somebody must give it."""
        return self.default is MISSING

    @property
    def is_flag(self) -> bool:
        """On the command line: ``--name`` or ``--no-name``."""
        return self.kind.is_boolean or (self.type is Any and isinstance(self.default, bool))

    @property
    def multiple(self) -> bool:
        """A list; on the command line it is repeated."""
        return self.kind.is_list

    @property
    def expected(self) -> str:
        """What it may be, in words."""
        return self._described_kind.words

    @property
    def placeholder(self) -> str:
        """What stands for a value in the help of a command line: NUMBER, PATH, [sgd|adam]."""
        return self._described_kind.placeholder

    @property
    def _described_kind(self) -> Kind:
        if self.allowed_values is None:
            return self.text_kind
        allowed = OneOf(self.allowed_values)
        return ListOf(allowed) if self.multiple else allowed


class Parameters(dict[str, Parameter]):
    """The parameters of a function by name, in the order of the signature.

    Attributes
    ----------
    others
        What a ``**kwargs`` takes under any further name; None where the function has none.
    """

    def __init__(self, items: Iterable[Parameter] = (), others: Parameter | None = None) -> None:
        super().__init__((item.name, item) for item in items)
        self.others = others


class ParameterError(SpecificationError):
    """A parameter is unknown, missing, or has a value that it may not have.

    Attributes
    ----------
    name
        The parameter.
    problem
        What is wrong, without the name.
    """

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(name, problem)
        self.name = name
        self.problem = problem

    def __str__(self) -> str:
        return f"parameter {self.name!r}: {self.problem}"


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """Return a question to append to an error message: the closest of the names, if one is close."""
    close = difflib.get_close_matches(name, list(names), 1)
    return f", did you mean {close[0]!r}?" if close else ""


RANDOM_SEED = Parameter(
    "random_seed", int, help="What new_seed() starts from; drawn, and recorded, where it is not given."
)
DEBUG = Parameter("debug", bool, help="When it fails, show the traceback and stop there in pdb.")
SETTINGS = Parameters(  # of a run, not of its specification
    [
        Parameter("output_dir", os.PathLike, help="Keep the results here, not in $SMALLAB_ROOT or experiment_runs."),
        Parameter("params_file", os.PathLike, help="Read parameters from this .json or .yaml; options override it."),
        DEBUG,
    ]
)


@dataclass(frozen=True)
class Declaration:
    """What one ``@parameter`` says of a parameter.

    Attributes
    ----------
    name
        The parameter.
    options
        The arguments of `parameter` that were given. A default is a value, a `Factory`, or `MISSING` (it is required).
    inherited
        A group says so: what the experiment says itself counts more.
    """

    name: str
    options: Mapping[str, Any]
    inherited: bool = False


def parameter(
    name: str,
    type: Any = None,  # noqa: A002  # the documented name
    default: Any = MISSING,
    required: bool | None = None,
    allowed_values: Iterable[Any] | None = None,
    is_flag: bool | None = None,
    multiple: bool | None = None,
    envvar: str | None = None,
    help: str | None = None,  # noqa: A002  # the documented name
    hidden: bool | None = None,
) -> Callable[[T], T]:
    """Refine a parameter of an experiment, or declare one of a function written ``def f(params)`` or of a group.

    It stands above or below ``@experiment``, as often as there are parameters. What it does not say comes from the
    signature and the docstring.

    Parameters
    ----------
    name
        As in Python: ``learning_rate`` is ``--learning-rate`` on the command line.
    type
        int, float, str, bool, Path, an Enum, a Literal, … A parameter that is only declared here is by custom of the
        type of its default, else a str.
    default
        A value, or a function without arguments that makes one.
    required
        True: it has to be given. A parameter that is only declared here is None where it has no default.
    allowed_values
        The only values that it may have.
    is_flag
        True: ``--name`` and ``--no-name`` on the command line. So is every bool.
    multiple
        True: a list, whose items have the type. On the command line it is repeated.
    envvar
        The environment variable that is read where nothing is given.
    help
        What ``--help`` says of it.
    hidden
        True: ``--help`` does not show it.

    Returns
    -------
    function
        A decorator that returns what it decorates.

    Examples
    --------
    >>> from smallab.functions.signature import parameters_of
    >>> @parameter("learning_rate", type=float, default=0.1, help="How far each step goes.")
    ... @parameter("optimizer", allowed_values=["sgd", "adam"], default="sgd")
    ... def fit(params):
    ...     return params["learning_rate"]
    >>> parameters_of(fit)["optimizer"].expected
    'one of sgd, adam'
    """
    _check_name(name)
    options = {
        "type": bool if is_flag and type is None else type,
        "required": required,
        "allowed_values": None if allowed_values is None else tuple(allowed_values),
        "is_flag": is_flag,
        "multiple": multiple,
        "envvar": envvar,
        "help": help,
        "hidden": hidden,
    }
    given = {key: value for key, value in options.items() if value is not None}
    if default is not MISSING:
        given["default"] = Factory(default) if callable(default) else default
    elif required:
        given["default"] = MISSING
    return functools.partial(declare, [Declaration(name, given)])


def _check_name(name: object) -> None:
    if isinstance(name, str) and name.isidentifier():
        return
    hint = ""
    if isinstance(name, str) and "-" in name:
        hint = f"; write {name.replace('-', '_')!r}"
    raise ValueError(f"{name!r} cannot name a parameter: it is the name of an argument in Python{hint}")


def declare(declarations: Sequence[Declaration], target: T) -> T:
    """Have a function, an experiment or a group know of declarations that count less than those it has; return it."""
    function = innermost(target)
    setattr(function, _DECLARATIONS, [*declarations, *declared(function)])
    if hasattr(function, "hand_down"):  # a group: its members inherit
        function.hand_down(declarations)
    return target


def declared(target: object) -> list[Declaration]:
    """Return what ``@parameter`` says of a function, an experiment or a group; what counts more comes later."""
    found: list[Declaration] = getattr(innermost(target), _DECLARATIONS, [])
    own = [declaration for declaration in found if not declaration.inherited]
    return [declaration for declaration in found if declaration.inherited] + own


def innermost(target: object) -> Any:
    """Return the innermost function, where decorators (``@experiment``, functools.wraps) stand around it."""
    while hasattr(target, "__wrapped__"):
        target = target.__wrapped__
    return target
