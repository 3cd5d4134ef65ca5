"""Command lines, built with click (extra ``cli``)."""
