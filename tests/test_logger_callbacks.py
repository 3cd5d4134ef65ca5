"""The log of a batch: what is logged, where to, and that nothing else is touched."""

import copy
import logging
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from smallab import Experiment, ExperimentRunner, Failure, SpecificationFailed
from smallab.utilities.logger_callbacks import BatchLog, LoggingCallback, configure_logging_default

SMALLAB = logging.getLogger("smallab")


class SquareRoot(Experiment):
    def main(self, specification):
        self.logger.info("looking for the root of %s", specification["x"])
        if specification["x"] < 0:
            raise ValueError(f"{specification['x']} is negative")
        return {"root": specification["x"] ** 0.5}


def run(*xs, callbacks=(), name="roots", **options):
    runner = ExperimentRunner(callbacks=callbacks)
    return runner.run(name, [{"x": x} for x in xs], SquareRoot(), show_progress=False, **options)


@pytest.fixture(autouse=True)
def logging_is_left_as_it_was():
    def state():
        return [(list(logger.handlers), logger.level, logger.propagate) for logger in (logging.getLogger(), SMALLAB)]

    before = state()
    yield
    for handler in [handler for handler in SMALLAB.handlers if isinstance(handler, BatchLog)]:
        handler.close()
    assert state() == before


def lines_of(log):
    return Path(log.baseFilename).read_text(encoding="utf-8").splitlines()


def messages(log):
    """Return the first line of each record, without its time."""
    return [line.split(" ", 2)[2] for line in lines_of(log) if line.startswith("20")]


def test_completions_and_failures_are_logged_to_the_logger_that_was_passed(caplog):
    logger = logging.getLogger("my_project.batches")
    with caplog.at_level(logging.INFO, logger.name):
        run(4, -1, callbacks=[LoggingCallback(logger)])
    assert [(r.levelname, r.message) for r in caplog.records if r.name == logger.name] == [
        ("INFO", 'roots: completed: {"x":4}'),
        ("ERROR", 'roots: failed: {"x":-1}: ValueError: -1 is negative'),
        ("INFO", "roots: the batch ended; completed: 1"),
        ("ERROR", "roots: the batch ended; failed: 1"),
    ]


def test_the_smallab_logger_is_the_default(caplog):
    with caplog.at_level(logging.INFO, "smallab"):
        run(4, callbacks=[LoggingCallback()])
    assert ("smallab", logging.INFO, 'roots: completed: {"x":4}') in caplog.record_tuples


def test_a_failure_that_was_not_picklable_is_told_as_what_it_was(caplog):
    error = SpecificationFailed(Failure("torch.OutOfMemoryError", "no memory", "a long traceback"))
    LoggingCallback().on_specification_failure(error, {"x": 1})
    assert caplog.messages == [': failed: {"x":1}: torch.OutOfMemoryError: no memory']


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda thing: pickle.loads(pickle.dumps(thing))])
def test_the_callback_can_be_copied_and_pickled(copied):
    assert copied(LoggingCallback(logging.getLogger("mine"))).logger is logging.getLogger("mine")


def test_the_batchs_log_is_in_its_folder_and_tells_its_story(batches_in_tmp_path):
    with configure_logging_default("roots") as log:
        run(4, -1, callbacks=[LoggingCallback()])
    assert log.baseFilename == str(batches_in_tmp_path / "roots" / "log.txt")
    story = messages(log)
    assert story[0].startswith("INFO roots: 2 to run, 0 completed before; results in ")
    assert 'INFO roots: completed: {"x":4}' in story
    assert 'ERROR roots: failed: {"x":-1}: ValueError: -1 is negative' in story
    assert "ValueError: -1 is negative" in lines_of(log)  # the runner's record ends with the traceback


def test_the_log_goes_on_where_an_earlier_one_ended():
    for x in 4, 9:
        with configure_logging_default("roots") as log:
            run(x, callbacks=[LoggingCallback()])
    assert [line for line in messages(log) if "completed: {" in line] == [
        'INFO roots: completed: {"x":4}',
        'INFO roots: completed: {"x":9}',
    ]


def test_the_log_is_not_taken_for_something_of_the_batchs():
    with configure_logging_default("roots"):
        run(4, -1)
    assert len(run(4, -1).skipped) == 1


def test_the_folder_can_be_said(tmp_path):
    with configure_logging_default("roots", folder=tmp_path / "elsewhere") as log:
        SMALLAB.info("hello")
    assert (tmp_path / "elsewhere" / "roots" / "log.txt").read_text().endswith(" INFO hello\n")
    assert log.baseFilename == str(tmp_path / "elsewhere" / "roots" / "log.txt")


def test_calling_it_twice_does_not_double_the_lines():
    first = configure_logging_default("roots")
    second = configure_logging_default("roots")
    SMALLAB.info("hello")
    assert [line for line in messages(first) if "hello" in line] == ["INFO hello"]
    second.close()
    SMALLAB.error("nobody hears it")
    assert messages(first) == ["INFO hello"]


def test_another_batchs_log_ends_the_one_before():
    first = configure_logging_default("first")
    second = configure_logging_default("second")
    SMALLAB.info("hello")
    assert messages(first) == []
    assert messages(second) == ["INFO hello"]
    first.close()
    SMALLAB.info("still there")
    assert messages(second) == ["INFO hello", "INFO still there"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not delete a file that is open")
def test_a_log_whose_file_was_deleted_is_made_anew(batches_in_tmp_path):
    configure_logging_default("roots")
    (batches_in_tmp_path / "roots" / "log.txt").unlink()
    log = configure_logging_default("roots")
    SMALLAB.info("hello")
    assert messages(log) == ["INFO hello"]


@pytest.fixture
def level_of_error():
    before = SMALLAB.level
    SMALLAB.setLevel(logging.ERROR)
    yield
    SMALLAB.setLevel(before)


@pytest.mark.usefixtures("level_of_error")
def test_closing_gives_back_the_level_unless_somebody_changed_it():
    with configure_logging_default("roots") as log:
        assert SMALLAB.level == logging.INFO
    assert SMALLAB.level == logging.ERROR
    log.close()  # a second time is no trouble
    with configure_logging_default("roots"):
        SMALLAB.setLevel(logging.DEBUG)
        SMALLAB.debug("not in the file")
    assert SMALLAB.level == logging.DEBUG
    assert messages(log) == []


@pytest.mark.parametrize("name", ["", "..", "a/b", "nul", "a:b"])
def test_a_name_that_no_batch_may_have_is_refused(name, batches_in_tmp_path):
    with pytest.raises(ValueError, match="name"):
        configure_logging_default(name)
    assert not batches_in_tmp_path.exists()


def test_a_file_that_cannot_be_written_is_an_error_at_once(batches_in_tmp_path):
    batches_in_tmp_path.write_text("a file where the folder should be")
    with pytest.raises(OSError, match="experiment_runs"):
        configure_logging_default("roots")


def test_text_that_is_not_unicode_is_logged_all_the_same():
    with configure_logging_default("roots") as log:
        SMALLAB.info("odd \ud800 größe")
    assert messages(log) == ["INFO odd \\ud800 größe"]


SCRIPT = """
import logging, sys
from smallab.utilities.logger_callbacks import configure_logging_default

if "handler" in sys.argv:
    logging.getLogger("smallab").addHandler(logging.StreamHandler(sys.stdout))
log = configure_logging_default("roots") if "log" in sys.argv else None
logging.getLogger("smallab").info("a detail")
logging.getLogger("smallab").error("the first failure")
assert logging.getLogger().handlers == [] and logging.getLogger().level == logging.WARNING
"""


@pytest.mark.parametrize(
    ("arguments", "stdout", "stderr"),
    [
        ([], "", "the first failure\n"),
        (["log"], "", "the first failure\n"),
        (["handler"], "the first failure\n", ""),
        (["handler", "log"], "a detail\nthe first failure\n", ""),
    ],
)
def test_errors_are_seen_as_they_would_be_without_the_log(arguments, stdout, stderr):
    process = subprocess.run([sys.executable, "-c", SCRIPT, *arguments], capture_output=True, text=True, check=True)
    assert (process.stdout, process.stderr) == (stdout, stderr)
