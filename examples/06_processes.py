"""Processes instead of threads: for work in pure Python, and for code that uses global state."""

import os
import random
from typing import Any

from smallab import Experiment, ExperimentRunner


class Dice(Experiment):
    """Throws dice until a six. In Python's own bytecode threads take turns, so two of them would be no faster."""

    def main(self, specification: dict[str, Any]) -> dict[str, Any]:
        # The global generator: wrong with threads, which share it, right here: a process runs one at a time.
        random.seed(specification["seed"])
        throws = 1
        while random.randint(1, 6) != 6:
            throws += 1
        return {"throws": throws, "pid": os.getpid()}


specifications = [{"seed": seed} for seed in range(12)]

pids: set[int] = set()
runner = ExperimentRunner()
# The experiment travels to the processes; the hooks run here, so they may remember what they are told.
runner.on_specification_complete(lambda specification, result: pids.add(result["pid"]))

# "loky" is joblib's pool of processes; num_parallel=-1 would be one for each core.
result = runner.run("dice", specifications, Dice(), num_parallel=2, backend="loky")
print(len(result.completed), "completed, here:", os.getpid() in pids)

# A surrounding `with joblib.parallel_config(backend="loky", n_jobs=2):` says the same, and is also how a batch leaves
# the machine: backend="dask", "ray", or whatever is registered with joblib.
