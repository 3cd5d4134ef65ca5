"""What a function's numpy docstring says of its parameters."""

from __future__ import annotations

import inspect
from typing import Any

Options = dict[str, Any]  # of `smallab.parameter`: those that somebody says

_TYPES = {"int": int, "float": float, "str": str, "bool": bool}


def documented(docstring: str) -> dict[str, Options]:
    r"""Return what a numpy docstring's "Parameters" section says, by name, as options of `smallab.parameter`.

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
    {'rate': {'type': <class 'float'>, 'help': 'How far.'}}
    """
    found: dict[str, Options] = {}
    options: Options = {}
    section = _sections(docstring).get("Parameters", [])
    for line in section:
        text = line.strip()
        if text and not line[0].isspace():  # the names that the following lines are about
            listed, _, types = text.partition(":")
            options = {}
            for name in listed.split(","):
                found[name.strip(" *")] = options
            first_type, _, _ = types.partition(",")  # without ", optional"
            if first_type.strip() in _TYPES:
                options["type"] = _TYPES[first_type.strip()]
        elif text:
            earlier = options.get("help", "")
            options["help"] = f"{earlier} {text}".lstrip()
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
