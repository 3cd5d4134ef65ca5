"""ExperimentRunner: what is pending, who runs it, and who hears of it."""

from __future__ import annotations

import copy
import html
import itertools
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smallab.callbacks import CallbackManager, emit
from smallab.experiment_types.experiment import Experiment
from smallab.journal import Journal
from smallab.observation import Failure
from smallab.runner.execute import Execution, Report, name_of
from smallab.specification import Specification, SpecificationError, canonical, digest, parse
from smallab.storage import Storage, check_name, root_folder

if TYPE_CHECKING:
    import pandas

_log = logging.getLogger("smallab")

FOLD_SECONDS = 30.0
FOLD_SHARE = 0.02  # of the time at the most: for a million specifications the lists take seconds to write


class BatchResult:
    """What one call of `ExperimentRunner.run` did; true when nothing failed."""

    def __init__(self, storage: Storage, completed: Sequence[str], skipped: Sequence[str], failed: Sequence[Report]) -> None:
        self._storage, self._completed, self._skipped, self._failed = storage, completed, skipped, failed

    @cached_property
    def completed(self) -> list[Specification]:
        """The specifications that completed in this call."""
        return list(map(parse, self._completed))

    @cached_property
    def skipped(self) -> list[Specification]:
        """The specifications that had completed before."""
        return list(map(parse, self._skipped))

    @cached_property
    def failed(self) -> list[tuple[Specification, Failure]]:
        """The specifications that failed in this call, each with what happened."""
        return [(parse(report.text), report.failure) for report in self._failed if report.failure]

    def to_dataframe(self) -> pandas.DataFrame:
        """Return this call's specifications, the skipped ones too, as `smallab.to_dataframe` does."""
        from smallab.frames import frame

        texts = [*self._skipped, *self._completed]
        loaded = map(self._storage.load, texts)
        return frame([*loaded, *(self._storage.load_failure(report.text) for report in self._failed)])

    def __bool__(self) -> bool:
        return not self._failed

    def __repr__(self) -> str:
        counts = f"{len(self._completed)} completed, {len(self._skipped)} skipped, {len(self._failed)} failed"
        return f"BatchResult({self._storage.name!r}: {counts}; {self._storage.folder})"

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{html.escape(report.text)}</td><td>{html.escape(str(report.failure))}</td></tr>"
            for report in self._failed[:10]
        )
        more = f"<p>… and {len(self._failed) - 10} more failures</p>" if len(self._failed) > 10 else ""
        return f"<p>{html.escape(repr(self))}</p>" + (f"<table>{rows}</table>{more}" if rows else "")


class ExperimentRunner:
    """Runs batches: what was completed before is skipped, the rest runs, every result is safe once it exists.

    Parameters
    ----------
    experiment_folder
        The folder that holds the batches; where None, SMALLAB_ROOT, else ``experiment_runs``.
    callbacks
        Hooks, as for `attach_callbacks`.

    Examples
    --------
    >>> import tempfile
    >>> class Square(Experiment):
    ...     def main(self, specification):
    ...         return {"square": specification["x"] ** 2}
    >>> runner = ExperimentRunner(experiment_folder=tempfile.mkdtemp())
    >>> result = runner.run("squares", [{"x": 2}, {"x": 3}], Square(), show_progress=False)
    >>> result.completed
    [{'x': 2}, {'x': 3}]
    """

    def __init__(
        self, experiment_folder: str | os.PathLike[str] | None = None, callbacks: Iterable[CallbackManager] = ()
    ) -> None:
        self._folder = experiment_folder
        self._functions = CallbackManager()
        self._callbacks: list[CallbackManager] = []
        self.attach_callbacks(callbacks)

    def run(
        self,
        name: str,
        specifications: Iterable[Specification],
        experiment: Experiment,
        continue_from_last_run: bool = True,
        num_parallel: int | None = None,
        backend: Any = None,
        show_progress: bool = True,
        propagate_exceptions: bool = False,
    ) -> BatchResult:
        """Run what is not yet completed of a batch.

        Parameters
        ----------
        name
            The batch: a folder's name.
        specifications
            Dicts that JSON can hold; what is listed twice is run once. They are not changed.
        experiment
            Every specification runs on a deep copy of it.
        continue_from_last_run
            False runs again what is completed; an old result stays until the new one replaces it.
        num_parallel
            How many run at once: joblib's ``n_jobs``. None is 1, or what a surrounding ``joblib.parallel_config``
            says; -1 is one for each core.
        backend
            joblib's backend: "threading" (the default where nothing else is configured), "loky" for processes, or
            any that is registered.
        show_progress
            Show a bar on stderr where that is a terminal or a notebook (extra ``progress``), else log now and then.
        propagate_exceptions
            True stops at the first failure and raises its exception, after what finished is saved.

        Returns
        -------
        BatchResult
            What completed, was skipped, and failed.

        Raises
        ------
        SpecificationError
            A specification is not a dict that JSON can hold; nothing has run then.
        ValueError, TypeError
            The name cannot be a folder's, or the experiment cannot be copied; nothing has run then.
        KeyboardInterrupt
            Ctrl-C: what finished is saved, the rest runs the next time. A second one does not wait for threads.
        """
        storage = Storage(root_folder(self._folder), name)
        texts, experiment = _texts(specifications), _copied(experiment)
        journal = Journal(storage)
        journal.recover()
        completed, _ = journal.state(mend=True)
        skipped = [text for text in texts if text in completed] if continue_from_last_run else []
        pending = [text for text in texts if text not in completed] if continue_from_last_run else list(texts)
        _warn_of_missing(storage, skipped)
        if not pending:
            _log.info("%s: all %d specifications are completed already: %s", name, len(skipped), storage.folder)
            return BatchResult(storage, [], skipped, [])
        with journal.living():
            if not continue_from_last_run:
                journal.fold(forgotten=[text for text in pending if text in completed])
            batch = _Batch(journal, Execution(storage, experiment), [self._functions, *self._callbacks], propagate_exceptions)
            batch.run(pending, len(skipped), _parallel(num_parallel, backend), show_progress)
        return BatchResult(storage, batch.completed, skipped, batch.failed)

    def get_save_directory(self, name: str) -> Path:
        """Return the absolute folder of a batch."""
        return Path(root_folder(self._folder), check_name(name))

    def get_batch_save_folder(self, name: str) -> Path:
        """Return the absolute folder of a batch; the older name of `get_save_directory`."""
        return self.get_save_directory(name)

    def set_experiment_folder(self, folder: str | os.PathLike[str]) -> None:
        """Keep the batches in another folder from now on."""
        self._folder = folder

    def attach_callbacks(self, callbacks: Iterable[CallbackManager]) -> None:
        """Replace the list of hooks; an empty list takes all off."""
        callbacks = list(callbacks)
        for callback in callbacks:
            if not isinstance(callback, CallbackManager):
                raise TypeError(f"{callback!r} is not a CallbackManager; attach_callbacks takes a list of objects of one")
        self._callbacks = callbacks

    def on_specification_complete(self, function: Callable[[Specification, Any], object] | None) -> None:
        """Call ``function(specification, result)`` whenever a result was saved; None takes it off."""
        self._set("on_specification_complete", function)

    def on_specification_failure(self, function: Callable[[BaseException, Specification], object] | None) -> None:
        """Call ``function(exception, specification)`` whenever one failed; None takes it off."""
        self._set("on_specification_failure", function)

    on_specification_falure = on_specification_failure  # as the documents of smallab 2 spell it

    def on_batch_complete(self, function: Callable[[list[Specification]], object] | None) -> None:
        """Call ``function(completed specifications)`` at the end of a run, if any completed; None takes it off."""
        self._set("on_batch_complete", function)

    def on_batch_failure(
        self, function: Callable[[list[BaseException], list[Specification]], object] | None
    ) -> None:
        """Call ``function(exceptions, failed specifications)`` at the end of a run, if any failed; None takes it off."""
        self._set("on_batch_failure", function)

    def _set(self, hook: str, function: Callable[..., object] | None) -> None:
        if function is None:
            vars(self._functions).pop(hook, None)
        elif callable(function):
            vars(self._functions)[hook] = function
        else:
            raise TypeError(f"{hook} takes a function, or None to take it off, not {function!r}")


class _Batch:
    """The specifications of one call while they run: takes the reports, keeps the lists, tells the hooks."""

    def __init__(self, journal: Journal, execution: Execution, callbacks: list[CallbackManager], propagate: bool) -> None:
        self.completed: list[str] = []
        self.failed: list[Report] = []
        self._journal, self._execution, self._storage = journal, execution, execution.storage
        self._callbacks, self._propagate = callbacks, propagate
        self._folded = (0, 0)
        self._fold_at = time.monotonic() + FOLD_SECONDS

    def run(self, pending: list[str], skipped: int, parallel: Any, show_progress: bool) -> None:
        """Run what is pending and return when all of it has ended."""
        from smallab.environment import run_record
        from smallab.progress import progress

        name, folder = self._storage.name, self._storage.folder
        _log.info("%s: %d to run, %d completed before; results in %s", name, len(pending), skipped, folder)
        record = run_record(self._execution.experiment) | {"pending": len(pending), "skipped": skipped}
        self._storage.write_run(record)
        for callback in self._callbacks:
            callback.set_experiment_name(name)
        try:
            with progress(name, len(pending), skipped, show_progress) as advance:
                for report in self._reports(pending, parallel):
                    self._take(report)
                    advance(report.status)
        except BaseException:  # Ctrl-C, or trouble of joblib's own: keep what finished, then pass it on
            self._wait_for_threads()
            self._finish(record, interrupted=True)
            _log.warning("%s: stopped; what finished is saved in %s, run it again to go on", name, folder)
            raise
        self._finish(record, interrupted=False)
        self._tell_end()

    def _reports(self, pending: list[str], parallel: Any) -> Iterator[Report]:
        """Yield the workers' reports as they come."""
        import joblib

        if not getattr(parallel._backend, "supports_sharedmem", False):  # joblib has no public word for it
            self._execution.publish()
        task, stopped = joblib.delayed(self._execution), self._execution.stopped
        yield from parallel(task(text) for text in itertools.takewhile(lambda _: not stopped.is_set(), pending))

    def _take(self, report: Report) -> None:
        if report.status == "completed":
            self.completed.append(report.text)
            emit(self._callbacks, "on_specification_complete", lambda: (parse(report.text), self._result(report.text)))
        elif report.status == "failed":
            self.failed.append(report)
            self._log_failure(report)
            emit(self._callbacks, "on_specification_failure", lambda: (report.error(), parse(report.text)))
            if self._propagate:
                self._execution.stopped.set()
        if time.monotonic() > self._fold_at:
            self._fold()

    def _result(self, text: str) -> Any:
        observation = self._storage.load(text)
        if observation.failure:
            raise RuntimeError(f"saved, but it cannot be read back: {observation.failure.message}")
        return observation.result

    def _log_failure(self, report: Report) -> None:
        level = logging.ERROR if len(self.failed) == 1 else logging.INFO  # the first is seen at once, the rest counted
        if _log.isEnabledFor(level) and report.failure:
            label = name_of(self._execution.experiment, report.text)
            folder = self._storage.folder_of(digest(report.text))
            _log.log(level, "%s failed; see %s\n%s", label, folder, report.failure.traceback or report.failure)

    def _fold(self) -> None:
        started = time.monotonic()
        completed, failed = self._unfolded()
        with self._nothing_lost():
            self._journal.fold(completed, failed)
            self._folded = (len(self.completed), len(self.failed))
        self._fold_at = time.monotonic() + max(FOLD_SECONDS, (time.monotonic() - started) / FOLD_SHARE)

    def _unfolded(self) -> tuple[list[str], list[str]]:
        return self.completed[self._folded[0] :], [report.text for report in self.failed[self._folded[1] :]]

    def _wait_for_threads(self) -> None:
        self._execution.stopped.set()
        while self._execution.running:
            time.sleep(0.02)

    def _finish(self, record: dict[str, Any], interrupted: bool) -> None:
        with self._nothing_lost():
            self._journal.finish(*self._unfolded(), interrupted=interrupted)
            self._storage.write_run(record | {"completed": len(self.completed), "failed": len(self.failed)})

    @contextmanager
    def _nothing_lost(self) -> Iterator[None]:
        """Log that the lists cannot be written; the results and the journal are, and the next run takes them in."""
        try:
            yield
        except OSError as error:
            folder = self._storage.folder
            if not os.path.isdir(folder):
                raise FileNotFoundError(f"{folder} vanished while the batch ran, with the results in it") from error
            _log.error("%s: the lists of %s cannot be written now; the results are safe, run it again", error, folder)

    def _tell_end(self) -> None:
        if self.completed:
            emit(self._callbacks, "on_batch_complete", lambda: (list(map(parse, self.completed)),))
        if not self.failed:
            return
        errors = [report.error() for report in self.failed]
        emit(self._callbacks, "on_batch_failure", lambda: (errors, [parse(report.text) for report in self.failed]))
        if self._propagate:
            raise errors[0]
        ended = len(self.completed) + len(self.failed)
        _log.warning("%s: %d of %d failed; see failed.json in %s", self._storage.name, len(self.failed), ended, self._storage.folder)


def _texts(specifications: Iterable[Specification]) -> dict[str, None]:
    """Return the specifications as canonical JSON, each once, in order."""
    if isinstance(specifications, (dict, str)):
        raise SpecificationError(
            f"specifications is a {type(specifications).__name__}, not a list of dicts; a dict of lists becomes one "
            "with SpecificationGenerator().generate(…)"
        )
    return dict.fromkeys(canonical(item, f"specifications[{i}]") for i, item in enumerate(specifications))


def _copied(experiment: Experiment) -> Experiment:
    if isinstance(experiment, type) and issubclass(experiment, Experiment):
        raise TypeError(f"{experiment.__name__} is a class; pass an object of it: {experiment.__name__}(…)")
    if not isinstance(experiment, Experiment):
        raise TypeError(f"{experiment!r} is not an Experiment; subclass smallab.Experiment and write its main")
    try:
        return copy.deepcopy(experiment)
    except Exception as error:  # whatever copying its attributes raises
        raise TypeError(
            f"{type(experiment).__name__} cannot be copied, and every specification runs on a copy of it: {error}. "
            "Make what cannot be copied (locks, files, connections) in main, not in __init__"
        ) from error


def _parallel(num_parallel: int | None, backend: Any) -> Any:
    """Return joblib's scheduler; threads are the default, but a surrounding ``parallel_config`` wins."""
    import joblib

    options = {"n_jobs": num_parallel, "backend": backend, "prefer": None if backend else "threads"}
    if joblib.Parallel(**options)._backend.supports_return_generator:
        options["return_as"] = "generator_unordered"
    return joblib.Parallel(**options)


def _warn_of_missing(storage: Storage, skipped: list[str]) -> None:
    missing = [text for text in skipped if not os.path.exists(storage.result(digest(text)))]
    if missing:
        _log.warning(
            "%s: %d of %d specifications listed in completed.json have no result, and are skipped all the same; "
            "to run them again, take them out of %s/completed.json (the first: %s)",
            storage.name,
            len(missing),
            len(skipped),
            storage.folder,
            missing[0],
        )
