"""How a result becomes a file: pickle, faithful to what plain pickle alone would not be."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Protocol


class Format(Protocol):
    """How results are written: one small class.

    Attributes
    ----------
    name
        What ``format=`` calls it.
    suffix
        How its files end, without the dot.
    """

    name: str
    suffix: str

    def dump(self, record: dict[str, Any]) -> bytes:
        """Return ``{"specification": …, "result": …}`` as bytes."""

    def load(self, path: str) -> dict[str, Any]:
        """Return the record that a file holds."""


class Pickle:
    """Plain pickle where that is faithful; else dill, which is slower and can do more."""

    name = "pickle"
    suffix = "pkl"

    def dump(self, record: dict[str, Any]) -> bytes:
        """Pickle a record; with dill where plain pickle would not load again in another process."""
        import pickle

        with suppress(Exception):  # what plain pickle cannot do, dill tries, and its error is the one to be told
            data = pickle.dumps(record, pickle.HIGHEST_PROTOCOL)
            if b"__main__" not in data and b"__mp_main__" not in data:
                return data
        import dill

        return bytes(dill.dumps(record, pickle.HIGHEST_PROTOCOL, recurse=True))

    def load(self, path: str) -> dict[str, Any]:
        """Load a record that `dump` made."""
        import pickle

        with open(path, "rb") as file:
            try:
                record: dict[str, Any] = pickle.load(file)
            except Exception:  # dill finds a few things that pickle does not; if it fails too, its error is told
                import dill

                file.seek(0)
                record = dill.load(file)
        return record


PICKLE = Pickle()
