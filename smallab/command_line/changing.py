"""``smallab forget``, ``smallab rebuild`` and ``smallab export``: what is done with a batch that has run."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from smallab.command_line.options import BatchCommand, WrongError, folder_option, ids_of, name_argument, open_batch
from smallab.command_line.program import FAILED
from smallab.command_line.terminal import say
from smallab.reading.batch import Batch, Item
from smallab.reading.conditions import where
from smallab.reading.exports import export as write
from smallab.specification import Texts
from smallab.storage.base import Storage

_CONDITIONS = "Those that have this value; several: all of them. model.depth=2 looks into nested dicts."


# export


@click.command(cls=BatchCommand)
@name_argument
@click.argument("file", metavar="FILE")
@folder_option
def export(name: str, file: str, folder: str | None) -> int:
    """Write a batch into a .csv, .json or .parquet file.

    One row (in .json, one object) for each specification, with its result; those that failed are there, too. An
    existing file is replaced. This is the one command that loads results: pickle runs code when it loads, so export
    only what you trust.
    """
    storage = open_batch(name, folder)
    try:
        count = write(storage.observations(), file)
    except ValueError as error:
        raise WrongError(str(error)) from error
    say(f"{count} specifications of {name} written to {file}")
    return 0


# forget


@click.command(cls=BatchCommand)
@name_argument
@click.argument("ids", metavar="[ID]...", nargs=-1)
@click.option("--where", "conditions", metavar="KEY=VALUE", multiple=True, help=_CONDITIONS)
@click.option("--failed", "only_failed", is_flag=True, help="Only those that failed.")
@click.option("--all", "everything", is_flag=True, help="All of the batch; asks first, on a terminal.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@folder_option
def forget(
    name: str,
    ids: Sequence[str],
    conditions: Sequence[str],
    only_failed: bool,
    everything: bool,
    yes: bool,
    folder: str | None,
) -> int:
    """Have specifications run again.

    They are taken off the lists of what is completed and what failed: by ID (its beginning is enough), by --where,
    --failed, or --all. Nothing is deleted; an old result stays in its folder until a new one replaces it.
    """
    if not (ids or conditions or only_failed or everything):
        raise WrongError("which? Give ids, --where KEY=VALUE, --failed or --all")
    batch = Batch(open_batch(name, folder))
    chosen = _chosen(batch, ids, conditions, only_failed)
    if not chosen:
        say(f"{name}: nothing to forget{_why_nothing(batch, conditions)}")
        return 0
    asks = everything and not yes and sys.stdin.isatty()
    if asks and not click.confirm(f"Run all {len(chosen)} of {name} again?"):
        say("nothing was forgotten")
        return 0
    kept = _forget(batch.storage, dict.fromkeys(item.text for item in chosen))
    forgotten = [item.status for item in chosen if item.text not in kept]
    counts = f"{forgotten.count('completed')} completed and {forgotten.count('failed')} failed"
    say(f"{name}: {counts} forgotten; they run again the next time")
    if kept:
        say(f"{len(kept)} not: a run that is going on has just ended them; stop it first", fg="yellow")
    return FAILED if kept else 0


def _chosen(batch: Batch, ids: Sequence[str], conditions: Sequence[str], only_failed: bool) -> list[Item]:
    wanted = set(ids_of(batch, ids))
    items = batch.items("failed") if only_failed else batch.items("completed", "failed")
    found = [item for item in items if item.id in wanted] if ids else [item for item in items if not item.is_call]
    for item in found:
        if item.is_call:
            raise WrongError(f"{item.id} is a call of a function: nothing skips it; to forget it, delete its folder")
    try:
        is_met = where(conditions)
    except ValueError as error:
        raise WrongError(str(error)) from error
    return [item for item in found if is_met(item.text)]


def _why_nothing(batch: Batch, conditions: Sequence[str]) -> str:
    if not conditions:
        return ""
    items = batch.items("completed", "failed")
    keys = dict.fromkeys(key for item in items if not item.is_call for key in item.specification)
    return f": none has {' and '.join(conditions)}; there are {', '.join(keys)}"


def _forget(storage: Storage, texts: Texts) -> Texts:
    """Have specifications count as never run; return those that a run that is going on has just ended."""
    try:
        storage.recover()
        storage.forget(texts)
        completed, failed = storage.known()
    except ValueError as error:  # a list that cannot be read: it says what mends it
        raise WrongError(str(error)) from error
    return {text: None for text in texts if text in completed or text in failed}


# rebuild


@click.command(cls=BatchCommand)
@name_argument
@folder_option
def rebuild(name: str, folder: str | None) -> int:
    """Make the lists of what is completed and what failed anew.

    For a batch whose completed.json cannot be read, or was lost: the folders tell what completed and what failed. What
    was forgotten, or taken out by hand, is on the lists again then. The old lists are put aside, not deleted. No result
    is loaded.
    """
    storage = open_batch(name, folder)
    kept = storage.rebuild()
    completed, failed = storage.known()
    say(f"{name}: {len(completed)} completed and {len(failed)} failed, as its folders tell")
    for path in kept:
        say(f"an old list is kept as {path}", dim=True)
    return 0
