"""A batch's progress in a notebook: a bar that needs no widgets, and whose last state stays in the saved file."""

from __future__ import annotations

import html
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

from smallab.display.figures import Figures

SECONDS = 0.25


def in_notebook() -> bool:
    """Tell whether this process is a notebook's kernel."""
    python = sys.modules.get("IPython")
    shell = python.get_ipython() if python else None
    return getattr(shell, "kernel", None) is not None


@contextmanager
def notebook_bar(name: str, figures: Callable[[], Figures]) -> Iterator[Callable[[], None]]:
    """Show a bar below the cell; yield the function to call after each specification."""
    from IPython.display import display

    handle = display(_Shown(name, figures()), display_id=True)  # type: ignore[no-untyped-call]
    due = time.monotonic() + SECONDS

    def tick() -> None:  # in the thread that runs the cell: from another, the output may land elsewhere
        nonlocal due
        if time.monotonic() >= due:
            handle.update(_Shown(name, figures()))
            due = time.monotonic() + SECONDS

    try:
        yield tick
    finally:
        handle.update(_Shown(name, figures(), over=True))


class _Shown:
    """The figures as a notebook shows them: as HTML, or as text."""

    def __init__(self, name: str, figures: Figures, *, over: bool = False) -> None:
        now = None if over else datetime.now().astimezone()
        self._text = f"{name}: {figures.text(now)}"
        self._value = figures.skipped + figures.ended
        self._total = self._value if over and figures.total is None else figures.total

    def __repr__(self) -> str:
        return self._text

    def _repr_html_(self) -> str:
        attributes = ""  # without a value, it pulses
        if self._total is not None:
            attributes = f' value="{self._value}" max="{self._total}"'
        return f"<progress{attributes}></progress> {html.escape(self._text)}"
