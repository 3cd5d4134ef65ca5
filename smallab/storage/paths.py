"""What every file of a batch's folder tree is called: names are made here, taken apart here, and nowhere else."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, Self

Which = Literal["completed", "failed"]

CHECKPOINTS = "checkpoints"  # the folder of them, in a specification's own

_ILLEGAL = re.compile(
    r'[<>:"/\\|?*\x00-\x1f\ud800-\udfff]|^\s|[. ]$|^(con|prn|aux|nul|con(in|out)\$|com[0-9¹²³]|lpt[0-9¹²³]) *(\.|$)',
    re.IGNORECASE,
)
_ID = re.compile(r"[0-9a-f]{32}")
_CALL = re.compile(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d_\d{6}_[0-9a-f]{6}")  # what `new_id` makes
_OF_A_RUN = re.compile(  # the last kind is version 3.0's
    r"(?P<run_id>[^.]+)\.(?P<host>[^.]+)\.(?P<pid>\d+)\.(jsonl|heartbeat|experiment)"
)
_OF_A_PROCESS = re.compile(r"(?P<host>[^.]+)\.(?P<pid>\d+)\.[0-9a-f]+(-[a-z]+)?(\.tmp)?")  # what `new_name` makes
_token = os.urandom(4).hex()
_numbers = itertools.count()


def is_name(name: str) -> bool:
    """Tell whether a batch may be called so: it is one path component on Linux, macOS and Windows."""
    return 0 < len(name.encode(errors="replace")) <= 200 and not _ILLEGAL.search(name)


def check_name(name: str) -> str:
    """Return a batch's name if it may be called so; else raise ValueError."""
    if not isinstance(name, str):
        raise ValueError(f"a batch's name is a str, not {type(name).__name__} {name!r}")  # noqa: TRY004  # one error for all
    if not is_name(name):
        raise ValueError(
            f"{name!r} cannot name a batch: it names a folder, on Windows too, so it must not be empty or "
            "longer than 200 bytes, be reserved (con, nul, …), begin with a space, end in a space or a dot, or hold "
            'any of < > : " / \\ | ? *'
        )
    return name


def root_folder(folder: str | os.PathLike[str] | None) -> str:
    """Return where the batches are, absolute: the argument, else SMALLAB_ROOT, else ``experiment_runs``."""
    return os.path.abspath(os.path.expanduser(folder or os.environ.get("SMALLAB_ROOT") or "experiment_runs"))


def new_id() -> str:
    """Return a name that sorts by time, is unique across processes and machines, and is legal on Windows."""
    return f"{datetime.now(UTC):%Y-%m-%d_%H-%M-%S_%f}_{os.urandom(3).hex()}"


def is_id(name: str) -> bool:
    """Tell whether a name is a specification's hash, which may be a part of a path."""
    return _ID.fullmatch(name) is not None


def is_call(name: str) -> bool:
    """Tell whether a name is that of a function's call."""
    return _CALL.fullmatch(name) is not None


@dataclass(frozen=True)
class Owner:
    """A process that writes, as the names of its files tell.

    Attributes
    ----------
    host, pid
        Which process of which machine.
    run_id
        For which run; empty where the file's name does not tell.
    """

    host: str
    pid: int
    run_id: str = ""

    @classmethod
    def of(cls, entry: str) -> Self | None:
        """Return whose file it is by its name; None where it is not one of ours."""
        found = _OF_A_RUN.fullmatch(entry) or _OF_A_PROCESS.fullmatch(entry)
        if found is None:
            return None
        named = found.groupdict()
        return cls(named["host"], int(named["pid"]), named.get("run_id", ""))

    def new_name(self) -> str:
        """Return a name that no other file has, and that tells who writes it."""
        return f"{self.host}.{self.pid}.{_token}{next(_numbers)}"


class Paths:
    """The files of one batch.

    Parameters
    ----------
    folder
        The batch's folder, absolute.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.journal = f"{folder}/journal"
        self.lock = f"{self.journal}/lock"
        self.counted = f"{self.journal}/counted.json"
        self.runs = f"{folder}/runs"

    def list_file(self, which: Which) -> str:
        """Return the file of a list of specifications."""
        return f"{self.folder}/{which}.json"

    def run_record(self, run_id: str) -> str:
        """Return the file of what a run wrote down about itself."""
        return f"{self.runs}/{run_id}.json"

    def events(self, owner: Owner) -> str:
        """Return the journal of a process."""
        return f"{self.journal}/{owner.run_id}.{owner.host}.{owner.pid}.jsonl"

    def heartbeat(self, owner: Owner) -> str:
        """Return the file that a run's runner touches."""
        return f"{self.journal}/{owner.run_id}.{owner.host}.{owner.pid}.heartbeat"

    def of(self, id: str) -> str:
        """Return a specification's folder."""
        return f"{self.folder}/{id}"

    def specification(self, id: str) -> str:
        """Return the file that holds a specification, and nothing else."""
        return f"{self.folder}/{id}/specification.json"

    def metadata(self, id: str) -> str:
        """Return the file of what is recorded about a result."""
        return f"{self.folder}/{id}/metadata.json"

    def failure(self, id: str) -> str:
        """Return the file that tells why the last attempt failed."""
        return f"{self.folder}/{id}/failure.json"

    def checkpoints(self, id: str) -> str:
        """Return the folder of a specification's checkpoints."""
        return f"{self.folder}/{id}/{CHECKPOINTS}"

    def result(self, id: str, suffix: str) -> str:
        """Return the file of a result in a format."""
        return f"{self.folder}/{id}/{id}.{suffix}"


def run_ids(entries: Iterable[str]) -> list[str]:
    """Return the runs whose records are among a folder's entries."""
    return [entry.removesuffix(".json") for entry in entries if entry.endswith(".json")]
