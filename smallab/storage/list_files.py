"""completed.json and failed.json: read, written, and made anew from the folders where somebody asks for that."""

from __future__ import annotations

import errno
import itertools
import json
import os
from collections.abc import Iterable
from contextlib import suppress

from smallab.specification import Texts, canonical, encode
from smallab.storage.files import at_once, flush, write_into

_LINES_AT_ONCE = 1000


class UnreadableListError(ValueError):
    """A list of specifications cannot be read; the message names the file, the place in it, and the way out."""


def read_list(path: str) -> Texts:
    """Return the specifications of a list file as canonical JSON, in order; none where there is no file.

    A file as `write_list` leaves it is checked a thousand lines at a time and never held whole; any other
    list of specifications (edited by hand, pretty-printed) is read as well. Raises ValueError for anything else.
    """
    texts: list[str] = []
    with suppress(FileNotFoundError), open(path, encoding="utf-8-sig", opener=at_once) as file:
        is_regular, is_closed = file.readline() == "[\n", False
        while is_regular and (lines := list(itertools.islice(file, _LINES_AT_ONCE))):
            is_closed = lines[-1].strip() == "]"
            chunk = [line.rstrip(",\n") for line in (lines[:-1] if is_closed else lines)]
            is_regular = _are_canonical(chunk)
            texts += chunk
        if not (is_regular and is_closed):
            file.seek(0)
            texts = _any_list(file.read())
    return dict.fromkeys(texts)


def _any_list(content: str) -> list[str]:
    try:
        items = json.loads(content)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(items, list):
        raise ValueError("not a list of specifications")  # noqa: TRY004  # one error for all that is no list
    return [canonical(item, f"its item {number}") for number, item in enumerate(items, 1)]


def _are_canonical(texts: list[str]) -> bool:
    """Tell whether all texts are canonical JSON, in one pass."""
    if not texts:
        return True
    joined = f"[[{'],['.join(texts)}]]"  # each in a list of its own: two on a line, or one on two, are not regular
    try:
        lists = json.loads(joined)
        are_single = all(len(items) == 1 and type(items[0]) is dict for items in lists)
        return are_single and encode(lists) == joined
    except (TypeError, ValueError, RecursionError):
        return False


def write_list(path: str, texts: Iterable[str], file_in_lock: str) -> None:
    """Write a list into a file of the lock's holder, which is gone where the lock was lost; rename it; read it back."""
    lines = ",\n".join(texts)
    data = f"[\n{lines}\n]\n".encode() if lines else b"[]\n"
    with suppress(FileNotFoundError), open(path, "rb") as file:
        if file.read() == data:
            return
    write_into(file_in_lock, data)
    os.replace(file_in_lock, path)
    if os.name != "nt":
        flush([os.path.dirname(path)])
    with open(path, "rb") as file:
        if file.read() != data:  # no journal is deleted then
            raise OSError(errno.EBUSY, "changed by another while it was written; run again", path)
