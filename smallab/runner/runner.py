"""ExperimentRunner: what is pending, who runs it, and who hears of it."""

from __future__ import annotations

import copy
import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from smallab.callbacks import CallbackManager, Hooks
from smallab.experiment_types.experiment import Experiment
from smallab.plugins import opened
from smallab.runner.options import Rerun, as_texts, check_limits, check_rerun, checked_copy
from smallab.runner.outcome import BatchResult, Report
from smallab.runner.record import run_record
from smallab.runner.selection import select
from smallab.specification import Specification, parsed
from smallab.storage.base import Storage, open_storage

_log = logging.getLogger("smallab")


class ExperimentRunner(Hooks):
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
        super().__init__(callbacks)
        self._folder = experiment_folder

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
        limits = check_limits(num_parallel, retries, timeout, resources)
        asked, experiment = as_texts(specifications), checked_copy(experiment)
        storage = open_storage(self._folder, name, experiment.format)
        completed, failed = storage.recover()
        pending, to_forget, skipped = select(rerun, asked, completed, failed, storage, experiment)
        result = BatchResult(storage, skipped)
        counts = {"pending": len(pending), "skipped": len(skipped)}
        _log.info("%s: %d to run, %d completed before; results in %s", name, len(pending), len(skipped), storage.folder)
        if pending:
            schedule = opened("backends.schedule").Schedule(experiment, backend, limits)
            record = run_record(experiment) | counts | {"failed_before": len(pending.keys() & failed)}
            with storage.run(record) as run:
                storage.forget(to_forget)
                # Each is passed to `execute` in a worker, as often as retries= allows; nothing starts before the first
                # report is taken.
                reports = schedule.reports(storage, run.id, _unfinished(pending, result, propagate_exceptions))
                self.tell("set_experiment_name", lambda: name)
                self.tell("on_batch_start", lambda: name, lambda: [parsed(text) for text in pending])
                shown = opened("display.progress").progress(name, **counts, show=show_progress)
                with shown as advance, closing(reports):
                    for report in _with_parts(reports, result):
                        result.add(report)
                        run.note(report.text, report.status)
                        self._tell(report, storage, is_first_failure=result.counts["failed"] == 1)
                        if report.text in pending:
                            advance(report.status)
            self._tell_end(result)
        if propagate_exceptions and not result:
            raise result.errors[0]
        return result

    def get_save_directory(self, name: str) -> Path:
        """Return the absolute folder of a batch."""
        return Path(open_storage(self._folder, name).folder)

    get_batch_save_folder = get_save_directory  # its older name

    def set_experiment_folder(self, folder: str | os.PathLike[str]) -> None:
        """Keep the batches in another folder from now on."""
        self._folder = folder

    def _tell(self, report: Report, storage: Storage, is_first_failure: bool) -> None:
        text = report.text
        if report.status == "completed":
            self.tell("on_specification_complete", lambda: parsed(text), lambda: storage.load(text).value)
        elif report.failure:
            level = logging.ERROR if is_first_failure else logging.INFO  # the first is seen at once, the rest counted
            _log.log(level, "%s failed; see %s\n%s", report.label, storage.workspace(text), report.failure.traceback)
            self.tell("on_specification_failure", report.error, lambda: parsed(text))

    def _tell_end(self, result: BatchResult) -> None:
        if result.counts["completed"]:
            self.tell("on_batch_complete", lambda: copy.deepcopy(result.completed))
        if not result:
            failed = [specification for specification, _ in result.failed]
            self.tell("on_batch_failure", lambda: result.errors, lambda: copy.deepcopy(failed))
            _log.warning("%r: failed.json there lists those that failed, and why is in their failure.json", result)


def _unfinished(pending: Iterable[str], result: BatchResult, stop_at_failure: bool) -> Iterator[str]:
    """Yield what is still to run when its turn comes."""
    for text in pending:
        if stop_at_failure and not result:
            return
        if not result.has_completed(text):  # else it was another one's part
            yield text


def _with_parts(reports: Iterable[Report], result: BatchResult) -> Iterator[Report]:
    """Yield each report, after a "completed" one for every part that it saved; each specification once."""
    for report in reports:
        parts = [Report(part, part, "completed") for part in report.parts]
        yield from (each for each in [*parts, report] if not result.has_completed(each.text))
