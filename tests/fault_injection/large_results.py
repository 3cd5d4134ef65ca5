"""Runs a batch of large results and notes how much memory that takes: ``python -m fault_injection.large_results``."""

import json
import os
import sys
from pathlib import Path

from fault_injection.experiments import note
from smallab import Experiment, ExperimentRunner


def peak() -> int:
    """Return the most memory that this process has had, in bytes (getrusage would tell of its parent's, too)."""
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) * 1024


class Large(Experiment):
    def __init__(self, size, peaks):
        self.size, self.peaks = size, peaks

    def main(self, specification):
        note(self.peaks, f"{specification['x']} {peak()}")
        return {"data": os.urandom(self.size)}


if __name__ == "__main__":
    options = json.loads(sys.argv[1])
    runner = ExperimentRunner(experiment_folder=options["root"])

    def look_at(specification, result):
        """Have every result read back, in the process that runs the batch."""
        assert len(result["data"]) == options["size"]
        note(options["peaks"], f"{specification['x']} {peak()}")

    runner.on_specification_complete(look_at)
    batch = [{"x": x} for x in range(options["count"])]
    experiment = Large(options["size"], options["peaks"])
    result = runner.run("batch", batch, experiment, num_parallel=2, backend=options["backend"], show_progress=False)
    assert result.counts["completed"] == options["count"]
