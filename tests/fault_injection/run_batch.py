"""Runs a batch that is to be killed, interrupted or measured: ``python -m fault_injection.run_batch OPTIONS``."""

import json
import sys

from fault_injection.experiments import Counted, specifications
from fault_injection.helpers import run

if __name__ == "__main__":
    options = json.loads(sys.argv[1])
    run(
        options["root"],
        specifications(options["count"]),
        Counted(options["executions"], options.get("seconds", 0.0), options.get("until")),
        num_parallel=options["workers"],
        backend=options["backend"],
    )
    print("ended")
