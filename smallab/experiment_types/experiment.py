"""What a user subclasses."""

from __future__ import annotations

import logging
import random
from abc import ABC, abstractmethod
from typing import Any

from smallab.running import Resource, Running
from smallab.specification import Specification, canonical
from smallab.storage.base import Format


class Experiment(ABC):
    """Base class for experiments: write ``main``.

    Every specification is run on a deep copy of the object that ``runner.run`` was passed, so what ``main`` stores
    on ``self`` is seen by nobody else.

    Attributes
    ----------
    format
        How results are saved: "pickle", "json", or one of your own (see `smallab.formats`).

    Examples
    --------
    >>> class Square(Experiment):
    ...     def main(self, specification):
    ...         return {"square": specification["x"] ** 2}
    """

    format: str | Format = "pickle"
    _running: Running | None = None

    @abstractmethod
    def main(self, specification: Specification) -> Any:
        """Run one specification.

        Parameters
        ----------
        specification
            The specification as JSON gives it back: tuples are lists, numpy scalars are numbers.

        Returns
        -------
        Any
            The result: a dict by custom, anything that pickle or dill can save.
        """

    def get_name(self, specification: Specification) -> str:
        """Return a readable label for progress and logs; override it to make a shorter one."""
        return canonical(specification)

    @property
    def rng(self) -> random.Random:
        """A random generator that depends on the specification alone: same specification, same numbers."""
        return self._now_running().rng

    @property
    def resource(self) -> Resource:
        """The one of ``run``'s resources that this specification holds while it runs; None where there are none."""
        return self._now_running().resource

    @property
    def logger(self) -> logging.Logger:
        """A logger that writes to the specification's own ``log.txt``, from INFO up."""
        return self._running.logger if self._running else logging.getLogger("smallab.experiment")

    def get_logger_name(self) -> str:
        """Return the name of `logger`, for ``logging.getLogger``."""
        return self.logger.name

    def _now_running(self) -> Running:
        if self._running is None:
            raise RuntimeError(
                f"{type(self).__name__} runs no specification, so it has no generator and no resource of its own: "
                "use self.rng inside main, called by runner.run (to try main alone, replace rng in a subclass)"
            )
        return self._running
