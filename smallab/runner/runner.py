"""ExperimentRunner: what is pending, who runs it, and who hears of it."""

from __future__ import annotations

import copy
import itertools
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Any

from smallab.callbacks import CallbackManager, Hooks
from smallab.experiment_types.experiment import Experiment
from smallab.plugins import opened
from smallab.runner.execute import Task
from smallab.runner.outcome import BatchResult, Report
from smallab.runner.record import run_record
from smallab.runner.selection import Rerun, check_rerun, listed, select
from smallab.specification import Specification, Texts, parsed
from smallab.storage.base import Storage, open_storage

if TYPE_CHECKING:
    from pathlib import Path

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
        self._hooks = Hooks(callbacks)

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
            no other of this run does meanwhile, and it is ``self.resource`` in the experiment. On backends with
            processes an int is also the CUDA_VISIBLE_DEVICES of its process. No more run at once than there are
            resources; all of them are used where num_parallel is None.

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
        rerun = check_rerun(rerun, continue_from_last_run)
        schedules = opened("backends.schedule")
        limits = schedules.checked_limits(num_parallel, retries, timeout, resources)
        asked, experiment = listed(specifications), _copied(experiment)
        storage = open_storage(self._folder, name, experiment.format)
        selection = select(rerun, asked, storage, experiment)
        result = BatchResult(storage, selection.skipped)
        _log.info("%s: %s; results in %s", name, selection, storage.folder)
        if selection.pending:
            schedule = schedules.Schedule(experiment, backend, limits)
            counts = selection.counts | {"failed_before": selection.failed_before}
            with storage.run(run_record(experiment) | counts) as run:
                storage.forget(selection.again)
                task = Task(storage, run.id, experiment, limits, schedule.packed)
                pending = _unfinished(selection.pending, result, propagate_exceptions)
                self._tell_start(name, selection.pending)
                shown = opened("display.progress").progress(name, **selection.counts, show=show_progress)
                with shown as advance, closing(schedule.reports(task, pending)) as reports:
                    for report in itertools.chain.from_iterable(map(_with_parts, reports)):
                        result.add(report)
                        run.ended(report.text, report.status)
                        self._tell(report, storage, is_first_failure=result.counts["failed"] == 1)
                        if report.text in selection.pending:
                            advance(report.status)
            self._tell_end(result)
        if propagate_exceptions and not result:
            raise result.errors[0]
        return result

    def get_save_directory(self, name: str) -> Path:
        """Return the absolute folder of a batch."""
        from pathlib import Path

        return Path(open_storage(self._folder, name).folder)

    def get_batch_save_folder(self, name: str) -> Path:
        """Return the absolute folder of a batch; the older name of `get_save_directory`."""
        return self.get_save_directory(name)

    def set_experiment_folder(self, folder: str | os.PathLike[str]) -> None:
        """Keep the batches in another folder from now on."""
        self._folder = folder

    def attach_callbacks(self, callbacks: Iterable[CallbackManager]) -> None:
        """Replace the list of hooks; an empty list takes all off."""
        self._hooks.attach(callbacks)

    def on_specification_complete(self, function: Callable[[Specification, Any], object] | None) -> None:
        """Call ``function(specification, result)`` whenever a result was saved; None takes it off."""
        self._hooks.set_function("on_specification_complete", function)

    def on_specification_failure(self, function: Callable[[BaseException, Specification], object] | None) -> None:
        """Call ``function(exception, specification)`` whenever one failed; None takes it off."""
        self._hooks.set_function("on_specification_failure", function)

    on_specification_falure = on_specification_failure  # as the documents of smallab 2 spell it

    def on_batch_complete(self, function: Callable[[list[Specification]], object] | None) -> None:
        """Call ``function(completed specifications)`` at the end of a run, if any completed; None takes it off."""
        self._hooks.set_function("on_batch_complete", function)

    def on_batch_failure(self, function: Callable[[list[BaseException], list[Specification]], object] | None) -> None:
        """Call ``function(exceptions, failed specifications)`` at a run's end, if any failed; None takes it off."""
        self._hooks.set_function("on_batch_failure", function)

    def _tell_start(self, name: str, pending: Texts) -> None:
        self._hooks.tell("set_experiment_name", lambda: (name,))
        self._hooks.tell("on_batch_start", lambda: (name, [parsed(text) for text in pending]))

    def _tell(self, report: Report, storage: Storage, is_first_failure: bool) -> None:
        specification = partial(parsed, report.text)
        if report.status == "completed":
            self._hooks.tell(
                "on_specification_complete", lambda: (specification(), storage.load(report.text).value)
            )
        elif report.failure:
            level = logging.ERROR if is_first_failure else logging.INFO  # the first is seen at once, the rest counted
            place = storage.workspace(report.text)
            _log.log(level, "%s failed; see %s\n%s", report.label, place, report.failure.traceback)
            self._hooks.tell("on_specification_failure", lambda: (report.error(), specification()))

    def _tell_end(self, result: BatchResult) -> None:
        if result.counts["completed"]:
            self._hooks.tell("on_batch_complete", lambda: (copy.deepcopy(result.completed),))
        if not result:
            failed = [specification for specification, _ in result.failed]
            self._hooks.tell("on_batch_failure", lambda: (result.errors, copy.deepcopy(failed)))
            _log.warning("%r: failed.json there lists those that failed, and why is in their failure.json", result)


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


def _unfinished(pending: Iterable[str], result: BatchResult, stop_at_failure: bool) -> Iterator[str]:
    """Yield what is still to run when its turn comes."""
    for text in pending:
        if stop_at_failure and not result:
            return
        if not result.has_completed(text):  # else another one produced its result on the way
            yield text


def _with_parts(report: Report) -> Iterator[Report]:
    """Yield a report for everything whose result was saved on the way, then the report itself."""
    for part in report.parts:
        yield Report(part, part, "completed")
    yield report
