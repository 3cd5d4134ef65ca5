"""Every file in examples/ runs, alone in an empty folder, any warning an error, and says what it should."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parent.parent / "examples").glob("*.py"))
PRINTED = {  # regular expressions, found in this order in what an example prints
    "01_random_numbers": ["2 completed, 0 skipped", r"^1 0\.8474337369372327$", r"^2 0\.9478274870593494$"],
    "02_generate_specifications": ["^6 specifications", "6 completed", "^6 skipped, 12 completed$", r"\[64, 32\]"],
    "03_hooks": ["'divisor': 4} gives 3.0", "^division: 3 completed, .* 12.0$", "^division: 1 failed, .*ZeroDivision"],
    "04_logging_and_random_numbers": [
        "^farthest off: {'darts': 100,",
        " INFO 5000 darts: 3.",
        "^the same again: True$",
    ],
    "05_failures_and_resuming": [
        "^evening: 4 completed$",
        "failed: {'batch_size': 512} MemoryError: 8 GB needed",
        "^without a result: 2$",
        "^morning: 2 completed, 4 skipped$",
        r"^again: \[{'batch_size': 64}\]$",
    ],
    "06_processes": ["^12 completed, here: False$"],
    "07_many_computers": ["0 of 2: 14 of 14", "1 of 2: 13 of 13", "^still to do: 0$", "'start': 27} with 111 steps$"],
    "08_digits": [
        "30 completed",
        "result.*mean|mean +std +count",
        r"^best: .* 1000 images: 0\.9\d+ ± 0\.0\d+ over 5 seeds$",
    ],
    "09_command_line": [r"^{'estimate': 3\.\d+, 'error': \d[\d.e-]+}$"],
    "10_groups": [r"^{'slope': 2\.0, 'intercept': 1\.0}$"],  # ten standard errors from what would round otherwise
    "11_processes_that_die": ["^2 completed$", "^crash - .*exit status 1,", "^hang - .*timeout=2 seconds"],
    "12_graphics_cards": [r"^6 completed, such as seed \d on card ([01]), the only one it sees: \1$"],
    "13_dask": ["^20 completed, 0 skipped$"],
    "14_slurm": ["#SBATCH -p short", "#SBATCH --cpus-per-task=8", "dask_worker tcp.*--nworkers 8 .*--lifetime 230m"],
    "15_job_array": ["^task 0 of 1: 20 completed, 0 skipped$"],
    "16_functions": [
        r"^\[0, 1, 4, 9, 16\]$",
        r"^{'x': 4, 'y': 2} gives 16$",
        r"^\[{'x': 0, 'y': 3}, ",
        r"^\[0, 1, 8, 27\]$",
        "^the same seed: True$",
        "timing .*environment code$",
        "^set up in .* seconds with 3",
    ],
    "17_files_of_an_experiment": [
        r"^3\.0 places.csv \['0.0', '1.0', '2.0', '3.0'\]$",
        r"^2\.0 places.csv .*'2.0'\]$",
        "^IndexError: list index out of range$",
    ],
    "18_own_format": ["^saved and read back: True$", r"^\d Hz: \(1000,\)$", "^3 files$"],
    "19_watching": [
        "^training  running",
        r"^  Running \(\d\)$",
        "^training  ended",
        "^8/12 completed, 4 failed",
    ],
    "20_checkpoints": [r"^at [23]\.\d+, the same as without interruption: True$", "going on after 130 steps$"],
}


def test_they_are_numbered_and_all_are_known():
    assert [path.stem for path in EXAMPLES] == list(PRINTED)
    assert [int(path.name[:2]) for path in EXAMPLES] == list(range(1, len(EXAMPLES) + 1))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_short_and_introduced(path):
    code = path.read_text(encoding="utf-8")
    assert len(code.splitlines()) < 60
    assert ast.get_docstring(ast.parse(code)).partition("\n")[0].endswith(".")


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_runs_twice(path, tmp_path):
    """The first time in an empty folder; the second time it finds its own results there."""
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8"}
    for attempt in (1, 2):
        done = subprocess.run(
            [sys.executable, "-W", "error", path],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
        assert done.returncode == 0, done.stderr
        if attempt == 1:
            assert re.search(".*".join(f"(?m:{line})" for line in PRINTED[path.stem]), done.stdout, re.DOTALL), (
                done.stdout
            )
