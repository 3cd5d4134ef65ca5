"""The files of a specification: its result in whichever format, whole or not, and what is recorded beside it."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable
from contextlib import suppress
from functools import lru_cache
from typing import Any

from smallab.storage.base import Format
from smallab.storage.files import at_once, is_there, signature_of
from smallab.storage.formats import formats
from smallab.storage.paths import Paths

_log = logging.getLogger("smallab")

_NOT_THERE = (FileNotFoundError, NotADirectoryError, IsADirectoryError)


def find_result(paths: Paths, id: str) -> tuple[str, Format] | None:
    """Return the file of a result, in whichever known format, and that format; None where there is none."""
    for format in formats():
        path = paths.result(id, format.suffix)
        if is_there(path):
            return path, format
    return None


def is_whole(paths: Paths, id: str, expected: Iterable[str] = ()) -> bool:
    """Tell whether a result, in any format, has one of the digests that are expected, or that its metadata holds.

    A read error that is not "there is no such file" is raised: it is not damage.
    """
    wanted = {*expected, _recorded_digest(paths, id)}
    return any(_digest(paths.result(id, format.suffix)) in wanted for format in formats())


def _recorded_digest(paths: Paths, id: str) -> str:
    damaged = (ValueError, TypeError, RecursionError)
    with suppress(*_NOT_THERE, *damaged), open(paths.metadata(id), encoding="utf-8") as file:
        return str(dict(json.load(file)).get("digest"))
    return "unknown"


def _digest(path: str) -> str | None:
    with suppress(*_NOT_THERE), open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
    return None


def read_object(path: str) -> dict[str, Any]:
    """Return the JSON object that a file holds; an empty one, and a word in the log, where it cannot be read."""
    try:
        with open(path, encoding="utf-8") as file:
            return dict(json.load(file))
    except (OSError, ValueError, TypeError, RecursionError) as error:
        _log.warning("%s cannot be read: %s", path, error)
        return {}


def read_metadata(path: str, paths: Paths) -> dict[str, Any]:
    """Return what a file tells about an observation, and what its run recorded once for all of them."""
    found = read_object(path)
    damaged = (ValueError, LookupError, TypeError, RecursionError)  # or an older version's
    with suppress(OSError, *damaged):
        timing = {"start": found["started"], "end": found["ended"], "duration": found["duration"]}
        if blocks := found.get("timing"):
            timing |= {**blocks, "total": found["duration"]}
        found["timing"] = timing
        record = read_record(paths.run_record(found["run_id"]))
        found |= {key: record[key] for key in ("environment", "code") if key in record}
    return found


def read_record(path: str) -> dict[str, Any]:
    """Return what a run wrote down about itself; the file is read again only when it has changed.

    Raises OSError or ValueError where it cannot be read.
    """
    return dict(_record_in(path, signature_of(path)))


@lru_cache(maxsize=128)  # whoever watches asks for the newest ones twice a second; metadata refer to a few
def _record_in(path: str, signature: object) -> dict[str, Any]:  # noqa: ARG001  # another one, another file
    with open(path, encoding="utf-8", opener=at_once) as file:
        return dict(json.load(file))
