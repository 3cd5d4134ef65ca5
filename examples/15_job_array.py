"""A batch under a SLURM job array, without Dask: each task takes its share of it.

sbatch --array=0-9 job.sh, where job.sh is
    #!/bin/bash
    #SBATCH --cpus-per-task=4 --mem=16G --time=04:00:00
    export SMALLAB_ROOT=/shared/runs
    python 15_job_array.py
"""

import os
from typing import Any

from smallab import Experiment, ExperimentRunner, MultiComputerGenerator


class Walk(Experiment):
    def main(self, specification: dict[str, Any]) -> int:
        return sum(self.rng.choice([-1, 1]) for _ in range(specification["steps"]))


# SLURM sets these; without it, this is the only task there is.
task = int(os.environ.get("SLURM_ARRAY_TASK_ID", "0")) - int(os.environ.get("SLURM_ARRAY_TASK_MIN", "0"))
tasks = int(os.environ.get("SLURM_ARRAY_TASK_COUNT", "1"))
cores = int(os.environ.get("SLURM_CPUS_PER_TASK", "1"))

share = MultiComputerGenerator(task, tasks).generate({"steps": [1000, 10_000], "seed": list(range(10))})
result = ExperimentRunner().run("walks", share, Walk(), num_parallel=cores, backend="loky")
print(f"task {task} of {tasks}:", len(result.completed), "completed,", len(result.skipped), "skipped")
# A task that SLURM ended too early: submit the same array again, and it goes on where it was.
