"""The command line of an experiment or of a group: what ``square.cli()`` runs (extra ``cli``)."""

from __future__ import annotations

import copy
import functools
import os
import pprint
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Any, NoReturn

from smallab.functions.docstring import summary
from smallab.functions.experiment import FunctionExperiment
from smallab.functions.group import Group
from smallab.functions.kinds import plain
from smallab.functions.parameters import (
    DEBUG,
    RANDOM_SEED,
    SETTINGS,
    Factory,
    Parameter,
    ParameterError,
    Parameters,
    declared,
)
from smallab.functions.signature import only_parameters
from smallab.functions.values import from_text, separate
from smallab.running import current
from smallab.storage.exceptions import failure_of

try:
    import click
except ModuleNotFoundError as error:
    raise ImportError('command lines need click: pip install "smallab[cli]"') from error

FAILED, INTERRUPTED = 1, 130  # exit statuses; click's for a wrong command line is 2
CONTEXT: dict[str, Any] = {"help_option_names": ["-h", "--help"], "max_content_width": 100}

Experiment = FunctionExperiment[..., Any]
Rows = list[tuple[str, str]]

_STANDARD = Parameters([RANDOM_SEED, *SETTINGS.values()])  # what every experiment has
_PACKAGE = os.path.dirname(os.path.dirname(__file__)) + os.sep


def run(target: Experiment | Group, arguments: Sequence[str] | None = None) -> NoReturn:
    """Do what the command line says, and exit.

    Parameters
    ----------
    target
        An experiment or a group.
    arguments
        What stands on the command line; where None, ``sys.argv``.

    Raises
    ------
    SystemExit
        Always: 0 if the experiment ran, 1 if it failed, 2 if the command line is wrong, 130 after Ctrl-C.
    """
    finish(command_of(target), arguments, _program(), token_normalize_func=kebab)


def finish(command: click.Command, arguments: Sequence[str] | None, program: str | None, **settings: Any) -> NoReturn:
    """Run a command of click, whose callback returns the exit status, and exit with it."""
    colour = False if os.environ.get("NO_COLOR") else None  # https://no-color.org; None: as the terminal can
    context = {**CONTEXT, **settings, "color": colour}
    try:
        status = command.main(arguments, prog_name=program, standalone_mode=False, **context)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except BrokenPipeError:  # `| head` has seen enough
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())  # so that Python's last flush does not fail, too
        sys.exit(1)
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted.", err=True)
        sys.exit(INTERRUPTED)
    sys.exit(status)


def kebab(name: str) -> str:
    """Return a name as the command line spells it."""
    return name.replace("_", "-")


def _program() -> str | None:
    """Return how this script was called, for the usage line; None where click knows better."""
    name = os.path.basename(sys.argv[0])
    is_script = name.endswith(".py") and name != "__main__.py"
    return f"python {name}" if is_script else None


def command_of(target: Experiment | Group) -> click.Command:
    """Return the command of an experiment, or of a group with its members."""
    return _GroupCommand(target) if isinstance(target, Group) else _ExperimentCommand(target)


class Command(click.Command):
    """A command whose every error shows the usage."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the command line."""
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            error.ctx = error.ctx or ctx  # click's parser does not tell where an option lacks its value
            raise


class _ExperimentCommand(Command):
    """The command of an experiment: an option for each of its parameters, and for those that every experiment has."""

    def __init__(self, experiment: Experiment) -> None:
        self.own = experiment.parameters.values()
        self.standard = [item for item in _STANDARD.values() if item.name not in experiment.parameters]
        options = [_option(item) for item in (*self.own, *self.standard)]
        super().__init__(None, params=[*options], callback=_callback(experiment), **_texts(experiment))

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        shown = [item for item in self.own if item.required and not item.hidden]
        required = [_usage(item) for item in shown]
        return required + super().collect_usage_pieces(ctx)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        _write_section(formatter, "Parameters", _help_of(self.own, ctx))
        standard = _help_of(self.standard, ctx)
        standard.append(("-h, --help", "Show this and exit."))
        _write_section(formatter, "Every experiment has", standard)


class _GroupCommand(click.Group):
    """The command of a group: its members, and the parameters that they have in common."""

    def __init__(self, group: Group) -> None:
        members = {kebab(name): command_of(member) for name, member in group.members.items()}
        super().__init__(None, commands=members, subcommand_metavar="EXPERIMENT ...", **_texts(group))
        self.inherited = only_parameters(declared(group))

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click calls it so
        return list(self.commands)  # in the order of the source

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click calls it so
        return ["EXPERIMENT", "[OPTIONS]"]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        experiments: Rows = []
        groups: Rows = []
        for name, command in self.commands.items():
            rows = groups if isinstance(command, _GroupCommand) else experiments
            rows.append((name, command.short_help or ""))
        _write_section(formatter, "Experiments", experiments)
        _write_section(formatter, "Groups", groups)
        _write_section(formatter, "Parameters in common", _help_of(self.inherited.values(), ctx))
        first = next(iter(self.commands), "EXPERIMENT")
        formatter.write_paragraph()
        formatter.write_text(f"{ctx.command_path} {first} -h shows what an experiment takes.")


def _texts(target: Experiment | Group) -> dict[str, Any]:
    """Return what the docstring gives a command: its help, and one line for the help of its group."""
    text = summary(target.__doc__ or "")
    first_paragraph = text.partition("\n\n")[0]
    return {"help": text, "short_help": " ".join(first_paragraph.split())}


# Parameters as options.


def _option(item: Parameter) -> click.Option:
    """Return a parameter as an option: what was given arrives as text, and is judged by smallab.functions.values."""
    option = _spelling(item)
    attributes: dict[str, Any] = {"help": _help(item), "hidden": item.hidden}
    if item.is_flag:
        attributes.update(is_flag=True, default=None)
        if item is not DEBUG:
            option = f"{option}/--no-{kebab(item.name)}"
    else:
        attributes.update(type=click.UNPROCESSED, multiple=item.multiple, metavar=item.placeholder)
    return click.Option([item.name, option], **attributes)


def _spelling(item: Parameter) -> str:
    return f"--{kebab(item.name)}"


def _usage(item: Parameter) -> str:
    option = _spelling(item)
    return option if item.is_flag else f"{option} {item.placeholder}"


def _help(item: Parameter) -> str:
    notes = []
    if item.required:
        notes.append("required")
    if item.multiple:
        notes.append("repeat it for several")
    if item.envvar:
        notes.append(f"${item.envvar}")
    if default := _default(item):
        notes.append(f"default: {default}")
    shown = "; ".join(notes)
    return f"{item.help}  [{shown}]".strip() if shown else item.help


def _default(item: Parameter) -> str:
    """Return a default as the help shows it; nothing where there is nothing to show."""
    if isinstance(item.default, Factory):
        name = getattr(item.default.make, "__name__", "<lambda>")
        return "computed" if name == "<lambda>" else f"{name}()"
    if item.required or item.default is None:
        return ""
    value = plain(item.default)
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return str(value) or "''"


def _help_of(items: Iterable[Parameter], context: click.Context) -> Rows:
    """Return the two columns that the help has for parameters."""
    records = [_option(item).get_help_record(context) for item in items]
    return [record for record in records if record is not None]


def _write_section(formatter: click.HelpFormatter, title: str, rows: Rows) -> None:
    if rows:
        with formatter.section(click.style(title, bold=True)):
            formatter.write_dl(rows)


# Running one.


def _callback(experiment: Experiment) -> Callable[..., int]:
    """Return what click calls, with the options by name, which are asked of the context."""

    @click.pass_context
    def callback(context: click.Context, /, **_: object) -> int:
        try:
            return _run(experiment, context)
        except (ParameterError, ImportError) as error:
            raise click.UsageError(_spelled(error, experiment, context), context) from None

    return callback


def _run(experiment: Experiment, context: click.Context) -> int:
    """Run an experiment with what the command line says; say what came of it; return the exit status."""
    parameters = experiment.parameters
    values, settings = separate(parameters, _given(parameters, context))
    if "output_dir" in settings:
        values["output_dir"] = settings["output_dir"]
    watched, folders = _watched(experiment)
    try:
        result = watched.run(values)
    except (Exception, SystemExit) as error:  # it has been recorded; here it is told
        if isinstance(error, ParameterError) and not folders:  # else of another experiment, which this one calls
            raise
        _tell_failure(error, folders, settings.get("debug", False))
        return FAILED
    _show(result)
    _note(f"saved in {folders[0]}" if folders else "this is what an earlier call saved")
    return 0


def _given(parameters: Parameters, context: click.Context) -> dict[str, Any]:
    """Return what stands on the command line, as JSON."""
    given = {}
    for name, value in context.params.items():
        if context.get_parameter_source(name) is not click.core.ParameterSource.COMMANDLINE:
            continue
        item = parameters.get(name) or _STANDARD[name]
        if item.multiple:
            given[name] = from_text(item, list(value))
        elif item.is_flag:
            given[name] = value
        else:
            given[name] = from_text(item, value)
    return given


def _spelled(error: Exception, experiment: Experiment, context: click.Context) -> str:
    """Return what is wrong, in the command line's words."""
    if not isinstance(error, ParameterError):
        return str(error)
    if error.name in experiment.parameters or error.name in _STANDARD:
        return f"--{kebab(error.name)}: {error.problem}"
    return f"{error} (in {context.params.get('params_file')})"


def _watched(experiment: Experiment) -> tuple[Experiment, list[str]]:
    """Return an experiment that notes the folder of each call, and the list in which it does."""
    folders: list[str] = []
    function = experiment.__wrapped__

    @functools.wraps(function)
    def noting(*args: Any, **kwargs: Any) -> Any:
        folders.append(current().folder)
        return function(*args, **kwargs)

    watched = copy.copy(experiment)
    watched.__wrapped__ = noting
    return watched, folders


def _show(result: Any) -> None:
    """Print a result: a text as it is, nothing for None, anything else as Python writes it."""
    if isinstance(result, str):
        click.echo(result)
    elif result is not None:
        width = shutil.get_terminal_size().columns
        click.echo(pprint.pformat(result, width=width, sort_dicts=False))


def _tell_failure(error: BaseException, folders: Sequence[str], debug: bool) -> None:
    """Say why an experiment failed, on stderr; stop there in pdb, if that is wanted."""
    frames = _without_smallab(error.__traceback__)
    failure = failure_of(error.with_traceback(frames))
    text = failure.traceback.rstrip() if debug else str(failure)
    click.secho(text, fg="red", err=True)
    if not folders:
        _note("nothing was saved")
    elif debug:
        _note(f"saved in {folders[0]}")
    else:
        _note(f"saved in {folders[0]}; --debug shows where it happened, and stops there")
    if debug:
        import pdb  # noqa: T100  # what --debug is for

        pdb.post_mortem(frames)


def _without_smallab(frames: TracebackType | None) -> TracebackType | None:
    """Return a traceback without what smallab did before it called the function."""
    while frames is not None and frames.tb_next is not None:
        file = frames.tb_frame.f_code.co_filename
        if not file.startswith(_PACKAGE):
            break
        frames = frames.tb_next
    return frames


def _note(text: str) -> None:
    """Say on stderr what is good to know."""
    click.secho(text, dim=True, err=True)
