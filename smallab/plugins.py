"""What installed packages bring along: hooks and formats, found by their entry points.

A package names them in its pyproject.toml, and to install it is enough::

    [project.entry-points."smallab.callbacks"]
    slack = "my_package:Slack"

    [project.entry-points."smallab.formats"]
    npz = "my_package:Npz"
"""

from __future__ import annotations

import logging
from functools import cache
from typing import Any

_log = logging.getLogger("smallab")


@cache
def plugins(group: str) -> tuple[Any, ...]:
    """Return the objects that installed packages name under a group of entry points; looked up once a process.

    A class is called without arguments. What cannot be loaded is logged, and passed over.

    Parameters
    ----------
    group
        "smallab.callbacks": objects of subclasses of `CallbackManager`, or these subclasses. They are told of every
        batch and of every call of an experiment. "smallab.formats": formats, or their classes. "smallab.parameters":
        objects of `smallab.functions.parameters.Parameter`, which every function written ``def f(params)`` has then.
    """
    from importlib.metadata import entry_points

    found = []
    for point in sorted(entry_points(group=group)):
        try:
            thing = point.load()
            found.append(thing() if isinstance(thing, type) else thing)
        except Exception:  # noqa: BLE001  # somebody else's package must not cost a batch
            _log.exception("%s, which an installed package names in %s, cannot be loaded", point.value, group)
    return tuple(found)
