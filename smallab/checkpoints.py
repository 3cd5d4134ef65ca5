"""A specification's checkpoints: files that an interrupted specification goes on from."""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from typing import Any

from smallab.files import entries, replace
from smallab.formats import PICKLE

_log = logging.getLogger("smallab")

KEPT = 3


class Checkpoints:
    """The checkpoints in one folder, the newest three of them.

    Parameters
    ----------
    folder
        Where they are: ``<specification's folder>/checkpoints``. It is made when the first one is saved.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def _numbers(self) -> list[int]:
        """Return the numbers of steps after which there is a checkpoint, the newest first."""
        names = (name.removesuffix(".checkpoint") for name in entries(self._folder) if name.endswith(".checkpoint"))
        return sorted((int(name) for name in names if name.isdigit()), reverse=True)

    def _path(self, number: int) -> str:
        return f"{self._folder}/{number:012}.checkpoint"

    def save(self, number: int, state: dict[str, Any]) -> None:
        """Save the state after a number of steps, whole or not at all; then remove all but the newest three."""
        for folder in (os.path.dirname(self._folder), self._folder):
            with suppress(FileExistsError):
                os.mkdir(folder)
        replace(self._path(number), PICKLE.dump(state))
        for old in self._numbers()[KEPT:]:
            with suppress(FileNotFoundError):
                os.unlink(self._path(old))

    def newest(self) -> tuple[int, dict[str, Any]] | None:
        """Return the number and the state of the newest checkpoint that loads; None where there is none."""
        for number in self._numbers():
            try:
                return number, PICKLE.load(self._path(number))
            except Exception as error:  # noqa: BLE001  # whatever unpickling raises: an older one may load
                _log.warning("%s cannot be read (%s); going on from an older one", self._path(number), error)
        return None
