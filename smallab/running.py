"""What one specification has of its own while it runs: its random generator and its log file."""

from __future__ import annotations

import itertools
import logging
import os
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random

# `logging` never forgets a name and setLevel clears every logger's cache: one name for each specification would
# make a batch quadratic. So names are lent, and there are as many as specifications ever ran at once.
_names_given_back: list[str] = []
_new_names = (f"smallab.experiment.{number}" for number in itertools.count())


class _LogFile(logging.FileHandler):
    """Writes one specification's log.txt; makes it, and its folder, only when there is something to write."""

    def __init__(self, path: str) -> None:
        super().__init__(path, encoding="utf-8", delay=True, errors="backslashreplace")
        self.setLevel(logging.INFO)
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))

    def _open(self):  # type: ignore[no-untyped-def]  # typeshed calls it private; the manual documents delay=
        os.makedirs(os.path.dirname(self.baseFilename), exist_ok=True)
        return super()._open()


class Running:
    """One specification while it runs.

    Parameters
    ----------
    id
        The name of its folder; its first 32 hexadecimal digits seed ``rng``.
    log_path
        Where its log.txt goes, if anything is logged.
    """

    def __init__(self, id: str, log_path: str) -> None:
        self.id = id
        self._log_path = log_path

    @cached_property
    def rng(self) -> random.Random:
        """The specification's own generator, the same in every run of it."""
        import random

        return random.Random(int(self.id, 16))  # noqa: S311  # reproducible, not secret

    @cached_property
    def logger(self) -> logging.Logger:
        """A logger that writes to the specification's log.txt, from INFO up, and passes on to the root logger."""
        try:
            name = _names_given_back.pop()
        except IndexError:
            name = next(_new_names)
        logger = logging.getLogger(name)
        if logger.level != logging.INFO:
            logger.setLevel(logging.INFO)
        logger.disabled = False  # logging.config disables what it does not know
        logger.addHandler(_LogFile(self._log_path))
        return logger

    def close(self) -> None:
        """Close the log file and give the logger's name back."""
        logger = self.__dict__.pop("logger", None)
        if logger is not None:
            for handler in [handler for handler in logger.handlers if isinstance(handler, _LogFile)]:
                logger.removeHandler(handler)
                handler.close()
            _names_given_back.append(logger.name)
