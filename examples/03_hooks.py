"""Hooks: be told when a specification completes or fails, and when the batch is over."""

from typing import Any

from smallab import CallbackManager, Experiment, ExperimentRunner


class Division(Experiment):
    def main(self, specification: dict[str, Any]) -> dict[str, float]:
        return {"quotient": 12 / specification["divisor"]}


specifications = [{"divisor": divisor} for divisor in (1, 2, 0, 4)]

# The short way: functions. They run here, in this thread, whatever runs the specifications.
runner = ExperimentRunner()
runner.on_specification_complete(lambda specification, result: print(specification, "gives", result["quotient"]))
runner.on_specification_failure(lambda exception, specification: print(specification, "failed:", repr(exception)))
runner.run("division", specifications, Division())


# The long way: a class, which may remember things and tell it all at the end.
class Summary(CallbackManager):
    def __init__(self) -> None:
        self.best = 0.0

    def on_specification_complete(self, specification: dict[str, Any], result: Any) -> None:
        self.best = max(self.best, result["quotient"])

    def on_batch_complete(self, specifications: list[dict[str, Any]]) -> None:
        print(f"{self.experiment_name}: {len(specifications)} completed, the largest quotient is {self.best}")

    def on_batch_failure(self, exceptions: list[BaseException], specifications: list[dict[str, Any]]) -> None:
        print(f"{self.experiment_name}: {len(specifications)} failed, the first with {exceptions[0]!r}")


runner.on_specification_complete(None)  # None takes a function off
runner.on_specification_failure(None)
runner.attach_callbacks([Summary()])
runner.run("division", specifications, Division(), continue_from_last_run=False)  # run all of them again
