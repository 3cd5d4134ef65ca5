"""The command ``smallab``; ``python -m smallab`` is the same."""

import sys


def main() -> None:
    """Do what the command line says, and exit."""
    try:
        import click  # noqa: F401  # an extra: the commands are declared with it
    except ModuleNotFoundError:
        sys.exit('smallab: command lines need click: pip install "smallab[cli]"')
    from smallab.command_line.commands import main

    main()


if __name__ == "__main__":
    main()
