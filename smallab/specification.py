"""Specifications: validation, canonical JSON, and the digest that is a specification's identity.

A specification is a dict that JSON can hold. Inside smallab it travels as its *canonical JSON*: sorted keys, no
spaces, UTF-8, the same text in every process, on every machine and in every version of Python. What ``main``, the
hooks and the saved record see is that text, parsed.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable
from typing import Any

Specification = dict[str, Any]

parse = json.loads


class SpecificationError(ValueError):
    """A specification cannot be written as JSON; the message names the place inside it."""


def python_number(value: Any) -> Any:
    """Return the Python number inside a numpy scalar; anything else as it is (numpy need not be installed)."""
    numpy = sys.modules.get("numpy")
    if numpy is None or not isinstance(value, numpy.generic) or value.dtype.kind not in "biuf":
        return value
    number = value.item()
    return number if isinstance(number, (int, float)) else value  # a long double holds more than either


def _scalar(value: object) -> object:
    """Return the Python number inside a numpy scalar (numpy need not be installed)."""
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, numpy.generic) and value.dtype.kind in "biuf":
        number = value.item()
        if isinstance(number, (int, float)):  # a long double holds more than either
            return number
    raise TypeError(f"{type(value).__name__} is not JSON")


encode = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False, default=_scalar
).encode


_STRING = frozenset({str})
_SCALARS = frozenset({str, int, float, bool, type(None)})


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
        if type(specification) is dict and (_flat(specification) or json.loads(text) == specification):
            return text  # equal after a round trip: every key is a string, every value plain JSON
    except (TypeError, ValueError, RecursionError):
        text = ""
    # Either something is wrong, and this finds the place, or there are tuples or the like, which compare unequal.
    try:
        _check(specification, where)
        if not isinstance(specification, dict):
            raise SpecificationError(f"{where}: a specification is a dict, not {_describe(specification)}")
        return text or encode(specification)
    except RecursionError:
        raise SpecificationError(f"{where}: nested too deeply, or a list or dict that contains itself") from None
    except (TypeError, ValueError) as error:
        raise error if isinstance(error, SpecificationError) else SpecificationError(f"{where}: {error}") from error


def _flat(specification: Specification) -> bool:
    """Tell whether a dict holds only strings as keys and scalars: what most do, at a quarter of a round trip's cost."""
    return _STRING.issuperset(map(type, specification)) and _SCALARS.issuperset(map(type, specification.values()))


def _check(value: object, where: str) -> None:
    """Raise SpecificationError at the first place in value that JSON cannot hold faithfully."""
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise SpecificationError(f"{where}: the key {key!r} is {_describe(key)}; keys must be strings")
            _check(key, f"{where}: the key {key!r}")
            _check(item, f"{where}[{json.dumps(key, ensure_ascii=False)}]")
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            _check(item, f"{where}[{index}]")
    else:
        _check_scalar(value, where)


def _check_scalar(value: object, where: str) -> None:
    try:
        value = value if value is None or isinstance(value, (str, int, float)) else _scalar(value)
        if isinstance(value, float) and not math.isfinite(value):
            raise SpecificationError(f"{where}: {value!r} is not JSON; use null or a string")
        str(value).encode()
    except UnicodeEncodeError as error:
        raise SpecificationError(f"{where}: {value!r} holds a lone surrogate, which is not Unicode") from error
    except TypeError:
        listed = isinstance(value, Iterable) and not isinstance(value, (bytes, bytearray))
        hint = (
            "; write it as a list (list(…) or .tolist())" if listed else "; write it as a string or a number (str(…))"
        )
        raise SpecificationError(f"{where}: {_describe(value)} is not JSON{hint}") from None
    except ValueError as error:  # Python's limit on the digits of an int, or said above
        raise error if isinstance(error, SpecificationError) else SpecificationError(f"{where}: {error}") from error


def _describe(value: object) -> str:
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
