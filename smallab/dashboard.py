"""Where `dashboard` is imported from: it is made in `smallab.command_line.dashboard`."""

from smallab.command_line.dashboard import dashboard

__all__ = ["dashboard"]
