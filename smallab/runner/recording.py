"""The record of a run: written when it starts, and again with what came of it when it ends."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from smallab.environment import run_record
from smallab.experiment_types.experiment import Experiment
from smallab.files import iso
from smallab.runner.batch_result import BatchResult
from smallab.storage import Storage


@contextmanager
def recorded(storage: Storage, experiment: Experiment, result: BatchResult, pending: int) -> Iterator[None]:
    """Write a run's record before the block, and again when it ends."""
    record = run_record(experiment) | {"pending": pending}
    storage.write_run(record | result.counts)
    try:
        yield
    finally:
        with suppress(OSError):  # a full disk: the results have been reported, and the lists are next
            storage.write_run(record | {"ended": iso(time.time())} | result.counts)
