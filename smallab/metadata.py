"""A specification's metadata, as it is read back: its own file, and what its run recorded once for all."""

from __future__ import annotations

import json
import logging
import os
from collections import UserDict
from contextlib import suppress
from functools import cached_property, lru_cache
from typing import Any

_log = logging.getLogger("smallab")


@lru_cache(maxsize=64)
def _kept_once(path: str) -> dict[str, Any]:
    """Return what a run's record holds of the metadata of all its specifications."""
    with open(path, encoding="utf-8") as file:
        record = json.load(file)
    return {key: record[key] for key in ("environment", "code") if key in record}


class Metadata(UserDict[str, Any]):
    """A specification's metadata, read from its file when first asked for; empty where that cannot be read."""

    def __init__(self, path: str) -> None:
        self.path = path

    @cached_property
    def data(self) -> dict[str, Any]:  # type: ignore[override]  # UserDict keeps its items here
        """What the file holds."""
        try:
            with open(self.path, encoding="utf-8") as file:
                found = dict(json.load(file))
        except (OSError, ValueError, TypeError, RecursionError) as error:
            _log.warning("%s cannot be read: %s", self.path, error)
            return {}
        with suppress(OSError, ValueError, LookupError, TypeError):  # an older version's, or its run's record is gone
            timing = {"start": found["started"], "end": found["ended"], "duration": found["duration"]}
            if blocks := found.get("timing"):
                timing |= {**blocks, "total": found["duration"]}
            found["timing"] = timing
            found |= _kept_once(f"{os.path.dirname(os.path.dirname(self.path))}/runs/{found['run_id']}.json")
        return found
