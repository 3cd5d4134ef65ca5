"""The code that the documents of smallab print runs as they print it.

``tests/seeds`` holds it: seed_000.py is the newer page's, with the lines that the copy of the page lost marked
``#put back``; seed_001.py is the older one's, with its read-back loops walking the folder tree of the same page.
"""

import os
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SEEDS = Path(__file__).parent / "seeds"
SPELLINGS = {
    "smallab.experiment_types.experiment": "smallab.experiment",
    "smallab.runner.runner": "smallab.runner",
}


def number(seed, num_calls):
    """What the documents' SimpleExperiment returns."""
    generator = random.Random(seed)
    return [generator.random() for _ in range(num_calls + 1)][-1]


def spelled(code, long):
    """The same code with every import spelled the long or the short way."""
    for full, short in SPELLINGS.items():
        code, count = re.subn(rf"from ({full}|{short}) import", f"from {full if long else short} import", code)
        assert count == 1
    return code


def run(script, hash_seed, quiet=True):
    """Run a script as a user would, any warning an error; return what it prints."""
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    del environment["SMALLAB_ROOT"]
    done = subprocess.run(
        [sys.executable, "-W", "error", script.name],
        cwd=script.parent,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert ("Traceback" not in done.stderr) == quiet  # a failure is shown at once
    return done.stdout


@pytest.mark.parametrize("long", [True, False], ids=["long", "short"])
@pytest.mark.parametrize("name", ["seed_000.py", "seed_001.py"])
def test_documented_code_runs_in_both_spellings_and_resumes(name, long, tmp_path):
    script = tmp_path / name
    script.write_text(spelled((SEEDS / name).read_text(encoding="utf-8"), long), encoding="utf-8")
    shutil.copy(SEEDS / "test.json", tmp_path)

    printed = run(script, hash_seed="1").splitlines()
    for seed in (1, 2):
        assert str(number(seed, 1)) in printed
    for seed in range(1, 9):
        for num_calls in (1, 2, 3):
            assert str(number(seed, num_calls)) in printed

    batch = tmp_path / "experiment_runs" / "random_number_from_generator"
    saved = {path: path.stat().st_mtime_ns for path in batch.rglob("*.pkl")}
    assert len(saved) == 24
    again = run(script, hash_seed="2").splitlines()  # folders do not depend on Python's randomised hash
    assert set(again) == set(printed)
    assert {path: path.stat().st_mtime_ns for path in batch.rglob("*.pkl")} == saved


def test_seed_000_shows_every_result(tmp_path):
    script = Path(shutil.copy(SEEDS / "seed_000.py", tmp_path))
    shutil.copy(SEEDS / "test.json", tmp_path)
    printed = run(script, hash_seed="0")
    before, listed, after = printed.partition("[{")
    assert listed
    assert sorted(before.split()) == sorted(["1", str(number(1, 1)), "2", str(number(2, 1))])
    pairs = after.splitlines()[1:]
    expected = [(str(seed), str(number(seed, num_calls))) for seed in range(1, 9) for num_calls in (1, 2, 3)]
    assert sorted(zip(pairs[::2], pairs[1::2], strict=True)) == sorted(expected)


def test_seed_001_hook_prints_what_ran_and_nothing_on_a_resume(tmp_path):
    script = Path(shutil.copy(SEEDS / "seed_001.py", tmp_path))
    first, second = (run(script, hash_seed="0").splitlines() for _ in range(2))
    assert len(first) - len(second) == 2 + 24


def test_what_the_documents_fail_on_purpose_fails_alone(tmp_path):
    code = (SEEDS / "seed_000.py").read_text(encoding="utf-8").partition("#Optional")[0]
    code += 'result = runner.run("random_number", [{"seed":1,"num_calls":1}, {"seed":2,"num_calls":1,"fail":True}],'
    code += " SimpleExperiment())\nprint(result.completed, [(dict(x), failure.type) for x, failure in result.failed])\n"
    script = tmp_path / "fails.py"
    script.write_text(code, encoding="utf-8")
    completed, _, failed = run(script, hash_seed="0", quiet=False).partition("] ")
    assert completed == "[{'num_calls': 1, 'seed': 1}"
    assert failed == "[({'fail': True, 'num_calls': 1, 'seed': 2}, 'Exception')]\n"
    assert len(list((tmp_path / "experiment_runs").rglob("*.pkl"))) == 1
