"""Texts that an experiment names, returns or raises, as nothing but text: what is shown cannot steer a terminal."""

from __future__ import annotations

import re

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")  # in the messages of some exceptions


def plain(text: str) -> str:
    r"""Return a text as one line: of what cannot be printed, white space becomes a space, the rest is spelled out.

    Examples
    --------
    >>> plain("a\nb \x1b[31mred\x1b[0m \x1b]0;title\x07 \udce9")
    'a b red \\x1b]0;title\\x07 \\udce9'
    """
    if text.isprintable():
        return text
    return "".join(map(_plain_character, _COLOURS.sub("", text)))


def _plain_character(character: str) -> str:
    if character.isprintable():
        return character
    return " " if character.isspace() else character.encode("unicode_escape").decode()


def plain_lines(text: str) -> str:
    r"""Return a text of several lines, each of them plain.

    Examples
    --------
    >>> plain_lines("one\r\n\ttwo\x07")
    'one\n    two\\x07'
    """
    return "\n".join(plain(line) for line in text.expandtabs(4).splitlines())
