"""How results are saved: what a format is, and how one of your own is made known."""

from smallab.storage.base import Format
from smallab.storage.formats import PICKLE, Json, Pickle, format_named, formats, register_format

__all__ = ["PICKLE", "Format", "Json", "Pickle", "format_named", "formats", "register_format"]
