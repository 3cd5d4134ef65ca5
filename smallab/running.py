"""The specification that is running here: its folder, its random generator, its log, and how long its parts took."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from smallab.plugins import opened
from smallab.storage.base import ARTEFACTS, Storage, iso

Resource = int | str | None  # one of run's resources=; None where there are none

_current: ContextVar[Running] = ContextVar("smallab_running")


@dataclass
class Running:
    """One specification while it runs.

    Attributes
    ----------
    storage
        The place where its batch is.
    run_id
        The run that runs it.
    text
        Its canonical JSON.
    attempt
        Which one of this run it is, from 1 on.
    resource
        What it holds of the run's resources.
    seed
        What its random generator starts from: in a batch, the specification's hash.
    more
        What else its metadata is to hold, such as how long its ``time_block`` blocks took.
    parts
        The specifications whose results it saved on the way.
    """

    storage: Storage
    run_id: str
    text: str
    attempt: int = 1
    resource: Resource = None
    seed: int | None = None
    more: dict[str, Any] = field(default_factory=dict)
    parts: list[str] = field(default_factory=list)
    started: float = field(default_factory=time.time)
    _clock: float = field(default_factory=time.perf_counter)

    @cached_property
    def id(self) -> str:
        """What names it: in a batch, the specification's hash."""
        return self.storage.id_of(self.text)

    @property
    def folder(self) -> str:
        """The folder for its files, which is made when there is something to keep in it."""
        return self.storage.workspace(self.text)

    @cached_property
    def rng(self) -> random.Random:
        """The specification's own generator, the same in every run of it."""
        seed = int(self.id, 16) if self.seed is None else self.seed
        return random.Random(seed)  # noqa: S311  # reproducible, not secret

    @cached_property
    def logger(self) -> logging.Logger:
        """A logger that writes to the specification's log.txt, from INFO up, and to the user's own handlers."""
        return cast("logging.Logger", opened("display.log_file").logger_into(self.folder))

    def metadata(self) -> dict[str, Any]:
        """Return what is recorded of it when it has ended."""
        duration = time.perf_counter() - self._clock
        return {
            "run_id": self.run_id,
            "started": iso(self.started),
            "ended": iso(self.started + duration),
            "duration": duration,
            "attempt": self.attempt,
            **self.more,
        }

    @contextmanager
    def here(self) -> Iterator[None]:
        """Be what runs in this thread (and what it calls) until the block ends."""
        token = _current.set(self)
        try:
            yield
        finally:
            _current.reset(token)
            if "logger" in vars(self):
                opened("display.log_file").give_back(self.logger)


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
    folder = Path(current().folder, ARTEFACTS)
    folder.mkdir(parents=True, exist_ok=True)
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
    if name in {"start", "end", "duration", "total"}:
        raise ValueError(f'time_block({name!r}): metadata["timing"] has that already; give the block another name')
    timing, started = current().more.setdefault("timing", {}), time.perf_counter()
    try:
        yield
    finally:
        timing[name] = timing.get(name, 0.0) + time.perf_counter() - started
