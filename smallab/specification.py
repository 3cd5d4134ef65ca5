"""Specifications: what is to run, as a dict that JSON can hold, and the digest that is its identity.

Inside smallab a specification travels as its *canonical JSON*: sorted keys, no spaces, UTF-8, the same text in every
process, on every machine and in every version of Python. What ``main``, the hooks and the saved record see is that
text, parsed.
"""

from __future__ import annotations

import json
import sys
from typing import Any, cast

from smallab.plugins import opened

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


# What is neither JSON nor a number of numpy's comes back from `default` as it is, which the encoder refuses.
encode = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False, default=python_number
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
    try:
        text = encode(specification)
        text.encode()  # lone surrogates end here
        if _is_plain(specification) or (isinstance(specification, dict) and json.loads(text) == specification):
            return text  # equal after a round trip: every key is a string, every value plain JSON
        otherwise = ""  # it may hold tuples, which compare unequal
    except (TypeError, ValueError, RecursionError) as error:
        otherwise = str(error)
    problem = opened("problems").first_problem(specification, where, otherwise)
    if problem:
        raise SpecificationError(problem)
    return text


def parsed(text: str) -> Specification:
    """Return the specification that canonical JSON holds, as a dict of the caller's own."""
    return cast("Specification", json.loads(text))


_STRING = frozenset({str})
_SCALARS = frozenset({str, int, float, bool, type(None)})


def _is_plain(specification: Specification) -> bool:
    """Tell whether a dict holds strings as keys and scalars: what most do, at a quarter of a round trip's cost."""
    keys_are_strings = _STRING.issuperset(map(type, specification))
    return type(specification) is dict and keys_are_strings and _SCALARS.issuperset(map(type, specification.values()))


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
