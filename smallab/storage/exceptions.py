"""What is kept of an exception: a description, and, where it survives that, its pickle."""

from __future__ import annotations

import os
import traceback

from smallab.observation import Failure, SpecificationFailed
from smallab.storage.pickling import dumps, loads

_PACKAGE = os.path.dirname(os.path.dirname(__file__))
_LARGEST = 100_000  # bytes: what an exception drags along must not fill the runner's memory


def failure_of(error: BaseException) -> Failure:
    """Describe an exception."""
    if isinstance(error, SpecificationFailed):
        return error.failure
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    try:
        message = "".join([str(error)])  # a plain str, also where its __str__ returns a subclass
        return Failure(name, message, "".join(traceback.format_exception(error)))
    except KeyboardInterrupt:
        raise
    except BaseException as unshown:  # noqa: BLE001  # its own __str__; that it was raised must not be hidden
        frames = traceback.format_tb(error.__traceback__)
        return Failure(name, f"<its message cannot be had: {unshown!r}>", "".join(frames))


def failure_in_experiment(error: BaseException) -> Failure:
    """Describe what an experiment raised, with the traceback from its own code on."""
    frames = error.__traceback__
    inner = frames
    while inner and inner.tb_frame.f_code.co_filename.startswith(_PACKAGE):
        inner = inner.tb_next
    try:
        return failure_of(error.with_traceback(inner or frames))
    finally:
        error.__traceback__ = frames


def portable(error: BaseException) -> bytes | None:
    """Pickle an exception if it survives the way to another process, and is not too large."""
    frames = error.__traceback__
    try:
        data = dumps(error.with_traceback(None))  # with its class, where that is of __main__
        survives = len(data) <= _LARGEST and type(loads(data)) is type(error)
    except KeyboardInterrupt:
        raise
    except BaseException:  # noqa: BLE001  # whatever pickling raises: `Failure` holds what is to be known
        return None
    finally:
        error.__traceback__ = frames
    return data if survives else None


def revived(data: bytes | None, failure: Failure) -> BaseException:
    """Return an exception that was made portable, or a `SpecificationFailed` that stands in for it."""
    if data is None:
        return SpecificationFailed(failure)
    try:
        error: BaseException = loads(data)
    except KeyboardInterrupt:
        raise
    except BaseException:  # noqa: BLE001  # its class is known there, but not here, or does not load
        return SpecificationFailed(failure)
    if isinstance(error, SystemExit) and error.code is None and len(error.args) == 1:
        error.code = error.args[0]  # where Dask is imported, pickle forgets it
    error.add_note(f"In the worker:\n{failure.traceback}")
    return error
