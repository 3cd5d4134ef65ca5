"""The command line of an experiment or of a group: what ``square.cli()`` runs (extra ``cli``)."""

from __future__ import annotations

import copy
import functools
import os
import pprint
import shutil
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from smallab import parameters
from smallab.observation import Failure
from smallab.parameters import MISSING, RANDOM_SEED, SETTINGS, Parameter, ParameterError
from smallab.running import current

try:
    import click
except ModuleNotFoundError as error:
    raise ImportError('command lines need click: pip install "smallab[cli]"') from error

if TYPE_CHECKING:
    from smallab.experiment import FunctionExperiment
    from smallab.group import Group

FAILED, INTERRUPTED = 1, 130  # exit statuses; click's for a wrong command line is 2
CONTEXT: dict[str, Any] = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


def run(target: FunctionExperiment[..., Any] | Group, arguments: Sequence[str] | None = None) -> NoReturn:
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
    try:
        status = command.main(
            arguments, prog_name=program, standalone_mode=False, color=_colour(), **CONTEXT, **settings
        )
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except BrokenPipeError:  # `| head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # so that Python's last flush does not fail, too
        sys.exit(1)
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted.", err=True)
        sys.exit(INTERRUPTED)
    sys.exit(status)


def _colour() -> bool | None:
    """Return False where the user wants no colours (NO_COLOR, https://no-color.org); else the terminal decides."""
    return False if os.environ.get("NO_COLOR") else None


def kebab(name: str) -> str:
    """Return a name as the command line spells it."""
    return name.replace("_", "-")


def _program() -> str | None:
    """Return how this script was called, for the usage line; None where click knows better."""
    name = os.path.basename(sys.argv[0])
    return f"python {name}" if name.endswith(".py") and name != "__main__.py" else None


def command_of(target: Any, name: str | None = None) -> click.Command:
    """Return the command of an experiment, or of a group with its members."""
    help_text = parameters.summary(target.__doc__ or "")
    short = " ".join(help_text.partition("\n\n")[0].split())
    if hasattr(target, "members"):
        members = {kebab(key): command_of(member, kebab(key)) for key, member in target.members.items()}
        return _Several(name, members, parameters.only_parameters(parameters.declared(target)), help_text, short)
    return _One(name, target, help_text, short)


# One experiment.


class Command(click.Command):
    """A command whose every error shows the usage."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the command line."""
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            error.ctx = error.ctx or ctx  # click's parser does not tell where an option lacks its value
            raise


class _One(Command):
    """The command of an experiment: an option for each of its parameters, and for those that every experiment has."""

    def __init__(self, name: str | None, experiment: Any, help_text: str, short: str) -> None:
        found = parameters.parameters_of(experiment)
        self.own = {key: item for key, item in found.items() if not key.startswith("**")}
        standard = {RANDOM_SEED.name: RANDOM_SEED, **SETTINGS}
        self.standard = {key: item for key, item in standard.items() if key not in self.own}
        super().__init__(
            name,
            params=[_option(item) for item in (*self.own.values(), *self.standard.values())],
            callback=click.pass_context(functools.partial(_run_one, experiment, found)),
            help=help_text,
            short_help=short,
        )

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        required = [_left(item) for item in self.own.values() if item.required and not item.hidden]
        return [*required, *super().collect_usage_pieces(ctx)]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002  # click calls it so
        _write_section(formatter, "Parameters", map(_described, self.own.values()))
        last = [("-h, --help", "Show this and exit.")]
        _write_section(formatter, "Every experiment has", [*map(_described, self.standard.values()), *last])


def _write_section(formatter: click.HelpFormatter, title: str, rows: Any) -> None:
    rows = [row for row in rows if row]
    if rows:
        with formatter.section(click.style(title, bold=True)):
            formatter.write_dl(rows)


def _option(item: Parameter) -> click.Option:
    """Return a parameter as an option: what was given arrives as text, and is judged by smallab.parameters."""
    spelled = kebab(item.name)
    if item.is_flag:
        no = () if item.name == "debug" else (f"--no-{spelled}",)
        return click.Option([item.name, "/".join((f"--{spelled}", *no))], is_flag=True, default=None)
    several = item.multiple
    return click.Option([item.name, f"--{spelled}"], type=click.UNPROCESSED, multiple=several, metavar=_metavar(item))


def _left(item: Parameter) -> str:
    return f"--{kebab(item.name)} {_metavar(item)}" if not item.is_flag else f"--{kebab(item.name)}"


def _metavar(item: Parameter) -> str:
    """Return what stands for a value in the help: NUMBER, PATH, [sgd|adam]."""
    kind = parameters.text_type(item)
    if item.allowed_values is not None:
        return f"[{'|'.join(str(parameters.plain(value)) for value in item.allowed_values)}]"
    return parameters.placeholder(kind)


def _described(item: Parameter) -> tuple[str, str] | None:
    """Return the two columns that the help has for a parameter."""
    if item.hidden:
        return None
    left = _left(item)
    if item.is_flag and item.name != "debug":
        left += f" / --no-{kebab(item.name)}"
    notes = [
        "required" if item.required else "",
        "repeat it for several" if item.multiple else "",
        f"${item.envvar}" if item.envvar else "",
        f"default: {text}" if (text := _default(item)) else "",
    ]
    shown = "; ".join(filter(None, notes))
    return left, "  ".join(filter(None, [item.help, f"[{shown}]" if shown else ""]))


def _default(item: Parameter) -> str:
    if item.default_factory is not None:
        name = getattr(item.default_factory, "__name__", "<lambda>")
        return "computed" if name == "<lambda>" else f"{name}()"
    if item.default is MISSING or item.default is None or item is SETTINGS["debug"]:
        return ""
    value = parameters.plain(item.default)
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return str(value) or "''"


def _run_one(experiment: Any, found: Mapping[str, Parameter], context: click.Context, **_: object) -> int:
    """Run an experiment with what the command line says; say what came of it; return the exit status."""
    try:
        values, settings = parameters.separate(found, _given(found, context))
    except (ParameterError, ImportError) as error:
        raise click.UsageError(_spelled(error, found, context), context) from None
    debug, output_dir = settings.get("debug", False), settings.get("output_dir")
    watched, places = _watched(experiment)
    try:
        _show(watched.run({**values, "output_dir": output_dir} if output_dir else values))
    except (Exception, SystemExit) as error:  # noqa: BLE001  # it has been recorded; here it is told
        if isinstance(error, ParameterError) and not places:  # else of another experiment, which this one calls
            raise click.UsageError(_spelled(error, found, context), context) from None
        return _failed(error, places, debug)
    click.secho(f"saved in {places[0]}" if places else "this is what an earlier call saved", dim=True, err=True)
    return 0


def _watched(experiment: Any) -> tuple[Any, list[str]]:
    """Return an experiment that notes the folder of each call, and the list in which it does."""
    places: list[str] = []
    function = experiment.__wrapped__

    @functools.wraps(function)
    def noting(*args: Any, **kwargs: Any) -> Any:
        places.append(current().folder)
        return function(*args, **kwargs)

    watched = copy.copy(experiment)
    watched.__wrapped__ = noting
    return watched, places


def _failed(error: BaseException, places: Sequence[str], debug: bool) -> int:
    """Say why an experiment failed, on stderr; stop there in pdb, if that is wanted."""
    frames = error.__traceback__
    while (
        frames and frames.tb_next and os.path.dirname(frames.tb_frame.f_code.co_filename) == os.path.dirname(__file__)
    ):
        frames = frames.tb_next  # what smallab did before is of no interest
    failure = Failure.of(error.with_traceback(frames))
    click.secho(failure.traceback.rstrip() if debug else str(failure), fg="red", err=True)
    hint = "" if debug else "; --debug shows where it happened, and stops there"
    click.secho(f"saved in {places[0]}{hint}" if places else "nothing was saved", dim=True, err=True)
    if debug:
        import pdb  # noqa: T100  # what --debug is for

        pdb.post_mortem(frames)
    return FAILED


def _spelled(error: Exception, found: Mapping[str, Parameter], context: click.Context) -> str:
    """Return what is wrong, in the command line's words."""
    if not isinstance(error, ParameterError):
        return str(error)
    if error.name in {*found, *SETTINGS, RANDOM_SEED.name}:
        return f"--{kebab(error.name)}: {error.problem}"
    return f"{error} (in {context.params.get('params_file')})"


def _given(found: Mapping[str, Parameter], context: click.Context) -> dict[str, Any]:
    """Return what stands on the command line, as JSON."""
    given = {}
    for name, value in context.params.items():
        if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE:
            item = found.get(name) or SETTINGS.get(name) or RANDOM_SEED
            given[name] = value if item.is_flag else parameters.from_text(item, list(value) if item.multiple else value)
    return given


def _show(result: Any) -> None:
    """Print a result: a text as it is, nothing for None, anything else as Python writes it."""
    if result is not None:
        width = shutil.get_terminal_size().columns
        click.echo(result if isinstance(result, str) else pprint.pformat(result, width=width, sort_dicts=False))


# A group.


class _Several(click.Group):
    """The command of a group: its members, and the parameters that they have in common."""

    def __init__(
        self,
        name: str | None,
        members: dict[str, click.Command],
        inherited: Mapping[str, Parameter],
        help_text: str,
        short: str,
    ) -> None:
        super().__init__(name, commands=members, help=help_text, short_help=short, subcommand_metavar="EXPERIMENT ...")
        self.inherited = inherited

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click calls it so
        return list(self.commands)  # in the order of the source

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click calls it so
        return ["EXPERIMENT", "[OPTIONS]"]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        width = formatter.width - 6 - max(map(len, self.commands), default=0)
        for title, kind in (("Experiments", _One), ("Groups", _Several)):
            rows = [(n, c.get_short_help_str(width)) for n, c in self.commands.items() if isinstance(c, kind)]
            _write_section(formatter, title, rows)
        _write_section(formatter, "Parameters in common", map(_described, self.inherited.values()))
        example = f"{ctx.command_path} {next(iter(self.commands), 'EXPERIMENT')} -h"
        formatter.write_paragraph()
        formatter.write_text(f"{example} shows what an experiment takes.")

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        self.format_commands(ctx, formatter)
