"""The calls of an experiment that is a function: a folder each, in the tree of a batch of the function's name."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from smallab.observation import Metadata, Observation
from smallab.specification import SpecificationError, canonical
from smallab.storage.base import ARTEFACTS, Format
from smallab.storage.exceptions import failure_of
from smallab.storage.files import entries
from smallab.storage.folder import Folder
from smallab.storage.paths import check_name, is_call, new_id
from smallab.storage.results import read_metadata


class Call(Folder):
    """One call: a place where the specification that was called has an id of its own.

    It leaves no trace in the journal and in the lists: those tell what is still to do in a batch.
    """

    def __init__(self, root: str, name: str, format: str | Format, id: str) -> None:
        super().__init__(root, name, format)
        self.id = id

    def id_of(self, text: str) -> str:  # noqa: ARG002  # whatever was called
        """Return the call's id."""
        return self.id

    def tell(self, run_id: str, event: str, text: str, details: Mapping[str, Any]) -> None:
        """Journal nothing."""


class Calls(Folder):
    """All calls of a function, in this process and others, and what a batch of its name holds.

    Parameters
    ----------
    root, name, format
        As for `Folder`.
    """

    def __init__(self, root: str, name: str, format: str | Format = "pickle") -> None:
        super().__init__(root, name, format)
        self.run_id = new_id()  # of this process's calls: what they run in is recorded once
        self._known: dict[str, str] = {}  # by id: what is known of earlier calls

    def begin(self, record: Callable[[], Mapping[str, Any]]) -> Call:
        """Return the place for a new call; the first one of a process writes down what it runs in."""
        if not os.path.exists(self.paths.run_record(self.run_id)):  # or somebody has tidied up since
            os.makedirs(self.folder, exist_ok=True)
            self._write_record(self.run_id, record())
        return self.place(new_id())

    def place(self, id: str) -> Call:
        """Return the place of a call."""
        return Call(self.root, self.name, self.format, id)

    def ids(self) -> list[str]:
        """Return the ids of the calls, the oldest first; those that are still running, or were killed, among them."""
        return [name for name in entries(self.folder) if is_call(name)]

    def text(self, id: str) -> str | None:
        """Return a call's specification as canonical JSON; None where it has not ended."""
        path = self.paths.specification(id)
        try:
            with open(path, encoding="utf-8") as file:
                return canonical(json.load(file))
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise SpecificationError(f"{path} cannot be read: {error}") from None

    def read(self, id: str) -> Observation | None:
        """Return a call's observation; None where it has not ended."""
        try:
            text = self.text(id)
        except SpecificationError as error:  # damaged: it must not hide the others
            metadata = Metadata(partial(read_metadata, self.paths.metadata(id), self.paths))
            return Observation(id, {}, None, failure_of(error), metadata)
        files = entries(self.paths.of(id))
        if text is None or any(name.endswith(".tmp") for name in files):  # at work, or killed at it
            return None
        call = self.place(id)
        return call.load_failure(text) if self.has_failed(id) else call.load(text)

    def ended(self) -> dict[str, bool]:
        """Return the ids of the calls that have ended, the oldest first, each with whether it raised."""
        ids = [id for id in self.ids() if os.path.exists(self.paths.specification(id))]
        return {id: self.has_failed(id) for id in ids}

    def has_failed(self, id: str) -> bool:
        """Tell whether a call that has ended raised."""
        return os.path.exists(self.paths.failure(id))

    def artefacts(self, id: str) -> list[Path]:
        """Return the files that an observation wrote under ``current_dir()``, sorted; LookupError where it is none."""
        folder = Path(self.paths.of(check_name(id)))
        if not folder.is_dir():
            raise LookupError(f"{self.name} has no observation {id!r}: there is no folder {folder}")
        return sorted(path for path in (folder / ARTEFACTS).rglob("*") if path.is_file())

    def observations(self) -> Iterator[Observation]:
        """Yield what a batch of this name completed and what failed in it, then the calls, the oldest first."""
        completed, failed = self.known()
        yield from map(self.load, completed)
        yield from map(self.load_failure, failed)
        for id in self.ids():
            observation = self.read(id)
            if observation is not None:
                yield observation

    def earlier(self, text: str, code: str | None) -> Observation | None:
        """Return the newest observation of a specification, made by this code; None where that is unknown."""
        if code is None:
            return None
        for place in self._places_of(text):
            if place.has_result(text):
                observation = place.load(text)
                if not observation.failure and observation.metadata.get("code") == code:
                    return observation
        return None

    def _places_of(self, text: str) -> Iterator[Folder]:
        """Yield the places where a specification was run: its calls, the newest first, and the batch."""
        for id in self.ids():
            if id not in self._known:
                try:
                    found = self.text(id)
                except SpecificationError:  # damaged: it answers nothing
                    found = ""
                if found is not None:
                    self._known[id] = found
        for id in sorted(self._known, reverse=True):
            if self._known[id] == text:
                yield self.place(id)
        yield self
