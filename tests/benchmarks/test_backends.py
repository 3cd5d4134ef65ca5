"""What a specification costs on each backend, beside joblib alone and Dask's own futures with the same nothing to do.

python -m pytest tests/benchmarks/test_backends.py -s
"""

import time

import joblib
import pytest

from smallab import Experiment, ExperimentRunner

NUMBER = 1000


class Nothing(Experiment):
    def main(self, specification):
        return None


def nothing(x):
    return None


def microseconds(function):
    """Return what one of NUMBER costs, the best of three: the machine is shared."""

    def once():
        started = time.perf_counter()
        function()
        return (time.perf_counter() - started) / NUMBER * 1e6

    return min(once() for _ in range(3))


def report(backend, **figures):
    print(
        f"\n{backend:16}", *(f"{name.replace('_', ' ')}: {value:.0f} us" for name, value in figures.items()), sep="  "
    )


@pytest.fixture
def batch():
    """Return a function that runs a batch of nothing, a new one each time."""
    names = iter(f"batch{number}" for number in range(100))
    specifications = [{"x": x} for x in range(NUMBER)]

    def batch(**options):
        assert ExperimentRunner().run(next(names), specifications, Nothing(), show_progress=False, **options)

    return batch


@pytest.mark.parametrize("backend", ["threading", "loky"])
def test_on_this_machine(backend, batch):
    parallel = joblib.Parallel(n_jobs=2, backend=backend, batch_size=1)
    batch(num_parallel=2, backend=backend)  # what it imports is there; loky's workers are each run's own
    smallab = microseconds(lambda: batch(num_parallel=2, backend=backend))
    alone = microseconds(lambda: parallel(joblib.delayed(nothing)(x) for x in range(NUMBER)))
    report(backend, smallab=smallab, joblib_alone_one_by_one=alone)
    assert smallab < alone + 5000


def test_each_in_a_child_process(batch):
    smallab = microseconds(lambda: batch(num_parallel=2, backend="loky", timeout=60))
    report("loky, timeout=", smallab=smallab)
    assert smallab < 20_000


def test_on_dask(batch):
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster,
        distributed.Client(cluster) as client,
    ):
        smallab = microseconds(lambda: batch(backend="dask"))
        with joblib.parallel_config(backend="dask"):
            alone = microseconds(
                lambda: joblib.Parallel(batch_size=1)(joblib.delayed(nothing)(x) for x in range(NUMBER))
            )
        futures = microseconds(lambda: client.gather(client.map(nothing, range(NUMBER), pure=False)))
    report("dask", smallab=smallab, joblib_alone_one_by_one=alone, futures=futures)
    assert smallab < alone + 10_000
