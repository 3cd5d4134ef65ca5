"""A batch leaves the machine: the same run, on a Dask cluster (pip install "smallab[dask]")."""

from typing import Any

import joblib
from distributed import Client, LocalCluster

from smallab import Experiment, ExperimentRunner


class Work(Experiment):
    def main(self, specification: dict[str, Any]) -> int:
        return sum(range(specification["n"]))


# Starting processes needs this guard. Every worker must see the folder of the results: SMALLAB_ROOT=/shared/runs.
if __name__ == "__main__":
    # Here a cluster of two processes on this machine; a real one is Client("tcp://scheduler:8786").
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster),
        joblib.parallel_config(backend="dask"),
    ):
        result = ExperimentRunner().run("work", [{"n": n} for n in range(20)], Work())
    print(len(result.completed), "completed,", len(result.skipped), "skipped")
