"""What a call of a decorated function costs, as a ratio to what the runner's specifications cost, in one run.

Run it with: pytest -o addopts= tests/benchmarks/test_calls.py
"""

import itertools
import statistics
import time

from smallab import Experiment, ExperimentRunner, experiment

CALLS = 300
ROUNDS = 7


class Square(Experiment):
    """The same work as the function's."""

    def main(self, specification):
        """Square x."""
        return specification["x"] ** 2


def test_a_decorated_call_against_a_specification_of_the_runner(benchmark, tmp_path):
    @experiment(root=tmp_path / "calls")
    def square(x: int):
        return x**2

    batches = itertools.count()

    def calls():
        for x in range(CALLS):
            square(x)

    def batch():
        listed = [{"x": x} for x in range(CALLS)]
        ExperimentRunner(tmp_path / "runs").run(f"batch {next(batches)}", listed, Square(), show_progress=False)

    def ratio():
        started = time.process_time()
        calls()
        between = time.process_time()
        batch()
        return (between - started) / (time.process_time() - between)

    ratio()  # what is gathered once a process is gathered now
    benchmark.extra_info["ratio"] = statistics.median(ratio() for _ in range(ROUNDS))
    benchmark.pedantic(calls, rounds=3)
    print(f"a call costs {benchmark.extra_info['ratio']:.2f} times a specification of the runner (processor time)")
