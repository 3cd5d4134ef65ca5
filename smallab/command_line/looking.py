"""The thread that looks at a batch again and again, so that keys are answered while a slow share is not."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from smallab.reading.failures import FailureGroup
from smallab.reading.state import Details, View, Watch

REFRESH_SECONDS = 0.5
REFRESH_SHARE = 0.2  # of the time that looking may take: a slow share is left alone
READING_SECONDS = 0.1  # of each look, for the failures that have not been read yet


@dataclass(frozen=True)
class Seen:
    """What was seen of a batch at one moment.

    Attributes
    ----------
    view
        The batch.
    groups
        Its failures.
    opened
        The specification whose details were wanted.
    details
        What there is to read of it; None where it neither runs nor has failed.
    """

    view: View
    groups: Sequence[FailureGroup]
    opened: str | None
    details: Details | None


class Looker(threading.Thread):
    """Looks at a batch again and again; it is left behind where the share does not answer when somebody quits.

    Parameters
    ----------
    watch
        The batch.
    tell
        Is called in this thread with what was seen, or with why nothing was.
    """

    def __init__(self, watch: Watch, tell: Callable[[Seen | Exception], object]) -> None:
        super().__init__(name="smallab-dashboard", daemon=True)
        self.opened: str | None = None  # the specification whose details are wanted
        self._watch = watch
        self._tell = tell
        self._began: float | None = None
        self._at_once = threading.Event()
        self._stopped = False

    def run(self) -> None:
        """Look until somebody quits."""
        while not self._stopped:
            self._at_once.clear()
            self._began = began = time.monotonic()
            try:
                seen: Seen | Exception = self._look()
            except Exception as error:  # noqa: BLE001  # the application tells it, or ends with it
                seen = error
            took = time.monotonic() - began
            self._began = None
            if not self._stopped:
                self._tell(seen)
                self._at_once.wait(max(REFRESH_SECONDS, took / REFRESH_SHARE) - took)

    def _look(self) -> Seen:
        view, opened = self._watch.look(), self.opened
        groups = view.failures.groups(READING_SECONDS)
        return Seen(view, groups, opened, view.details(opened) if opened else None)

    def open(self, id: str | None) -> None:
        """Look at once, and tell the details of a specification from now on."""
        self.opened = id
        self._at_once.set()

    def stop(self) -> None:
        """Let the thread end."""
        self._stopped = True
        self._at_once.set()

    @property
    def silence(self) -> float:
        """For how many seconds this look has been waiting for an answer."""
        began = self._began
        return 0.0 if began is None else time.monotonic() - began
