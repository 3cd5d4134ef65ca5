"""completed.json and failed.json: read, written, and rebuilt from the folders where one cannot be read."""

from __future__ import annotations

import errno
import itertools
import json
import os
from collections.abc import Collection
from contextlib import suppress

from smallab.files import entries, flush, overwrite
from smallab.specification import canonical, digest, encode
from smallab.storage import Storage, Which

_LINES_AT_ONCE = 1000


def read_list(path: str) -> dict[str, None]:
    """Return the specifications of a list file as canonical JSON, in order; none where there is no file.

    A file as `write_list` leaves it is checked a thousand lines at a time and never held whole; any other
    list of specifications (edited by hand, pretty-printed) is read as well. Raises ValueError for anything else.
    """
    texts: list[str] = []
    with suppress(FileNotFoundError), open(path, encoding="utf-8-sig") as file:
        regular, closed = file.readline() == "[\n", False
        while regular and (lines := list(itertools.islice(file, _LINES_AT_ONCE))):
            closed = lines[-1].strip() == "]"
            chunk = [line.rstrip(",\n") for line in (lines[:-1] if closed else lines)]
            regular = _are_canonical(chunk)
            texts += chunk
        if not (regular and closed):
            file.seek(0)
            try:
                content = json.load(file)
            except RecursionError as error:
                raise ValueError("nested too deeply") from error
            if not isinstance(content, list):
                raise ValueError("not a list of specifications")
            texts = [canonical(item) for item in content]
    return dict.fromkeys(texts)


def _are_canonical(texts: list[str]) -> bool:
    """Tell whether all texts are canonical JSON, in one pass."""
    if not texts:
        return True
    joined = f"[[{'],['.join(texts)}]]"  # each in a list of its own: two on a line, or one on two, are not regular
    try:
        found = json.loads(joined)
        return all(len(it) == 1 and type(it[0]) is dict for it in found) and encode(found) == joined
    except (TypeError, ValueError, RecursionError):
        return False


def write_list(storage: Storage, which: Which, texts: Collection[str], through: str) -> None:
    """Write a list through a file of the lock's holder, gone where the lock was lost; then read it back."""
    path = storage.list_file(which)
    data = ("[\n" + ",\n".join(texts) + "\n]\n" if texts else "[]\n").encode()
    with suppress(FileNotFoundError), open(path, "rb") as file:
        if file.read() == data:
            return
    overwrite(through, data)
    os.replace(through, path)
    if os.name != "nt":
        flush([storage.folder])
    with open(path, "rb") as file:
        if file.read() != data:  # no journal is deleted then
            raise OSError(errno.EBUSY, "changed by another while it was written; run again", path)


def from_tree(storage: Storage, which: Which) -> dict[str, None]:
    """Rebuild a list from the folders: failed where there is a failure.json, completed if the result is whole."""
    texts: dict[str, None] = {}
    for id in entries(storage.folder):
        with suppress(OSError, ValueError, RecursionError):  # not a folder of ours, or not whole: it runs again
            with open(f"{storage.folder_of(id)}/specification.json", encoding="utf-8") as file:
                text = canonical(json.load(file))
            failed = os.path.exists(f"{storage.folder_of(id)}/failure.json")
            if digest(text) == id and (failed if which == "failed" else not failed and storage.whole(id)):
                texts[text] = None
    return texts
