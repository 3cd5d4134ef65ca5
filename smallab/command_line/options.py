"""What the commands of ``smallab`` have in common: options, errors, and how a batch is found."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

import click

from smallab.command_line.program import Command
from smallab.display.plain import plain_lines
from smallab.reading.batch import Batch
from smallab.specification import SpecificationError
from smallab.storage.base import batch_names
from smallab.storage.calls import Calls
from smallab.storage.paths import root_folder

WrongError = click.UsageError  # the command line asks for what cannot be had

name_argument = click.argument("name", metavar="NAME")
folder_option = click.option("--folder", metavar="FOLDER", help="Where the batches are, if not in $SMALLAB_ROOT.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")


class BatchCommand(Command):
    """A command that tells what users can mend as click tells what is wrong on a command line."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # `| head` has seen enough
            raise
        except (click.UsageError, SpecificationError, ImportError, OSError) as error:  # a bug is something else
            raise click.UsageError(plain_lines(str(error)), ctx) from error


def open_batch(name: str, folder: str | None) -> Calls:
    """Return the place of a batch, if there is such a batch."""
    root = root_folder(folder)
    names = batch_names(root)
    if name not in names:
        close = difflib.get_close_matches(name, names, 1)
        hint = f", did you mean {close[0]!r}?" if close else ""
        there = f"there are {', '.join(names)}" if names else "there are none"
        raise WrongError(f"there is no batch {name!r} in {root}{hint}; {there}")
    return Calls(root, name)


def ids_of(batch: Batch, prefixes: Iterable[str]) -> list[str]:
    """Return the ids in a batch that begin with the given prefixes, one each."""
    ids = list(batch.ids())
    found: list[str] = []
    for prefix in prefixes:
        matches = {id for id in ids if id.startswith(prefix)}
        if len(matches) != 1:
            which = f"{len(matches)} ids begin with" if matches else "no id begins with"
            name = batch.storage.name
            raise WrongError(f"{which} {prefix!r} in the batch {name!r}; smallab show {name}")
        found += matches
    return found
