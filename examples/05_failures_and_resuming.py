"""Failures: one specification never stops the others, and only what is missing is run again."""

import json
from typing import Any

from smallab import Experiment, ExperimentRunner, load_results


class Training(Experiment):
    """Pretends to train a model on a machine with so much memory."""

    def __init__(self, gigabytes: int) -> None:
        self.gigabytes = gigabytes

    def main(self, specification: dict[str, Any]) -> dict[str, float]:
        needed = specification["batch_size"] // 64
        if needed > self.gigabytes:
            raise MemoryError(f"{needed} GB needed, {self.gigabytes} GB there")
        return {"loss": 1 / specification["batch_size"]}


specifications = [{"batch_size": 2**exponent} for exponent in range(5, 11)]
runner = ExperimentRunner()

# The evening: a small machine. What fits is done, what does not is recorded with its traceback.
evening = runner.run("training", specifications, Training(gigabytes=4))
print("evening:", len(evening.completed), "completed")
for specification, failure in evening.failed:
    print("  failed:", specification, failure)

# Reading back includes what failed, so that nobody averages over the survivors by accident.
print("without a result:", sum(1 for observation in load_results("training") if observation.failure))

# The next morning: a large machine, and the same call. Only what is not in completed.json runs.
morning = runner.run("training", specifications, Training(gigabytes=16))
print("morning:", len(morning.completed), "completed,", len(morning.skipped), "skipped")
if not morning:  # a BatchResult is true when nothing failed
    raise SystemExit("still not enough memory")

# To run one specification again, take it out of completed.json and call run once more.
completed_json = runner.get_save_directory("training") / "completed.json"
completed = json.loads(completed_json.read_text(encoding="utf-8"))
completed.remove({"batch_size": 64})
completed_json.write_text(json.dumps(completed), encoding="utf-8")
print("again:", runner.run("training", specifications, Training(gigabytes=16)).completed)
