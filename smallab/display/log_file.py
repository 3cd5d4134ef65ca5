"""The log.txt of a specification, for the logger that its experiment has."""

from __future__ import annotations

import itertools
import logging
import os
from contextlib import suppress

# `logging` never forgets a name and setLevel clears every logger's cache: one name for each specification would
# make a batch quadratic. So names are lent, and there are as many as specifications ever ran at once.
_names_given_back: list[str] = []
_parent = logging.getLogger("smallab.experiment")
_new_names = (f"smallab.experiment.{number}" for number in itertools.count())


class _LogFile(logging.FileHandler):
    """Writes one specification's log.txt; makes it, and its folder, only when there is something to write."""

    def __init__(self, path: str) -> None:
        super().__init__(path, encoding="utf-8", delay=True, errors="backslashreplace")
        self.setLevel(logging.INFO)
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record; pass it on to those handlers that the user's own settings would show it to."""
        super().emit(record)
        if _parent.isEnabledFor(record.levelno) and _parent.hasHandlers():
            _parent.callHandlers(record)

    def _open(self):  # type: ignore[no-untyped-def]  # noqa: ANN202  # typeshed calls it private; the manual documents delay=
        with suppress(FileExistsError):
            os.mkdir(os.path.dirname(self.baseFilename))
        return super()._open()


def _log_of(folder: str) -> str:
    return f"{folder}/log.txt"


def logger_into(folder: str) -> logging.Logger:
    """Return a logger that writes to the log in a specification's folder, from INFO up, and to the user's own handlers.

    `give_back` ends that.
    """
    try:
        name = _names_given_back.pop()
    except IndexError:
        name = next(_new_names)
    logger = logging.getLogger(name)
    if logger.level != logging.INFO:
        logger.setLevel(logging.INFO)
    logger.propagate = False  # its level is not the user's: the handler passes on what theirs lets through
    logger.disabled = False  # logging.config disables what it does not know
    logger.addHandler(_LogFile(_log_of(folder)))
    return logger


def give_back(logger: logging.Logger) -> None:
    """End a logger's writing to its file."""
    for handler in [handler for handler in logger.handlers if isinstance(handler, _LogFile)]:
        logger.removeHandler(handler)
        handler.close()
    _names_given_back.append(logger.name)


def end_of_log(folder: str, most: int) -> str:
    """Return the last lines of the log in a specification's folder; nothing where there is none that can be read.

    Parameters
    ----------
    folder
        The specification's own.
    most
        How many bytes at the most.
    """
    with suppress(OSError), open(_log_of(folder), "rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - most))
        text = file.read(most).decode(errors="replace")
        return text if size <= most else text.partition("\n")[2]
    return ""
