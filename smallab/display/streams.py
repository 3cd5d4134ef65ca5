"""The terminal's streams, and others in their place for a while: in ``sys``, and in the log handlers that hold them."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from io import TextIOBase
from typing import IO, Any


def is_terminal(stream: IO[str] | None) -> bool:
    """Tell whether a stream writes to a terminal."""
    try:
        return stream is not None and stream.isatty()
    except (AttributeError, ValueError):  # something that is not quite a stream; or it is closed
        return False


def terminal_streams() -> list[IO[str]]:
    """Return stderr, and stdout if it goes to the terminal, too: not to a file, nor to an object of the user's."""
    streams: list[IO[str]] = [sys.stderr]
    nobody_elses = sys.stdout is sys.__stdout__
    if nobody_elses and is_terminal(sys.stdout):
        streams.append(sys.stdout)
    return streams


class Lent:
    """Streams that stand in for others, wherever this process holds those; `give_back` puts the others back.

    Parameters
    ----------
    stand_ins
        Each stream, and the one that takes its place.
    """

    def __init__(self, stand_ins: list[tuple[IO[str], TextIOBase]]) -> None:
        self._held: list[tuple[Any, str, IO[str], TextIOBase]] = []
        for holder, attribute in _holders():
            for stream, stand_in in stand_ins:
                if getattr(holder, attribute) is stream:
                    self._held.append((holder, attribute, stream, stand_in))
                    setattr(holder, attribute, stand_in)

    def give_back(self) -> None:
        """Put the streams back; what somebody has put in their place meanwhile stays."""
        for holder, attribute, stream, stand_in in self._held:
            if getattr(holder, attribute) is stand_in:
                setattr(holder, attribute, stream)


def _holders() -> Iterator[tuple[Any, str]]:
    """Return the attributes that may hold a stream of the terminal's."""
    yield sys, "stdout"
    yield sys, "stderr"
    for logger in [logging.root, *logging.root.manager.loggerDict.values()]:
        for handler in getattr(logger, "handlers", []):  # the place holder of a logger that is not there yet has none
            if isinstance(handler, logging.StreamHandler):
                yield handler, "stream"
