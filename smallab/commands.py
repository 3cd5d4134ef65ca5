"""The command ``smallab``: what batches on disk have done, and running one from the shell (extra ``cli``)."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import sys
import traceback
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, NoReturn, get_args

from smallab.experiment_types.experiment import Experiment
from smallab.files import entries
from smallab.inspection import Batch, batch_names, forget, inspect, where
from smallab.metadata import Metadata
from smallab.runner.selection import Rerun
from smallab.specification import SpecificationError, digest, parse
from smallab.storage import Storage, root_folder

if TYPE_CHECKING:
    import click

FAILED = 1
SHOWN = 20  # of each kind, unless --all
_LOG_LINES = 10


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Do what the command line says, and exit.

    Parameters
    ----------
    arguments
        What stands on the command line; where None, ``sys.argv``.

    Raises
    ------
    SystemExit
        Always: 1 if a specification failed, 2 if the command line is wrong, 130 after Ctrl-C, else 0.
    """
    try:
        from smallab.command_line.program import finish
    except ImportError as error:
        sys.exit(f"smallab: {error}")
    finish(_commands(), arguments, "smallab")


def _commands() -> click.Group:
    """Return all commands."""
    import click

    from smallab import __version__

    class InOrder(click.Group):
        def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click calls it so
            return list(self.commands)

    commands = [
        _run_command(),
        _status_command(),
        _dashboard_command(),
        _show_command(),
        _export_command(),
        _forget_command(),
    ]
    group = InOrder("smallab", {command.name: command for command in commands if command.name}, help=_HELP)
    return click.version_option(__version__)(group)


_HELP = """What batches of experiments have done, and running them.

A batch is a folder in experiment_runs, or wherever $SMALLAB_ROOT or --folder says.

\b
  smallab run walks.py:Walk grid.json     run a batch, named Walk
  smallab status                          how far all batches are
  smallab show Walk                       what failed in one, and why
  smallab export Walk walk.csv            its results as a table
  smallab forget Walk --where seed=1      have some of it run again
"""


def _command(function: Callable[..., int], parameters: Sequence[click.Parameter]) -> click.Command:
    """Return a command that is called and described as a function is."""
    import click

    from smallab.command_line.program import Command

    folder = click.Option(["--folder"], metavar="FOLDER", help="Where the batches are, if not in $SMALLAB_ROOT.")
    name = function.__name__.strip("_")
    return Command(name, callback=_explained(function), params=[*parameters, folder], help=function.__doc__)


def _explained(function: Callable[..., int]) -> Callable[..., int]:
    """Return the function, with what users can mend told as click tells it."""
    import functools

    import click

    @functools.wraps(function)
    def explained(**values: Any) -> int:
        try:
            return function(**values)
        except BrokenPipeError:  # `| head` has seen enough
            raise
        except (_WrongError, SpecificationError, ImportError, OSError) as error:  # a bug is something else
            raise click.UsageError(str(error), click.get_current_context()) from error

    return explained


class _WrongError(ValueError):
    """The command line asks for what cannot be had."""


def _json_option() -> click.Option:
    import click

    return click.Option(["--json", "as_json"], is_flag=True, help="Print JSON, for scripts.")


# Finding a batch.


def _storage(name: str, folder: str | None) -> Storage:
    """Return a batch's folder tree, if there is such a batch."""
    root = root_folder(folder)
    names = batch_names(root)
    if name not in names:
        import difflib

        close = difflib.get_close_matches(name, names, 1)
        hint = f", did you mean {close[0]!r}?" if close else ""
        there = f"there are {', '.join(names)}" if names else "there are none"
        raise _WrongError(f"there is no batch {name!r} in {root}{hint}; {there}")
    return Storage(root, name)


def _found(batch: Batch, prefixes: Iterable[str]) -> list[str]:
    """Return the ids that begin with the given prefixes, one each."""
    ids = [*map(digest, [*batch.completed, *batch.failed]), *(call.id for call in batch.calls)]
    ids += [item.id for item in batch.running]
    found: list[str] = []
    for prefix in prefixes:
        matches = dict.fromkeys(id for id in ids if id.startswith(prefix))
        if len(matches) != 1:
            which = f"{len(matches)} ids begin with" if matches else "no id begins with"
            raise _WrongError(
                f"{which} {prefix!r} in the batch {batch.storage.name!r}; smallab show {batch.storage.name}"
            )
        found += matches
    return found


# Printing.


def _say(text: str = "", **style: Any) -> None:
    """Print a line; its colours only where that is a terminal."""
    import click

    click.secho(text, **style)


def _width() -> int:
    """Return how long a line may be: as the terminal is wide; where nobody looks, as long as it gets."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else sys.maxsize


def _cut(text: str, width: int) -> str:
    text = " ".join(text.split())
    return text if len(text) <= width else text[: max(0, width - 1)] + "…"


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]], styles: Sequence[dict[str, Any]]) -> None:
    """Print rows in columns; the first and the last column are text, the others numbers."""
    import click

    widths = [max(map(len, column)) for column in zip(titles, *rows, strict=True)]
    last = len(titles) - 1
    for row in [titles, *rows]:
        cells = [
            f"{cell:<{w}}" if i in {0, last} else f"{cell:>{w}}"
            for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        ]
        if row is titles:
            _say("  ".join(cells).rstrip(), dim=True)
        else:
            zero = {"dim": True}
            _say(
                "  ".join(
                    click.style(c, **(zero if c.strip() == "0" else s)) for c, s in zip(cells, styles, strict=True)
                ).rstrip()
            )


def _local(time: object) -> str:
    """Return a recorded time (ISO 8601, UTC) as the clock on the wall shows it."""
    try:
        return f"{datetime.fromisoformat(str(time)).astimezone():%Y-%m-%d %H:%M:%S}"
    except ValueError:
        return ""


def _print_json(content: object) -> None:
    _say(json.dumps(content, indent=2, ensure_ascii=False))


# status


def _status_command() -> click.Command:
    import click

    return _command(status, [click.Argument(["names"], metavar="[NAME]...", nargs=-1), _json_option()])


def status(names: Sequence[str], as_json: bool, folder: str | None) -> int:
    """Count what is done, failed, pending and running.

    Of all batches, or of those that are named. PENDING is what the runs that are going on (else the newest run) have
    not started; "?" where they left no word of it.

    Exits with 1 if something failed in a batch that is named, else with 0.
    """
    root = root_folder(folder)
    batches = [inspect(_storage(name, folder)) for name in names or batch_names(root)]
    if as_json:
        _print_json([{"name": batch.storage.name, **batch.counts, **_run_of(batch)} for batch in batches])
    elif not batches:
        _say(f"no batches in {root}")
    else:
        rows = [_row(batch) for batch in batches]
        colours: list[dict[str, Any]] = [
            {"bold": True},
            {"fg": "green"},
            {"fg": "red"},
            {},
            {"fg": "cyan"},
            {"dim": True},
        ]
        _table(["batch", "done", "failed", "pending", "running", "last run"], rows, colours)
    return FAILED if names and any(batch.counts["failed"] for batch in batches) else 0


def _row(batch: Batch) -> list[str]:
    counts = ["?" if count is None else str(count) for count in batch.counts.values()]
    return [batch.storage.name, *counts, _local(batch.record.get("started", ""))]


def _run_of(batch: Batch) -> dict[str, Any]:
    return {"folder": batch.storage.folder, "last_run": batch.record.get("started")}


# show


def _show_command() -> click.Command:
    import click

    return _command(
        show,
        [
            click.Argument(["name"], metavar="NAME"),
            click.Argument(["id"], metavar="[ID]", required=False),
            click.Option(["--all", "everything"], is_flag=True, help=f"List all, not only {SHOWN} of each kind."),
            _json_option(),
        ],
    )


def show(name: str, id: str | None, everything: bool, as_json: bool, folder: str | None) -> int:
    """Show a batch, or one of its specifications.

    Without ID: the newest run, and a list of what is running, what failed and why, and what is done, each with its id.
    With ID (its beginning is enough): the specification, when and where it ran, its files, traceback and log. Results
    are not loaded.
    """
    batch = inspect(_storage(name, folder))
    if id is not None:
        _show_one(batch, _found(batch, [id])[0], as_json)
    elif as_json:
        _print_json({"name": name, **batch.counts, **_run_of(batch), "specifications": _listed(batch)})
    else:
        _show_batch(batch, None if everything else SHOWN)
    return 0


def _listed(batch: Batch) -> list[dict[str, Any]]:
    """Return everything in a batch, as JSON."""
    running = [
        {"id": r.id, "status": "running", "specification": r.specification, "started": r.since} for r in batch.running
    ]
    failed = [
        {"id": digest(text), "status": "failed", "specification": parse(text), "failure": _failure(batch, digest(text))}
        for text in batch.failed
    ]
    done = [{"id": digest(text), "status": "done", "specification": parse(text)} for text in batch.completed]
    return [*running, *failed, *done, *(_call(batch, call.id, call.failed) for call in batch.calls)]


def _call(batch: Batch, id: str, failed: bool) -> dict[str, Any]:
    told = {"id": id, "status": "failed" if failed else "done", "specification": _read(batch, id, "specification.json")}
    return {**told, "failure": _failure(batch, id)} if failed else told


def _read(batch: Batch, id: str, file: str) -> dict[str, Any]:
    return dict(Metadata(f"{batch.storage.folder_of(id)}/{file}"))


def _failure(batch: Batch, id: str) -> dict[str, Any]:
    return {
        key: value for key, value in _read(batch, id, "failure.json").items() if key in {"type", "message", "traceback"}
    }


def _show_batch(batch: Batch, limit: int | None) -> None:
    _say(f"{batch.storage.name}", bold=True)
    counts = ", ".join(f"{'?' if count is None else count} {what}" for what, count in batch.counts.items())
    _say(f"{counts}; {batch.storage.folder}")
    if batch.record:
        _say(f"last run {_describe_run(batch.record)}")
    failed_calls = [call.id for call in batch.calls if call.failed]
    done_calls = [call.id for call in batch.calls if not call.failed]
    _show_some("running", [(r.id, r.label or json.dumps(r.specification), "") for r in batch.running], limit, fg="cyan")
    _show_some("failed", _Lazy(batch, [*batch.failed], failed_calls), limit, fg="red")
    _show_some("done", _Lazy(batch, [*batch.completed], done_calls, failures=False), limit, fg="green")


class _Lazy(Sequence[tuple[str, str, str]]):
    """The id, specification and failure of a list of specifications and calls, read when they are shown."""

    def __init__(self, batch: Batch, texts: Sequence[str], calls: Sequence[str], failures: bool = True) -> None:
        self._batch, self._failures = batch, failures
        self._items = [*((None, text) for text in texts), *((id, "") for id in calls)]

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        id, text = self._items[index]
        id = id or digest(text)
        failure = _failure(self._batch, id) if self._failures else {}
        why = f"{failure.get('type', '?')}: {failure.get('message', '')}" if self._failures else ""
        return id, text or json.dumps(_read(self._batch, id, "specification.json"), ensure_ascii=False), why


def _show_some(title: str, items: Sequence[tuple[str, str, str]], limit: int | None, **style: Any) -> None:
    if not items:
        return
    _say()
    _say(title, bold=True, **style)
    for id, text, why in items[:limit]:
        shown = id if "_" in id else id[:12]  # of a digest, what is unique among millions
        _say(f"  {shown}  {_cut(text, _width() - len(shown) - 4)}")
        if why:
            _say(f"  {'':{len(shown)}}  {_cut(why, _width() - len(shown) - 4)}", **style)
    if limit is not None and len(items) > limit:
        _say(f"  … and {len(items) - limit} more: --all shows them", dim=True)


def _describe_run(record: dict[str, Any]) -> str:
    git = (record.get("environment") or record).get("git") or {}
    commit = f", git {str(git.get('commit'))[:8]}{' (changed)' if git.get('dirty') else ''}" if git else ""
    command = record.get("command") or []
    by = f": {' '.join(map(str, command))}" if isinstance(command, list) and command else ""
    host = f" on {record['host']}" if "host" in record else ""
    return f"{_local(record.get('started', ''))}{host}{commit}{by}"


def _show_one(batch: Batch, id: str, as_json: bool) -> None:
    folder = batch.storage.folder_of(id)
    status = _status_of(batch, id)
    running = next((item for item in batch.running if item.id == id), None)
    told: dict[str, Any] = {"id": id, "status": status, "folder": folder}
    told["specification"] = running.specification if running else _read(batch, id, "specification.json")
    told["metadata"] = {"started": running.since} if running else _outcome(batch, id, status)
    told["files"] = {name: os.path.getsize(f"{folder}/{name}") for name in entries(folder)}
    if status == "failed":
        told["failure"] = _failure(batch, id)
    if as_json:
        _print_json(told)
        return
    import click

    click.echo(f"{click.style(id, bold=True)}  {click.style(status, fg=_COLOURS[status])}  {folder}")
    for title in ("specification", "metadata", "files"):
        _show_dict(title, told[title])
    if status == "failed":
        _show_text(
            "failure", told["failure"].get("traceback") or "{type}: {message}".format(**told["failure"]), fg="red"
        )
    if "log.txt" in told["files"]:
        with open(f"{folder}/log.txt", encoding="utf-8", errors="replace") as file:
            _show_text(f"log.txt, its last {_LOG_LINES} lines", "".join(file.readlines()[-_LOG_LINES:]))


_COLOURS = {"done": "green", "failed": "red", "running": "cyan"}


def _status_of(batch: Batch, id: str) -> str:
    if any(item.id == id for item in batch.running):
        return "running"
    failed = {*map(digest, batch.failed), *(call.id for call in batch.calls if call.failed)}
    return "failed" if id in failed else "done"


def _outcome(batch: Batch, id: str, status: str) -> dict[str, Any]:
    """Return a specification's metadata, without what fills pages."""
    found = _read(batch, id, "failure.json" if status == "failed" else "metadata.json")
    long = {"type", "message", "traceback", "environment", "code", "source"}
    return {key: value for key, value in found.items() if key not in long}


def _show_dict(title: str, content: dict[str, Any]) -> None:
    _say()
    _say(title, bold=True)
    width = max(map(len, content), default=0)
    for key, value in content.items():
        shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        _say(f"  {key:<{width}}  {shown}")


def _show_text(title: str, text: str, **style: Any) -> None:
    _say()
    _say(title, bold=True)
    for line in text.rstrip().splitlines():
        _say(f"  {line}", **style)


# dashboard


def _dashboard_command() -> click.Command:
    import click

    once = click.Option(["--once"], is_flag=True, help="Print it once, as it is now.")
    return _command(dashboard, [click.Argument(["name"], metavar="NAME"), once])


def dashboard(name: str, once: bool, folder: str | None) -> int:
    """Watch a batch, wherever it runs.

    It may run on any machine that shares the folder, may not have begun, and may have ended. Enter opens what the
    cursor is on, such as a failure with its traceback; Escape goes back; / searches; Tab goes to the other list. q or
    Ctrl-C ends watching, not the batch.
    """
    from smallab.dashboard import dashboard as watch

    try:
        watch(name, folder, once)
    except ValueError as error:
        raise _WrongError(str(error)) from error
    return 0


# export


def _export_command() -> click.Command:
    import click

    return _command(export, [click.Argument(["name"], metavar="NAME"), click.Argument(["file"], metavar="FILE")])


def export(name: str, file: str, folder: str | None) -> int:
    """Write a batch into a .csv, .json or .parquet file.

    One row (in .json, one object) for each specification, with its result; those that failed are there, too. An
    existing file is replaced. This is the one command that loads results: pickle runs code when it loads, so export
    only what you trust.
    """
    from smallab.export import export as write

    storage = _storage(name, folder)
    try:
        count = write(storage, file)
    except ValueError as error:
        raise _WrongError(str(error)) from error
    _say(f"{count} specifications of {name} written to {file}")
    return 0


# forget


def _forget_command() -> click.Command:
    import click

    conditions = "Those that have this value; several: all of them. model.depth=2 looks into nested dicts."
    return _command(
        _forget,
        [
            click.Argument(["name"], metavar="NAME"),
            click.Argument(["ids"], metavar="[ID]...", nargs=-1),
            click.Option(["--where", "conditions"], metavar="KEY=VALUE", multiple=True, help=conditions),
            click.Option(["--failed", "failed_only"], is_flag=True, help="Only those that failed."),
            click.Option(["--all", "everything"], is_flag=True, help="All of the batch; asks first, on a terminal."),
            click.Option(["--yes", "-y"], is_flag=True, help="Do not ask."),
        ],
    )


def _forget(
    name: str,
    ids: Sequence[str],
    conditions: Sequence[str],
    failed_only: bool,
    everything: bool,
    yes: bool,
    folder: str | None,
) -> int:
    """Have specifications run again.

    They are taken off the lists of what is done and what failed: by ID (its beginning is enough), by --where, --failed,
    or --all. Nothing is deleted; an old result stays in its folder until a new one replaces it.
    """
    if not (ids or conditions or failed_only or everything):
        raise _WrongError("which? Give ids, --where KEY=VALUE, --failed or --all")
    batch = inspect(_storage(name, folder))
    chosen = _chosen(batch, ids, conditions, failed_only)
    if not chosen:
        why = ""
        if conditions:
            keys = dict.fromkeys(key for text in (*batch.completed, *batch.failed) for key in parse(text))
            why = f": none has {' and '.join(conditions)}; there are {', '.join(keys)}"
        _say(f"{name}: nothing to forget{why}")
        return 0
    if everything and not yes and sys.stdin.isatty() and not _agreed(f"Run all {len(chosen)} of {name} again?"):
        _say("nothing was forgotten")
        return 0
    kept = forget(batch.storage, chosen)
    done = len([text for text in chosen if text in batch.completed and text not in set(kept)])
    _say(f"{name}: {done} done and {len(chosen) - len(kept) - done} failed forgotten; they run again the next time")
    if kept:
        _say(f"{len(kept)} not: a run that is going on has just ended them; stop it first", fg="yellow")
    return FAILED if kept else 0


def _chosen(batch: Batch, ids: Sequence[str], conditions: Sequence[str], failed_only: bool) -> list[str]:
    texts = [*([] if failed_only else batch.completed), *batch.failed]
    if ids:
        calls = {call.id for call in batch.calls}
        wanted = set(_found(batch, ids))
        if wanted & calls:
            raise _WrongError(
                f"{min(wanted & calls)} is a call of a function: nothing skips it; to forget it, delete its folder"
            )
        texts = [text for text in texts if digest(text) in wanted]
    try:
        return list(filter(where(conditions), texts))
    except ValueError as error:
        raise _WrongError(str(error)) from None


def _agreed(question: str) -> bool:
    import click

    return click.confirm(question)


# run


def _run_command() -> click.Command:
    import click

    rerun = click.Choice(get_args(Rerun))
    which = "pending: all that is not done; failed: only what failed; missing: also what is done but has no result; "
    return _command(
        run,
        [
            click.Argument(["experiment"], metavar="MODULE:EXPERIMENT"),
            click.Argument(["specifications"], metavar="SPECIFICATIONS.json"),
            click.Option(["--name"], metavar="NAME", help="The batch.  [default: the experiment's name]"),
            click.Option(
                ["--num-parallel", "-j"],
                type=int,
                metavar="N",
                help="How many at once; -1 is one a core.  [default: 1]",
            ),
            click.Option(
                ["--backend"], metavar="BACKEND", help="threading, loky (processes), dask, …  [default: threading]"
            ),
            click.Option(["--shard"], metavar="I/N", help="Only the Ith of N shares; I is 0 to N-1."),
            click.Option(
                ["--rerun"],
                type=rerun,
                default="pending",
                help=f"{which}changed: only what other code made; all: everything.  [default: pending]",
            ),
            click.Option(["--retries"], type=click.IntRange(0), default=0, metavar="N", help="Try again what fails."),
            click.Option(
                ["--timeout"], type=float, metavar="SECONDS", help="End what takes longer (not with threads)."
            ),
            click.Option(["--quiet", "-q"], is_flag=True, help="Show no progress."),
            _json_option(),
        ],
    )


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
    """Run what is not yet done of a batch.

    MODULE:EXPERIMENT is what a script would import: walks:Walk, or walks.py:Walk; a class that can be made without
    arguments, an object of one, or a function with @experiment. SPECIFICATIONS.json holds a dict whose lists are values
    to try, or a list of such dicts.

    In a job array of Slurm, each job takes its share: --shard $SLURM_ARRAY_TASK_ID/8, with --array=0-7.

    Exits with 1 if a specification failed.
    """
    from smallab.runner.runner import ExperimentRunner

    found, own_name = _experiment(experiment)
    items = _specifications(specifications, shard)
    try:
        result = ExperimentRunner(folder).run(
            name or own_name,
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
        raise _WrongError(str(error)) from error
    _tell(name or own_name, result, folder, as_json)
    return 0 if result else FAILED


def _tell(name: str, result: Any, folder: str | None, as_json: bool) -> None:
    where_ = os.path.join(root_folder(folder), name)
    if as_json:
        _print_json({"name": name, **result.counts, "folder": where_})
        return
    counts = ", ".join(f"{count} {status}" for status, count in result.counts.items())
    _say(f"{name}: {counts}; {where_}", fg=None if result else "red")
    if not result:
        _say(f"smallab show {name}{f' --folder {folder}' if folder else ''} says why", dim=True)


def _specifications(path: str, shard: str | None) -> list[dict[str, Any]]:
    from smallab.specification_generator import MultiComputerGenerator, SpecificationGenerator

    if shard is None:
        return SpecificationGenerator().from_json_file(path)
    number, slash, total = shard.partition("/")
    try:
        generator = MultiComputerGenerator(int(number), int(total))
    except ValueError as error:
        why = f": {error}" if slash and number.isdigit() and total.isdigit() else ""
        raise _WrongError(f"--shard {shard}: write I/N, I from 0 to N-1 (0/4, 1/4, 2/4, 3/4){why}") from None
    return generator.from_json_file(path)


def _experiment(place: str) -> tuple[Experiment, str]:
    """Return the experiment that MODULE:EXPERIMENT names, and a name for its batch."""
    path, colon, attribute = place.rpartition(":")
    if not colon or not attribute:
        raise _WrongError(
            f"{place!r} does not name an experiment: write MODULE:EXPERIMENT, as in walks:Walk or walks.py:Walk"
        )
    module = _imported(path)
    if not hasattr(module, attribute):
        raise _WrongError(f"{path} has no {attribute!r}; its experiments: {_experiments_in(module)}")
    found = getattr(module, attribute)
    if isinstance(found, type) and issubclass(found, Experiment):
        try:
            found = found()
        except TypeError as error:
            raise _WrongError(
                f"{attribute} cannot be made without arguments ({error}); name an object of it instead"
            ) from None
    if not isinstance(found, Experiment):
        raise _WrongError(
            f"{place} is a {type(found).__name__}, no experiment; its experiments: {_experiments_in(module)}"
        )
    return found, getattr(found, "name", attribute)


def _imported(path: str) -> Any:
    """Return a module, of its dotted name or of its file; its folder is where Python looks first then."""
    is_file = path.endswith(".py")
    if is_file and not os.path.isfile(path):
        raise _WrongError(f"there is no file {path}")
    folder, name = os.path.split(os.path.abspath(path.removesuffix(".py"))) if is_file else (os.getcwd(), path)
    sys.path.insert(0, folder)
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            raise _WrongError(
                f"there is no module {name!r}, in {folder} or installed; a file is written with .py"
            ) from None
        raise _broken(path, error) from error
    except Exception as error:  # whatever the user's own module raises
        raise _broken(path, error) from error
    if is_file and not os.path.samefile(getattr(module, "__file__", None) or sys.executable, path):
        raise _WrongError(f"{path} is hidden by another module of that name, {module!r}: rename it")
    return module


def _broken(path: str, error: Exception) -> _WrongError:
    """Say what a module raised when it was imported, from its own code on."""
    frames = error.__traceback__
    while frames and frames.tb_frame.f_globals.get("__name__", "").partition(".")[0] in {"smallab", "importlib"}:
        frames = frames.tb_next
    shown = "".join(traceback.format_exception(error.with_traceback(frames))).rstrip()
    return _WrongError(f"{path} cannot be imported:\n{shown}")


def _experiments_in(module: Any) -> str:
    found = {name: thing for name, thing in vars(module).items() if not name.startswith("_")}
    names = [
        name
        for name, thing in found.items()
        if isinstance(thing, Experiment)
        or (isinstance(thing, type) and issubclass(thing, Experiment) and thing is not Experiment)
    ]
    return ", ".join(names) or "none"
