"""A batch on SLURM, through Dask: run this on the login node (pip install "smallab[dask]" dask-jobqueue).

Without SLURM, it prints the job script that it would submit.
"""

import shutil
from pathlib import Path
from typing import Any

import joblib
from dask_jobqueue import SLURMCluster
from distributed import Client

from smallab import Experiment, ExperimentRunner, SpecificationGenerator


class Walk(Experiment):
    def main(self, specification: dict[str, Any]) -> int:
        return sum(self.rng.choice([-1, 1]) for _ in range(specification["steps"]))


if __name__ == "__main__":
    folder = Path("slurm_logs").absolute()
    # What one job asks for: here 8 workers, which run a specification each at a time.
    cluster = SLURMCluster(
        queue="short",
        cores=8,
        processes=8,
        memory="32GB",
        walltime="04:00:00",
        # Workers leave in good order before SLURM ends their job; what they had in hand runs again in the next one.
        worker_extra_args=["--lifetime", "230m", "--lifetime-stagger", "5m"],
        log_directory=str(folder),
        local_directory="/tmp",  # noqa: S108  # each node's own disk
        scheduler_options={"dashboard_address": ":0"},
    )
    specifications = SpecificationGenerator().generate({"steps": [1000, 10_000], "seed": list(range(50))})
    if shutil.which("sbatch") is None:
        print(cluster.job_script())
    else:
        cluster.adapt(maximum_jobs=10)  # as many jobs as there is work for; workers may come at any time
        with Client(cluster), joblib.parallel_config(backend="dask"):
            print(ExperimentRunner().run("walks", specifications, Walk()))
    cluster.close()
