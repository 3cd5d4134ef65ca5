"""The experiment of the batches that are broken here.

It has a module of its own, because each run keeps its experiment's source: the smaller the file, the quicker the run.
"""

import os
import random
import time

from smallab import Experiment

_open, _write, _close = os.open, os.write, os.close  # the experiment's own writes are not those that get injected


def specification(x: int, **more) -> dict:
    return {"x": x, "size": (x * 7919) % 50_000, **more}


def specifications(count: int, start: int = 0, **more) -> list[dict]:
    return [specification(x, **more) for x in range(start, start + count)]


def result_of(specification: dict) -> dict:
    return {
        "square": specification["x"] ** 2,
        "data": random.Random(specification["x"]).randbytes(specification["size"]),
    }


class Counted(Experiment):
    """Notes each execution in a side file, outside the batch's folder, before anything else."""

    def __init__(self, executions, seconds=0.0, until=None):
        self.executions = str(executions)
        self.seconds = seconds
        self.until = until

    def main(self, specification):
        note(self.executions, specification["x"])
        if specification.get("fails"):
            raise ValueError("as it was told to")
        time.sleep(self.seconds)
        while self.until and not os.path.exists(self.until):
            time.sleep(0.005)
        return result_of(specification)


def note(path: str | os.PathLike, text: object) -> None:
    descriptor = _open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    _write(descriptor, f"{text}\n".encode())
    _close(descriptor)
