"""From a function's signature, docstring and ``@parameter`` to its parameters, and back to arguments."""

from __future__ import annotations

import enum
import inspect
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any, get_type_hints

from smallab.functions.docstring import Documented, documented
from smallab.functions.kinds import kind_of
from smallab.functions.parameters import (
    MISSING,
    Declaration,
    Parameter,
    Parameters,
    declared,
    did_you_mean,
    innermost,
)
from smallab.plugins import plugins

_DOCUMENTED_TYPES = {"int": int, "float": float, "str": str, "bool": bool}
_TYPES_OF_DEFAULTS = (bool, int, float, str, list, tuple, os.PathLike, enum.Enum)

Options = dict[str, Any]  # of `smallab.parameter`; those that are said


def parameters_of(function: Callable[..., Any]) -> Parameters:
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
    declarations = declared(function)
    by_groups = _by_name(item for item in declarations if item.inherited)
    own = _by_name(item for item in declarations if not item.inherited)
    texts = documented(innermost(function).__doc__ or "")
    takes_all = takes_params(function)
    found = Parameters() if takes_all else _of_signature(function, by_groups, texts, own)
    for name in [*by_groups, *own]:
        if name in found:
            continue
        if takes_all or found.others is not None:
            help_text = {"help": texts[name].help} if name in texts else {}
            found[name] = _made(name, by_groups.get(name, {}), help_text, own.get(name, {}))
        elif name in own:
            raise ValueError(_not_in_signature(function, name, found))
    if takes_all:
        for item in plugins("smallab.parameters"):
            found.setdefault(item.name, item)
    return found


def only_parameters(declarations: Iterable[Declaration]) -> Parameters:
    """Return the parameters that declarations alone make: those of a group."""
    return Parameters(_made(name, options) for name, options in _by_name(declarations).items())


def takes_params(function: Callable[..., Any]) -> bool:
    """Tell whether a function is written ``def f(params)``: it is passed the dict of all declared parameters."""
    found = _arguments_of(function)
    return [item.name for item in found] == ["params"] and found[0].default is inspect.Parameter.empty


def arguments(function: Callable[..., Any], values: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
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
    positional: list[Any] = []
    keywords = dict(values)
    found = _arguments_of(function)
    by_position: set[object] = {inspect.Parameter.POSITIONAL_ONLY}
    if any(item.kind is item.VAR_POSITIONAL for item in found):  # what stands before *args can only go by position
        by_position.add(inspect.Parameter.POSITIONAL_OR_KEYWORD)
    for item in found:
        if item.kind is item.VAR_POSITIONAL:
            positional.extend(keywords.pop(item.name, ()))
        elif item.kind in by_position and item.name in keywords:
            positional.append(keywords.pop(item.name))
    return positional, keywords


def _arguments_of(function: Callable[..., Any]) -> list[inspect.Parameter]:
    return list(inspect.signature(innermost(function)).parameters.values())


def _by_name(declarations: Iterable[Declaration]) -> dict[str, Options]:
    """Return what declarations say of each parameter; the later counts more."""
    found: dict[str, Options] = {}
    for declaration in declarations:
        found.setdefault(declaration.name, {}).update(declaration.options)
    return found


def _of_signature(
    function: Callable[..., Any],
    by_groups: Mapping[str, Options],
    texts: Mapping[str, Documented],
    own: Mapping[str, Options],
) -> Parameters:
    """Return the parameters that stand in a signature."""
    found = Parameters()
    annotations = _annotations(function)
    where_nothing_is_said = {"type": Any, "required": True}
    for argument in _arguments_of(function):
        name = argument.name
        text = texts.get(name, Documented())
        annotation = annotations.get(name, _DOCUMENTED_TYPES.get(text.type, Any))
        if argument.kind is argument.VAR_KEYWORD:
            found.others = Parameter(name, annotation, MISSING)
        else:
            signature = _said(argument, annotation, text)
            found[name] = _made(name, where_nothing_is_said, by_groups.get(name, {}), signature, own.get(name, {}))
    return found


def _said(argument: inspect.Parameter, annotation: Any, text: Documented) -> Options:
    """Return what the signature and the docstring say of an argument, as ``@parameter`` would."""
    options: Options = {}
    if argument.kind is argument.VAR_POSITIONAL:
        options["type"] = tuple[annotation, ...]
        options["default"] = ()
    elif annotation is not Any:
        options["type"] = annotation
    if argument.default is not argument.empty:
        options["default"] = argument.default
    if text.help:
        options["help"] = text.help
    return options


def _annotations(function: Callable[..., Any]) -> dict[str, Any]:
    """Return what a function's annotations mean; those that cannot be had (names only for type checkers) are Any."""
    function = innermost(function)
    try:
        return get_type_hints(function)
    except Exception:  # noqa: BLE001  # whatever evaluating one of them raises: the others are still to be had
        found = getattr(function, "__annotations__", {})
        return {name: _evaluated(annotation, function) for name, annotation in found.items()}


def _evaluated(annotation: object, function: Callable[..., Any]) -> Any:
    if not isinstance(annotation, str):
        return annotation
    try:
        return eval(annotation, getattr(function, "__globals__", {}))  # noqa: S307  # the annotation is the user's code
    except Exception:  # noqa: BLE001  # a name that only type checkers know
        return Any


def _made(name: str, *said: Options) -> Parameter:
    """Return the parameter of which all that is said; what counts more comes later."""
    options: Options = {}
    for each in said:
        options.update(each)
    default = options.get("default", MISSING)
    allowed_values = options.get("allowed_values")
    annotation = options["type"] if "type" in options else _type_like([default, *(allowed_values or ())])
    multiple = options.get("multiple", False)
    if multiple and not kind_of(annotation).is_list:
        annotation = list[annotation]  # type: ignore[valid-type]  # it is known only now
    if default is MISSING and not options.get("required"):
        default = [] if multiple else False if options.get("is_flag") else None
    return Parameter(
        name,
        annotation,
        default,
        allowed_values=allowed_values,
        envvar=options.get("envvar"),
        help=options.get("help", ""),
        hidden=options.get("hidden", False),
    )


def _type_like(samples: Iterable[Any]) -> Any:
    """Return the type of a parameter that is only declared, without a type: that of its default or allowed values."""
    for sample in samples:
        if isinstance(sample, _TYPES_OF_DEFAULTS):
            return type(sample)
    return str


def _not_in_signature(function: Callable[..., Any], name: str, found: Parameters) -> str:
    title = getattr(innermost(function), "__name__", repr(function))
    return (
        f"@parameter({name!r}): {title}({', '.join(found)}) has no such argument{did_you_mean(name, found)}; add it, "
        f"or write `def {title}(params)` to be passed a dict of all that is declared"
    )
