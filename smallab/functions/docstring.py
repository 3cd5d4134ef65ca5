"""What a function's numpy docstring says of its parameters."""

from __future__ import annotations

import inspect
from typing import NamedTuple


class Documented(NamedTuple):
    """What a docstring says of a parameter: texts, empty where it says nothing."""

    type: str = ""
    help: str = ""


def documented(docstring: str) -> dict[str, Documented]:
    r"""Return what a numpy docstring's "Parameters" section says, by name.

    Parameters
    ----------
    docstring
        A function's ``__doc__``.

    Returns
    -------
    dict
        Empty where there is no such section.

    Examples
    --------
    >>> documented("Fit.\n\n    Parameters\n    ----------\n    rate : float\n        How far.\n")
    {'rate': Documented(type='float', help='How far.')}
    """
    found: dict[str, Documented] = {}
    names: list[str] = []
    for line in _sections(docstring).get("Parameters", []):
        if line[:1].strip():  # not indented: the names that the following lines are about
            listed, _, types = line.partition(":")
            names = [name.strip().lstrip("*") for name in listed.split(",")]
            item = Documented(type=types.split(",")[0].strip())
            found.update(dict.fromkeys(names, item))
            continue
        for name in names:
            earlier = found[name]
            found[name] = earlier._replace(help=f"{earlier.help} {line.strip()}".strip())
    return found


def summary(docstring: str) -> str:
    """Return a docstring up to its first section."""
    return "\n".join(_sections(docstring)[""]).strip()


def _sections(docstring: str) -> dict[str, list[str]]:
    """Return the lines under each heading; those before the first, under an empty one."""
    lines: list[str] = []
    sections = {"": lines}
    for line in inspect.cleandoc(docstring).splitlines():
        underlines = set(line.strip()) == {"-"}
        if underlines and lines and lines[-1].strip():
            heading = lines.pop().strip()
            lines = sections.setdefault(heading, [])
        else:
            lines.append(line)
    return sections
