"""Command lines of experiments and groups, as somebody types them."""

import os
import re
import subprocess
import sys

import pytest

from smallab import experiment, group, load_results, parameter

pexpect = pytest.importorskip("pexpect") if os.name != "nt" else None
on_a_terminal = pytest.mark.skipif(os.name == "nt", reason="pexpect has no terminals there")

SQUARES = '''
import enum
from pathlib import Path
from typing import Literal

from smallab import experiment, new_seed, parameter


class Kernel(enum.Enum):
    RBF = "rbf"
    LINEAR = "linear"


@parameter("y", allowed_values=[1, 2, 3])
@parameter("secret", hidden=True)
@parameter("scale", envvar="TEST_SCALE", help="What it is multiplied with.")
@experiment
def square(
    x: float,
    y: int = 2,
    kernel: Kernel = Kernel.RBF,
    layer_sizes: list[int] = (1, 2),
    verbose: bool = False,
    mode: Literal["fast", "exact"] = "fast",
    where: Path | None = None,
    scale: float = 1,
    secret: str = "",
):
    """Raise a number to a power.

    Parameters
    ----------
    x
        The base.
    y
        The exponent.
    """
    if x == 13:
        raise ValueError("unlucky")
    assert isinstance(kernel, Kernel) and isinstance(layer_sizes, list) and isinstance(where, (Path, type(None)))
    return x ** y * scale


if __name__ == "__main__":
    square.cli()
'''


@pytest.fixture
def run(tmp_path):
    """Return a function that runs squares.py in a folder of its own."""
    (tmp_path / "squares.py").write_text(SQUARES, encoding="utf-8")

    def run(*arguments, script="squares.py", **environment):
        return subprocess.run(
            [sys.executable, "-W", "error", script, *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTHONIOENCODING": "utf-8", "COLUMNS": "120", **environment},
            capture_output=True,
            encoding="utf-8",
            stdin=subprocess.DEVNULL,
            check=False,
        )

    return run


def observed():
    """Return the newest observation of squares.py."""
    from smallab.storage.calls import Calls

    return list(Calls(os.environ["SMALLAB_ROOT"], "square").observations())[-1]


def test_the_result_on_stdout_and_its_place_on_stderr(run):
    done = run("--x", "3")
    assert (done.returncode, done.stdout) == (0, "9\n")
    place = re.fullmatch(r"saved in (.*)\n", done.stderr)[1]
    observation = observed()
    assert os.path.basename(place) == observation.id
    assert os.path.exists(f"{place}/specification.json")
    assert observation.result == 9
    assert observation.specification == {
        "x": 3,
        "y": 2,
        "kernel": "rbf",
        "layer_sizes": [1, 2],
        "verbose": False,
        "mode": "fast",
        "where": None,
        "scale": 1,
        "secret": "",
    }


def test_every_kind_of_option(run):
    options = "--x 2.5 --y 1 --kernel linear --layer-sizes 4 --layer-sizes 5 --verbose --mode exact --where a/b"
    done = run(*options.split(), "--secret", "psst", "--random-seed", "7", TEST_SCALE="2")
    assert (done.returncode, done.stdout) == (0, "5.0\n")
    assert observed().specification == {
        "x": 2.5,
        "y": 1,
        "kernel": "linear",
        "layer_sizes": [4, 5],
        "verbose": True,
        "mode": "exact",
        "where": os.path.join("a", "b"),
        "scale": 2,
        "secret": "psst",
        "random_seed": 7,
    }


def test_a_file_of_parameters_and_options_that_override_it(run, tmp_path, batches_in_tmp_path):
    run("--x", "3", "--y", "3", "--random-seed", "5")
    (earlier,) = batches_in_tmp_path.rglob("specification.json")
    done = run("--params-file", str(earlier), "--x", "2", "--output-dir", "elsewhere")
    assert (done.returncode, done.stdout) == (0, "8\n")
    (found,) = (tmp_path / "elsewhere" / "square").glob("*/specification.json")
    assert '"random_seed":5' in found.read_text(encoding="utf-8")


def test_a_failure_is_recorded_told_and_exits_with_1(run):
    done = run("--x", "13")
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(r"ValueError: unlucky\nsaved in .*; --debug shows where it happened.*\n", done.stderr)
    assert observed().failure.type == "ValueError"


def test_debug_shows_the_traceback_and_stops_in_pdb(run):
    done = run("--x", "13", "--debug")
    assert done.returncode == 1
    assert "(Pdb)" in done.stdout
    assert "-> raise ValueError" in done.stdout
    assert re.match(r'Traceback .*\n  File ".*squares.py", line \d+, in square\n', done.stderr)
    assert run("--x", "3", "--debug").stdout == "9\n"


WRONG = [
    ([], "--x: missing; expected a number"),
    (["--x", "three"], "--x: expected a number, not 'three'"),
    (["--x", "1", "--y", "4"], "--y: expected one of 1, 2, 3, not '4'"),
    (["--x", "1", "--kernel", "lineal"], "--kernel: expected one of rbf, linear, not 'lineal'"),
    (["--x", "1", "--layer-sizes", "1", "--layer-sizes", "z"], "--layer-sizes: expected a list, each item an integer"),
    (["--x", "1", "--layer_size", "1"], "No such option '--layer-size'"),
    (["--x", "1", "--params-file", "none.json"], "--params-file: none.json cannot be read: No such file"),
    (["--x"], "'--x' requires an argument"),
    (["1"], "unexpected extra argument"),
]


def called(capsys, target, *arguments):
    with pytest.raises(SystemExit) as exited:
        target.cli(arguments)
    output = capsys.readouterr()
    return exited.value.code, output.out, output.err


@pytest.fixture
def square():
    namespace = {"__name__": "squares"}
    exec(compile(SQUARES, "squares.py", "exec"), namespace)
    return namespace["square"]


@pytest.mark.parametrize(
    ("arguments", "message"), WRONG, ids=[" ".join(arguments) or "nothing" for arguments, _ in WRONG]
)
def test_errors_name_the_option_show_the_usage_and_exit_with_2(capsys, square, arguments, message):
    status, out, error = called(capsys, square, *arguments)
    assert (status, out) == (2, "")
    assert error.startswith("Usage: ")
    assert " --x NUMBER [OPTIONS]\n" in error
    assert f"Error: {message}" in error or f"Error: Got {message}" in error or message in error.splitlines()[-1]
    assert square.observations() == []


def test_an_unknown_parameter_in_a_file_is_told_with_the_file(capsys, square, tmp_path):
    (tmp_path / "p.json").write_text('{"x": 1, "laier_sizes": 2}', encoding="utf-8")
    status, _, error = called(capsys, square, "--params-file", str(tmp_path / "p.json"))
    assert status == 2
    assert "'laier_sizes': there is no such parameter, did you mean 'layer_sizes'" in error
    assert "p.json" in error


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_shows_everything_but_what_is_hidden(run, option):
    done = run(option)
    assert done.returncode == 0
    assert done.stdout.startswith("Usage: python squares.py --x NUMBER [OPTIONS]\n\n  Raise a number to a power.\n")
    for line in [
        "  --x NUMBER                The base.  [required]",
        "  --y [1|2|3]               The exponent.  [default: 2]",
        "  --kernel [rbf|linear]     [default: rbf]",
        "  --layer-sizes INTEGER     [repeat it for several; default: 1, 2]",
        "  --verbose / --no-verbose  [default: off]",
        "  --where PATH",
        "  --scale NUMBER            What it is multiplied with.  [$TEST_SCALE; default: 1]",
        "  -h, --help             Show this and exit.",
    ]:
        assert f"\n{line}\n" in done.stdout
    assert "secret" not in done.stdout
    for name in ("random-seed", "output-dir", "params-file", "debug"):
        assert f"\n  --{name} " in done.stdout
    for columns, longest in ((80, 80), (200, 100)):
        lines = run(option, COLUMNS=str(columns)).stdout.splitlines()
        assert max(map(len, lines)) <= longest


def test_an_experiment_s_own_parameter_takes_the_place_of_a_standard_one(capsys):
    @experiment
    def own(debug: int):
        return debug + 1

    assert called(capsys, own, "--debug", "3")[:2] == (0, "4\n")


def test_results_are_printed_as_python_writes_them_texts_as_they_are_and_none_not(capsys):
    @experiment
    def shown(x):
        return {"text": "a text", "dict": {"b": 1, "a": [1.5]}, "none": None}[x]

    assert called(capsys, shown, "--x", "text")[1] == "a text\n"
    assert called(capsys, shown, "--x", "dict")[1] == "{'b': 1, 'a': [1.5]}\n"
    assert called(capsys, shown, "--x", "none")[1] == ""


def test_a_cached_result_says_so(capsys):
    @experiment(cache=True)
    def cached(x: int):
        return x

    called(capsys, cached, "--x", "1")
    assert called(capsys, cached, "--x", "1")[1:] == ("1\n", "this is what an earlier call saved\n")


def test_sys_exit_in_an_experiment_is_a_failure(capsys):
    @experiment
    def leaves():
        sys.exit(0)

    status, _, error = called(capsys, leaves)
    assert status == 1
    assert error.startswith("SystemExit: 0\n")


@on_a_terminal
def test_ctrl_c_exits_with_130(tmp_path):
    script = "import time\nfrom smallab import experiment\n@experiment\ndef slow():\n    print('begun', flush=True)\n"
    (tmp_path / "slow.py").write_text(f"{script}    time.sleep(600)\nslow.cli()\n", encoding="utf-8")
    child = pexpect.spawn(sys.executable, [str(tmp_path / "slow.py")], timeout=60, encoding="utf-8")
    child.expect("begun")
    child.sendintr()
    child.expect("Interrupted")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 130


# Groups.

TOOLS = '''
from smallab import group, parameter

@parameter("learning_rate", type=float, default=0.1, help="How far each step goes.")
@group
def tools():
    """Everything for the paper."""
    raise AssertionError("a group's function is never run")

@tools.experiment
@parameter("steps", type=int, required=True)
def fit_model(params):
    """Fit a model.

    It takes a minute.
    """
    return params

@tools.experiment
def draw(width: int = 3):
    """Draw the figures."""
    return width

@tools.group
def data():
    """What comes before."""

@data.experiment
def load(url: str, learning_rate):
    """Load it."""
    return [url, learning_rate]

if __name__ == "__main__":
    tools.cli()
'''


@pytest.fixture
def tools(tmp_path, run):
    (tmp_path / "tools.py").write_text(TOOLS, encoding="utf-8")
    return lambda *arguments: run(*arguments, script="tools.py")


def test_help_lists_what_is_in_a_group(tools):
    done = tools("-h")
    assert done.returncode == 0
    assert done.stdout == (
        "Usage: python tools.py EXPERIMENT [OPTIONS]\n\n"
        "  Everything for the paper.\n\n"
        "Experiments:\n"
        "  fit-model  Fit a model.\n"
        "  draw       Draw the figures.\n\n"
        "Groups:\n"
        "  data  What comes before.\n\n"
        "Parameters in common:\n"
        "  --learning-rate NUMBER  How far each step goes.  [default: 0.1]\n\n"
        "python tools.py fit-model -h shows what an experiment takes.\n"
    )


def test_experiments_of_a_group_and_of_a_group_in_it(tools):
    assert tools("fit-model", "--learning-rate", "0.2", "--steps", "3").stdout == "{'learning_rate': 0.2, 'steps': 3}\n"
    assert tools("data", "load", "--url", "x").stdout == "['x', 0.1]\n"
    assert [found.result for found in load_results("load")] == []  # a call, not a batch
    assert "  --learning-rate NUMBER  How far each step goes.  [default: 0.1]\n" in tools("fit-model", "-h").stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["fit-modl"], "No such command 'fit-modl'"), (["fit-model"], "--steps: missing"), (["data"], "Usage: ")],
)
def test_a_wrong_command_line_of_a_group(tools, arguments, message):
    done = tools(*arguments)
    assert done.returncode == 2
    assert message in done.stderr


def test_an_empty_group_has_a_help(capsys):
    @group
    def empty():
        """Nothing yet."""

    status, out, _ = called(capsys, empty, "-h")
    assert status == 0
    assert "Nothing yet." in out


def test_without_click_the_error_names_the_extra():
    code = "import sys; sys.modules['click'] = None; import smallab; smallab.experiment(print).cli(['-h'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=False)
    assert done.stderr.rstrip().endswith('ImportError: command lines need click: pip install "smallab[cli]"')


def test_without_yaml_the_error_names_the_extra(tmp_path):
    (tmp_path / "p.yaml").write_text("x: 1", encoding="utf-8")
    code = (
        "import sys; sys.modules['yaml'] = None; import smallab\n"
        "def f(x): pass\n"
        "smallab.experiment(f).cli(['--params-file', 'p.yaml'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, encoding="utf-8", check=False
    )
    assert done.returncode == 2
    assert 'parameters in YAML need PyYAML: pip install "smallab[yaml]"' in done.stderr


def test_a_parameter_of_a_name_that_click_would_use(capsys):
    @parameter("help", type=str, default="me")
    @experiment
    def odd(params):
        return params["help"]

    assert called(capsys, odd, "--help", "you")[1] == "you\n"
    assert "Usage" in called(capsys, odd, "-h")[1]
