"""A long experiment in steps: killed in the middle, it goes on from its last checkpoint, with the same numbers."""

import os
import subprocess
import sys
from typing import Any

from smallab import CheckpointedExperiment, ExperimentRunner, load_result


class Climb(CheckpointedExperiment):
    """Looks for the top of a hill by taking random steps, and keeping those that lead up."""

    def initialize(self, specification: dict[str, Any]) -> None:
        self.place, self.steps, self.wanted = 0.0, 0, specification["steps"]
        self.logger.info("starting at %s", self.place)

    def step(self) -> dict[str, float] | tuple[int, int]:
        if self.steps == int(os.environ.get("KILLED_AT", "-1")):
            os._exit(1)  # a power cut, a job that ran out of time, …
        candidate = self.place + self.rng.gauss(0, 0.1)
        self.place = max(self.place, candidate, key=lambda x: -((x - 3) ** 2))
        self.steps += 1
        return {"place": self.place} if self.steps == self.wanted else (self.steps, self.wanted)

    def steps_before_checkpoint(self) -> int:
        return 10


if __name__ == "__main__":
    specification = {"steps": 200}
    runner = ExperimentRunner()
    if "KILLED_AT" not in os.environ:
        subprocess.run([sys.executable, __file__], env={**os.environ, "KILLED_AT": "137"}, check=False)  # noqa: S603  # this file
    runner.run("climb", [specification], Climb())
    runner.run("climb in one go", [specification], Climb())
    place = load_result("climb", specification).result["place"]
    print(f"at {place:.4f}, the same as without interruption:", end=" ")
    print(place == load_result("climb in one go", specification).result["place"])
    folder = runner.get_save_directory("climb")
    for log in folder.rglob("log.txt"):
        print(log.read_text(encoding="utf-8"))
