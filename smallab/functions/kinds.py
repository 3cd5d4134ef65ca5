"""Kinds of values: what an annotation accepts, as an object, as JSON and as text, and what that is called.

`kind_of` makes a `Kind` of an annotation. There is one class for each kind, and in it everything about the kind.
"""

# ruff: noqa: D102  # what each kind's methods do, Kind's say

from __future__ import annotations

import contextlib
import enum
import json
import math
import os
import types
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from smallab.specification import python_number


class Kind(ABC):
    """What a value may be.

    Attributes
    ----------
    words
        What stands after "expected" in an error message.
    placeholder
        What stands for a value in the help of a command line.
    is_list
        A value has items; on a command line it is repeated. So it is for what may be None besides.
    is_boolean
        A value is True or False; on a command line it is a flag. Likewise.
    """

    words: str
    placeholder: str
    is_list = False
    is_boolean = False

    @abstractmethod
    def convert(self, value: Any) -> Any:
        """Return an object of this kind: of one that is given, or of the JSON that a specification holds of it.

        Raises
        ------
        ValueError
            The value is not of this kind.
        """

    def read(self, text: Any) -> Any:
        """Return an object of this kind, of a text (of several, if it is a list); else raise ValueError."""
        return self.convert(text)


class Anything(Kind):
    """All JSON: where nothing is annotated, or something of which only the name is known."""

    placeholder = "JSON"

    def __init__(self, words: str = "JSON") -> None:
        self.words = words

    def convert(self, value: Any) -> Any:
        return value

    def read(self, text: Any) -> Any:
        """Return what a text says as JSON; else the text."""
        try:
            return json.loads(text, parse_constant=_finite)
        except (ValueError, TypeError):
            return text


class Scalar(Kind):
    """A value of a type that JSON has."""

    def __init__(self, words: str, placeholder: str, types: tuple[type, ...], reader: Callable[[str], Any]) -> None:
        self.words = words
        self.placeholder = placeholder
        self.types = types
        self.reader = reader
        self.is_boolean = bool in types

    def convert(self, value: Any) -> Any:
        found = python_number(value)
        counts_as_int = isinstance(found, bool) and not self.is_boolean  # in Python, and nowhere else
        if isinstance(found, self.types) and not counts_as_int:
            return found
        raise ValueError(value)

    def read(self, text: Any) -> Any:
        return self.reader(str(text))


def _number(text: str) -> float:
    """Return a number; a whole one is an int, so that ``--x 3`` and ``f(3)`` are one specification."""
    try:
        return int(text)
    except ValueError:
        return _finite(text)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"JSON has no {text}")
    return number


def _boolean(text: str) -> bool:
    if text.lower() in {"true", "yes", "on", "1"}:
        return True
    if text.lower() in {"false", "no", "off", "0"}:
        return False
    raise ValueError(text)


def _none(text: str) -> None:
    if text.lower() not in {"none", "null"}:
        raise ValueError(text)


TEXT = Scalar("text", "TEXT", (str,), str)
NONE = Scalar("none", "NONE", (type(None),), _none)
SIMPLE: dict[Any, Kind] = {
    int: Scalar("an integer", "INTEGER", (int,), int),
    float: Scalar("a number", "NUMBER", (int, float), _number),
    bool: Scalar("true or false", "BOOLEAN", (bool,), _boolean),
    str: TEXT,
    type(None): NONE,
    Any: Anything(),
}


class FilePath(Kind):
    """A Path, or another class of paths."""

    words = "a path"
    placeholder = "PATH"

    def __init__(self, path_type: Callable[[Any], Any]) -> None:
        self.path_type = path_type

    def convert(self, value: Any) -> Any:
        if isinstance(value, (str, os.PathLike)):
            return self.path_type(value)
        raise ValueError(value)


class OneOf(Kind):
    """One of the values that a Literal lists."""

    def __init__(self, values: Iterable[Any]) -> None:
        self.values = list(values)
        texts = [str(plain(value)) for value in self.values]
        self.placeholder = f"[{'|'.join(texts)}]"
        self.words = ", ".join(texts)
        if len(texts) > 1:
            self.words = f"one of {self.words}"

    def convert(self, value: Any) -> Any:
        for candidate in self.values:
            if same(candidate, value):
                return candidate
        raise ValueError(value)

    def read(self, text: Any) -> Any:
        for candidate in self.values:
            if str(candidate) == text:
                return candidate
        raise ValueError(text)


class Member(OneOf):
    """A member of an Enum: itself, or its name, or its value."""

    def __init__(self, enumeration: type[enum.Enum]) -> None:
        super().__init__(enumeration.__members__.values())
        self.enumeration = enumeration

    def convert(self, value: Any) -> Any:
        if isinstance(value, self.enumeration):
            return value
        if isinstance(value, str) and value in self.enumeration.__members__:
            return self.enumeration[value]
        for member in self.enumeration:
            if same(member.value, value):
                return member
        raise ValueError(value)

    def read(self, text: Any) -> Any:
        return self.convert(text)


class ListOf(Kind):
    """A list, or a tuple of any length, whose items are of one kind."""

    is_list = True

    def __init__(self, item: Kind, list_type: type[list[Any] | tuple[Any, ...]] = list) -> None:
        self.item = item
        self.list_type = list_type
        self.placeholder = item.placeholder
        self.words = f"a list, each item {item.words}"

    def convert(self, value: Any) -> Any:
        return self.list_type(map(self.item.convert, _items(value)))

    def read(self, text: Any) -> Any:
        return self.list_type(map(self.item.read, _items(text)))


class TupleOf(Kind):
    """A tuple of a given length, whose items have kinds of their own."""

    is_list = True

    def __init__(self, kinds: list[Kind]) -> None:
        self.kinds = kinds
        self.placeholder = _placeholder(kinds)
        words = [kind.words for kind in kinds]
        self.words = f"a list of {len(kinds)}: {', '.join(words)}"

    def convert(self, value: Any) -> Any:
        pairs = zip(self.kinds, _items(value), strict=True)  # another length is a ValueError
        return tuple(kind.convert(item) for kind, item in pairs)

    def read(self, text: Any) -> Any:
        pairs = zip(self.kinds, _items(text), strict=True)
        return tuple(kind.read(item) for kind, item in pairs)


class Either(Kind):
    """One of several kinds: a union."""

    def __init__(self, annotations: Iterable[Any]) -> None:
        self.annotations = list(annotations)
        kinds = [kind_of(annotation) for annotation in self.annotations]
        self.kinds = sorted(kinds, key=_takes_every_text)
        besides_none = [kind for kind in kinds if kind is not NONE]
        self.placeholder = _placeholder(besides_none)
        if len(besides_none) == 1:
            self.is_list = besides_none[0].is_list
            self.is_boolean = besides_none[0].is_boolean
        words = [kind.words for kind in kinds]
        has_comma = any("," in text for text in words)
        self.words = (", or " if has_comma else " or ").join(words)

    def convert(self, value: Any) -> Any:
        if type(value) in self.annotations:  # of Path | str, a str stays one
            return value
        return _first_that_works([kind.convert for kind in self.kinds], value)

    def read(self, text: Any) -> Any:
        return _first_that_works([kind.read for kind in self.kinds], text)


def _takes_every_text(kind: Kind) -> bool:
    return kind is TEXT


def _first_that_works(functions: Iterable[Callable[[Any], Any]], value: Any) -> Any:
    for function in functions:
        with contextlib.suppress(ValueError):
            return function(value)
    raise ValueError(value)


def _placeholder(kinds: Iterable[Kind]) -> str:
    return "|".join(dict.fromkeys(kind.placeholder for kind in kinds))


def _items(value: Any) -> list[Any]:
    if isinstance(value, Iterable) and not isinstance(value, (str, bytes, dict)):
        return list(value)
    raise ValueError(value)


def same(one: object, other: object) -> bool:
    """Tell whether two values are equal as JSON: True is not 1."""
    return one == other and isinstance(one, bool) == isinstance(other, bool)


_LISTS = (list, tuple, Sequence, Iterable)


def kind_of(annotation: Any) -> Kind:
    """Return the kind of values that an annotation asks for; one that is not known here takes all JSON.

    Examples
    --------
    >>> kind_of(list[float]).convert((1, 2.5))
    [1, 2.5]
    >>> kind_of(int | None).words
    'an integer or none'
    """
    annotation = _bare(annotation)
    origin = get_origin(annotation) or annotation
    if annotation in SIMPLE:
        return SIMPLE[annotation]
    if origin in {Union, types.UnionType}:
        return Either(get_args(annotation))
    if origin is Literal:
        return OneOf(get_args(annotation))
    if origin in _LISTS:
        return _kind_of_list(origin, get_args(annotation))
    if isinstance(origin, type):
        return _kind_of_class(origin)
    return Anything(getattr(annotation, "__name__", str(annotation)))


def _kind_of_list(origin: Any, inner: tuple[Any, ...]) -> Kind:
    if origin is tuple and inner and ... not in inner:
        return TupleOf([kind_of(each) for each in inner])
    item = kind_of(inner[0]) if inner else Anything()
    return ListOf(item, tuple if origin is tuple else list)


def _kind_of_class(origin: type) -> Kind:
    if issubclass(origin, enum.Enum):
        return Member(origin)
    if issubclass(origin, os.PathLike):
        return FilePath(Path if origin is os.PathLike else origin)
    return Anything(origin.__name__)


def _bare(annotation: Any) -> Any:
    """Return an annotation without the Annotated, NewType and aliases around it."""
    while True:
        if get_origin(annotation) is Annotated:
            annotation = get_args(annotation)[0]
        elif hasattr(annotation, "__supertype__"):
            annotation = annotation.__supertype__
        elif type(annotation).__name__ == "TypeAliasType":
            annotation = annotation.__value__
        else:
            return annotation


def plain(value: Any) -> Any:
    """Return an object as JSON holds it: a member of an Enum by its value, if that is a str, else by its name.

    What JSON cannot hold stays as it is, for the specification's own check to name.

    Examples
    --------
    >>> from pathlib import Path
    >>> plain({"sizes": (1, 2), "where": Path("data.csv")})
    {'sizes': [1, 2], 'where': 'data.csv'}
    """
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, enum.Enum):
        return value.value if isinstance(value.value, str) else value.name
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, str):
        return str(value)  # numpy has strings of its own, too
    return python_number(value)
