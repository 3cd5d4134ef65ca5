"""The specification that is running here: its folder, its random generator, its log, and how long its parts took."""

from __future__ import annotations

import itertools
import json
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import cached_property
from typing import TYPE_CHECKING, Any

from smallab.files import HOST, iso
from smallab.specification import digest, parse
from smallab.storage import Storage

if TYPE_CHECKING:
    import random
    from pathlib import Path

_current: ContextVar[Running] = ContextVar("smallab_running")
_TIMES = frozenset({"start", "end", "duration", "total"})  # what the timing in an observation's metadata holds anyway

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


class Running:
    """One specification while it runs.

    Parameters
    ----------
    id
        The name of its folder.
    text
        Its canonical JSON.
    storage
        The folder tree that it is saved in.
    seed
        What its random generator starts from: in a batch, the specification's hash.
    """

    def __init__(self, id: str, text: str, storage: Storage, seed: int) -> None:
        self.id, self.text, self.storage, self.seed = id, text, storage, seed
        self.resource: Any = None
        self.blocks: dict[str, float] = {}
        self.parts: list[str] = []
        self._started, self._clock, self._shown = time.time(), time.perf_counter(), 0.0

    @property
    def folder(self) -> str:
        """Its folder, which is made when there is something to keep in it."""
        return self.storage.folder_of(self.id)

    @cached_property
    def rng(self) -> random.Random:
        """The specification's own generator, the same in every run of it."""
        import random

        return random.Random(self.seed)  # noqa: S311  # reproducible, not secret

    @cached_property
    def logger(self) -> logging.Logger:
        """A logger that writes to the specification's log.txt, from INFO up, and to the user's own handlers."""
        try:
            name = _names_given_back.pop()
        except IndexError:
            name = next(_new_names)
        logger = logging.getLogger(name)
        if logger.level != logging.INFO:
            logger.setLevel(logging.INFO)
        logger.propagate = False  # its level is not the user's: the handler passes on what theirs lets through
        logger.disabled = False  # logging.config disables what it does not know
        logger.addHandler(_LogFile(f"{self.folder}/log.txt"))
        return logger

    def metadata(self) -> dict[str, Any]:
        """Return what is recorded of it when it has ended."""
        duration = time.perf_counter() - self._clock
        metadata = {
            "run_id": self.storage.run_id,
            "started": iso(self._started),
            "ended": iso(self._started + duration),
            "duration": duration,
            "host": HOST,
            "pid": os.getpid(),
        }
        return {**metadata, "timing": self.blocks} if self.blocks else metadata

    def publish(self, text: str, value: Any) -> None:
        """Save a value that it produced on the way under a specification of its own, as completed as any other."""
        record = {"specification": parse(text), "result": value}
        self.storage.save(digest(text), text, record, {**self.metadata(), "part_of": self.id})
        self.parts.append(text)

    def progress(self, done: float, total: float) -> None:
        """Journal how far it is, for those who watch; once a second at the most."""
        if time.perf_counter() > self._shown + 1:
            self._shown = time.perf_counter()
            figures = json.dumps({"done": done, "total": total}, default=float)[1:-1]  # numpy's numbers, too
            self.storage.tell("progress", self.id, self.text, f"{figures},")

    @contextmanager
    def here(self) -> Iterator[None]:
        """Be what runs in this thread (and what it calls) until the block ends."""
        token = _current.set(self)
        try:
            yield
        finally:
            _current.reset(token)
            logger = self.__dict__.pop("logger", None)
            if logger is not None:
                for handler in [handler for handler in logger.handlers if isinstance(handler, _LogFile)]:
                    logger.removeHandler(handler)
                    handler.close()
                _names_given_back.append(logger.name)


def current() -> Running:
    """Return the specification that runs here; RuntimeError where none does."""
    try:
        return _current.get()
    except LookupError:
        raise RuntimeError(
            "no specification is running here: call this inside an experiment. A thread that an experiment starts "
            "itself knows it if started with contextvars.copy_context().run"
        ) from None


def current_id() -> str:
    """Return the id of the running specification: the name of its folder.

    Raises
    ------
    RuntimeError
        Nothing is running here.
    """
    return current().id


def current_dir() -> Path:
    """Return a folder of the running specification's own, for the files that it makes.

    Raises
    ------
    RuntimeError
        Nothing is running here.
    """
    from pathlib import Path

    folder = Path(current().folder, "artefacts")
    folder.parent.mkdir(exist_ok=True)
    folder.mkdir(exist_ok=True)
    return folder


def new_seed() -> int:
    """Return a new seed (0 to 2**32 - 1) from the running specification's generator: the same in every run of it.

    Raises
    ------
    RuntimeError
        Nothing is running here.
    """
    return current().rng.getrandbits(32)


@contextmanager
def time_block(name: str) -> Iterator[None]:
    """Add the seconds that a block takes to the running specification's metadata, under ``timing``.

    Parameters
    ----------
    name
        What the block is called; blocks of one name are added up.

    Raises
    ------
    ValueError
        The name is start, end, duration or total, which stand there already.
    RuntimeError
        Nothing is running here.
    """
    if name in _TIMES:
        raise ValueError(f'time_block({name!r}): metadata["timing"] has that already; give the block another name')
    blocks, started = current().blocks, time.perf_counter()
    try:
        yield
    finally:
        blocks[name] = blocks.get(name, 0.0) + time.perf_counter() - started
