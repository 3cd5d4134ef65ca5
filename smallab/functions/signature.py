"""From a function's signature, docstring and ``@parameter`` to its parameters, and back to arguments."""

from __future__ import annotations

import enum
import inspect
import itertools
import os
from collections.abc import Iterable, Mapping
from typing import Any, get_type_hints

from smallab.functions.docstring import Options, documented
from smallab.functions.kinds import kind_of
from smallab.functions.parameters import (
    MISSING,
    Declaration,
    Function,
    Parameter,
    Parameters,
    declared,
    did_you_mean,
    innermost,
)
from smallab.plugins import plugins

_TYPES_OF_DEFAULTS = (bool, int, float, str, list, tuple, os.PathLike, enum.Enum)


def parameters_of(function: Function) -> Parameters:
    """Return a function's parameters, from its signature, its docstring and ``@parameter``.

    Parameters
    ----------
    function
        The function, or an experiment made of it.

    Returns
    -------
    dict of Parameter
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
    takes_all = takes_params(function)
    in_signature = [] if takes_all else _arguments_of(function)
    takes_others = [item.name for item in in_signature if item.kind is item.VAR_KEYWORD]
    declarations = declared(function)
    groups = _said_by(item for item in declarations if item.inherited)
    own = _said_by(item for item in declarations if not item.inherited)
    said: dict[str, Options] = {item.name: {"type": Any, "required": True} for item in in_signature}
    for name in [*groups, *own]:
        if takes_all or takes_others:
            said.setdefault(name, {})
        elif name in own and name not in said:
            raise ValueError(_not_in_signature(function, name, said))
    docstring = documented(innermost(function).__doc__ or "")
    for source in (groups, docstring, _said_by_signature(function, in_signature), own):  # who counts more comes later
        for name in said.keys() & source.keys():
            said[name].update(source[name])
    found = Parameters(itertools.starmap(_made, said.items()))
    for name in takes_others:
        found.others = found.pop(name)
    if takes_all:
        for item in plugins("smallab.parameters"):
            found.setdefault(item.name, item)
    return found


def only_parameters(declarations: Iterable[Declaration]) -> Parameters:
    """Return the parameters that declarations alone make: those of a group."""
    said = _said_by(declarations)
    return Parameters(itertools.starmap(_made, said.items()))


def takes_params(function: Function) -> bool:
    """Tell whether a function is written ``def f(params)``: it is passed the dict of all declared parameters."""
    in_signature = _arguments_of(function)
    if len(in_signature) != 1:
        return False
    only = in_signature[0]
    return only.name == "params" and only.default is only.empty


def arguments(function: Function, values: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """Return typed values as positional and keyword arguments for a function.

    Parameters
    ----------
    function
        The function; one written ``def f(params)`` is passed the dict.
    values
        As from `smallab.functions.values.typed`.

    Examples
    --------
    >>> def add(x, /, *more, scale=1): ...
    >>> arguments(add, {"x": 1, "more": (2, 3), "scale": 4})
    ([1, 2, 3], {'scale': 4})
    """
    if takes_params(function):
        return [dict(values)], {}
    in_signature = _arguments_of(function)
    positional: list[Any] = []
    keywords = dict(values)
    last_by_position: int = inspect.Parameter.POSITIONAL_ONLY
    if any(item.kind is item.VAR_POSITIONAL for item in in_signature):
        last_by_position = inspect.Parameter.POSITIONAL_OR_KEYWORD  # what stands before *args can only go by position
    for item in in_signature:
        if item.kind is item.VAR_POSITIONAL:
            positional.extend(keywords.pop(item.name, ()))
        elif item.kind <= last_by_position and item.name in keywords:
            positional.append(keywords.pop(item.name))
    return positional, keywords


def _arguments_of(function: Function) -> list[inspect.Parameter]:
    signature = inspect.signature(innermost(function))
    return list(signature.parameters.values())


def _said_by(declarations: Iterable[Declaration]) -> dict[str, Options]:
    """Return what declarations say of each parameter; the later counts more."""
    found: dict[str, Options] = {}
    for declaration in declarations:
        found.setdefault(declaration.name, {}).update(declaration.options)
    return found


def _said_by_signature(function: Function, in_signature: Iterable[inspect.Parameter]) -> dict[str, Options]:
    """Return what annotations and defaults say of a function's arguments, as ``@parameter`` would."""
    found: dict[str, Options] = {}
    annotations = _annotations(function)
    for argument in in_signature:
        options = found[argument.name] = {}
        annotation = annotations.get(argument.name, Any)
        if argument.kind is argument.VAR_POSITIONAL:
            options["type"] = tuple[annotation, ...]  # type: ignore[valid-type]  # it is known only now
            options["default"] = ()
        elif annotation is not Any:
            options["type"] = annotation
        if argument.default is not argument.empty:
            options["default"] = argument.default
    return found


def _annotations(function: Function) -> dict[str, Any]:
    """Return what a function's annotations mean; those that cannot be had (names only for type checkers) are Any."""
    function = innermost(function)
    try:
        return get_type_hints(function)
    except Exception:  # noqa: BLE001  # whatever evaluating one of them raises: the others are still to be had
        found = getattr(function, "__annotations__", {})
        return {name: _evaluated(annotation, function) for name, annotation in found.items()}


def _evaluated(annotation: object, function: Function) -> Any:
    if not isinstance(annotation, str):
        return annotation
    try:
        return eval(annotation, getattr(function, "__globals__", {}))  # noqa: S307  # the annotation is the user's code
    except Exception:  # noqa: BLE001  # a name that only type checkers know
        return Any


def _made(name: str, options: Options) -> Parameter:
    """Return the parameter of which that is said."""
    default = options.get("default", MISSING)
    allowed_values = options.get("allowed_values")
    annotation = options.get("type", MISSING)
    if annotation is MISSING:
        samples = [default, *(allowed_values or ())]
        annotation = _type_like(samples)
    multiple = options.get("multiple", False)
    if multiple and not kind_of(annotation).is_list:
        annotation = list[annotation]  # type: ignore[valid-type]  # likewise
    if default is MISSING and not options.get("required"):
        default = _nothing(options)
    return Parameter(
        name,
        annotation,
        default,
        allowed_values=allowed_values,
        envvar=options.get("envvar"),
        help=options.get("help", ""),
        hidden=options.get("hidden", False),
    )


def _nothing(options: Options) -> Any:
    """Return what a parameter is that nobody gives, and nobody needs to."""
    if options.get("multiple"):
        return []
    return False if options.get("is_flag") else None


def _type_like(samples: Iterable[Any]) -> Any:
    """Return the type of a parameter that is only declared, without a type: that of its default or allowed values."""
    for sample in samples:
        if isinstance(sample, _TYPES_OF_DEFAULTS):
            return type(sample)
    return str


def _not_in_signature(function: Function, name: str, names: Iterable[str]) -> str:
    title = getattr(innermost(function), "__name__", repr(function))
    listed = ", ".join(names)
    hint = did_you_mean(name, names)
    return (
        f"@parameter({name!r}): {title}({listed}) has no such argument{hint}; add it, or write `def {title}(params)` "
        f"to be passed a dict of all that is declared"
    )
