"""A batch's memory and descriptors do not grow with what its specifications return, nor with how many they are."""

import json
import os
import sys

import pytest

from .experiments import Counted
from .helpers import end, run, script, start

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the peak of a process's memory is read from /proc")

SIZE = 2_000_000  # bytes of one result
COUNT = int(os.environ.get("SMALLAB_MEMORY_SPECIFICATIONS", "100"))  # 1,000 make two gigabytes


@pytest.mark.parametrize("backend", ["threading", "loky"])
def test_ten_times_the_results_take_no_more_memory(quick_folder, backend):
    """Neither in the workers nor in the process that runs the batch, which has each result read back for a hook."""
    peaks = quick_folder / "peaks"
    options = {"root": str(quick_folder), "peaks": str(peaks), "count": COUNT, "size": SIZE, "backend": backend}
    with script("fault_injection.large_results", json.dumps(options)) as process:
        assert process.wait() == 0
    found = [tuple(map(int, line.split())) for line in peaks.read_text().splitlines()]
    few, many = (max(peak for x, peak in found if x < count) for count in (COUNT // 10, COUNT))
    print(f"\n{backend}: {few / 1e6:.0f} MB after {COUNT // 10}, {many / 1e6:.0f} MB after {COUNT}", file=sys.stderr)
    assert many - few < 5 * SIZE < COUNT * SIZE / 10


def test_five_thousand_specifications_with_64_open_files(quick_folder):
    end(start(_run_with_64_files, quick_folder))
    assert len(json.loads((quick_folder / "batch" / "completed.json").read_text())) == 5000


def _run_with_64_files(root):
    import resource

    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    before = len(os.listdir("/proc/self/fd"))
    result = run(root, [{"x": x, "size": 10} for x in range(5000)], Logs(os.devnull), num_parallel=2)
    assert result.counts["completed"] == 5000
    assert len(os.listdir("/proc/self/fd")) <= before + 1


class Logs(Counted):
    """Writes its own log file, too."""

    def main(self, specification):
        self.logger.info("running")
        return super().main(specification)
