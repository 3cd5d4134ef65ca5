"""What is measured: one function for each kind of figure.

Each interleaves smallab with the bare thing that it is compared with, several times, and takes the medians. Each is
called in a fresh process, so that none pays for what another left in memory.
"""

from __future__ import annotations

import gc
import itertools
import json
import os
import pickle
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import bare

from smallab import Experiment, ExperimentRunner, SpecificationGenerator, load_results, to_dataframe

if TYPE_CHECKING:
    import pandas

MEMORY = "/dev/shm" if os.path.isdir("/dev/shm") else None  # a file system in memory; Linux has one
SLEEP_SECONDS = 0.01
CLOCKS = {"wall": time.perf_counter, "processor": time.process_time}
CLOCK = CLOCKS[os.environ.get("SMALLAB_BENCHMARK_CLOCK", "wall")]

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Figure:
    """One line of the table.

    Attributes
    ----------
    name
        What was measured.
    value
        What came out.
    unit
        "times" the bare thing, or what else the value counts.
    bound
        The most that the value may be (the least, if at_least); None where it is only told.
    detail
        The medians behind the value.
    """

    name: str
    value: float
    unit: str
    bound: float | None = None
    at_least: bool = False
    detail: str = ""

    @property
    def missed(self) -> bool:
        """Whether the value is on the wrong side of its bound."""
        if self.bound is None:
            return False
        return self.value < self.bound if self.at_least else self.value > self.bound


class Noop(Experiment):
    """Costs nothing, so that what is measured is smallab."""

    def main(self, _specification: dict[str, Any]) -> dict[str, float]:
        return bare.RESULT


class Logging(Experiment):
    """Writes a log.txt: a descriptor and a logger for each specification, if they are not given back."""

    def main(self, specification: dict[str, Any]) -> dict[str, float]:
        self.logger.info("seed %d", specification["seed"])
        return bare.RESULT


class Sleep(Experiment):
    """Releases the GIL for ten milliseconds."""

    def main(self, _specification: dict[str, Any]) -> None:
        time.sleep(SLEEP_SECONDS)


def seconds(function: Callable[[], object], clock: Callable[[], float] = CLOCK) -> float:
    """Return how long a call takes."""
    gc.collect()
    started = clock()
    function()
    return clock() - started


def interleaved(functions: dict[Key, Callable[[], float]], rounds: int) -> dict[Key, float]:
    """Call each function once a round, in alternating order; return the median of what each returned."""
    found: dict[Key, list[float]] = {name: [] for name in functions}
    for number in range(rounds):
        for name in list(functions)[:: 1 if number % 2 else -1]:
            found[name].append(functions[name]())
    return {name: statistics.median(values) for name, values in found.items()}


@contextmanager
def scratch() -> Iterator[str]:
    """Make an empty folder, in memory where that is possible; remove it afterwards."""
    with tempfile.TemporaryDirectory(prefix="smallab-benchmark-", dir=MEMORY) as folder:
        yield folder


def batch(folder: str, number: int, threads: int, experiment: Experiment) -> None:
    """Run a batch with smallab; raise if not all of it completed."""
    result = ExperimentRunner(folder).run(
        "batch", bare.specifications(number), experiment, num_parallel=threads, show_progress=False
    )
    if result.counts["completed"] != number:  # .completed would parse each specification once more
        raise RuntimeError(f"{result!r}, and not all {number}")


def specification_cost(
    number: int, threads: int, disk: str | None, rounds: int, with_sync: bool = False
) -> list[Figure]:
    """Cost of a specification that does nothing, as the slope from a number of specifications to twice as many.

    Parameters
    ----------
    number
        Where the slope begins.
    threads
        How many workers: with two, the bare loop's body is run by joblib.
    disk
        A folder on a disk, or None for a file system in memory. There, nothing is removed: for some minutes ext4
        passes over every inode that was freed, one by one, and making files takes up to ten times as long.
    rounds
        How often each is measured.
    with_sync
        Compare also with the bare loop and one sync: what smallab pays so that a power cut costs nothing.
    """
    smallab, plain, flushed = "smallab", "bare", "bare and one sync"
    with scratch() as memory:

        def timed(who: str, size: int) -> float:
            tree = tempfile.mkdtemp(dir=disk or memory)
            os.sync()  # nobody pays for who was measured before
            taken = seconds(lambda: write(who, f"{tree}/tree", size))
            if disk is None:
                shutil.rmtree(tree)
            return taken

        def write(who: str, tree: str, size: int) -> None:
            if who == smallab:
                batch(tree, size, threads, Noop())
            else:
                bare.run(tree, size, threads)
            if who == flushed:
                os.sync()

        writers = (smallab, plain, flushed) if with_sync else (smallab, plain)
        for who in writers:
            timed(who, 100)  # what is imported once
        sizes = (number, 2 * number)
        median = interleaved({(who, size): partial(timed, who, size) for size in sizes for who in writers}, rounds)
    slopes = {who: (median[who, 2 * number] - median[who, number]) / number * 1e6 for who in writers}
    workers = "one worker" if threads == 1 else f"{threads} threads"
    name = f"a specification, {number:,} to {2 * number:,}, {workers}, {'disk' if disk else 'memory'}"
    detail = ", ".join(f"{who} {microseconds:.0f} µs" for who, microseconds in slopes.items())
    figures = [Figure(name, slopes[smallab] / slopes[plain], "times", 1.1, detail=detail)]
    if with_sync:
        figures.append(Figure("… to the bare loop and one sync", slopes[smallab] / slopes[flushed], "times"))
    return figures


def descriptors(number: int) -> list[Figure]:
    """Files left open by a batch, where no more than 64 may be."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    with scratch() as folder:
        batch(folder, 2, 2, Logging())  # what is imported and started once
        before = len(os.listdir("/dev/fd"))
        batch(f"{folder}/more", number, 2, Logging())
        left = len(os.listdir("/dev/fd")) - before
    return [Figure(f"files left open by {number:,} that log, ulimit -n 64", left, "files", 0)]


def peak_memory(number: int) -> float:
    """Return this process's peak memory, in bytes, after a batch whose specifications it does not keep itself."""
    with scratch() as folder:
        runner = ExperimentRunner(folder)
        specifications = ({"seed": seed, "lr": 0.1, "model": "resnet"} for seed in range(number))
        runner.run("batch", specifications, Noop(), num_parallel=2, show_progress=False)
    return _peak()


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def completed_batch(folder: str, number: int) -> list[dict[str, Any]]:
    """Make the tree of a batch that is completed: empty result files and the list; return its specifications."""
    made = bare.specifications(number)
    os.mkdir(f"{folder}/batch")
    for specification in made:
        name = bare.digest(bare.canonical(specification).encode())
        os.mkdir(f"{folder}/batch/{name}")
        open(f"{folder}/batch/{name}/{name}.pkl", "wb").close()
    _list_as_completed(folder, made)
    return made


def _list_as_completed(folder: str, specifications: list[dict[str, Any]]) -> None:
    with open(f"{folder}/batch/completed.json", "w", encoding="utf-8") as file:
        file.write("[\n" + ",\n".join(map(bare.canonical, specifications)) + "\n]\n")


def resume(number: int, rounds: int) -> list[Figure]:
    """Cost of a resume with nothing to do, to one pass of json.dumps and blake2b."""
    with scratch() as folder:
        made = completed_batch(folder, number)
        before = _peak()
        taken = resume_once(folder, made)
        memory = (_peak() - before) / number
        median = interleaved(
            {
                "smallab": lambda: resume_once(folder, made),
                "bare": lambda: seconds(lambda: hash_all(made)),
            },
            rounds,
        )
    detail = f"{median['smallab'] / number * 1e5:.2f} s for 100,000 (the first {taken / number * 1e5:.2f} s)"
    return [
        Figure(f"resume, {number:,} completed", median["smallab"] / median["bare"], "times", 2, detail=detail),
        Figure(f"… peak memory, {number:,} completed", memory, "bytes each"),
    ]


def hash_all(specifications: list[dict[str, Any]]) -> list[str]:
    """Return the identities of specifications: one pass of json.dumps and blake2b."""
    return [bare.digest(bare.canonical(specification).encode()) for specification in specifications]


def resume_once(folder: str, specifications: list[dict[str, Any]]) -> float:
    """Return how long a run takes that has nothing to do."""
    return seconds(lambda: ExperimentRunner(folder).run("batch", specifications, Noop(), show_progress=False))


GRID: dict[str, list[Any]] = {
    "seed": list(range(1000)),
    "lr": [number / 100 for number in range(100)],
    "depth": list(range(10)),
    "model": ["svm"],
}


def generate_grid() -> list[dict[str, Any]]:
    """Return a million specifications."""
    return SpecificationGenerator().generate(GRID)


def product_of_grid() -> list[dict[str, Any]]:
    """Return the same, bare."""
    return [dict(zip(GRID, chosen, strict=True)) for chosen in itertools.product(*GRID.values())]


def generate(rounds: int) -> list[Figure]:
    """Cost of generating a million specifications, to a bare product."""
    median = interleaved(
        {function: partial(seconds, function) for function in (generate_grid, product_of_grid)}, rounds
    )
    ratio = median[generate_grid] / median[product_of_grid]
    return [Figure("generate a million", ratio, "times", detail=f"{median[generate_grid]:.2f} s")]


def readable_batch(folder: str, number: int) -> list[str]:
    """Make a completed batch with its results; return the specifications' folders."""
    bare.run(f"{folder}/batch", number)
    shutil.rmtree(f"{folder}/batch/journal")  # as after a clean end
    os.mkdir(f"{folder}/batch/runs")
    with open(f"{folder}/batch/runs/{bare.RUN_ID}.json", "w", encoding="utf-8") as file:
        json.dump({"environment": {}, "code": "", "source": ""}, file)
    made = bare.specifications(number)
    _list_as_completed(folder, made)
    return [f"{folder}/batch/{bare.digest(bare.canonical(item).encode())}" for item in made]


def load(folder: str) -> Any:
    """Open and unpickle a specification's result."""
    with open(f"{folder}/{os.path.basename(folder)}.pkl", "rb") as file:
        return pickle.load(file)


def bare_frame(folders: list[str]) -> pandas.DataFrame:
    """Return the table of a batch, bare."""
    import pandas

    return pandas.DataFrame(list(map(_row, folders)))


def _row(folder: str) -> dict[str, Any]:
    record = load(folder)
    with open(f"{folder}/metadata.json", encoding="utf-8") as file:
        return {"duration": json.load(file)["duration"], **record["specification"], **record["result"]}


def exhaust(items: Iterable[object]) -> None:
    """Go through an iterator and keep nothing."""
    for _ in items:
        pass


def load_all(folder: str) -> None:
    """Load all results of a batch with smallab; raise if one cannot be read."""
    for observation in load_results("batch", folder):
        if observation.failure:
            raise RuntimeError(repr(observation))


def reading(number: int, rounds: int) -> list[Figure]:
    """Cost of load_results and to_dataframe, to loops that open and unpickle the same files."""
    with scratch() as folder:
        folders = readable_batch(folder, number)
        functions: dict[str, Callable[[], object]] = {
            "load_results": lambda: load_all(folder),
            "bare load_results": lambda: exhaust(map(load, folders)),
            "to_dataframe": lambda: to_dataframe("batch", folder),
            "bare to_dataframe": lambda: bare_frame(folders),
        }
        median = interleaved({name: partial(seconds, function) for name, function in functions.items()}, rounds)
    found = []
    for name, bound in (("load_results", 1.3), ("to_dataframe", None)):
        smallab, plain = median[name], median[f"bare {name}"]
        detail = f"smallab {smallab / number * 1e6:.1f} µs, bare {plain / number * 1e6:.1f} µs each"
        found.append(Figure(f"{name} of {number:,}", smallab / plain, "times", bound, detail=detail))
    return found


def sleep(_number: int) -> None:
    """Release the GIL for ten milliseconds."""
    time.sleep(SLEEP_SECONDS)


def busy(backend: str, number: int, rounds: int) -> list[Figure]:
    """Share of the ideal that two workers reach on work that sleeps for ten milliseconds, once they have started."""
    import joblib

    with scratch() as folder:
        names = map(str, itertools.count())

        def smallab(size: int) -> None:
            ExperimentRunner(folder).run(
                next(names), bare.specifications(size), Sleep(), num_parallel=2, backend=backend, show_progress=False
            )

        def plain(size: int) -> None:
            joblib.Parallel(n_jobs=2, backend=backend)(map(joblib.delayed(sleep), range(size)))

        for run in (smallab, plain):
            run(20)  # modules are imported
        timed = {
            (run, size): partial(seconds, partial(run, size), time.perf_counter)
            for run in (smallab, plain)
            for size in (number, 2 * number)
        }
        median = interleaved(timed, rounds)
        if backend == "loky":
            from joblib.externals.loky import get_reusable_executor

            get_reusable_executor().shutdown()  # they would idle for five minutes, and this process wait for them
    ideal = number * SLEEP_SECONDS / 2
    slope = {run: median[run, 2 * number] - median[run, number] for run in (smallab, plain)}
    start = 2 * median[smallab, number] - median[smallab, 2 * number]
    detail = (
        f"{slope[smallab]:.2f} s for {number:,} more, ideally {ideal:.2f} s; joblib alone "
        f"{100 * ideal / slope[plain]:.0f} %; to start and end a run takes {start:.2f} s"
    )
    name = f"10 ms of sleep, two workers, {backend}"
    return [Figure(name, 100 * ideal / slope[smallab], "% of ideal", 95, at_least=True, detail=detail)]


def importing(rounds: int) -> list[Figure]:
    """Cost of ``import smallab`` over bare Python, both from compiled files."""
    with scratch() as folder:
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        environment["PYTHONPYCACHEPREFIX"] = folder

        def start(code: str) -> float:
            command = [sys.executable, "-c", code]
            return seconds(lambda: subprocess.run(command, env=environment, check=True), time.perf_counter)

        start("import smallab")  # compiles
        median = interleaved(
            {"smallab": lambda: start("import smallab"), "bare": lambda: start("pass")},
            rounds,
        )
    detail = f"smallab {median['smallab'] * 1e3:.1f} ms, bare Python {median['bare'] * 1e3:.1f} ms"
    over = (median["smallab"] - median["bare"]) * 1e3
    return [Figure("import smallab", over, "ms over bare Python", 30, detail=detail)]
