"""Lists of specifications: cross products, JSON files, and shards for several computers."""

from __future__ import annotations

import copy
import itertools
import json
import os
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from smallab.specification import Specification, SpecificationError, canonical


class SpecificationGenerator:
    """Makes specifications from a *generation specification*: a dict whose lists are the values to try.

    Examples
    --------
    >>> SpecificationGenerator().generate({"seed": [1, 2], "model": "svm", "sizes": [[64, 32]]})
    [{'seed': 1, 'model': 'svm', 'sizes': [64, 32]}, {'seed': 2, 'model': 'svm', 'sizes': [64, 32]}]
    """

    def generate(self, generation_specification: Mapping[str, Any]) -> list[Specification]:
        """Return the cross product of the values that are lists.

        Parameters
        ----------
        generation_specification
            A list holds the values to try, any other value (a tuple too) is constant; a list as a value is written
            in double brackets.

        Returns
        -------
        list of dict
            In the order of the keys, the last key varying fastest. No two share a list or a dict.

        Raises
        ------
        SpecificationError
            It is not a dict, or a list is empty, or a value is a numpy array; the message names the key.
        """
        return list(self._product(generation_specification, "generation specification"))

    def from_json_file(self, path: str | os.PathLike[str]) -> list[Specification]:
        """Return the specifications of a JSON file.

        Parameters
        ----------
        path
            A file with one generation specification, or a list of them, generated one after the other.

        Returns
        -------
        list of dict
            As from `generate`.

        Raises
        ------
        SpecificationError
            The file is not JSON (the message names file, line and column) or does not hold a dict or dicts.
        """
        try:
            with open(path, encoding="utf-8-sig") as file:
                content = json.load(file)
        except json.JSONDecodeError as error:
            raise SpecificationError(f"{path}, line {error.lineno}, column {error.colno}: {error.msg}") from error
        except UnicodeDecodeError as error:
            raise SpecificationError(f"{path}: not UTF-8 text: {error}") from error
        return list(self._all(content, str(path)))

    def _all(self, content: object, where: str) -> Iterable[Specification]:
        if not isinstance(content, list):
            return self._product(content, where)
        return itertools.chain.from_iterable(self._product(item, f"{where}[{i}]") for i, item in enumerate(content))

    def _product(self, generation_specification: object, where: str) -> Iterable[Specification]:
        if not isinstance(generation_specification, Mapping):
            kind = type(generation_specification).__name__
            raise SpecificationError(f"{where}: a generation specification is a dict of lists, not a {kind}")
        values = [_values(value, f"{where}[{_quoted(key)}]") for key, value in generation_specification.items()]
        keys = tuple(generation_specification)
        # Only what can be changed is copied: a million specifications of plain values share them all.
        shared = [key for key, choices in zip(keys, values, strict=True) if any(map(_mutable, choices))]
        for combination in itertools.product(*values):
            specification = dict(zip(keys, combination, strict=True))
            for key in shared:
                specification[key] = copy.deepcopy(specification[key])
            yield specification


def _quoted(key: object) -> str:
    return json.dumps(str(key), ensure_ascii=False)


def _values(value: object, where: str) -> list[Any]:
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, numpy.ndarray):
        raise SpecificationError(f"{where}: a numpy array; write .tolist() behind it")
    if not isinstance(value, list):
        return [value]
    if not value:
        raise SpecificationError(f"{where}: an empty list leaves nothing to run; remove the key or give it a value")
    return value


def _mutable(value: object) -> bool:
    return isinstance(value, (list, dict, tuple))


class MultiComputerGenerator(SpecificationGenerator):
    """Gives one computer of several its share of the specifications.

    The shares are disjoint, differ in size by one at the most, and are together the whole (what is listed twice
    is run once, by one of them).

    Parameters
    ----------
    computer_number
        This computer: 0 to number_of_computers - 1.
    number_of_computers
        How many there are.

    Raises
    ------
    ValueError
        A number is out of range.

    Examples
    --------
    >>> MultiComputerGenerator(1, 2).generate({"seed": [1, 2, 3, 4, 5]})
    [{'seed': 2}, {'seed': 4}]
    """

    def __init__(self, computer_number: int, number_of_computers: int) -> None:
        for name, number in (("computer_number", computer_number), ("number_of_computers", number_of_computers)):
            if not isinstance(number, int):
                raise TypeError(f"{name} is {number!r}, a {type(number).__name__}; it is a whole number: int(…)")
        if number_of_computers < 1:
            raise ValueError(f"number_of_computers is {number_of_computers}; at least one computer is needed")
        if not 0 <= computer_number < number_of_computers:
            raise ValueError(
                f"computer_number is {computer_number}; with {number_of_computers} computers it is "
                f"between 0 and {number_of_computers - 1}"
            )
        self.computer_number = computer_number
        self.number_of_computers = number_of_computers

    def generate(self, generation_specification: Mapping[str, Any]) -> list[Specification]:
        """Return this computer's share of the cross product; see `SpecificationGenerator.generate`."""
        return self._share(super().generate(generation_specification))

    def from_json_file(self, path: str | os.PathLike[str]) -> list[Specification]:
        """Return this computer's share of a JSON file; see `SpecificationGenerator.from_json_file`."""
        return self._share(super().from_json_file(path))

    def _share(self, specifications: list[Specification]) -> list[Specification]:
        distinct = {canonical(specification): specification for specification in specifications}
        return list(distinct.values())[self.computer_number :: self.number_of_computers]
