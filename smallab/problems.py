"""What is wrong with a specification that JSON cannot hold: the words of a SpecificationError."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping

from smallab.specification import python_number


def first_problem(specification: object, where: str, otherwise: str) -> str:
    """Return what is wrong at the first place that JSON cannot hold faithfully; nothing where all is well.

    Parameters
    ----------
    specification
        What was given.
    where
        What it is called.
    otherwise
        What else went wrong, where no place is to blame.
    """
    if not isinstance(specification, dict):
        return f"{where}: a specification is a dict, not {described(specification)}"
    try:
        return next(_problems(specification, where), f"{where}: {otherwise}" if otherwise else "")
    except RecursionError:
        return f"{where}: nested too deeply, or a list or dict that contains itself"


def _problems(value: object, where: str) -> Iterator[str]:
    """Yield, for every place that JSON cannot hold faithfully, what is wrong there."""
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                yield f"{where}: the key {key!r} is {described(key)}; keys must be strings"
            yield from _problems_of_scalar(key, f"{where}: the key {key!r}")
            yield from _problems(item, f"{where}[{json.dumps(key, ensure_ascii=False)}]")
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from _problems(item, f"{where}[{index}]")
    else:
        yield from _problems_of_scalar(value, where)


def _problems_of_scalar(value: object, where: str) -> Iterator[str]:
    number = python_number(value)
    if number is not None and not isinstance(number, (str, int, float)):
        yield f"{where}: {described(value)} is not JSON; {_way_out(value)}"
    elif isinstance(number, float) and not math.isfinite(number):
        yield f"{where}: {value!r} is not JSON; use null or a string"
    else:
        try:
            str(number).encode()
        except UnicodeEncodeError:
            yield f"{where}: {value!r} holds a lone surrogate, which is not Unicode"
        except ValueError as error:  # Python's limit on the digits of an int
            yield f"{where}: {error}"


def _way_out(value: object) -> str:
    if isinstance(value, Mapping):
        return "write it as a dict (dict(…))"
    if isinstance(value, Iterable) and not isinstance(value, (bytes, bytearray)):
        return "write it as a list (list(…) or .tolist())"
    return "write it as a string or a number (str(…))"


def described(value: object) -> str:
    """Return a value in a few words: its type, and the beginning of how Python shows it."""
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001  # an object that cannot even be shown is named by its type
        return type(value).__name__
    return f"{type(value).__name__} {text if len(text) <= 60 else text[:57] + '…'}"
