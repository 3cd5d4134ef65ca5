"""Parameters of experiments that are functions: what they are called, what they may be, and how they become JSON.

They come from the signature, the docstring and ``@parameter``. A specification holds JSON: `complete` makes one of what
somebody gave, `typed` makes the objects of it that the function expects.
"""

from __future__ import annotations

import os
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, TypeVar, Union, get_args, get_origin

from smallab.plugins import plugins
from smallab.specification import Specification, SpecificationError

if TYPE_CHECKING:
    import enum
    import inspect

T = TypeVar("T")

_DECLARED = "__smallab_parameters__"  # on a function (or a group): what @parameter says, name and options
_KNOWN = (bool, int, float, str, list, tuple)
_LISTS = (list, tuple, Sequence, Iterable)


class MISSING:
    """Stands for "not given" (a class, so that it stays the same when it is pickled)."""


class Parameter(NamedTuple):
    """One parameter of an experiment.

    Attributes
    ----------
    name
        As Python spells it; on the command line ``_`` becomes ``-``.
    type
        An annotation: int, float, str, bool, Path, an Enum, a Literal, a list or a union of these; Any takes all JSON.
    default
        `MISSING` where there is none.
    default_factory
        Called without arguments for a default, anew each time.
    required
        Somebody must give it.
    allowed_values
        The only values that it (or each of its values, if it is a list) may have.
    is_flag
        On the command line: ``--name`` or ``--no-name``.
    multiple
        A list; on the command line it is repeated.
    envvar
        The environment variable that is read where nothing is given.
    help
        One sentence for ``--help``.
    hidden
        Not shown in ``--help``.
    """

    name: str
    type: Any = Any
    default: Any = MISSING
    default_factory: Callable[[], Any] | None = None
    required: bool = False
    allowed_values: tuple[Any, ...] | None = None
    is_flag: bool = False
    multiple: bool = False
    envvar: str | None = None
    help: str = ""
    hidden: bool = False


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
        self.name, self.problem = name, problem

    def __str__(self) -> str:
        return f"parameter {self.name!r}: {self.problem}"


RANDOM_SEED = Parameter(
    "random_seed", int, None, help="What new_seed() starts from; drawn, and recorded, where it is not given."
)
SETTINGS = {  # of a run, not of its specification
    item.name: item
    for item in (
        Parameter(
            "output_dir", os.PathLike, None, help="Keep the results here, not in $SMALLAB_ROOT or experiment_runs."
        ),
        Parameter(
            "params_file", os.PathLike, None, help="Read parameters from this .json or .yaml; options override it."
        ),
        Parameter("debug", bool, False, is_flag=True, help="When it fails, show the traceback and stop there in pdb."),
    )
}


# Declaring.


def parameter(
    name: str,
    type: Any = MISSING,  # noqa: A002  # the documented name
    default: Any = MISSING,
    required: bool | type[MISSING] = MISSING,
    allowed_values: Iterable[Any] | type[MISSING] = MISSING,
    is_flag: bool | type[MISSING] = MISSING,
    multiple: bool | type[MISSING] = MISSING,
    envvar: str | type[MISSING] = MISSING,
    help: str | type[MISSING] = MISSING,  # noqa: A002  # the documented name
    hidden: bool | type[MISSING] = MISSING,
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
    >>> @parameter("learning_rate", type=float, default=0.1, help="How far each step goes.")
    ... @parameter("optimizer", allowed_values=["sgd", "adam"], default="sgd")
    ... def fit(params):
    ...     return params["learning_rate"]
    >>> complete(parameters_of(fit), {"learning_rate": 0.5})
    {'learning_rate': 0.5, 'optimizer': 'sgd'}
    """
    options = {
        "type": type,
        "default": default,
        "required": required,
        "allowed_values": allowed_values,
        "is_flag": is_flag,
        "multiple": multiple,
        "envvar": envvar,
        "help": help,
        "hidden": hidden,
    }
    given = {key: value for key, value in options.items() if value is not MISSING}
    if not (isinstance(name, str) and name.isidentifier()):
        hint = f"; write {name.replace('-', '_')!r}" if isinstance(name, str) and "-" in name else ""
        raise ValueError(f"{name!r} cannot name a parameter: it is the name of an argument in Python{hint}")
    return partial(declare, [(name, given)])


Declaration = tuple[str, dict[str, Any]]


def declare(declarations: Sequence[Declaration], target: T) -> T:
    """Have a function, an experiment or a group know of declarations that count less than those it has; return it."""
    function = _function(target)
    setattr(function, _DECLARED, [*declarations, *declared(function)])
    if hasattr(function, "hand_down"):  # a group: its members inherit
        function.hand_down(declarations)
    return target


def declared(target: object) -> list[Declaration]:
    """Return what ``@parameter`` says of a function, an experiment or a group, in the order of the source."""
    found: list[Declaration] = getattr(_function(target), _DECLARED, [])
    return list(found)


def _function(target: object) -> Any:
    """Return the innermost function, where a decorator (``@experiment``, functools.wraps) stands around it."""
    while hasattr(target, "__wrapped__"):
        target = target.__wrapped__
    return target


# From a function to its parameters.


def takes_params(function: Callable[..., Any]) -> bool:
    """Tell whether a function is written ``def f(params)``: it is passed the dict of all declared parameters."""
    import inspect

    arguments = list(_signature(function).parameters.values())
    return len(arguments) == 1 and arguments[0].name == "params" and arguments[0].default is inspect.Parameter.empty


def _signature(function: Callable[..., Any]) -> inspect.Signature:
    import inspect

    return inspect.signature(_function(function))


def parameters_of(function: Callable[..., Any]) -> dict[str, Parameter]:
    """Return a function's parameters, from its signature, its docstring and ``@parameter``.

    Parameters
    ----------
    function
        The function, or an experiment made of it. A ``**kwargs`` comes as a parameter of the name ``**kwargs``.

    Returns
    -------
    dict
        By name, in the order of the signature; of ``def f(params)``, in the order of the declarations, and then those
        that installed packages bring.

    Raises
    ------
    ValueError
        ``@parameter`` names one that the function does not have.

    Examples
    --------
    >>> def scale(x: float, by: int = 2): ...
    >>> parameters_of(scale)["by"].default
    2
    """
    texts = documented(_function(function).__doc__ or "")
    if takes_params(function):
        found = {name: Parameter(name, MISSING, help=texts.get(name, ("", ""))[1]) for name, _ in declared(function)}
    else:
        hints = _annotations(function)
        found = {item.name: item for item in _from_signature(function, hints, texts)}
    anything = any(name.startswith("**") for name in found)
    for name, options in declared(function):
        if name in found:
            found[name] = _refined(found[name], options)
        elif anything:
            found[name] = _refined(Parameter(name, MISSING), options)
        elif not options.get("inherited"):
            raise ValueError(_not_in_signature(function, name, found))
    if takes_params(function):
        for item in plugins("smallab.parameters"):
            found.setdefault(item.name, item)
    return {name: _settled(item) for name, item in found.items()}


def _not_in_signature(function: Callable[..., Any], name: str, found: Mapping[str, Parameter]) -> str:
    title = getattr(_function(function), "__name__", repr(function))
    return (
        f"@parameter({name!r}): {title}({', '.join(found)}) has no such argument{_closest(name, found)}; add it, or "
        f"write `def {title}(params)` to be passed a dict of all that is declared"
    )


def only_parameters(declarations: Sequence[Declaration]) -> dict[str, Parameter]:
    """Return the parameters that declarations alone make: those of a group."""
    found: dict[str, Parameter] = {}
    for name, options in declarations:
        found[name] = _refined(found.get(name, Parameter(name, MISSING)), options)
    return {name: _settled(item) for name, item in found.items()}


def _from_signature(
    function: Callable[..., Any], hints: Mapping[str, Any], texts: Mapping[str, tuple[str, str]]
) -> Iterable[Parameter]:
    import inspect

    for name, argument in _signature(function).parameters.items():
        kind, help_text = texts.get(name, ("", ""))
        annotation = hints.get(name, _DOCUMENTED_TYPES.get(kind, Any))
        default = MISSING if argument.default is inspect.Parameter.empty else argument.default
        if argument.kind is inspect.Parameter.VAR_KEYWORD:
            yield Parameter(f"**{name}", annotation, hidden=True)
        elif argument.kind is inspect.Parameter.VAR_POSITIONAL:
            yield Parameter(name, tuple[annotation, ...], (), help=help_text)  # type: ignore[valid-type]
        else:
            yield Parameter(name, annotation, default, required=default is MISSING, help=help_text)


def _annotations(function: Callable[..., Any]) -> dict[str, Any]:
    """Return what a function's annotations mean; those that cannot be had (names only for type checkers) are Any."""
    from typing import get_type_hints

    function = _function(function)
    try:
        return get_type_hints(function)
    except Exception:  # noqa: BLE001  # whatever evaluating one of them raises: the others are still to be had
        return {name: _evaluated(text, function) for name, text in getattr(function, "__annotations__", {}).items()}


def _evaluated(annotation: object, function: Callable[..., Any]) -> Any:
    if not isinstance(annotation, str):
        return annotation
    try:
        return eval(annotation, getattr(function, "__globals__", {}))  # noqa: S307  # the annotation is the user's code
    except Exception:  # noqa: BLE001  # a name that only type checkers know
        return Any


def _refined(item: Parameter, options: Mapping[str, Any]) -> Parameter:
    """Return a parameter with what ``@parameter`` says."""
    options = _inherited(item, options) if options.get("inherited") else options
    changes = {key: value for key, value in options.items() if key not in {"default", "inherited"}}
    if "allowed_values" in changes:
        changes["allowed_values"] = tuple(changes["allowed_values"])
    if changes.get("is_flag"):
        changes.setdefault("type", bool)
    if "default" in options:
        factory = options["default"] if _makes_defaults(options["default"]) else None
        changes.update(default=MISSING if factory else options["default"], default_factory=factory)
        changes.setdefault("required", False)
    elif options.get("required"):
        changes.update(default=MISSING, default_factory=None)
    elif "required" in options and item.default is MISSING and item.default_factory is None:
        changes.update(default=None)
    return item._replace(**changes)


def _inherited(item: Parameter, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a group says of a parameter that its experiment does not say itself."""
    own = {"type"} if item.type not in {Any, MISSING} else set()
    own |= {"help"} if item.help else set()
    own |= {"default", "required"} if not item.required and item.default is not MISSING else set()
    return {key: value for key, value in options.items() if key not in own}


def _makes_defaults(default: object) -> bool:
    return default is not MISSING and callable(default)


def _settled(item: Parameter) -> Parameter:
    """Return a parameter whose type, default, is_flag and multiple agree."""
    if item.type is MISSING:
        item = item._replace(type=_type_like(item))
    listed = _is_list(item.type)
    if item.multiple and not listed:
        item = item._replace(type=list[item.type])  # type: ignore[name-defined]
    if not item.required and item.default is MISSING and item.default_factory is None and item.name[:2] != "**":
        item = item._replace(default=[] if item.multiple else False if item.is_flag else None)
    kind = _without_none(item.type)
    if kind is Any and isinstance(item.default, bool):
        kind = bool
    return item._replace(multiple=_is_list(item.type), is_flag=kind is bool)


def _type_like(item: Parameter) -> Any:
    """Return the type of a parameter that is only declared, without a type: its default's, or an allowed value's."""
    samples = [value for value in (item.default, *(item.allowed_values or ())) if value is not MISSING]
    known = [type(value) for value in samples if isinstance(value, (*_KNOWN, os.PathLike)) or _is_enum(type(value))]
    return (bool if item.is_flag else str) if not known else known[0]


# The docstring.

_DOCUMENTED_TYPES = {"int": int, "float": float, "str": str, "bool": bool}


def documented(docstring: str) -> dict[str, tuple[str, str]]:
    r"""Return what a numpy docstring's "Parameters" section says: by name, the type and the text.

    Parameters
    ----------
    docstring
        A function's ``__doc__``.

    Returns
    -------
    dict
        Of pairs of texts; empty where there is no such section.

    Examples
    --------
    >>> documented("Fit.\n\n    Parameters\n    ----------\n    rate : float\n        How far.\n")
    {'rate': ('float', 'How far.')}
    """
    import inspect

    lines = inspect.cleandoc(docstring).splitlines()
    found: dict[str, tuple[str, str]] = {}
    names: list[str] = []
    for line in _section(lines, "Parameters"):
        if line[:1].strip():
            heading, _, kind = line.partition(":")
            names = [name.strip().lstrip("*") for name in heading.split(",")]
            found.update(dict.fromkeys(names, (kind.split(",")[0].strip(), "")))
        else:
            for name in names:
                kind, text = found[name]
                found[name] = kind, f"{text} {line.strip()}".strip()
    return found


def _section(lines: Sequence[str], title: str) -> Sequence[str]:
    """Return the lines of a section of a numpy docstring."""
    heads = (i + 2 for i in range(len(lines) - 1) if _heads((lines[i], lines[i + 1]), title))
    begin = next(heads, len(lines))
    end = next((i for i in range(begin, len(lines) - 1) if _heads((lines[i], lines[i + 1]))), len(lines))
    return lines[begin:end]


def _heads(pair: tuple[str, str], title: str = "") -> bool:
    return bool(pair[0].strip()) and set(pair[1].strip()) == {"-"} and (not title or pair[0].strip() == title)


def summary(docstring: str) -> str:
    """Return a docstring up to its first section."""
    import inspect

    lines = inspect.cleandoc(docstring).splitlines()
    end = next((i for i in range(len(lines) - 1) if _heads((lines[i], lines[i + 1]))), len(lines))
    return "\n".join(lines[:end]).strip()


# From what was given to a specification, and back.


def complete(parameters: Mapping[str, Parameter], given: Mapping[str, Any]) -> Specification:
    """Return the specification that given values make: checked, as JSON, with defaults filled in.

    Parameters
    ----------
    parameters
        As from `parameters_of`. ``random_seed`` may always be given, too.
    given
        Values by name: typed objects (an Enum's member, a Path) or what JSON holds of them.

    Returns
    -------
    dict
        All parameters, in their order: given, or from the environment variable, or the default.

    Raises
    ------
    ParameterError
        One is unknown, missing, of another type, or not allowed; the message names it, the value, and what is allowed.

    Examples
    --------
    >>> def scale(x: float, by: int = 2): ...
    >>> complete(parameters_of(scale), {"x": 3})
    {'x': 3, 'by': 2}
    """
    anything = next((item for name, item in parameters.items() if name.startswith("**")), None)
    specification = {name: _value(item, given) for name, item in parameters.items() if item is not anything}
    for name, value in given.items():
        if name in parameters:
            continue
        if name == "random_seed":
            if value is not None:
                specification[name] = checked(RANDOM_SEED, value)
        elif anything:
            specification[name] = checked(anything._replace(name=name), value)
        else:
            raise ParameterError(name, unknown(name, parameters))
    return specification


def separate(parameters: Mapping[str, Parameter], given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what was given of the specification (with what ``params_file`` holds), and of the settings.

    Parameters
    ----------
    parameters
        As from `parameters_of`; a setting of whose name the function has a parameter is that parameter.
    given
        Values by name, ``output_dir``, ``params_file`` and ``debug`` among them.

    Raises
    ------
    ParameterError
        A setting has another type, or the file cannot be read.
    """
    names = {name for name in given if name in SETTINGS and name not in parameters}
    settings = typed(SETTINGS, {name: checked(SETTINGS[name], given[name]) for name in names})
    values = {name: value for name, value in given.items() if name not in names}
    if path := settings.get("params_file"):
        values = {**read_file(path), **values}
    return values, settings


def read_file(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the parameters that a ``specification.json``, or a YAML file, holds.

    Raises
    ------
    ParameterError
        It is not there, is neither JSON nor YAML, or holds no dict.
    """
    import json

    try:
        with open(path, encoding="utf-8-sig") as file:
            content = _yaml(file.read()) if str(path).endswith((".yaml", ".yml")) else json.load(file)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise ParameterError("params_file", f"{os.fspath(path)} cannot be read: {why}") from error
    if not isinstance(content, dict):
        raise ParameterError(
            "params_file", f"{os.fspath(path)} holds a {type(content).__name__}, not a dict of parameters"
        )
    return {str(name): value for name, value in content.items()}


def _yaml(text: str) -> Any:
    try:
        import yaml
    except ModuleNotFoundError as error:
        raise ImportError('parameters in YAML need PyYAML: pip install "smallab[yaml]"') from error
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error


def unknown(name: str, parameters: Mapping[str, Parameter]) -> str:
    """Return what there is to say of a parameter that does not exist."""
    if not parameters:
        return "there is no such parameter; there are none (@parameter declares one)"
    shown = [key for key, item in parameters.items() if not item.hidden]
    return (
        f"there is no such parameter{_closest(name, [*shown, 'random_seed', *SETTINGS])}; there are {', '.join(shown)}"
    )


def _closest(name: str, names: Iterable[str]) -> str:
    import difflib

    close = difflib.get_close_matches(name, list(names), 1)
    return f", did you mean {close[0]!r}?" if close else ""


def _value(item: Parameter, given: Mapping[str, Any]) -> Any:
    if item.name in given:
        return checked(item, given[item.name])
    if item.envvar and os.environ.get(item.envvar):
        return from_environment(item)
    if item.default_factory:
        return checked(item, item.default_factory())
    if item.default is MISSING:
        raise ParameterError(item.name, f"missing; expected {expected(item)}")
    return plain(item.default)


def checked(item: Parameter, value: Any) -> Any:
    """Return a value as JSON if it is of the parameter's type and allowed; else raise ParameterError."""
    if value is None and item.default is None:
        return None
    try:
        return _allowed(item, _convert(item.type, value, text=False), value)
    except _MismatchError:
        raise ParameterError(item.name, f"expected {expected(item)}, not {value!r}") from None


def from_text(item: Parameter, text: str | Sequence[str]) -> Any:
    """Return a value, given as text (a list of texts, if it is multiple), as JSON; or raise ParameterError."""
    try:
        return _allowed(item, _of_text(item, text), text)
    except _MismatchError:
        raise ParameterError(item.name, f"expected {expected(item)}, not {text!r}") from None


def _of_text(item: Parameter, text: str | Sequence[str]) -> Any:
    try:
        return _convert(text_type(item), text, text=True)
    except _MismatchError:
        if item.type is Any:  # without an annotation, the default's type is a guess
            return _anything(text)
        raise


def from_environment(item: Parameter) -> Any:
    """Return the value of a parameter's environment variable, which is set."""
    text = os.environ[item.envvar or ""]
    try:
        return from_text(item, text.split() if item.multiple else text)
    except ParameterError as error:
        raise ParameterError(item.name, f"{error.problem} (the environment variable {item.envvar})") from None


def _allowed(item: Parameter, value: Any, given: object) -> Any:
    """Return a typed value as JSON, if it is allowed."""
    result = plain(value)
    if item.allowed_values is not None:
        allowed = [plain(each) for each in item.allowed_values]
        for each in result if item.multiple else [result]:
            if not any(_same(each, other) for other in allowed):
                wrong, hint = each if item.multiple else given, _closest(str(each), map(str, allowed))
                raise ParameterError(item.name, f"expected {expected(item)}, not {wrong!r}{hint}")
    return result


def _same(one: object, other: object) -> bool:
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def plain(value: Any) -> Any:
    """Return a typed object as JSON holds it: an Enum's member by value (a str) or name, a Path as str."""
    if value is None or type(value) in {str, int, float, bool}:
        return value
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if hasattr(type(value), "__members__"):
        return _key(value)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return _python_number(value)


def _key(member: enum.Enum) -> str:
    return member.value if isinstance(member.value, str) else member.name


def typed(parameters: Mapping[str, Parameter], specification: Mapping[str, Any]) -> dict[str, Any]:
    """Return the objects that a function expects, of what a specification holds; the inverse of `complete`.

    Parameters
    ----------
    parameters
        As from `parameters_of`.
    specification
        As from `complete`; ``random_seed`` is left out where it is no parameter of the function.

    Returns
    -------
    dict
        By name.

    Examples
    --------
    >>> from pathlib import Path
    >>> def read(path: Path): ...
    >>> isinstance(typed(parameters_of(read), {"path": "data.csv"})["path"], Path)
    True
    """
    anything = next((item for name, item in parameters.items() if name.startswith("**")), None)
    found = {}
    for name, value in specification.items():
        item = parameters.get(name, anything)
        if item is not None and not (name == "random_seed" and name not in parameters):
            try:
                found[name] = None if value is None and item.default is None else _convert(item.type, value, text=False)
            except _MismatchError:
                found[name] = value  # a default that is not what the annotation says: Python would pass it on, too
    return found


def arguments(function: Callable[..., Any], values: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """Return typed values as positional and keyword arguments for a function.

    Parameters
    ----------
    function
        The function; one written ``def f(params)`` is passed the dict.
    values
        As from `typed`.

    Examples
    --------
    >>> def add(x, /, *more, scale=1): ...
    >>> arguments(add, {"x": 1, "more": (2, 3), "scale": 4})
    ([1, 2, 3], {'scale': 4})
    """
    if takes_params(function):
        return [dict(values)], {}
    rest, positional = dict(values), []
    signature = _signature(function).parameters
    by_position = any(item.kind is item.VAR_POSITIONAL for item in signature.values())
    for name, item in signature.items():
        if item.kind is item.VAR_POSITIONAL:
            positional += rest.pop(name, ())
        elif name in rest and (
            item.kind is item.POSITIONAL_ONLY or (by_position and item.kind is item.POSITIONAL_OR_KEYWORD)
        ):
            positional.append(rest.pop(name))
    return positional, rest


# Types.


class _MismatchError(ValueError):
    """A value is not of a type."""


def _bare(kind: Any) -> Any:
    """Return a type without Annotated, NewType and aliases around it."""
    while True:
        if get_origin(kind) is Annotated:
            kind = get_args(kind)[0]
        elif hasattr(kind, "__supertype__"):
            kind = kind.__supertype__
        elif type(kind).__name__ == "TypeAliasType":
            kind = kind.__value__
        else:
            return kind


def _choices(kind: Any) -> tuple[Any, ...]:
    """Return the members of a union; of any other type, itself."""
    kind = _bare(kind)
    return get_args(kind) if get_origin(kind) in {Union, types.UnionType} else (kind,)


def _without_none(kind: Any) -> Any:
    """Return X of an Optional[X]; else the type itself."""
    rest = [_bare(choice) for choice in _choices(kind) if choice is not type(None)]
    return rest[0] if len(rest) == 1 else _bare(kind)


def _is_enum(kind: Any) -> bool:
    return isinstance(kind, type) and hasattr(kind, "__members__")


def _is_list(kind: Any) -> bool:
    kind = _without_none(kind)
    return (get_origin(kind) or kind) in _LISTS


def _item_type(kind: Any) -> Any:
    """Return the type of a list's items."""
    found = [item for item in get_args(_without_none(kind)) if item is not ...]
    return Union[tuple(found)] if found else Any  # noqa: UP007  # made of what is known only now


def text_type(item: Parameter) -> Any:
    """Return the type that a text is read as: without an annotation, the default's."""
    if item.type is not Any or type(item.default) not in _SCALARS or item.default is None:
        return item.type
    return float if type(item.default) is int else type(item.default)


def _convert(kind: Any, value: Any, text: bool) -> Any:
    """Return a value, or what a text says, as an object of a type; raise _MismatchError where it is none."""
    if not text and type(value) is kind:
        return value
    kind = _bare(kind)
    if kind in _SCALARS:
        return _SCALARS[kind](value, text)
    for fits, convert in _CONVERSIONS:
        if fits(kind):
            return convert(kind, value, text)
    return _anything(value) if text else value


def _convert_literal(kind: Any, value: Any, text: bool) -> Any:
    return _first(get_args(kind), value, str if text else lambda each: each)


def _first(candidates: Iterable[Any], value: Any, key: Callable[[Any], Any]) -> Any:
    for candidate in candidates:
        if _same(key(candidate), value):
            return candidate
    raise _MismatchError


def _convert_union(kind: Any, value: Any, text: bool) -> Any:
    ordered = sorted(get_args(kind), key=lambda choice: choice is str)  # every text is a str: that comes last
    if not text and type(value) in ordered:
        return value
    for choice in ordered:
        try:
            return _convert(choice, value, text)
        except _MismatchError:
            continue
    raise _MismatchError


def _convert_list(kind: Any, value: Any, text: bool) -> Any:
    if isinstance(value, (str, bytes, dict)) or not isinstance(value, Iterable):
        raise _MismatchError
    kind = _without_none(kind)
    items, inner = list(value), get_args(kind)
    if get_origin(kind) is tuple and inner and ... not in inner:
        if len(inner) != len(items):
            raise _MismatchError
        return tuple(_convert(each, item, text) for each, item in zip(inner, items, strict=True))
    found = [_convert(_item_type(kind), item, text) for item in items]
    return tuple(found) if (get_origin(kind) or kind) is tuple else found


def _convert_enum(kind: Any, value: Any, text: bool) -> Any:  # noqa: ARG001  # one of several that are called alike
    if isinstance(value, kind):
        return value
    if isinstance(value, str) and value in kind.__members__:
        return kind[value]
    return _first(kind, value, lambda member: member.value)


def _python_number(value: Any) -> Any:
    """Return the Python number inside a numpy scalar; anything else as it is."""
    return value.item() if hasattr(value, "dtype") and getattr(value, "ndim", None) == 0 else value


def _int(value: Any, text: bool) -> int:
    value = _python_number(value)
    if text:
        try:
            return int(value)
        except ValueError:
            raise _MismatchError from None
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise _MismatchError


def _float(value: Any, text: bool) -> float:
    """Return a number; a whole one stays an int, so that ``--x 3`` and ``f(3)`` are one specification."""
    value = _python_number(value)
    if text:
        try:
            return _int(value, text)
        except _MismatchError:
            return _float_of_text(value)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return value
    raise _MismatchError


def _float_of_text(text: str) -> float:
    import math

    try:
        number = float(text)
    except ValueError:
        raise _MismatchError from None
    if not math.isfinite(number):  # JSON has none
        raise _MismatchError
    return number


_TRUE, _FALSE = {"true", "yes", "on", "1"}, {"false", "no", "off", "0"}


def _bool(value: Any, text: bool) -> bool:
    value = _python_number(value)
    if text and value.lower() in _TRUE | _FALSE:
        return value.lower() in _TRUE
    if isinstance(value, bool):
        return value
    raise _MismatchError


def _str(value: Any, text: bool) -> str:  # noqa: ARG001  # one of several that are called alike
    if isinstance(value, str):
        return str(value)
    raise _MismatchError


def _none(value: Any, text: bool) -> None:
    if not (value is None or (text and value.lower() in {"none", "null"})):
        raise _MismatchError


_SCALARS: dict[Any, Callable[[Any, bool], Any]] = {int: _int, float: _float, bool: _bool, str: _str, type(None): _none}


def _convert_path(kind: Any, value: Any, text: bool) -> Any:  # noqa: ARG001  # likewise
    from pathlib import Path

    if not isinstance(value, (str, os.PathLike)):
        raise _MismatchError
    return Path(value) if kind is os.PathLike else kind(value)


_CONVERSIONS: list[tuple[Callable[[Any], bool], Callable[[Any, Any, bool], Any]]] = [
    (lambda kind: get_origin(kind) in {Union, types.UnionType}, _convert_union),
    (lambda kind: get_origin(kind) is Literal, _convert_literal),
    (_is_list, _convert_list),
    (_is_enum, _convert_enum),
    (lambda kind: isinstance(kind, type) and issubclass(kind, os.PathLike), _convert_path),
]


def _anything(text: Any) -> Any:
    """Return what a text says as JSON, else the text."""
    import json

    def refuse(constant: str) -> None:
        raise ValueError(constant)

    try:
        return json.loads(text, parse_constant=refuse)
    except (ValueError, TypeError):
        return text


_WORDS = {int: "an integer", float: "a number", bool: "true or false", str: "text", type(None): "none", Any: "JSON"}


def expected(item: Parameter) -> str:
    """Return in words what a parameter's value may be."""
    if item.allowed_values is not None:
        words = _one_of(item.allowed_values)
        return f"a list, each item {words}" if item.multiple else words
    return _described(text_type(item))


def _described(kind: Any) -> str:
    kind = _bare(kind)
    if values := values_of(kind):
        return _one_of(values)
    if _is_list(kind):
        inner = get_args(_without_none(kind))
        if get_origin(_without_none(kind)) is tuple and ... not in inner:
            return f"a list of {len(inner)}: {', '.join(map(_described, inner))}"
        return f"a list, each item {_described(_item_type(kind))}" if inner else "a list"
    if len(_choices(kind)) > 1:
        return " or ".join(map(_described, _choices(kind)))
    if isinstance(kind, type) and issubclass(kind, os.PathLike):
        return "a path"
    return _WORDS.get(kind, getattr(kind, "__name__", str(kind)))


_PLACEHOLDERS = {int: "INTEGER", float: "NUMBER", bool: "BOOLEAN", str: "TEXT", Any: "JSON"}


def placeholder(kind: Any) -> str:
    """Return what stands for a value of a type in a command line's help: NUMBER, PATH, [sgd|adam]."""
    if values := values_of(kind):
        return f"[{'|'.join(map(str, values))}]"
    kind = _without_none(kind)
    if _is_list(kind):
        return placeholder(_item_type(kind))
    if len(_choices(kind)) > 1:
        return "|".join(dict.fromkeys(placeholder(choice) for choice in _choices(kind) if choice is not type(None)))
    if isinstance(kind, type) and issubclass(kind, os.PathLike):
        return "PATH"
    return _PLACEHOLDERS.get(kind, "JSON")


def values_of(kind: Any) -> list[Any]:
    """Return the values that a type lists: an Enum's or a Literal's; else none."""
    kind = _without_none(kind)
    if get_origin(kind) is Literal:
        return list(get_args(kind))
    return list(map(_key, kind.__members__.values())) if _is_enum(kind) else []


def _one_of(values: Iterable[Any]) -> str:
    texts = [str(plain(value)) for value in values]
    return f"one of {', '.join(texts)}" if len(texts) > 1 else ", ".join(texts)
