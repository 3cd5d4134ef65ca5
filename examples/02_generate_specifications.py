"""Many specifications from a few lists, in Python or in a JSON file; a batch is extended by adding to them."""

import json
from pathlib import Path
from typing import Any

from smallab import Experiment, ExperimentRunner, SpecificationGenerator


class Compound(Experiment):
    def main(self, specification: dict[str, Any]) -> dict[str, float]:
        growth = 1 + specification["rate"] / specification["periods"]
        return {"value": specification["capital"] * growth ** (specification["periods"] * specification["years"])}


generator = SpecificationGenerator()

# A list holds values to try, anything else is a constant: 3 rates x 2 numbers of years = 6 specifications.
grid: dict[str, Any] = {"capital": 1000, "periods": 12, "rate": [0.01, 0.03, 0.05], "years": [10, 20]}
specifications = generator.generate(grid)
print(len(specifications), "specifications; the first:", specifications[0])

runner = ExperimentRunner()
print(runner.run("compound", specifications, Compound()))

# The same in a file, which can stand in version control beside the paper; a list of grids is allowed too.
grid["years"] = [10, 20, 40]
Path("compound.json").write_text(json.dumps([grid, {**grid, "periods": 1}], indent=2), encoding="utf-8")
specifications = generator.from_json_file("compound.json")

# 18 specifications now. The 6 that were run above are not run again.
result = runner.run("compound", specifications, Compound())
print(len(result.skipped), "skipped,", len(result.completed), "completed")

# A value that is itself a list goes in double brackets, or it would be taken for values to try.
print(generator.generate({"layers": [[64, 32], [128]], "seed": 1}))
