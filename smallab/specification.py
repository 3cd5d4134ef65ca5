"""Specifications: what is to run, as a dict that JSON can hold, and the digest that is its identity.

Inside smallab a specification travels as its *canonical JSON*: sorted keys, no spaces, UTF-8, the same text in every
process, on every machine and in every version of Python. What ``main``, the hooks and the saved record see is that
text, parsed.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

Specification = dict[str, Any]
Texts = dict[str, None]  # specifications as canonical JSON, each once and in order: an ordered set


class SpecificationError(ValueError):
    """A specification cannot be written as JSON; the message names the place inside it."""


def python_number(value: Any) -> Any:
    """Return the Python number inside a numpy scalar; anything else as it is (numpy need not be installed)."""
    numpy = sys.modules.get("numpy")
    if numpy is None or not isinstance(value, numpy.generic) or value.dtype.kind not in "biuf":
        return value
    number = value.item()
    return number if isinstance(number, (int, float)) else value  # a long double holds more than either


def _number_or_error(value: object) -> object:
    number = python_number(value)
    if number is value:
        raise TypeError(f"{type(value).__name__} is not JSON")
    return number


encode = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False, default=_number_or_error
).encode


def canonical(specification: Specification, where: str = "specification") -> str:
    """Return a specification's canonical JSON, the text that identifies it.

    Parameters
    ----------
    specification
        A dict with string keys. numpy scalars count as the numbers they hold, tuples as lists. It is not changed.
    where
        What an error message calls the specification.

    Returns
    -------
    str
        JSON with sorted keys and no spaces (like RFC 8785, with Python's shortest ``repr`` for floats).

    Raises
    ------
    SpecificationError
        It holds what JSON cannot: the message names the path and the value.

    Examples
    --------
    >>> canonical({"sizes": (64, 32), "lr": 0.1})
    '{"lr":0.1,"sizes":[64,32]}'
    """
    if not isinstance(specification, dict):
        raise SpecificationError(f"{where}: a specification is a dict, not {_described(specification)}")
    try:
        text = encode(specification)
        text.encode()  # lone surrogates end here
        if _is_plain(specification) or json.loads(text) == specification:
            return text  # equal after a round trip: every key is a string, every value plain JSON
        problem = next(_problems(specification, where), None)  # or there are tuples, which compare unequal
    except RecursionError:
        problem = f"{where}: nested too deeply, or a list or dict that contains itself"
    except (TypeError, ValueError) as error:
        problem = next(_problems(specification, where), f"{where}: {error}")
    if problem is not None:
        raise SpecificationError(problem)
    return text


def parsed(text: str) -> Specification:
    """Return the specification that canonical JSON holds, as a dict of the caller's own."""
    specification: Specification = json.loads(text)
    return specification


_STRING = frozenset({str})
_SCALARS = frozenset({str, int, float, bool, type(None)})


def _is_plain(specification: Specification) -> bool:
    """Tell whether a dict holds strings as keys and scalars: what most do, at a quarter of a round trip's cost."""
    keys_are_strings = _STRING.issuperset(map(type, specification))
    return type(specification) is dict and keys_are_strings and _SCALARS.issuperset(map(type, specification.values()))


def _problems(value: object, where: str) -> Iterator[str]:
    """Yield, for every place that JSON cannot hold faithfully, what is wrong there."""
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                yield f"{where}: the key {key!r} is {_described(key)}; keys must be strings"
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
        yield f"{where}: {_described(value)} is not JSON; {_way_out(value)}"
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


def _described(value: object) -> str:
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001  # an object that cannot even be shown is named by its type
        return type(value).__name__
    return f"{type(value).__name__} {text if len(text) <= 60 else text[:57] + '…'}"


def digest(data: str | bytes) -> str:
    """Return the blake2b digest (16 bytes, in hex) of a text (as UTF-8) or of bytes."""
    import hashlib  # here, so that `import smallab` need not load OpenSSL

    return hashlib.blake2b(data.encode() if isinstance(data, str) else data, digest_size=16).hexdigest()


def specification_hash(specification: Specification) -> str:
    """Return a specification's identity: the name of its folder.

    Parameters
    ----------
    specification
        A dict that JSON can hold.

    Returns
    -------
    str
        32 hexadecimal digits: blake2b (RFC 7693) of the canonical JSON.

    Raises
    ------
    SpecificationError
        It holds what JSON cannot.

    Examples
    --------
    >>> specification_hash({"seed": 1, "lr": 0.1}) == specification_hash({"lr": 0.1, "seed": 1})
    True
    """
    return digest(canonical(specification))
