"""``smallab status`` and ``smallab show``: what there is in batches, without opening a result."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import click

from smallab.command_line.options import BatchCommand, folder_option, ids_of, json_option, name_argument, open_batch
from smallab.command_line.program import FAILED
from smallab.command_line.terminal import Style, cut, print_dict, print_json, print_table, print_text, say
from smallab.display.figures import local_time
from smallab.display.log_file import end_of_log
from smallab.reading.batch import STATUSES, Batch, Item, ItemStatus
from smallab.storage.base import batch_names
from smallab.storage.paths import root_folder

_SHOWN = 20  # of each kind, unless --all
_LOG_LINES, _LOG_BYTES = 10, 1 << 16
_COLOURS: dict[ItemStatus, str] = {"completed": "green", "failed": "red", "running": "cyan"}
_COLUMNS: dict[str, Style] = {
    "batch": {"bold": True},
    "completed": {"fg": "green"},
    "failed": {"fg": "red"},
    "pending": {},
    "running": {"fg": "cyan"},
    "last run": {"dim": True},
}


@click.command(cls=BatchCommand)
@click.argument("names", metavar="[NAME]...", nargs=-1)
@json_option
@folder_option
def status(names: Sequence[str], as_json: bool, folder: str | None) -> int:
    """Count what is completed, failed, pending and running.

    Of all batches, or of those that are named. Each specification is counted once. PENDING is what the runs that are
    going on (else the newest run) have not started; "?" where they left no word of it.

    Exits with 1 if something failed in a batch that is named, else with 0.
    """
    batches = [Batch(open_batch(name, folder)) for name in names or batch_names(folder)]
    if as_json:
        print_json([_summary(batch) for batch in batches])
    elif batches:
        print_table(_COLUMNS, [_row(batch) for batch in batches])
    else:
        say(f"no batches in {root_folder(folder)}")
    has_failed = any(batch.counts["failed"] for batch in batches)
    return FAILED if names and has_failed else 0


def _summary(batch: Batch) -> dict[str, Any]:
    return {
        "name": batch.storage.name,
        **batch.counts,
        "folder": batch.storage.folder,
        "last_run": batch.view.record.get("started"),
    }


def _row(batch: Batch) -> list[str]:
    last_run = batch.view.record.get("started")
    return [batch.storage.name, *_counts(batch).values(), local_time(last_run)]


def _counts(batch: Batch) -> dict[str, str]:
    """Return how many have each status; a question mark where nobody knows."""
    return {status: "?" if count is None else str(count) for status, count in batch.counts.items()}


@click.command(cls=BatchCommand)
@name_argument
@click.argument("id", metavar="[ID]", required=False)
@click.option("--all", "everything", is_flag=True, help=f"List all, not only {_SHOWN} of each kind.")
@json_option
@folder_option
def show(name: str, id: str | None, everything: bool, as_json: bool, folder: str | None) -> int:
    """Show a batch, or one of its specifications.

    Without ID: the newest run, and a list of what is running, what failed and why, and what is completed, each with its
    id. With ID (its beginning is enough): the specification, when and where it ran, its files, traceback and log.
    Results are not loaded.
    """
    batch = Batch(open_batch(name, folder))
    if id is not None:
        (found,) = ids_of(batch, [id])
        _show_one(batch.item(found), as_json)
    elif as_json:
        items = [_as_json(item) for item in batch.items(*STATUSES)]
        print_json(_summary(batch) | {"specifications": items})
    else:
        _show_batch(batch, None if everything else _SHOWN)
    return 0


def _as_json(item: Item) -> dict[str, Any]:
    told: dict[str, Any] = {"id": item.id, "status": item.status, "specification": item.specification}
    if item.running:
        told["started"] = item.running.since
    if failure := item.failure:
        told["failure"] = asdict(failure)
    return told


# A batch.


def _show_batch(batch: Batch, limit: int | None) -> None:
    say(batch.storage.name, bold=True)
    counts = ", ".join(f"{count} {status}" for status, count in _counts(batch).items())
    say(f"{counts}; {batch.storage.folder}")
    if batch.view.record:
        say(f"last run {_described(batch.view.record)}")
    for status in STATUSES:
        count = batch.counts[status] or 0
        if count:
            say()
            say(status, bold=True, fg=_COLOURS[status])
            for item in itertools.islice(batch.items(status), limit):
                _show_item(item)
            if limit is not None and count > limit:
                say(f"  … and {count - limit} more: --all shows them", dim=True)


def _show_item(item: Item) -> None:
    shown = item.id if item.is_call else item.id[:12]  # of a digest, what is unique among millions
    room = len(shown) + 4
    say(f"  {shown}  {cut(item.label, room)}")
    if failure := item.failure:
        why = cut(str(failure), room)
        say(why.rjust(len(why) + room), fg=_COLOURS["failed"])


def _described(record: Mapping[str, Any]) -> str:
    """Return when a run began, where, at which commit, and by which command."""
    environment = record.get("environment") or record
    git = environment.get("git") if isinstance(environment, dict) else None
    command = record.get("command")
    text = local_time(record.get("started"))
    if "host" in record:
        text += f" on {record['host']}"
    if isinstance(git, dict):
        commit = str(git.get("commit"))
        text += f", git {commit[:8]}"
        text += " (changed)" if git.get("dirty") else ""
    if isinstance(command, list) and command:
        text += f": {' '.join(map(str, command))}"
    return text


# One specification.


def _show_one(item: Item, as_json: bool) -> None:
    parts: dict[str, dict[str, Any]] = {
        "specification": item.specification,
        "metadata": item.metadata,
        "files": _files_in(item.folder),
    }
    failure = item.failure
    if as_json:
        told: dict[str, Any] = {"id": item.id, "status": item.status, "folder": item.folder, **parts}
        if failure:
            told["failure"] = asdict(failure)
        print_json(told)
        return
    click.secho(item.id, bold=True, nl=False)
    click.secho(f"  {item.status}  ", fg=_COLOURS[item.status], nl=False)
    say(item.folder)
    for title, content in parts.items():
        print_dict(title, content)
    if failure:
        print_text("failure", failure.traceback or str(failure), fg=_COLOURS["failed"])
    log = end_of_log(item.folder, _LOG_BYTES)
    if log:
        lines = log.splitlines()[-_LOG_LINES:]
        print_text(f"log.txt, its last {_LOG_LINES} lines", "\n".join(lines))


def _files_in(folder: str) -> dict[str, int]:
    """Return the sizes of the files in a folder, by their names."""
    try:
        with os.scandir(folder) as entries:
            found = {entry.name: entry.stat(follow_symlinks=False).st_size for entry in entries}
    except FileNotFoundError:  # it has left no file
        return {}
    return dict(sorted(found.items()))
