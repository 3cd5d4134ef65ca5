"""Pickles that take along what a script defines, and leave as it is what this process has already."""

from __future__ import annotations

import functools
import io
import pickle
from collections.abc import Callable
from functools import cache
from types import CodeType
from typing import Any, BinaryIO


def cloudpickle() -> Any:
    """Return the pickler that joblib itself ships tasks with: beside it since joblib 1.6, inside it before."""
    try:
        import cloudpickle
    except ImportError:
        from joblib.externals import cloudpickle
    return cloudpickle


@cache
def pickler() -> Any:
    """Return cloudpickle's pickler, made to say in which file a function was written: tracebacks name it.

    Since 3.1.3 cloudpickle forgets it, so that the same notebook cell gives the same bytes.
    """

    class Pickler(cloudpickle().Pickler):  # type: ignore[misc]  # cloudpickle has no types
        def reducer_override(self, thing: Any) -> Any:
            if not isinstance(thing, CodeType):
                return super().reducer_override(thing)
            make, arguments = self.dispatch_table[CodeType](thing)
            return make, tuple(thing.co_filename if part == "<dynamic-code>" else part for part in arguments)

    return Pickler


class Unpickler(pickle.Unpickler):
    """Loads what cloudpickle saved, and changes no class that this process has.

    cloudpickle finds such a class again, but then writes its methods anew, with copies of the globals that they use:
    a script or a notebook that read back its own results would go on with methods that see nothing change any more.
    """

    def find_class(self, module: str, name: str) -> Any:
        """Return what a pickle names."""
        found = super().find_class(module, name)
        return functools.partial(_set_state, found) if name == "_class_setstate" else found


def _set_state(set_state: Callable[..., Any], kind: type, state: tuple[dict[str, Any], Any]) -> Any:
    missing = state[0].keys() - vars(kind).keys() - {"__slotnames__"}  # those are what pickle itself notes there
    return set_state(kind, state) if missing else kind


def dumps(thing: object) -> bytes:
    """Pickle something with the functions and classes that only this script or notebook defines."""
    file = io.BytesIO()
    pickler()(file, pickle.HIGHEST_PROTOCOL).dump(thing)
    return file.getvalue()


def load(file: BinaryIO) -> Any:
    """Load what `dumps` or plain pickle made."""
    return Unpickler(file).load()


def loads(data: bytes) -> Any:
    """Load what `dumps` or plain pickle made."""
    return load(io.BytesIO(data))
