"""A package that brings hooks and a format: installed for real, found by its entry points, and harmless if broken."""

import os
import subprocess
import sys
import textwrap

import pytest

PYPROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
[project]
name = "smallab-plugin"
version = "1.0"
"""
# A backend of a few lines: pip installs with it without a network, and without build tools in the environment.
BACKEND = '''
import zipfile
DIST_INFO = "smallab_plugin-1.0.dist-info"
ENTRY_POINTS = """
[smallab.callbacks]
class = smallab_plugin:Writes
object = smallab_plugin:WRITES_TOO
missing = smallab_plugin:missing
broken = smallab_broken_plugin:anything
[smallab.formats]
text = smallab_plugin:Text
taken = smallab_plugin:Taken
[smallab.parameters]
verbosity = smallab_plugin:VERBOSITY
"""
def build_wheel(folder, settings=None, metadata_folder=None):
    name = "smallab_plugin-1.0-py3-none-any.whl"
    files = {
        "smallab_plugin.py": open("smallab_plugin.py").read(),
        "smallab_broken_plugin.py": "raise RuntimeError('a broken package')",
        f"{DIST_INFO}/METADATA": "Metadata-Version: 2.1\\nName: smallab-plugin\\nVersion: 1.0\\n",
        f"{DIST_INFO}/WHEEL": "Wheel-Version: 1.0\\nGenerator: test\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
        f"{DIST_INFO}/entry_points.txt": ENTRY_POINTS,
    }
    record = "".join(f"{path},,\\n" for path in [*files, f"{DIST_INFO}/RECORD"])
    with zipfile.ZipFile(f"{folder}/{name}", "w") as wheel:
        for path, content in {**files, f"{DIST_INFO}/RECORD": record}.items():
            wheel.writestr(path, content)
    return name
'''
PLUGIN = """
import ast
from smallab import CallbackManager
from smallab.functions.parameters import Parameter

VERBOSITY = Parameter("verbosity", int, 1, help="How much is told.")

class Writes(CallbackManager):
    def __init__(self, who="class"):
        self.who = who

    def on_batch_start(self, name, specifications):
        print(self.who, "starts", name, specifications)

    def on_specification_complete(self, specification, result):
        print(self.who, self.experiment_name, specification, result)

    def on_specification_failure(self, exception, specification):
        print(self.who, self.experiment_name, specification, repr(exception))

WRITES_TOO = Writes("object")

class Text:
    name = "text"
    suffix = "txt"
    def dump(self, record):
        return repr(record).encode()
    def load(self, path):
        with open(path) as file:
            return ast.literal_eval(file.read())

class Taken(Text):
    name = "json"
"""


@pytest.fixture(scope="module")
def target(tmp_path_factory):
    """Return a folder that pip has installed the plugin into."""
    folder = tmp_path_factory.mktemp("plugin")
    for name, content in {"pyproject.toml": PYPROJECT, "backend.py": BACKEND, "smallab_plugin.py": PLUGIN}.items():
        (folder / name).write_text(content)
    options = ["--no-deps", "--no-index", "--no-build-isolation", "--quiet", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "install", *options, "--target", folder / "site", folder]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "site"


@pytest.fixture
def run(target, tmp_path):
    def run(code):
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", textwrap.dedent(code)],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(target)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done

    return run


def test_hooks_are_told_of_batches(run):
    done = run(
        """
        from smallab import Experiment, ExperimentRunner
        class Half(Experiment):
            def main(self, specification):
                return 1 / specification["x"]
        ExperimentRunner().run("halves", [{"x": 2}, {"x": 0}], Half(), show_progress=False)
        """
    )
    for who in ("class", "object"):
        assert [line for line in done.stdout.splitlines() if line.startswith(who)] == [
            f"{who} starts halves [{{'x': 2}}, {{'x': 0}}]",
            f"{who} halves {{'x': 2}} 0.5",
            f"{who} halves {{'x': 0}} ZeroDivisionError('division by zero')",
        ]


def test_hooks_are_told_of_calls(run):
    done = run(
        """
        from smallab import experiment
        @experiment
        def half(x):
            return x / 2
        half(4)
        """
    )
    assert sorted(done.stdout.splitlines()) == ["class half {'x': 4} 2.0", "object half {'x': 4} 2.0"]


def test_formats_are_known_by_name_and_to_readers(run, batches_in_tmp_path):
    run(
        """
        from smallab import ExperimentRunner, experiment
        @experiment(format="text")
        def half(x):
            return x / 2
        half(4)
        ExperimentRunner().run("halves", [{"x": 6}], half, show_progress=False)
        """
    )
    assert len(list(batches_in_tmp_path.glob("hal*/*/*.txt"))) == 2
    done = run(
        """
        from smallab import load_results, experiment
        print([item.result for item in load_results("halves")])
        print([item.result for item in experiment(name="half")(lambda x: x).observations()])
        """
    )
    assert done.stdout == "[3.0]\n[2.0]\n"


def test_parameters_are_those_of_every_function_that_takes_params(run):
    done = run(
        """
        from smallab import experiment
        @experiment
        def told(params):
            return params["verbosity"]
        @experiment
        def square(x):
            return x * x
        print(told.run({}), told.run({"verbosity": 3}), list(told.parameters), list(square.parameters))
        """
    )
    assert done.stdout.splitlines()[-1] == "1 3 ['verbosity'] ['x']"


def test_what_is_broken_is_logged_and_the_rest_is_there(run):
    done = run(
        """
        from smallab import experiment
        from smallab.formats import formats
        print([format.name for format in formats()])
        experiment(name="one")(lambda: 1)()
        """
    )
    assert done.stdout.splitlines()[0] == "['pickle', 'json', 'text']"
    for text in ("smallab_plugin:missing", "smallab_broken_plugin:anything", "a broken package", "calls itself 'json'"):
        assert text in done.stderr
