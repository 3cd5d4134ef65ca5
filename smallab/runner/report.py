"""What comes back from a worker."""

from __future__ import annotations

import os
from typing import Literal, NamedTuple

from smallab.observation import Failure, SpecificationFailed
from smallab.pickling import dumps, loads

_PACKAGE = __file__.removesuffix(os.path.join("runner", "report.py"))


class Report(NamedTuple):
    """What comes back from a worker: small and plain, whatever the experiment returned or raised.

    Attributes
    ----------
    text
        The specification's canonical JSON.
    label
        What ``get_name`` calls it, else the same text.
    status
        "pending" where it was not run, because the batch was stopped.
    failure
        Why it failed.
    exception
        The exception, pickled, where it survives that.
    parts
        The specifications whose results it saved on the way.
    """

    text: str
    label: str
    status: Literal["completed", "failed", "pending"]
    failure: Failure | None = None
    exception: bytes | None = None
    parts: tuple[str, ...] = ()

    def error(self) -> BaseException:
        """Return the exception that was raised, or a `SpecificationFailed` that stands in for it."""
        failure = self.failure or Failure("none", "it did not fail")
        if self.exception is None:
            return SpecificationFailed(failure)
        try:
            error: BaseException = loads(self.exception)
        except KeyboardInterrupt:
            raise
        except BaseException:  # noqa: BLE001  # its class is known there, but not here, or does not load
            return SpecificationFailed(failure)
        if isinstance(error, SystemExit) and error.code is None and len(error.args) == 1:
            error.code = error.args[0]  # where Dask is imported, pickle forgets it
        error.add_note(f"In the worker:\n{failure.traceback}")
        return error


def failure_of(error: BaseException, where: str = "") -> Failure:
    """Describe what was raised, from the experiment's own code on; where is its traceback, if not the error's own."""
    inner = frames = error.__traceback__
    while inner and inner.tb_frame.f_code.co_filename.startswith(_PACKAGE):
        inner = inner.tb_next
    failure = Failure.of(error.with_traceback(inner or frames))
    return failure._replace(traceback=where or failure.traceback)


def portable(error: BaseException) -> bytes | None:
    """Pickle an exception if it survives the way back."""
    try:
        data = dumps(error.with_traceback(None))  # with its class, where that is of __main__
        return data if type(loads(data)) is type(error) else None
    except KeyboardInterrupt:
        raise
    except BaseException:  # noqa: BLE001  # whatever pickling raises: `Failure` holds what is to be known
        return None
