"""``smallab run``: a batch from the shell, of an experiment in a module or a file."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from typing import Any, get_args

import click

from smallab.command_line.options import BatchCommand, WrongError, folder_option, json_option
from smallab.command_line.program import FAILED
from smallab.command_line.terminal import print_json, say
from smallab.experiment_types.experiment import Experiment
from smallab.runner.options import Rerun
from smallab.runner.outcome import BatchResult
from smallab.runner.runner import ExperimentRunner
from smallab.specification import Specification
from smallab.specification_generator import MultiComputerGenerator, SpecificationGenerator
from smallab.storage.base import open_storage

_RERUN = (
    "pending: all that is not completed; failed: only what failed; missing: also what is completed but has no result; "
    "changed: only what other code made; all: everything.  [default: pending]"
)


@click.command(cls=BatchCommand)
@click.argument("experiment", metavar="MODULE:EXPERIMENT")
@click.argument("specifications", metavar="SPECIFICATIONS.json")
@click.option("--name", metavar="NAME", help="The batch.  [default: the experiment's name]")
@click.option("--num-parallel", "-j", type=int, metavar="N", help="How many at once; -1 is one a core.  [default: 1]")
@click.option("--backend", metavar="BACKEND", help="threading, loky (processes), dask, …  [default: threading]")
@click.option("--shard", metavar="I/N", help="Only the Ith of N shares; I is 0 to N-1.")
@click.option("--rerun", type=click.Choice(get_args(Rerun)), default="pending", help=_RERUN)
@click.option("--retries", type=click.IntRange(0), default=0, metavar="N", help="Try again what fails.")
@click.option("--timeout", type=float, metavar="SECONDS", help="End what takes longer (not with threads).")
@click.option("--quiet", "-q", is_flag=True, help="Show no progress.")
@json_option
@folder_option
def run(
    experiment: str,
    specifications: str,
    name: str | None,
    num_parallel: int | None,
    backend: str | None,
    shard: str | None,
    rerun: Rerun,
    retries: int,
    timeout: float | None,
    quiet: bool,
    as_json: bool,
    folder: str | None,
) -> int:
    """Run what is not yet completed of a batch.

    MODULE:EXPERIMENT is what a script would import: walks:Walk, or walks.py:Walk; a class that can be made without
    arguments, an object of one, or a function with @experiment. SPECIFICATIONS.json holds a dict whose lists are values
    to try, or a list of such dicts.

    In a job array of Slurm, each job takes its share: --shard $SLURM_ARRAY_TASK_ID/8, with --array=0-7.

    Exits with 1 if a specification failed.
    """
    found, own_name = _experiment(experiment)
    name = name or own_name
    items = _specifications(specifications, shard)
    try:
        result = ExperimentRunner(folder).run(
            name,
            items,
            found,
            num_parallel=num_parallel,
            backend=backend,
            rerun=rerun,
            retries=retries,
            timeout=timeout,
            show_progress=not quiet,
        )
    except (ValueError, TypeError) as error:  # refused, before anything ran
        raise WrongError(str(error)) from error
    _tell(name, result, folder, as_json)
    return 0 if result else FAILED


def _tell(name: str, result: BatchResult, folder: str | None, as_json: bool) -> None:
    place = open_storage(folder, name).folder
    if as_json:
        print_json({"name": name, **result.counts, "folder": place})
        return
    counts = ", ".join(f"{count} {status}" for status, count in result.counts.items())
    say(f"{name}: {counts}; {place}", fg=None if result else "red")
    if not result:
        say(f"smallab show {name}{f' --folder {folder}' if folder else ''} says why", dim=True)


def _specifications(path: str, shard: str | None) -> list[Specification]:
    if shard is None:
        return SpecificationGenerator().from_json_file(path)
    number, slash, total = shard.partition("/")
    try:
        generator = MultiComputerGenerator(int(number), int(total))
    except ValueError as error:
        why = f": {error}" if slash and number.isdigit() and total.isdigit() else ""
        raise WrongError(f"--shard {shard}: write I/N, I from 0 to N-1 (0/4, 1/4, 2/4, 3/4){why}") from error
    return generator.from_json_file(path)


# The experiment.


def _experiment(place: str) -> tuple[Experiment, str]:
    """Return the experiment that MODULE:EXPERIMENT names, and a name for its batch."""
    path, colon, attribute = place.rpartition(":")
    if not colon or not attribute:
        raise WrongError(
            f"{place!r} does not name an experiment: write MODULE:EXPERIMENT, as in walks:Walk or walks.py:Walk"
        )
    module = _imported(path)
    if not hasattr(module, attribute):
        raise WrongError(f"{path} has no {attribute!r}; its experiments: {_experiments_in(module)}")
    found = getattr(module, attribute)
    if isinstance(found, type) and issubclass(found, Experiment):
        try:
            found = found()
        except TypeError as error:
            raise WrongError(
                f"{attribute} cannot be made without arguments ({error}); name an object of it instead"
            ) from error
    if not isinstance(found, Experiment):
        kind = type(found).__name__
        raise WrongError(f"{place} is a {kind}, no experiment; its experiments: {_experiments_in(module)}")
    return found, getattr(found, "name", attribute)


def _imported(path: str) -> Any:
    """Return a module, of its dotted name or of its file; its folder is where Python looks first then."""
    is_file = path.endswith(".py")
    if is_file and not os.path.isfile(path):
        raise WrongError(f"there is no file {path}")
    folder, name = os.path.split(os.path.abspath(path.removesuffix(".py"))) if is_file else (os.getcwd(), path)
    sys.path.insert(0, folder)
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            raise WrongError(
                f"there is no module {name!r}, in {folder} or installed; a file is written with .py"
            ) from error
        raise _broken(path, error) from error
    except Exception as error:  # whatever the user's own module raises
        raise _broken(path, error) from error
    if is_file and not os.path.samefile(getattr(module, "__file__", None) or sys.executable, path):
        raise WrongError(f"{path} is hidden by another module of that name, {module!r}: rename it")
    return module


def _broken(path: str, error: Exception) -> WrongError:
    """Say what a module raised when it was imported, from its own code on."""
    frames = error.__traceback__
    while frames and frames.tb_frame.f_globals.get("__name__", "").partition(".")[0] in {"smallab", "importlib"}:
        frames = frames.tb_next
    shown = "".join(traceback.format_exception(error.with_traceback(frames))).rstrip()
    return WrongError(f"{path} cannot be imported:\n{shown}")


def _experiments_in(module: Any) -> str:
    names = []
    for name, thing in vars(module).items():
        is_class = isinstance(thing, type) and issubclass(thing, Experiment) and thing is not Experiment
        if not name.startswith("_") and (is_class or isinstance(thing, Experiment)):
            names.append(name)
    return ", ".join(names) or "none"
