"""Each running specification has a graphics card (or a licence, a port, …) to itself."""

import os
from typing import Any

from smallab import Experiment, ExperimentRunner, load_results


class Train(Experiment):
    def main(self, specification: dict[str, Any]) -> str:
        # With processes a card's number is also its process's CUDA_VISIBLE_DEVICES: torch.device("cuda") is that card.
        visible = os.environ["CUDA_VISIBLE_DEVICES"]
        return f"seed {specification['seed']} on card {self.resource}, the only one it sees: {visible}"


# As many run at once as there are resources.
result = ExperimentRunner().run(
    "train", [{"seed": seed} for seed in range(6)], Train(), backend="loky", resources=[0, 1]
)
print(len(result.completed), "completed, such as", next(load_results("train")).result)
