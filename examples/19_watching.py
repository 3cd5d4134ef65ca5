"""Watching: what `smallab dashboard training` shows of a batch, live, in any terminal that sees the folder."""

import time
from typing import Any

from smallab import ExperimentRunner
from smallab.dashboard import dashboard
from smallab.experiment_types import CheckpointedExperiment


class Training(CheckpointedExperiment):
    """Says after each epoch how far it is: the dashboard draws a small bar for each that is running."""

    def get_name(self, specification: dict[str, Any]) -> str:
        return f"rate {specification['learning_rate']}, seed {specification['seed']}"

    def initialize(self, specification: dict[str, Any]) -> None:
        self.learning_rate, self.epochs, self.loss = specification["learning_rate"], 0, 10.0

    def step(self) -> tuple[int, int] | dict[str, float]:
        time.sleep(0.002)
        self.epochs += 1
        self.loss *= 1 - self.learning_rate + self.rng.gauss(0, 0.01)
        if abs(self.loss) > 1e6:
            raise ArithmeticError(f"the loss is {self.loss:.3g} after {self.epochs} epochs")
        return {"loss": self.loss} if self.epochs == 50 else (self.epochs, 50)

    def steps_before_checkpoint(self) -> int:
        return 25


specifications = [{"learning_rate": rate, "seed": seed} for rate in (0.1, 5.0, 0.5) for seed in range(4)]


def look_once(specification: dict[str, Any], result: Any) -> None:
    """In another terminal: `smallab dashboard training`. Here, one frame of it, in the middle of the batch."""
    if specification == specifications[-4]:
        dashboard("training", once=True)


runner = ExperimentRunner()
runner.on_specification_complete(look_once)
runner.run("training", specifications, Training(), num_parallel=2)

# Whoever looks later sees how it ended.
dashboard("training", once=True)
