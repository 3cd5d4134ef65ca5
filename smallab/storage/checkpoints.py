"""A specification's checkpoints: files that an interrupted specification goes on from."""

from __future__ import annotations

import io
import logging
import os
import pickle
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from smallab.storage.files import entries, make_folder, remove, replace
from smallab.storage.paths import CHECKPOINTS
from smallab.storage.pickling import Unpickler, pickler

_log = logging.getLogger("smallab")

KEPT = 3


class Checkpoints:
    """The checkpoints of one specification, the newest three of them.

    Parameters
    ----------
    folder
        The specification's folder: they are in one of their own in it, which is made when the first one is saved.
    names
        The names that the experiment's module knows. Classes among them are saved by name, also those of
        ``__main__``: when it goes on they are what the experiment knows then, so that ``is`` and ``isinstance`` hold.
    """

    def __init__(self, folder: str, names: Mapping[str, Any]) -> None:
        self._folder, self._names = f"{folder}/{CHECKPOINTS}", names

    def _numbers(self) -> list[int]:
        """Return the numbers of steps after which there is a checkpoint, the newest first."""
        names = (name.removesuffix(".checkpoint") for name in entries(self._folder) if name.endswith(".checkpoint"))
        return sorted((int(name) for name in names if name.isdigit()), reverse=True)

    def _path(self, number: int) -> str:
        return f"{self._folder}/{number:012}.checkpoint"

    def save(self, number: int, state: dict[str, Any]) -> None:
        """Save the state after a number of steps, whole or not at all; then remove all but the newest three."""
        data = self._dump(state)
        saved = False
        while not saved:
            for folder in (os.path.dirname(self._folder), self._folder):
                make_folder(folder)
            with suppress(FileNotFoundError):  # removed meanwhile: another run completed the same specification
                replace(self._path(number), data)
                saved = True
        for old in self._numbers()[KEPT:]:
            remove(self._path(old))

    def newest(self) -> tuple[int, dict[str, Any]] | None:
        """Return the number and the state of the newest checkpoint that loads; None where there is none."""
        for number in self._numbers():
            try:
                return number, self._load(self._path(number))
            except Exception as error:  # noqa: BLE001  # whatever unpickling raises: an older one may load
                _log.warning("%s cannot be read (%s); going on from an older one", self._path(number), error)
        return None

    def _dump(self, state: dict[str, Any]) -> bytes:
        names, file = self._names, io.BytesIO()

        class Named(pickler()):  # type: ignore[misc]  # made at run time
            def persistent_id(self, thing: object) -> str | None:
                name = thing.__qualname__ if isinstance(thing, type) else None
                return name if name is not None and names.get(name) is thing else None

        Named(file, pickle.HIGHEST_PROTOCOL).dump(state)
        return file.getvalue()

    def _load(self, path: str) -> dict[str, Any]:
        names = self._names

        class Resolving(Unpickler):
            def persistent_load(self, name: str) -> Any:
                return names[name]

        with open(path, "rb") as file:
            state: dict[str, Any] = Resolving(file).load()
        return state
