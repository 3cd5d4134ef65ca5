"""From what somebody gives to a specification, which holds JSON (`complete`), and back to objects (`typed`)."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from smallab.functions.kinds import plain, same
from smallab.functions.parameters import (
    MISSING,
    RANDOM_SEED,
    SETTINGS,
    Factory,
    Parameter,
    ParameterError,
    Parameters,
    did_you_mean,
)
from smallab.specification import Specification

Values = dict[str, Any]


def complete(parameters: Parameters, given: Mapping[str, Any]) -> Specification:
    """Return the specification that given values make: checked, as JSON, with defaults filled in.

    Parameters
    ----------
    parameters
        As from `smallab.functions.signature.parameters_of`. ``random_seed`` may always be given, too.
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
    >>> from smallab.functions.signature import parameters_of
    >>> def scale(x: float, by: int = 2): ...
    >>> complete(parameters_of(scale), {"x": 3})
    {'x': 3, 'by': 2}
    """
    specification = {name: _value(item, given) for name, item in parameters.items()}
    for name, value in given.items():
        if name in parameters:
            continue
        if name == RANDOM_SEED.name:
            if value is not None:
                specification[name] = checked(RANDOM_SEED, value)
        elif parameters.others is not None:
            item = dataclasses.replace(parameters.others, name=name)
            specification[name] = checked(item, value)
        else:
            raise ParameterError(name, _unknown(name, parameters))
    return specification


def typed(parameters: Parameters, specification: Mapping[str, Any]) -> Values:
    """Return the objects that a function expects, of what a specification holds; the inverse of `complete`.

    Parameters
    ----------
    parameters
        As from `smallab.functions.signature.parameters_of`.
    specification
        As from `complete`; ``random_seed`` is left out where it is no parameter of the function.

    Returns
    -------
    dict
        By name.

    Examples
    --------
    >>> from pathlib import Path
    >>> from smallab.functions.signature import parameters_of
    >>> def read(path: Path): ...
    >>> isinstance(typed(parameters_of(read), {"path": "data.csv"})["path"], Path)
    True
    """
    found = {}
    for name, value in specification.items():
        others = None if name == RANDOM_SEED.name else parameters.others
        item = parameters.get(name, others)
        if item is not None:
            found[name] = _object(item, value)
    return found


def _object(item: Parameter, value: Any) -> Any:
    if value is None and item.default is None:
        return None
    try:
        return item.kind.convert(value)
    except ValueError:  # a default that is not what the annotation says: Python would pass it on, too
        return value


def separate(parameters: Parameters, given: Mapping[str, Any]) -> tuple[Values, Values]:
    """Return what was given of the specification (with what ``params_file`` holds), and of the settings.

    Parameters
    ----------
    parameters
        As from `smallab.functions.signature.parameters_of`; a setting of whose name the function has a parameter is
        that parameter.
    given
        Values by name, ``output_dir``, ``params_file`` and ``debug`` among them.

    Raises
    ------
    ParameterError
        A setting has another type, or the file cannot be read.
    """
    values = {}
    settings = {}
    for name, value in given.items():
        if name in SETTINGS and name not in parameters:
            settings[name] = checked(SETTINGS[name], value)
        else:
            values[name] = value
    settings = typed(SETTINGS, settings)
    if path := settings.get("params_file"):
        values = {**_read_file(path), **values}
    return values, settings


def checked(item: Parameter, value: Any) -> Any:
    """Return a value as JSON if it is of the parameter's type and allowed; else raise ParameterError."""
    if value is None and item.default is None:
        return None
    try:
        found = item.kind.convert(value)
    except ValueError:
        raise _unexpected(item, value) from None
    return _allowed(item, plain(found), value)


def from_text(item: Parameter, text: str | Sequence[str]) -> Any:
    """Return a value, given as text (a list of texts, if it is multiple), as JSON; or raise ParameterError."""
    try:
        found = item.text_kind.read(text)
    except ValueError:
        if item.type is not Any:
            raise _unexpected(item, text) from None
        found = item.kind.read(text)  # without an annotation, the default's type is a guess
    return _allowed(item, plain(found), text)


def _unexpected(item: Parameter, given: object, hint: str = "") -> ParameterError:
    return ParameterError(item.name, f"expected {item.expected}, not {given!r}{hint}")


def _allowed(item: Parameter, value: Any, given: object) -> Any:
    """Return a value, which is JSON, if it is allowed."""
    if item.allowed_values is None:
        return value
    allowed = [plain(each) for each in item.allowed_values]
    is_list = item.multiple and isinstance(value, list)
    for each in value if is_list else [value]:
        if not any(same(each, other) for other in allowed):
            hint = did_you_mean(str(each), map(str, allowed))
            raise _unexpected(item, each if is_list else given, hint)
    return value


def _value(item: Parameter, given: Mapping[str, Any]) -> Any:
    """Return what a parameter is, as JSON, in a call that gives some."""
    if item.name in given:
        return checked(item, given[item.name])
    if text := os.environ.get(item.envvar or ""):
        return _from_environment(item, text)
    if isinstance(item.default, Factory):
        return checked(item, item.default.make())
    if item.default is MISSING:
        raise ParameterError(item.name, f"missing; expected {item.expected}")
    return plain(item.default)


def _from_environment(item: Parameter, text: str) -> Any:
    try:
        return from_text(item, text.split() if item.multiple else text)
    except ParameterError as error:
        raise ParameterError(item.name, f"{error.problem} (the environment variable {item.envvar})") from None


def _unknown(name: str, parameters: Parameters) -> str:
    """Return what there is to say of a parameter that does not exist."""
    if not parameters:
        return "there is no such parameter; there are none (@parameter declares one)"
    shown = [key for key, item in parameters.items() if not item.hidden]
    hint = did_you_mean(name, [*shown, RANDOM_SEED.name, *SETTINGS])
    return f"there is no such parameter{hint}; there are {', '.join(shown)}"


def _read_file(path: os.PathLike[str]) -> Values:
    """Return the parameters that a ``specification.json``, or a YAML file, holds."""
    name = os.fspath(path)
    parse = _yaml if name.endswith((".yaml", ".yml")) else json.loads
    try:
        with open(path, encoding="utf-8-sig") as file:
            content = parse(file.read())
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise ParameterError("params_file", f"{name} cannot be read: {why}") from error
    if not isinstance(content, dict):
        what = type(content).__name__
        raise ParameterError("params_file", f"{name} holds a {what}, not a dict of parameters")
    return {str(key): value for key, value in content.items()}


def _yaml(text: str) -> Any:
    try:
        import yaml
    except ModuleNotFoundError as error:
        raise ImportError('parameters in YAML need PyYAML: pip install "smallab[yaml]"') from error
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error
