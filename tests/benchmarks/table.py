"""Print how fast smallab is: ``python tests/benchmarks/table.py [--quick]``.

Every figure is a ratio to the bare thing that it stands for (`bare.py` beside this file is the loop that the design's
"Speed" describes), interleaved with it, medians of several rounds. "memory" is a file system in memory (/dev/shm) and
shows the program; "disk" is where temporary files go (TMPDIR) and shows the user.

It needs Linux or macOS, the extra ``dev``, about an hour, 10 GB of memory, and on the disk 25 GB and five million
inodes (freed at the end); with ``--quick``, which leaves out 100,000 specifications that run and a million that
resume, a quarter of an hour, 2 GB of memory and 10 GB of disk. On a busy machine,
``--clock processor`` counts what the processor did for this process, and not what it waited for.

The exit status is 1 where a figure misses its bound.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import figures
from figures import MEMORY, Figure


def fresh(function: Callable[..., Any], *arguments: object) -> Any:
    """Call a function in a process of its own, and return what it returns."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        return process.submit(function, *arguments).result()


def specification_cost(quick: bool) -> Iterator[Figure]:
    """Cost of a specification, for each number, one worker and two, in memory and on disk."""
    for threads, number in itertools.product((1, 2), (1_000, 10_000) if quick else (1_000, 10_000, 100_000)):
        if MEMORY:
            rounds = {1_000: 15, 10_000: 5, 100_000: 3}[number]
            yield from fresh(figures.specification_cost, number, threads, None, rounds)
    with tempfile.TemporaryDirectory(prefix="smallab-benchmark-") as disk:  # it grows until the end: few rounds
        for number, rounds in ((1_000, 9), (10_000, 2 if quick else 3)):
            yield from fresh(figures.specification_cost, number, 1, disk, rounds, True)
            yield from fresh(figures.specification_cost, number, 2, disk, rounds)
        if not quick:
            yield from fresh(figures.specification_cost, 100_000, 1, disk, 1)


def descriptors(_quick: bool) -> Iterator[Figure]:
    """Files left open."""
    yield from fresh(figures.descriptors, 5_000)


def memory(quick: bool) -> Iterator[Figure]:
    """What each further specification of a running batch adds to the peak memory."""
    number = 10_000 if quick else 100_000
    few, many = fresh(figures.peak_memory, number), fresh(figures.peak_memory, 2 * number)
    detail = f"{few / 2**20:.0f} MiB, then {many / 2**20:.0f} MiB"
    yield Figure(f"peak memory, {number:,} to {2 * number:,}", (many - few) / number, "bytes each", detail=detail)


def resume(quick: bool) -> Iterator[Figure]:
    """A resume with nothing to do."""
    for number, rounds in ((10_000, 9), (100_000, 5), (1_000_000, 3)):
        if not (quick and number > 100_000):
            yield from fresh(figures.resume, number, rounds)


def generate(quick: bool) -> Iterator[Figure]:
    """A million specifications."""
    yield from fresh(figures.generate, 3 if quick else 7)


def reading(quick: bool) -> Iterator[Figure]:
    """Results read back."""
    yield from fresh(figures.reading, 10_000 if quick else 100_000, 5)


def busy(quick: bool) -> Iterator[Figure]:
    """Two workers on work that releases the GIL."""
    for backend in ("threading", "loky"):
        yield from fresh(figures.busy, backend, 1000, 1 if quick else 3)


def importing(quick: bool) -> Iterator[Figure]:
    """Importing the package."""
    yield from fresh(figures.importing, 11 if quick else 31)


KINDS = (specification_cost, descriptors, memory, resume, generate, reading, busy, importing)


def line(figure: Figure) -> str:
    """Return a figure as a line of the table."""
    number = f"{figure.value:.2f}" if abs(figure.value) < 10 else f"{figure.value:.0f}"
    bound = "" if figure.bound is None else f"{'≥' if figure.at_least else '≤'} {figure.bound:g}"
    verdict = "missed" if figure.missed else ""
    return f"{figure.name:60} {number:>6} {figure.unit:20} {bound:7} {verdict:7} {figure.detail}".rstrip()


def main() -> int:
    """Measure, print each figure as it comes, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="smaller numbers, fewer rounds")
    names = ", ".join(kind.__name__ for kind in KINDS)
    parser.add_argument("--only", default="", metavar="WORD", help=f"only what has this in its name: {names}")
    parser.add_argument("--clock", choices=figures.CLOCKS, default="wall", help="which time is measured")
    options = parser.parse_args()
    os.environ["SMALLAB_BENCHMARK_CLOCK"] = options.clock  # for the processes that measure
    missed = False
    for kind in KINDS:
        for figure in kind(options.quick) if options.only in kind.__name__ else ():
            missed |= figure.missed
            print(line(figure), flush=True)
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
