"""The observations of an experiment that is called as a function: where they are, and how they are read."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator

from smallab.experiment_types.experiment import Experiment
from smallab.files import entries
from smallab.journal import Journal
from smallab.metadata import Metadata
from smallab.observation import Failure, Observation
from smallab.specification import SpecificationError, canonical, digest
from smallab.storage import Storage

_ID = re.compile(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d_\d{6}_[0-9a-f]{6}")  # what storage.new_id makes


class Observations(list[Observation]):
    """A list of observations; in a notebook, a table."""

    def _repr_html_(self) -> str:
        from smallab.notebook import table

        return table(self)


class Calls(Storage):
    """The folder tree of an experiment that is called: that of a batch, but every call has a folder of its own.

    A folder's name begins with the time of its call. Calls leave no trace in the journal and in the lists: those tell
    what is still to do in a batch.
    """

    _texts: dict[str, str]  # by id: what is known of earlier calls

    def tell(self, event: str, id: str, text: str, more: str = "") -> None:
        """Journal nothing."""

    def prepare(self, experiment: Experiment) -> None:
        """Make the folder, and the record of code and environment that all calls from this process share."""
        if not os.path.exists(f"{self.folder}/runs/{self.run_id}.json"):  # or somebody has tidied up since
            from smallab.environment import run_record

            os.makedirs(self.folder, exist_ok=True)
            self.write_run(run_record(experiment))

    def ids(self) -> list[str]:
        """Return the ids of the calls, the oldest first; those that are still running, or were killed, among them."""
        return list(filter(_ID.fullmatch, entries(self.folder)))

    def text(self, id: str) -> str | None:
        """Return a call's specification as canonical JSON; None where it has not ended."""
        path = f"{self.folder_of(id)}/specification.json"
        try:
            with open(path, encoding="utf-8") as file:
                return canonical(json.load(file))
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise SpecificationError(f"{path} cannot be read: {error}") from error

    def read(self, id: str) -> Observation | None:
        """Return a call's observation; None where it has not ended."""
        try:
            text = self.text(id)
        except SpecificationError as error:  # damaged: it must not hide the others
            return Observation(id, {}, None, Failure.of(error), Metadata(f"{self.folder_of(id)}/metadata.json"))
        names = set(entries(self.folder_of(id)))
        if text is None or any(name.endswith(".tmp") for name in names):  # at work, or killed at it
            return None
        return self.load_failure(text, id) if "failure.json" in names else self.load(text, id)

    def observations(self) -> Iterator[Observation]:
        """Yield what a batch of this name completed and what failed in it, then the calls, the oldest first."""
        completed, failed = Journal(self).state()
        yield from map(self.load, completed)
        yield from map(self.load_failure, failed)
        yield from filter(None, map(self.read, self.ids()))

    def earlier(self, text: str, code: str | None) -> Observation | None:
        """Return the newest observation of a specification, made by this code; None where that is unknown."""
        if code is None:
            return None
        for id in self._with(text):
            if self.found(id):
                observation = self.load(text, id)
                if not observation.failure and observation.metadata.get("code") == code:
                    return observation
        return None

    def _with(self, text: str) -> Iterator[str]:
        """Yield the ids under which a specification was run, the newest first."""
        known = self.__dict__.setdefault("_texts", {})
        for id in self.ids():
            if id not in known:
                try:
                    found = self.text(id)
                except SpecificationError:  # damaged: it answers nothing
                    found = ""
                if found is not None:
                    known[id] = found
        yield from (id for id in sorted(known, reverse=True) if known[id] == text)
        yield digest(text)  # run in a batch
