"""Command lines: the command ``smallab``, the dashboard, and ``square.cli()``."""
