"""What came of a specification: the one record that travels and is read back, and what is kept of an exception."""

from __future__ import annotations

from collections import UserDict
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, cast

from smallab.specification import Specification


class SpecificationFailed(RuntimeError):  # noqa: N818  # what happened is its name
    """Says that a specification failed; stands in for an exception that could not leave its process.

    Its message holds the original's type, message and traceback; ``failure`` holds them as a `Failure`.
    """

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure)
        self.failure = failure

    def __str__(self) -> str:
        return f"{self.failure.type}: {self.failure.message}\n\n{self.failure.traceback}"


@dataclass(frozen=True)
class Failure:
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
    traceback: str = field(default="", repr=False)

    def __str__(self) -> str:
        return f"{self.type}: {self.message}"


class Metadata(UserDict[str, Any]):
    """What is recorded about an observation: a dict that is read when it is first looked into.

    Parameters
    ----------
    read
        Returns what is recorded, called once at the most; or what is recorded itself.
    """

    def __init__(self, read: Callable[[], dict[str, Any]] | dict[str, Any] = dict) -> None:
        self._read = read if callable(read) else read.copy

    @cached_property
    def data(self) -> dict[str, Any]:  # type: ignore[override]  # UserDict keeps its items here
        """What is recorded."""
        return self._read()


@dataclass(frozen=True)
class Observation:
    """One specification's outcome, as it was saved.

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
        Read when first asked for: run_id, started and ended (ISO 8601, UTC), duration (seconds), host, …, and timing,
        environment and code.
    """

    id: str
    specification: Specification
    result: Any = None
    failure: Failure | None = None
    metadata: Mapping[str, Any] = field(default_factory=Metadata, compare=False)

    @property
    def value(self) -> Any:
        """The result; raises `SpecificationFailed` where there is none."""
        if self.failure:
            raise SpecificationFailed(self.failure)
        return self.result

    def _asdict(self) -> dict[str, Any]:
        """Return it as a dict of dicts, which is JSON if the result is."""
        failure = self.failure and asdict(self.failure)
        return {**vars(self), "failure": failure, "metadata": dict(self.metadata)}

    def _repr_html_(self) -> str:
        from smallab.plugins import opened

        return cast("str", opened("reading.notebook").table([self]))

    def __repr__(self) -> str:
        outcome = f"✗ {self.failure}" if self.failure else f"→ {self.result!r}"
        return f"Observation({self.id}, {self.specification} {outcome})"
