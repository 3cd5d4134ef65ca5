"""The same measurements for pytest-benchmark, to follow them from commit to commit.

``pytest -o addopts= tests/benchmarks --benchmark-autosave``, and later ``--benchmark-compare``. In each round the bare
thing is measured just before smallab is; their ratio is in ``extra_info``, and `table.py` prints all such ratios.
"""

from __future__ import annotations

import itertools
import statistics

import bare
import figures
import pytest

NUMBER = 1000
ROUNDS = 5


def compare(benchmark, smallab, plain):
    """Measure smallab with pytest-benchmark, each time after the bare thing; remember the ratio."""
    bare_seconds = []
    benchmark.pedantic(smallab, setup=lambda: bare_seconds.append(figures.seconds(plain)), rounds=ROUNDS)
    benchmark.extra_info["ratio"] = benchmark.stats.stats.median / statistics.median(bare_seconds)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_batch_of_specifications_that_do_nothing(benchmark, tmp_path, threads):
    trees = (str(tmp_path / str(number)) for number in itertools.count())
    compare(
        benchmark,
        lambda: figures.batch(next(trees), NUMBER, threads, figures.Noop()),
        lambda: bare.run(next(trees), NUMBER, threads),
    )


def test_a_resume_with_nothing_to_do(benchmark, tmp_path):
    made = figures.completed_batch(str(tmp_path), NUMBER)
    compare(benchmark, lambda: figures.resume_once(str(tmp_path), made), lambda: figures.hash_all(made))


def test_generating_specifications(benchmark):
    compare(benchmark, figures.generate_grid, figures.product_of_grid)


def test_loading_results(benchmark, tmp_path):
    folders = figures.readable_batch(str(tmp_path), NUMBER)
    compare(
        benchmark,
        lambda: figures.load_all(str(tmp_path)),
        lambda: figures.exhaust(map(figures.load, folders)),
    )


def test_a_table_of_results(benchmark, tmp_path):
    folders = figures.readable_batch(str(tmp_path), NUMBER)
    compare(benchmark, lambda: figures.to_dataframe("batch", tmp_path), lambda: figures.bare_frame(folders))
