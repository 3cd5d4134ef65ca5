"""One batch's folder tree: what every file is called, and how it is written so that nobody ever reads half of it.

- A visible ``.pkl`` is whole, and so are the two JSON files beside it: it is written under another name, and renamed
  last. Whatever replaces a file does the same.
- What a worker does is appended to its process's own journal, so the hot path needs no lock. `smallab.journal` brings
  the lists up to date from it.
"""

from __future__ import annotations

import json
import logging
import os
import re
import time
from contextlib import suppress
from typing import Any, Literal

from smallab.files import HOST, append, entries, iso, mark, new_id, put, replace, write
from smallab.formats import PICKLE, Format, formats
from smallab.metadata import Metadata
from smallab.observation import Failure, Observation
from smallab.specification import Specification, SpecificationError, digest, encode, parse

Which = Literal["completed", "failed"]

_log = logging.getLogger("smallab")
_ILLEGAL = re.compile(
    r'[<>:"/\\|?*\x00-\x1f\ud800-\udfff]|^\s|[. ]$|^(con|prn|aux|nul|con(in|out)\$|com[0-9¹²³]|lpt[0-9¹²³]) *(\.|$)',
    re.IGNORECASE,
)


def check_name(name: str) -> str:
    """Return a batch's name if it is one path component on Linux, macOS and Windows; else raise ValueError."""
    if not isinstance(name, str):
        raise ValueError(f"a batch's name is a str, not {type(name).__name__} {name!r}")  # noqa: TRY004  # one error for all
    if not 0 < len(name.encode(errors="replace")) <= 200 or _ILLEGAL.search(name):
        raise ValueError(
            f"{name!r} cannot name a batch: it names a folder, on Windows too, so it must not be empty or "
            "longer than 200 bytes, be reserved (con, nul, …), begin with a space, end in a space or a dot, or hold "
            'any of < > : " / \\ | ? *'
        )
    return name


def root_folder(folder: str | os.PathLike[str] | None) -> str:
    """Return where the batches are, absolute: the argument, else SMALLAB_ROOT, else ``experiment_runs``."""
    return os.path.abspath(os.path.expanduser(folder or os.environ.get("SMALLAB_ROOT") or "experiment_runs"))


def _check_identity(saved: Specification, text: str) -> None:
    if encode(saved) != text:
        raise SpecificationError(f"it holds {saved}, but is in the folder of {parse(text)}")


class Storage:
    """One batch's folder tree.

    Parameters
    ----------
    root
        The folder that holds the batches, absolute.
    name
        The batch's name: one path component.
    run_id
        The run that writes here; a new one where none is given.
    format
        How results are written.
    """

    def __init__(self, root: str, name: str, run_id: str | None = None, format: Format = PICKLE) -> None:
        self.root, self.name, self.run_id, self.format = root, check_name(name), run_id or new_id(), format
        self.folder = os.path.join(root, name)
        self.journal = f"{self.folder}/journal"

    def folder_of(self, id: str) -> str:
        """Return a specification's folder."""
        return f"{self.folder}/{id}"

    def result(self, id: str) -> str:
        """Return the file that a specification's result is written to."""
        return f"{self.folder}/{id}/{id}.{self.format.suffix}"

    def found(self, id: str) -> tuple[str, Format] | None:
        """Return the file of a specification's result, in whichever known format, and the format; None: no file."""
        if os.access(path := self.result(id), os.F_OK):  # half the cost of os.path.exists
            return path, self.format
        files = {f"{self.folder}/{id}/{id}.{format.suffix}": format for format in formats()}
        return next((item for item in files.items() if os.path.exists(item[0])), None)

    def list_file(self, which: Which) -> str:
        """Return the file of a list of specifications."""
        return f"{self.folder}/{which}.json"

    def own(self, suffix: str) -> str:
        """Return this process's file in the journal's folder: jsonl, heartbeat or experiment."""
        return f"{self.journal}/{self.run_id}.{HOST}.{os.getpid()}.{suffix}"

    def tell(self, event: str, id: str, text: str, more: str = "") -> None:
        """Journal an event of a specification; text is its canonical JSON."""
        line = f'{{"event":"{event}","id":"{id}","time":"{iso(time.time())}",{more}"specification":{text}}}'
        append(self.own("jsonl"), line)

    def save(self, id: str, text: str, record: dict[str, Any], metadata: dict[str, Any]) -> None:
        """Save a result, whole or not at all; then journal it."""
        data = self.format.dump(record)
        folder = self.folder_of(id)
        attempt = self._attempt(folder)
        checks = {"size": len(data), "digest": digest(data)}
        aside = f"{folder}/{mark()}.tmp"
        write(aside, data)  # first what is most likely to fail: then an older result keeps its metadata
        try:
            put(f"{folder}/specification.json", f"{text}\n".encode())
            put(f"{folder}/metadata.json", json.dumps({**metadata, "attempt": attempt or 1, **checks}).encode())
            os.replace(aside, self.result(id))
        except BaseException:
            with suppress(FileNotFoundError):  # a Ctrl-C right after it was renamed
                os.unlink(aside)
            raise
        self.tell("completed", id, text, f'"size":{checks["size"]},"digest":"{checks["digest"]}",')
        if attempt:
            others = (f"{id}.{format.suffix}" for format in formats() if format.suffix != self.format.suffix)
            for entry in ("failure.json", *others):
                with suppress(OSError):  # it is not there; or somebody reads it, on Windows: the result is safe anyhow
                    os.unlink(f"{folder}/{entry}")
            self.remove_checkpoints(id)

    def remove_checkpoints(self, id: str) -> None:
        """Remove a completed specification's checkpoints."""
        folder = f"{self.folder_of(id)}/checkpoints"
        for entry in entries(folder):
            if entry.endswith(".checkpoint"):
                with suppress(OSError):
                    os.unlink(f"{folder}/{entry}")
        with suppress(OSError):  # not there; or another still writes there, or something in it is the user's own
            os.rmdir(folder)

    def save_failure(self, id: str, text: str, failure: Failure, metadata: dict[str, Any]) -> None:
        """Record that a specification's last attempt failed; an older result stays where it is."""
        folder = self.folder_of(id)
        details = {**failure._asdict(), **metadata, "attempt": self._attempt(folder) or 1}
        put(f"{folder}/specification.json", f"{text}\n".encode())
        replace(f"{folder}/failure.json", json.dumps(details).encode())
        self.tell("failed", id, text)

    def _attempt(self, folder: str) -> int:
        """Make a specification's folder and return 0; where it is there, which attempt in a row this is."""
        try:
            os.mkdir(folder)
        except FileExistsError:
            # There may be no failure before this one, or no whole file of it.
            broken = (OSError, ArithmeticError, ValueError, LookupError, TypeError, RecursionError)
            with suppress(*broken), open(f"{folder}/failure.json", "rb") as file:
                return int(json.load(file)["attempt"]) + 1
            return 1
        return 0

    def load(self, text: str, id: str | None = None) -> Observation:
        """Return what is saved of a specification; what cannot be read comes as a failure that names the file."""
        id = id or digest(text)
        metadata = Metadata(f"{self.folder_of(id)}/metadata.json")
        path = self.result(id)
        try:
            try:
                record = self.format.load(path)
            except FileNotFoundError:  # looked for only now: most batches have one format
                path, format = self.found(id) or (path, self.format)
                record = format.load(path)
            _check_identity(record["specification"], text)
            return Observation(id, record["specification"], record["result"], None, metadata)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001  # whatever unpickling raises: it must not hide the others
            failure = Failure.of(error)
            failure = failure._replace(message=f"{path} cannot be read: {failure.message}")
            return Observation(id, parse(text), None, failure, metadata)

    def load_failure(self, text: str, id: str | None = None) -> Observation:
        """Return why a specification failed."""
        id = id or digest(text)
        details = Metadata(f"{self.folder_of(id)}/failure.json")
        unknown = {"type": "unknown", "message": f"{details.path} cannot be read", "traceback": ""}
        failure = Failure(**{key: str(details.pop(key, value)) for key, value in unknown.items()})
        return Observation(id, parse(text), None, failure, details)

    def write_run(self, record: dict[str, Any]) -> None:
        """Write this run's record under runs/."""
        with suppress(FileExistsError):
            os.mkdir(f"{self.folder}/runs")
        replace(f"{self.folder}/runs/{self.run_id}.json", json.dumps(record, indent=2).encode())

    def whole(self, id: str, expected: str | None = None) -> bool:
        """Tell whether a result has the digest that is expected, or that its metadata holds."""
        import hashlib

        try:
            path, _ = self.found(id) or (self.result(id), None)
            with open(path, "rb") as file:
                found = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
        except OSError:
            return False
        return found == expected or found == Metadata(f"{self.folder_of(id)}/metadata.json").get("digest")
