"""How a result becomes a file: pickle, JSON, or a class of one's own."""

from __future__ import annotations

import logging
import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from typing import Any

from smallab.plugins import plugins
from smallab.specification import python_number
from smallab.storage.base import Format
from smallab.storage.pickling import cloudpickle, dumps, load

_log = logging.getLogger("smallab")
_one_at_a_time = threading.Lock()  # the warnings' filters are the whole process's


@cache
def _by_value() -> None:
    """Have what a script defines saved whole in a process that multiprocessing spawned: __mp_main__ is the script."""
    import sys

    if "__mp_main__" in sys.modules:
        cloudpickle().register_pickle_by_value(sys.modules["__mp_main__"])


def _load_elsewhere(data: bytes) -> None:
    """Load a pickle as a process with another ``__main__`` would: dill saves some things by name that are only here."""
    import io
    import pickle

    class Elsewhere(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> Any:
            if module in ("__main__", "__mp_main__"):
                raise pickle.PicklingError(f"{name} of __main__ cannot be saved; define it in a module of its own")
            return super().find_class(module, name)

    Elsewhere(io.BytesIO(data)).load()


class Pickle:
    """Plain pickle where that is faithful; else cloudpickle or dill, which take lambdas and classes of __main__ along.

    cloudpickle comes first: dill saves an Enum of ``__main__`` by name only, with a warning, and nobody else can load
    it. What cloudpickle cannot do is tried with dill.
    """

    name = "pickle"
    suffix = "pkl"

    def dump(self, record: dict[str, Any]) -> bytes:
        """Pickle a record so that it loads again in another process."""
        import pickle

        with suppress(Exception):  # what plain pickle cannot do the others try, and the last one's error is told
            data = pickle.dumps(record, pickle.HIGHEST_PROTOCOL)
            if b"__main__" not in data and b"__mp_main__" not in data:
                return data
        with suppress(Exception):
            _by_value()
            return dumps(record)
        import dill

        with _one_at_a_time, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it cannot find something again: found out right here
            data = bytes(dill.dumps(record, pickle.HIGHEST_PROTOCOL, recurse=True))
        _load_elsewhere(data)
        return data

    def load(self, path: str) -> dict[str, Any]:
        """Load a record that `dump` made."""
        with open(path, "rb") as file:
            try:
                record: dict[str, Any] = load(file)
            except Exception:  # noqa: BLE001  # dill finds a few things that pickle does not; if it fails too, its error is told
                import dill

                file.seek(0)
                record = dill.load(file)  # noqa: S301  # the user's own results
        return record


class Json:
    """JSON, for results that any program can read: dicts with string keys, lists, text, numbers, True, False, None.

    Tuples come back as lists, numpy scalars as the numbers they hold. NaN and the infinities are written as Python's
    json module writes (and reads) them: a loss that diverged is a result, too. All else is refused.
    """

    name = "json"
    suffix = "json"

    def dump(self, record: dict[str, Any]) -> bytes:
        """Return a record as JSON; raise TypeError, naming the place, where that would not come back as it was."""
        import json

        plain = {key: _json(value, key) for key, value in record.items()}
        return json.dumps(plain, ensure_ascii=False).encode(errors="surrogatepass") + b"\n"

    def load(self, path: str) -> dict[str, Any]:
        """Load a record that `dump` made."""
        import json

        with open(path, encoding="utf-8", errors="surrogatepass") as file:
            record: dict[str, Any] = json.load(file)
        return record


_SCALARS = frozenset({str, int, float, bool, type(None)})


def _json(value: Any, where: str) -> Any:
    """Return a value as JSON holds it; raise TypeError at the first place where it cannot."""
    if type(value) in _SCALARS:
        return value
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f'{where}: the key {key!r} is no string, and JSON has no others; use format="pickle"')
        return {key: _json(item, f"{where}[{key!r}]") for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_json(item, f"{where}[{index}]") for index, item in enumerate(value)]
    number = python_number(value)
    if number is not value:
        return number
    if isinstance(value, str) and type(value).__module__ == "numpy":
        return str(value)
    raise TypeError(f'{where}: {type(value).__name__} is not JSON; return lists and dicts, or use format="pickle"')


PICKLE = Pickle()
_known: dict[str, Format] = {"pickle": PICKLE, "json": Json()}
_BUILT_IN = tuple(_known)
_SUFFIX = re.compile(r"(?!tmp$)\w+(\.\w+)*")


def register_format(format: Format) -> None:
    """Have ``format=`` and the readers of results know a format of your own.

    A package that brings one names it under the entry points ``smallab.formats``; nobody needs to call this then.

    Parameters
    ----------
    format
        An object with ``name``, ``suffix``, ``dump`` and ``load``, as `Format` describes them. One that is registered
        under a name again takes the older one's place.

    Raises
    ------
    TypeError
        It lacks one of these.
    ValueError
        It has the name or the suffix of another format.

    Examples
    --------
    >>> import ast, pathlib
    >>> class Text:
    ...     name = "text"
    ...     suffix = "txt"
    ...     def dump(self, record):
    ...         return repr(record).encode()
    ...     def load(self, path):
    ...         return ast.literal_eval(pathlib.Path(path).read_text(encoding="utf-8"))
    >>> register_format(Text())
    """
    _check(format)
    for other in _known.values():
        if other.suffix == format.suffix and other.name != format.name:
            raise ValueError(f"the format {format.name!r} writes .{format.suffix} files, and so does {other.name!r}")
    _known[format.name] = format


def _check(format: Any) -> None:
    if isinstance(format, type):
        raise TypeError(f"{format.__name__} is a class; a format is an object of it: {format.__name__}()")
    name, suffix = getattr(format, "name", None), getattr(format, "suffix", None)
    methods = (getattr(format, "dump", None), getattr(format, "load", None))
    if not (isinstance(name, str) and all(map(callable, methods))):
        raise TypeError(f"{format!r} is no format: it needs a name, a suffix, dump(record) and load(path)")
    if not (isinstance(suffix, str) and _SUFFIX.fullmatch(suffix)):
        raise ValueError(f'the suffix of {name!r} is {suffix!r}; it is written without the dot ("npz"), never "tmp"')
    if name in _BUILT_IN and type(format) is not type(_known[name]):
        raise ValueError(f"{type(format).__name__} calls itself {name!r}, as a format of smallab's does; rename it")


def format_named(format: str | Format) -> Format:
    """Return a format by its name; one that is passed itself is registered, so that its files can be read as well."""
    if not isinstance(format, str):
        if _known.get(getattr(format, "name", "")) is not format:
            register_format(format)
        return format
    for known in formats():
        if known.name == format:
            return known
    names = ", ".join(known.name for known in formats())
    raise ValueError(f"there is no format {format!r}; there are {names}. smallab.formats.register_format adds your own")


def by_name(format: Format) -> str | Format:
    """Return how a format travels to other processes: one of smallab's by its name, one of a user's as it is."""
    return format.name if format.name in _BUILT_IN else format


def formats() -> Iterator[Format]:
    """Yield the formats that are known here, then those that installed packages bring."""
    before = dict(_known)
    yield from before.values()
    _register_plugins()
    yield from [known for name, known in _known.items() if name not in before]


@cache
def _register_plugins() -> None:
    for format in plugins("smallab.formats"):
        try:
            if getattr(format, "name", None) in _BUILT_IN or format.name not in _known:  # what the user registered wins
                register_format(format)
        except (AttributeError, TypeError, ValueError):
            _log.exception("a format of an installed package cannot be used")
