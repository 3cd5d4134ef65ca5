"""What a user installs and imports."""

import importlib.metadata
import pkgutil
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import smallab

CHECKOUT = Path(__file__).parent.parent
PROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
MODULES = sorted(module.name for module in pkgutil.walk_packages(smallab.__path__, "smallab."))
NOT_FOR_IMPORTING = {"joblib", "dill", "cloudpickle", "numpy", "pandas", "rich", "textual", "click", "yaml", "IPython"}


def python(code):
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_public_names():
    assert smallab.__all__ == sorted(smallab.__all__)
    assert set(smallab.__all__) == {
        "BatchResult",
        "CallbackManager",
        "CheckpointedExperiment",
        "Experiment",
        "ExperimentRunner",
        "Failure",
        "MultiComputerGenerator",
        "Observation",
        "OverlappingOutputCheckpointedExperiment",
        "OverlappingOutputCheckpointedExperimentReturnValue",
        "SpecificationError",
        "SpecificationFailed",
        "SpecificationGenerator",
        "current_dir",
        "current_id",
        "experiment",
        "group",
        "load_result",
        "load_results",
        "new_seed",
        "parameter",
        "specification_hash",
        "time_block",
        "to_dataframe",
    }
    assert all(hasattr(smallab, name) for name in smallab.__all__)


@pytest.mark.parametrize(
    ("name", "modules"),
    [
        ("Experiment", ["smallab", "smallab.experiment", "smallab.experiment_types"]),
        ("Experiment", ["smallab.experiment", "smallab.experiment_types.experiment"]),
        ("ExperimentRunner", ["smallab", "smallab.runner", "smallab.runner.runner"]),
        ("CallbackManager", ["smallab", "smallab.callbacks"]),
        ("SpecificationGenerator", ["smallab", "smallab.specification_generator"]),
        ("MultiComputerGenerator", ["smallab", "smallab.specification_generator"]),
    ],
)
def test_every_spelling_of_an_import_gives_the_same_class(name, modules):
    assert len({getattr(pkgutil.resolve_name(module), name) for module in modules}) == 1


def test_importing_smallab_imports_no_dependency_and_no_extra():
    imported = python("import sys, smallab; print(*{name.partition('.')[0] for name in sys.modules})").split()
    assert "smallab" in imported
    assert NOT_FOR_IMPORTING.isdisjoint(imported)


@pytest.mark.parametrize("module", MODULES)
def test_every_module_can_be_imported_first(module):
    if module.endswith(".ray"):
        pytest.importorskip("ray", reason='needs Ray: pip install "smallab[ray]"')
    python(f"import {module}")


def test_importing_changes_no_global_state():
    python(
        "import logging, random; random.seed(1); state = random.getstate(); import smallab;"
        "assert random.getstate() == state; assert not logging.getLogger().handlers;"
        "assert logging.getLogger('smallab').level == logging.NOTSET"
    )


def test_runtime_dependencies_are_joblib_and_dill():
    required = [re.match(r"[\w-]+", line)[0] for line in PROJECT["dependencies"]]
    assert sorted(required) == ["dill", "joblib"]


def test_extras():
    assert set(PROJECT["optional-dependencies"]) == {
        "all",
        "cli",
        "dashboard",
        "dask",
        "dev",
        "pandas",
        "parquet",
        "progress",
        "ray",
        "yaml",
    }


def test_typed_and_licensed():
    assert (CHECKOUT / "smallab" / "py.typed").exists()
    assert PROJECT["license"] == "BSD-3-Clause"
    assert "Redistribution and use" in (CHECKOUT / "LICENSE").read_text(encoding="utf-8")


def test_version_is_the_installed_one_and_the_changelogs():
    assert importlib.metadata.version("smallab") == smallab.__version__
    newest = re.search(r"^## \[(\d[^]]*)\]", (CHECKOUT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert newest
    assert newest[1] == smallab.__version__
