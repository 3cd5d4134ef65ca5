"""The smallest batch: two specifications, each run once; run this file again, and nothing is left to run."""

import random
from typing import Any

from smallab import Experiment, ExperimentRunner, load_results


class RandomNumber(Experiment):
    # A specification is one row of your table of parameters: a dict. What main returns is saved.
    def main(self, specification: dict[str, Any]) -> dict[str, float]:
        random.seed(specification["seed"])
        for _ in range(specification["num_calls"]):  # advance the generator
            random.random()
        return {"number": random.random()}


specifications = [{"seed": 1, "num_calls": 1}, {"seed": 2, "num_calls": 1}]

runner = ExperimentRunner()
result = runner.run("random_number", specifications, RandomNumber())
print(result)  # the first time 2 completed, from then on 2 skipped

# Everything is under experiment_runs/random_number; this reads it back, now or next year.
for observation in load_results("random_number"):
    print(observation.specification["seed"], observation.result["number"])
