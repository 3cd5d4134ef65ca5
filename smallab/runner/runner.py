"""ExperimentRunner: what is pending, who runs it, and who hears of it."""

from __future__ import annotations

import copy
import logging
import os
from collections.abc import Callable, Iterable
from contextlib import closing
from typing import TYPE_CHECKING, Any

from smallab.callbacks import CallbackManager, checked_callbacks, emit
from smallab.experiment_types.experiment import Experiment
from smallab.files import replace
from smallab.formats import format_named
from smallab.journal import Journal
from smallab.plugins import plugins
from smallab.runner.batch_result import BatchResult
from smallab.runner.execute import Execution
from smallab.runner.report import Report
from smallab.runner.selection import Rerun, check_rerun, select
from smallab.specification import Specification, SpecificationError, canonical, digest, parse
from smallab.storage import Storage, check_name, root_folder

if TYPE_CHECKING:
    from pathlib import Path

    from smallab.runner.schedule import Schedule

_log = logging.getLogger("smallab")


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
        rerun: Rerun = "pending",
        retries: int = 0,
        timeout: float | None = None,
        resources: Iterable[int | str] = (),
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
        rerun
            Which specifications run: "pending", all that are not completed; "missing", also those that are listed as
            completed but whose result is gone; "failed", only those that failed; "changed", only those completed by
            other code than the experiment's is now; "all", as ``continue_from_last_run=False``.
        retries
            How often a specification that fails is run again at once.
        timeout
            After how many seconds a specification is ended, with the process that runs it and whatever that started;
            a TimeoutError is recorded. Only on backends with processes.
        resources
            What there is to hold, such as the numbers of the graphics cards: each running specification holds one,
            nobody else does meanwhile, and it is ``self.resource`` in the experiment. On backends with processes an
            int is also the CUDA_VISIBLE_DEVICES of its process. No more run at once than there are resources; all of
            them are used where num_parallel is None.

        Returns
        -------
        BatchResult
            What completed, was skipped, and failed.

        Raises
        ------
        SpecificationError
            A specification is not a dict that JSON can hold; nothing has run then.
        ValueError, TypeError
            The name cannot be a folder's, the experiment cannot be copied, or there is a timeout and the backend is
            threads; nothing has run then.
        KeyboardInterrupt
            Ctrl-C: what finished is saved, the rest runs the next time. A second one does not wait for threads.
        """
        from smallab.runner.processes import packed  # here, as these take time to import
        from smallab.runner.recording import recorded
        from smallab.runner.schedule import Schedule, check_options

        rerun = check_rerun(rerun, continue_from_last_run)
        limits = check_options(num_parallel, retries, timeout, resources)
        texts, experiment = _texts(specifications), _copied(experiment)
        storage = Storage(root_folder(self._folder), name, format=format_named(experiment.format))
        journal = Journal(storage)
        completed, failed = journal.recover()
        pending = select(rerun, texts, completed, failed, storage, experiment)
        skipped = [text for text in texts if text in completed and text not in pending]
        result = BatchResult(storage, skipped)
        _log.info("%s: %d to run, %d completed before; results in %s", name, len(pending), len(skipped), storage.folder)
        if pending:
            execution, schedule = Execution(storage, experiment, limits), Schedule(num_parallel, backend, limits)
            experiment_file = packed(execution) if schedule.processes else b""
            with journal.living(execution.running), recorded(execution, result, pending), execution:
                if experiment_file:
                    replace(execution.path, experiment_file)
                if forgotten := [text for text in pending if text in completed]:
                    journal.fold(forgotten=forgotten)
                self._work(execution, journal, pending, schedule, result, show_progress, propagate_exceptions)
            self._tell_end(result)
        if result.failed and propagate_exceptions:
            raise result.errors[0]
        return result

    def _work(
        self,
        execution: Execution,
        journal: Journal,
        pending: dict[str, None],
        schedule: Schedule,
        result: BatchResult,
        show_progress: bool,
        propagate_exceptions: bool,
    ) -> None:
        """Run what is pending, and take each report as it comes: list it, tell the hooks, show it."""
        from smallab.display.progress import progress

        storage = execution.storage
        self._emit("set_experiment_name", lambda: (storage.name,))
        self._emit("on_batch_start", lambda: (storage.name, list(map(parse, pending))))
        shown = progress(storage.name, len(pending), result.counts["skipped"], show_progress)
        with shown as advance, closing(schedule.reports(execution, pending)) as reports:
            for report in reports:
                result.add(report)
                journal.ended(report.text, report.status)
                self._tell(report, storage, result.counts["failed"] == 1)
                if report.text in pending:
                    advance(report.status)
                if report.failure and propagate_exceptions:
                    execution.stopped.set()

    def get_save_directory(self, name: str) -> Path:
        """Return the absolute folder of a batch."""
        from pathlib import Path

        return Path(root_folder(self._folder), check_name(name))

    def get_batch_save_folder(self, name: str) -> Path:
        """Return the absolute folder of a batch; the older name of `get_save_directory`."""
        return self.get_save_directory(name)

    def set_experiment_folder(self, folder: str | os.PathLike[str]) -> None:
        """Keep the batches in another folder from now on."""
        self._folder = folder

    def attach_callbacks(self, callbacks: Iterable[CallbackManager]) -> None:
        """Replace the list of hooks; an empty list takes all off."""
        self._callbacks = checked_callbacks(callbacks)

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

    def on_batch_failure(self, function: Callable[[list[BaseException], list[Specification]], object] | None) -> None:
        """Call ``function(exceptions, failed specifications)`` at a run's end, if any failed; None takes it off."""
        self._set("on_batch_failure", function)

    def _emit(self, hook: str, arguments: Callable[[], tuple[object, ...]]) -> None:
        emit([self._functions, *self._callbacks, *plugins("smallab.callbacks")], hook, arguments)

    def _tell(self, report: Report, storage: Storage, first_failure: bool) -> None:
        text = report.text
        if report.status == "completed":
            self._emit("on_specification_complete", lambda: (parse(text), storage.load(text).value))
        elif report.failure:
            level = logging.ERROR if first_failure else logging.INFO  # the first is seen at once, the rest counted
            _log.log(
                level, "%s failed; see %s\n%s", report.label, storage.folder_of(digest(text)), report.failure.traceback
            )
            self._emit("on_specification_failure", lambda: (report.error(), parse(text)))

    def _tell_end(self, result: BatchResult) -> None:
        if result.counts["completed"]:
            self._emit("on_batch_complete", lambda: (copy.deepcopy(result.completed),))
        if result.failed:
            specifications = [specification for specification, _ in result.failed]
            self._emit("on_batch_failure", lambda: (result.errors, copy.deepcopy(specifications)))
            _log.warning("%r: failed.json there lists those that failed, and why is in their failure.json", result)

    def _set(self, hook: str, function: Callable[..., object] | None) -> None:
        if function is None:
            vars(self._functions).pop(hook, None)
        elif callable(function):
            vars(self._functions)[hook] = function
        else:
            raise TypeError(f"{hook} takes a function, or None to take it off, not {function!r}")


def _texts(specifications: Iterable[Specification]) -> dict[str, None]:
    """Return the specifications as canonical JSON, each once, in order."""
    if isinstance(specifications, (dict, str)) or not isinstance(specifications, Iterable):
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
