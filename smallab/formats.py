"""How results are saved: what a format is, and how one of your own is made known."""

from smallab.storage.base import Format
from smallab.storage.formats import Json, Pickle, register_format

__all__ = ["Format", "Json", "Pickle", "register_format"]
