"""A batch's story in the log: a callback that logs, and a log file for a batch.

Nothing here touches the root logger.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any, Self

from smallab.callbacks import CallbackManager
from smallab.specification import Specification, canonical
from smallab.storage.base import open_storage
from smallab.storage.exceptions import failure_of

_log = logging.getLogger("smallab")


class LoggingCallback(CallbackManager):
    """Logs a line for every specification that completed (INFO) or failed (ERROR), and for the batch's end.

    The tracebacks are in the runner's own log records, and in each ``failure.json``.

    Parameters
    ----------
    logger
        Where to log; ``logging.getLogger("smallab")`` where None.

    Examples
    --------
    >>> from smallab import ExperimentRunner
    >>> runner = ExperimentRunner()
    >>> runner.attach_callbacks([LoggingCallback(logging.getLogger("my_project"))])
    """

    def __init__(self, logger: logging.Logger | None = None) -> None:
        self.logger = _log if logger is None else logger

    def on_specification_complete(self, specification: Specification, result: Any) -> None:  # noqa: ARG002  # the hook's signature
        """Log that a specification completed."""
        self.logger.info("%s: completed: %s", self.experiment_name, canonical(specification))

    def on_specification_failure(self, exception: BaseException, specification: Specification) -> None:
        """Log that a specification failed, and why."""
        failure = failure_of(exception)
        self.logger.error("%s: failed: %s: %s", self.experiment_name, canonical(specification), failure)

    def on_batch_complete(self, specifications: list[Specification]) -> None:
        """Log how many specifications completed."""
        self.logger.info("%s: the batch ended; completed: %d", self.experiment_name, len(specifications))

    def on_batch_failure(self, exceptions: list[BaseException], specifications: list[Specification]) -> None:  # noqa: ARG002  # the hook's signature
        """Log how many specifications failed."""
        self.logger.error("%s: the batch ended; failed: %d", self.experiment_name, len(specifications))


class BatchLog(logging.FileHandler):
    """The handler that `configure_logging_default` puts on the ``smallab`` logger; ``close()`` takes it off again."""

    def __init__(self, path: str) -> None:
        super().__init__(path, encoding="utf-8", errors="backslashreplace")
        self.setLevel(logging.INFO)
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        self._level_before: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def open_log(self) -> None:
        """Go on the ``smallab`` logger, and make it let INFO through."""
        if _log.getEffectiveLevel() > logging.INFO:
            self._level_before = _log.level
            _log.setLevel(logging.INFO)
        _log.addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record; show it on stderr, too, if Python would do so without this handler."""
        super().emit(record)
        last_resort = logging.lastResort  # shows warnings in programs that never configured logging
        if last_resort and record.levelno >= last_resort.level and not _others_handle(record):
            last_resort.handle(record)

    def close(self) -> None:
        """Close the file, leave the ``smallab`` logger, and give it back the level that it had."""
        _log.removeHandler(self)
        if self._level_before is not None:
            if _log.level == logging.INFO:  # else it was set by somebody since
                _log.setLevel(self._level_before)
            self._level_before = None
        super().close()


def _others_handle(record: logging.LogRecord) -> bool:
    """Tell whether a record reaches any handler but a batch's log."""
    logger: logging.Logger | None = logging.getLogger(record.name)
    while logger:
        if any(not isinstance(handler, BatchLog) for handler in logger.handlers):
            return True
        logger = logger.parent if logger.propagate else None
    return False


def configure_logging_default(name: str, folder: str | os.PathLike[str] | None = None) -> BatchLog:
    r"""Log what smallab tells of a batch, from INFO up, to the file ``log.txt`` in the batch's folder.

    That is what the runner, `LoggingCallback` and, in threads, the experiments' loggers say. While it is on, the
    ``smallab`` logger lets INFO through, also to handlers that you put on the root logger. One batch is logged at a
    time: a call for another batch ends the log of the one before, a second call for the same one changes nothing.

    Parameters
    ----------
    name
        The batch.
    folder
        The folder that holds the batches, as for the runner: SMALLAB_ROOT or ``experiment_runs`` where None.

    Returns
    -------
    BatchLog
        A `logging.Handler`: its ``close()`` ends the log and leaves logging as it was; it is a context manager, too.

    Raises
    ------
    ValueError
        The name cannot be a batch's.
    OSError
        The file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> with configure_logging_default("squares", folder=tempfile.mkdtemp()) as log:
    ...     logging.getLogger("smallab").info("squares: hello")
    ...     line = Path(log.baseFilename).read_text()
    >>> line.endswith("INFO squares: hello\n")
    True
    """
    path = Path(open_storage(folder, name).folder, "log.txt")
    for handler in [handler for handler in _log.handlers if isinstance(handler, BatchLog)]:
        if handler.baseFilename == str(path) and path.exists():  # else somebody deleted the batch since
            return handler
        handler.close()
    path.parent.mkdir(parents=True, exist_ok=True)
    log = BatchLog(str(path))
    log.open_log()
    return log
