"""What takes too long is ended, what fails is tried again, and what kills its process costs nothing but itself."""

import os
import time
from typing import Any

from smallab import Experiment, ExperimentRunner


class Risky(Experiment):
    def main(self, specification: dict[str, Any]) -> int:
        match specification["does"]:
            case "crash":
                os._exit(1)  # as a native library might, or the kernel where memory runs out
            case "hang":
                time.sleep(3600)
        return len(specification["does"])


specifications = [{"does": does} for does in ["well", "crash", "hang", "fine"]]

# timeout= ends the process that runs a specification, so it needs a backend that has processes.
result = ExperimentRunner().run("risky", specifications, Risky(), num_parallel=2, backend="loky", timeout=2, retries=1)
print(len(result.completed), "completed")
for specification, failure in sorted(result.failed, key=str):
    print(specification["does"], "-", failure.message)
