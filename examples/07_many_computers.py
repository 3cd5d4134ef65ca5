"""Several computers share one list of specifications, each taking its part; here two of them, one after the other."""

import json
from pathlib import Path
from typing import Any

from smallab import Experiment, ExperimentRunner, MultiComputerGenerator, SpecificationGenerator, load_results


class Collatz(Experiment):
    def main(self, specification: dict[str, Any]) -> int:
        number, steps = specification["start"], 0
        while number != 1:
            number, steps = (number // 2 if number % 2 == 0 else 3 * number + 1), steps + 1
        return steps


def one_computer(computer_number: int, number_of_computers: int) -> None:
    """Do one computer's part; in a real script the two numbers come from the command line or the scheduler."""
    generator = MultiComputerGenerator(computer_number, number_of_computers)
    share = generator.from_json_file("collatz.json")
    result = ExperimentRunner().run("collatz", share, Collatz())
    print(f"computer {computer_number} of {number_of_computers}: {len(result.completed)} of {len(share)} completed")


Path("collatz.json").write_text(json.dumps({"start": list(range(1, 28))}), encoding="utf-8")

# The shares are disjoint and together the whole. Where the computers share a folder (SMALLAB_ROOT=/shared/runs) they
# write into one batch, at the same time if they like. Where they do not, copy each one's experiment_runs to a folder
# of its own, and read them one after the other: load_results("collatz", folder="from_computer_0"), and so on.
one_computer(0, 2)
one_computer(1, 2)

# Whoever runs the whole list in the end, anywhere, sees what is still missing: nothing.
everything = SpecificationGenerator().from_json_file("collatz.json")
print("still to do:", len(ExperimentRunner().run("collatz", everything, Collatz()).completed))

longest = max(load_results("collatz"), key=lambda observation: observation.result)
print("the longest way to 1:", longest.specification, "with", longest.result, "steps")
