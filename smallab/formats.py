"""How a result becomes a file: pickle, faithful to what plain pickle alone would not be."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Protocol


def cloudpickle() -> Any:
    """Return the pickler that joblib itself ships tasks with: beside it since joblib 1.6, inside it before."""
    try:
        import cloudpickle
    except ImportError:
        from joblib.externals import cloudpickle
    return cloudpickle


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
    """Plain pickle where that is faithful; else cloudpickle or dill, which take lambdas and classes of __main__ along.

    cloudpickle comes first: dill saves an Enum of ``__main__`` by name only, with a warning, and nobody else can load
    it. What cloudpickle cannot do is tried with dill.
    """

    name = "pickle"
    suffix = "pkl"

    def dump(self, record: dict[str, Any]) -> bytes:
        """Pickle a record so that it loads again in another process."""
        import pickle

        with suppress(Exception):  # what plain pickle cannot do the others try, and the last one's error is told
            data = pickle.dumps(record, pickle.HIGHEST_PROTOCOL)
            if b"__main__" not in data and b"__mp_main__" not in data:
                return data
        with suppress(Exception):
            return bytes(cloudpickle().dumps(record, pickle.HIGHEST_PROTOCOL))
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
