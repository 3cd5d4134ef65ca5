"""A format of your own: results as numpy's .npz, which any other program with numpy can read."""

import io
import json
from typing import Any

import numpy

from smallab import ExperimentRunner, experiment, load_results


class Npz:
    name = "npz"
    suffix = "npz"

    def dump(self, record: dict[str, Any]) -> bytes:
        file = io.BytesIO()
        numpy.savez_compressed(file, **record["result"], specification=json.dumps(record["specification"]))
        return file.getvalue()

    def load(self, path: str) -> dict[str, Any]:
        with open(path, "rb") as file, numpy.load(file) as found:
            arrays = {name: found[name] for name in found.files}
        return {"specification": json.loads(str(arrays.pop("specification"))), "result": arrays}


# An Experiment that is a class says it with an attribute: `format = Npz()`. A script that only reads calls
# smallab.formats.register_format(Npz()); or a package of yours names it under the entry points "smallab.formats".
@experiment(format=Npz())
def wave(frequency: float, samples: int = 1000) -> dict[str, Any]:
    time = numpy.linspace(0, 1, samples)
    return {"time": time, "height": numpy.sin(2 * numpy.pi * frequency * time)}


heights = wave(2)["height"]
print("saved and read back:", numpy.array_equal(heights, wave.observations()[-1].result["height"]))

runner = ExperimentRunner()
runner.run("waves", [{"frequency": frequency} for frequency in (1, 2, 3)], wave, num_parallel=2)
for observation in load_results("waves"):
    print(observation.specification["frequency"], "Hz:", observation.result["height"].shape)
print(len(list(runner.get_save_directory("waves").glob("*/*.npz"))), "files")
