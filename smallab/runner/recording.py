"""The record of a run: written when it starts, and again with what came of it when it ends."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

from smallab.environment import run_record
from smallab.files import iso
from smallab.journal import Journal
from smallab.runner.batch_result import BatchResult
from smallab.runner.execute import Execution


@contextmanager
def recorded(execution: Execution, result: BatchResult, pending: Mapping[str, None]) -> Iterator[None]:
    """Write a run's record before the block, and again when it ends."""
    storage = execution.storage
    record = run_record(execution.experiment) | {"pending": len(pending)}
    storage.write_run(record | result.counts)
    unreported: dict[str, int] = {}
    try:
        yield
    except BaseException:  # Ctrl-C: what was in hand then has been saved, and nobody took its report
        with suppress(OSError):
            if not execution.running:  # else it was a second Ctrl-C, which leaves at once
                completed, failed = Journal(storage).state()
                unreported = {"completed": len(pending.keys() & completed), "failed": len(pending.keys() & failed)}
        raise
    finally:
        with suppress(OSError):  # a full disk: the results have been reported, and the lists are next
            storage.write_run(record | {"ended": iso(time.time())} | result.counts | unreported)
