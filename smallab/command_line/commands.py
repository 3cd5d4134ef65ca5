"""The command ``smallab``: what batches have done, and running one from the shell (extra ``cli``)."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from typing import NoReturn

import click

from smallab import __version__
from smallab.command_line.changing import export, forget, rebuild
from smallab.command_line.options import BatchCommand, WrongError, folder_option, name_argument
from smallab.command_line.program import finish
from smallab.command_line.running import run
from smallab.command_line.showing import show, status
from smallab.plugins import opened


@click.command(cls=BatchCommand)
@name_argument
@click.option("--once", is_flag=True, help="Print it once, as it is now.")
@folder_option
def dashboard(name: str, once: bool, folder: str | None) -> int:
    """Watch a batch, wherever it runs.

    It may run on any machine that shares the folder, may not have begun, and may have ended. q or Ctrl-C ends watching,
    not the batch.
    """
    try:
        opened("command_line.dashboard").dashboard(name, folder, once)  # of all commands, it alone needs its extra
    except ValueError as error:
        raise WrongError(str(error)) from error
    return 0


class _InOrder(click.Group):
    """A group that lists its commands in the order in which they were added."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click calls it so
        """Return the commands' names."""
        return list(self.commands)


@click.group(cls=_InOrder, commands=[run, status, dashboard, show, export, forget, rebuild])
@click.version_option(__version__)
def commands() -> None:
    """Tell what batches of experiments have done, and run them.

    A batch is a folder in experiment_runs, or wherever $SMALLAB_ROOT or --folder says.

    \b
      smallab run walks.py:Walk grid.json     run a batch, named Walk
      smallab status                          how far all batches are
      smallab show Walk                       what failed in one, and why
      smallab export Walk walk.csv            its results as a table
      smallab forget Walk --where seed=1      have some of it run again
    """  # noqa: D301  # click's own mark: lines are not filled


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
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that lacks a character is no reason to fail
    finish(commands, arguments, "smallab")
