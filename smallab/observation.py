"""The one record that travels, is saved, and is read back, and what is kept of an exception."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from smallab.specification import Specification


class SpecificationFailed(RuntimeError):  # noqa: N818  # what happened is its name
    """Stands in for an exception that could not leave the process where it was raised.

    Its message holds the original's type, message and traceback; ``failure`` holds them as a `Failure`.
    """

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure)
        self.failure = failure

    def __str__(self) -> str:
        return f"{self.failure.type}: {self.failure.message}\n\n{self.failure.traceback}"


class Failure(NamedTuple):
    """Why a specification failed, as data.

    Attributes
    ----------
    type
        The exception's class, with its module: ``ValueError``, ``torch.cuda.OutOfMemoryError``.
    message
        ``str(exception)``.
    traceback
        The traceback as Python prints it, from the experiment's own code on.
    """

    type: str
    message: str
    traceback: str = ""

    @classmethod
    def of(cls, exception: BaseException) -> Failure:
        """Describe an exception."""
        if isinstance(exception, SpecificationFailed):
            return exception.failure
        kind = type(exception)
        name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
        try:
            return cls(name, "".join([str(exception)]), "".join(traceback.format_exception(exception)))
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001  # its own __str__; that it was raised must not be hidden
            frames = traceback.format_tb(exception.__traceback__)
            return cls(name, f"<its message cannot be had: {error!r}>", "".join(frames))

    def __str__(self) -> str:
        return f"{self.type}: {self.message}"

    def __repr__(self) -> str:
        return f"Failure({self})"


class _Fields(NamedTuple):  # apart, because a NamedTuple's own class body must not override _asdict
    id: str
    specification: Specification
    result: Any = None
    failure: Failure | None = None
    metadata: Mapping[str, Any] = MappingProxyType({})


class Observation(_Fields):
    """One specification's outcome, as it stands on disk.

    Attributes
    ----------
    id
        The name of its folder: in a batch, the specification's hash; of a call, a name that sorts by time.
    specification
        What ``main`` was passed: of a call, all arguments, defaults included.
    result
        What ``main`` returned; None where it failed.
    failure
        Why it failed (or why the saved result cannot be read); None where it did not.
    metadata
        Read from disk when first asked for: run_id, started and ended (ISO 8601, UTC), duration (seconds), host, …,
        and timing, environment and code.
    """

    __slots__ = ()

    @property
    def value(self) -> Any:
        """The result; raises `SpecificationFailed` where there is none."""
        if self.failure:
            raise SpecificationFailed(self.failure)
        return self.result

    def _asdict(self) -> dict[str, Any]:
        """Return it as a dict of dicts, which is JSON if the result is."""
        failure = self.failure and self.failure._asdict()
        return {**super()._asdict(), "failure": failure, "metadata": dict(self.metadata)}

    def _repr_html_(self) -> str:
        from smallab.notebook import table

        return table([self])

    def __repr__(self) -> str:
        outcome = f"✗ {self.failure}" if self.failure else f"→ {self.result!r}"
        return f"Observation({self.id}, {self.specification} {outcome})"
