"""Which specifications are meant: ``model.depth=2`` on a command line."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from smallab.specification import parsed

_NOTHING = object()  # stands for a key that is not there: null is a value


def where(conditions: Iterable[str]) -> Callable[[str], bool]:
    """Return a function that tells whether a specification (canonical JSON) meets all conditions.

    Parameters
    ----------
    conditions
        ``key=value``, the keys of nested dicts joined with a dot, values as JSON (or as text).

    Raises
    ------
    ValueError
        A condition has no ``=``.

    Examples
    --------
    >>> where(["model.depth=2", "name=svm"])('{"model":{"depth":2},"name":"svm"}')
    True
    """
    wanted = []
    for condition in conditions:
        key, equals, value = condition.partition("=")
        if not equals:
            raise ValueError(f"{condition!r} is no condition: write key=value")
        wanted.append((key, value))

    def is_met(text: str) -> bool:
        specification = parsed(text)
        return all(_is(_at(specification, key), value) for key, value in wanted)

    return is_met


def _at(specification: Any, key: str) -> Any:
    """Return the value at a key, or at a path of keys joined with dots; `_NOTHING` where there is none."""
    if not isinstance(specification, dict):
        return _NOTHING
    if key in specification:
        return specification[key]
    first, dot, rest = key.partition(".")
    return _at(specification[first], rest) if dot and first in specification else _NOTHING


def _is(found: object, text: str) -> bool:
    """Tell whether a value is what a text says, as JSON or as it is; 1 and true are two values."""
    try:
        value = json.loads(text)
    except ValueError:
        return found == text
    are_booleans = isinstance(found, bool) == isinstance(value, bool)
    return found == text or (found == value and are_booleans)
