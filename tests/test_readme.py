"""What the README prints runs, prints what it says, and what it claims is so."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from smallab import Experiment, ExperimentRunner, load_results, specification_hash
from smallab.storage.base import open_storage

CHECKOUT = Path(__file__).parent.parent
README = (CHECKOUT / "README.md").read_text(encoding="utf-8")
COMMANDS = [line for line in README.splitlines() if line.startswith("python3 -m venv")]


def blocks():
    """Yield each code block of the README: its language, the line of its closing fence, and its lines."""
    language, begin = None, 0
    for number, line in enumerate(README.splitlines(), 1):
        if line.startswith("```"):
            if language is None:
                language, begin = line.removeprefix("```"), number
            else:
                yield language, number, README.splitlines()[begin : number - 1]
                language = None


def python(script, folder):
    """Run a script in a folder, any warning an error."""
    return subprocess.run(
        [sys.executable, "-W", "error", script],
        cwd=folder,
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


def test_python_blocks_run_one_after_the_other_and_print_what_is_below_them(tmp_path):
    lines = [""] * len(README.splitlines())  # every line keeps its number, so that a traceback points into the README
    expected = {}
    last = None
    for language, end, content in blocks():
        if language == "python":
            lines[end - 1 - len(content) : end - 1] = content
            lines[end - 1] = f"print('=== {end}')"
            last = end
        elif language == "text" and last == end - len(content) - 2:
            expected[last] = content
    script = tmp_path / "README.md.py"
    script.write_text("\n".join(lines), encoding="utf-8")

    done = python(script, tmp_path)
    assert done.returncode == 0, done.stderr

    printed = re.split(r"^=== (\d+)\n", done.stdout, flags=re.MULTILINE)
    outputs = dict(zip(map(int, printed[1::2]), printed[::2], strict=False))
    assert len(expected) >= 5
    for end, content in expected.items():
        assert outputs[end].splitlines() == content, f"the block that ends in line {end}"
    assert len(outputs[min(outputs)].splitlines()) == 4  # the first screen's, in the order in which threads ended


def test_the_first_screen_has_eight_lines_and_both_commands():
    language, end, content = next(blocks())
    assert language == "python"
    assert len([line for line in content if line]) == 8
    assert end < 25
    first_screen = "\n".join(README.splitlines()[:36])
    assert len(COMMANDS) == 2
    assert all(command in first_screen for command in COMMANDS)
    assert "examples/01_random_numbers.py" in COMMANDS[0]
    assert COMMANDS[1].endswith(" -m pytest")


def test_the_cost_command_runs(tmp_path):
    (script,) = [content for language, _, content in blocks() if language == "bash" and "ten_thousand" in str(content)]
    code = "\n".join(script[1 : script.index("END")]).replace("10_000", "100")
    (tmp_path / "cost.py").write_text(code, encoding="utf-8")
    done = python("cost.py", tmp_path)
    assert re.fullmatch(r"run: \d+\.\d s\nnothing left to run: \d+\.\d s\n", done.stdout), done.stderr


def test_links_lead_somewhere():
    headings = {
        re.sub(r"[^\w -]", "", line.lstrip("# ")).lower().replace(" ", "-")
        for line in README.splitlines()
        if line.startswith("#")
    }
    for target in re.findall(r"\]\(([^)]+)\)", README):
        if target.startswith("#"):
            assert target[1:] in headings
        elif not target.startswith("https://"):
            assert (CHECKOUT / target).exists()


BATCH = """
import sys, time
from smallab import Experiment, ExperimentRunner

class Slow(Experiment):
    def main(self, specification):
        time.sleep(specification["seconds"])
        if specification.get("fail"):
            raise ValueError("on purpose")
        self.logger.info("done")
        return specification["x"]

seconds, begin, end = float(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
specifications = [{"x": x, "seconds": seconds, "fail": x == 13} for x in range(begin, end)]
result = ExperimentRunner().run("slow", specifications, Slow(), num_parallel=2)
print(len(result.completed), len(result.skipped), len(result.failed))
"""


@pytest.fixture
def start(tmp_path):
    (tmp_path / "batch.py").write_text(BATCH, encoding="utf-8")

    def start(seconds, begin, end):
        arguments = [sys.executable, "batch.py", str(seconds), str(begin), str(end)]
        return subprocess.Popen(arguments, cwd=tmp_path, text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)

    return start


def test_the_tree_on_disk_is_the_one_shown(start, batches_in_tmp_path):
    assert start(0, 10, 15).communicate()[0] == "4 0 1\n"
    (tree,) = [content for language, _, content in blocks() if language == "text" and "completed.json" in str(content)]
    shown = {re.split(r"\s{2,}", line.strip())[0] for line in tree[2:]}
    shown = {re.sub(r"/.*|<run-id>.*", "", name) for name in shown if not name.endswith((":", "experiment"))}
    found = set()
    for path in (batches_in_tmp_path / "slow").rglob("*"):
        found.add(re.sub(r"[0-9a-f]{32}", "<hash>", path.name))
    found = {name for name in found if not name.startswith("20")}  # runs/<run-id>.json
    assert found == {name for name in shown if not name.startswith("git")}


def test_a_killed_batch_goes_on_where_it_was(start, batches_in_tmp_path):
    process = start(0.02, 100, 130)
    deadline = time.monotonic() + 60
    while len(list(batches_in_tmp_path.rglob("*.pkl"))) < 8:
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.005)
    process.kill()
    process.communicate()
    saved = len(list(batches_in_tmp_path.rglob("*.pkl")))
    completed, skipped, failed = map(int, start(0.02, 100, 130).communicate()[0].split())
    assert (completed + skipped, failed) == (30, 0)
    assert saved - 2 <= skipped <= saved  # two workers: at most what each had in hand, saved but not yet journaled
    assert len(json.loads((batches_in_tmp_path / "slow" / "completed.json").read_text(encoding="utf-8"))) == 30


def test_two_computers_write_into_one_batch_at_the_same_time(start, batches_in_tmp_path):
    for process in [start(0.01, 100, 130), start(0.01, 120, 150)]:
        completed, skipped, failed = map(int, process.communicate()[0].split())
        assert (completed + skipped, failed) == (30, 0)
    assert len(json.loads((batches_in_tmp_path / "slow" / "completed.json").read_text(encoding="utf-8"))) == 50


class Trouble(Experiment):
    def main(self, specification):
        match specification["does"]:
            case "raise":
                raise ValueError("on purpose")
            case "exit":
                sys.exit(1)
            case "return what nobody can pickle":
                return (x for x in "a generator")
        return specification["does"]


def test_when_things_go_wrong(batches_in_tmp_path, caplog):
    bad = ["raise", "exit", "return what nobody can pickle"]
    specifications = [{"does": does} for does in [*bad, "well", "be damaged", "be deleted"]]
    runner = ExperimentRunner()
    result = runner.run("trouble", specifications, Trouble())
    assert [failure.type for _, failure in result.failed][:2] == ["ValueError", "SystemExit"]
    assert [specification["does"] for specification, _ in result.failed] == bad
    assert len(result.completed) == 3

    folder = runner.get_save_directory("trouble")
    assert [does for line in json.loads((folder / "failed.json").read_text()) for does in line.values()] == bad
    damaged, deleted = (
        folder / specification_hash(specification) / f"{specification_hash(specification)}.pkl"
        for specification in specifications[-2:]
    )
    damaged.write_bytes(damaged.read_bytes()[:-5])
    deleted.unlink()
    observations = {item.specification["does"]: item for item in load_results("trouble")}
    assert observations["well"].result == "well"
    assert str(damaged) in observations["be damaged"].failure.message
    assert len(observations) == 6

    caplog.clear()
    assert len(runner.run("trouble", specifications, Trouble()).skipped) == 3
    assert "1 of 3 results that are skipped are not there any more" in caplog.text

    (folder / "completed.json").write_text('[{"does"', encoding="utf-8")
    with pytest.raises(ValueError, match="smallab rebuild trouble"):
        runner.run("trouble", specifications, Trouble())
    open_storage(None, "trouble").rebuild()
    again = runner.run("trouble", specifications, Trouble())
    assert [specification["does"] for specification in again.skipped] == ["well"]  # the only whole result there was
    assert [specification["does"] for specification in again.completed] == ["be damaged", "be deleted"]

    with pytest.raises(ValueError, match="on purpose"):
        runner.run("trouble", [{"does": "raise"}, {"does": "well, too"}], Trouble(), propagate_exceptions=True)
    assert {"does": "well, too"} not in json.loads((folder / "completed.json").read_text())


def test_an_old_batch_s_list_is_believed_as_the_readme_warns(start, batches_in_tmp_path):
    (batches_in_tmp_path / "slow").mkdir(parents=True)
    old = json.dumps([{"x": 1, "seconds": 0.0, "fail": False}])
    (batches_in_tmp_path / "slow" / "completed.json").write_text(old, encoding="utf-8")
    assert start(0, 1, 3).communicate()[0] == "1 1 0\n"
