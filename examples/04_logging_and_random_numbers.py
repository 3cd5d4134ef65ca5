"""What an experiment has of its own: a log file, and random numbers that come out the same in every run."""

from typing import Any

from smallab import Experiment, ExperimentRunner, load_result, load_results


class Pi(Experiment):
    """Estimates pi by throwing darts at a square."""

    def __init__(self, log_every: int) -> None:
        self.log_every = log_every  # the experiment's own settings; they are no part of the specification

    def get_name(self, specification: dict[str, Any]) -> str:
        return f"{specification['darts']} darts"  # how progress and logs call it

    def main(self, specification: dict[str, Any]) -> dict[str, float]:
        hits = 0
        for dart in range(1, specification["darts"] + 1):
            # self.rng depends on the specification alone; threads share the one of the module random
            hits += self.rng.random() ** 2 + self.rng.random() ** 2 < 1
            if dart % self.log_every == 0:
                self.logger.info("%d darts: %.3f", dart, 4 * hits / dart)  # to this specification's log.txt
        return {"pi": 4 * hits / specification["darts"]}


runner = ExperimentRunner()
specifications = [{"darts": 10**exponent, "seed": seed} for exponent in (2, 3, 4) for seed in (1, 2, 3)]
runner.run("pi", specifications, Pi(log_every=5000), num_parallel=2)

# Results are read one at a time, so a batch may be larger than the memory.
worst = max(load_results("pi"), key=lambda observation: abs(observation.result["pi"] - 3.14159))
print("farthest off:", worst.specification, worst.result)

# Each comes with where, when and how long it ran.
observation = load_result("pi", {"darts": 10_000, "seed": 1})
print(observation.result, "in", round(observation.metadata["duration"], 2), "seconds on", observation.metadata["host"])
print((runner.get_save_directory("pi") / observation.id / "log.txt").read_text(encoding="utf-8"))

# Run it again: the same numbers, in whatever order the threads run.
runner.run("pi", specifications, Pi(log_every=5000), num_parallel=2, continue_from_last_run=False)
print("the same again:", load_result("pi", observation.specification).result == observation.result)
