"""What an experiment has of its own while it runs: its copy, its generator, its logger and its log file."""

import copy
import logging
import logging.config
import os
import random
import re

import numpy
import pytest
from misbehaving import WAYS, Draws, Frozen, LogsALot, Square, StoresOnItself

from smallab import Experiment, ExperimentRunner, load_result, load_results, specification_hash

LINES = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d.* (INFO|WARNING|ERROR) ")


def results(name):
    return {found.id: found.result for found in load_results(name)}


def log_of(name, specification):
    return ExperimentRunner().get_save_directory(name) / specification_hash(specification) / "log.txt"


# Its generator.


def test_the_generator_depends_on_the_specification_alone():
    specifications = [{"x": x} for x in range(6)]
    drawn = {}
    for way, options in WAYS.items():
        for order in (specifications, specifications[::-1]):
            random.seed(order[0]["x"])
            ExperimentRunner().run(way, order, Draws(), continue_from_last_run=False, show_progress=False, **options)
            drawn[way, order[0]["x"]] = results(way)
    first, *others = drawn.values()
    assert all(other == first for other in others)
    assert len({tuple(numbers) for numbers in first.values()}) == len(specifications)


def test_the_generator_is_the_same_for_good():
    ExperimentRunner().run("drawn", [{"seed": 1}], Draws(), show_progress=False)
    expected = random.Random(int(specification_hash({"seed": 1}), 16))
    assert load_result("drawn", {"seed": 1}).result == [expected.random() for _ in range(3)]


def test_the_generator_is_a_python_random():
    class Kind(Experiment):
        def main(self, specification):
            first = self.rng
            return isinstance(first, random.Random), first is self.rng

    ExperimentRunner().run("kind", [{}], Kind(), show_progress=False)
    assert load_result("kind", {}).result == (True, True)


@pytest.mark.parametrize("options", WAYS.values(), ids=WAYS)
def test_global_random_states_are_left_as_they_were(options):
    random.seed(7)
    numpy.random.seed(7)
    before = random.getstate(), numpy.random.get_state()[1].tolist()
    ExperimentRunner().run("global", [{"x": x} for x in range(4)], Draws(), show_progress=False, **options)
    assert (random.getstate(), numpy.random.get_state()[1].tolist()) == before


def test_outside_a_run_there_is_no_generator_and_the_error_says_what_to_do():
    with pytest.raises(RuntimeError, match=r"Draws.*main"):
        Draws().main({})


# Its logger.


@pytest.mark.parametrize("options", WAYS.values(), ids=WAYS)
def test_what_is_logged_is_in_the_specification_s_own_file(options):
    specifications = [{"x": x} for x in range(5)]
    ExperimentRunner().run("logs", specifications, LogsALot(), show_progress=False, **options)
    for specification in specifications:
        lines = log_of("logs", specification).read_text(encoding="utf-8").splitlines()
        assert [line.rpartition(" INFO ")[2] for line in lines] == [
            f"{specification['x']}: line {number}" for number in range(1000)
        ]
        assert all(map(LINES.match, lines))


def test_there_is_no_file_where_nothing_is_logged():
    class Sometimes(Experiment):
        def main(self, specification):
            assert self.logger is not None
            if specification["x"]:
                logging.getLogger(self.get_logger_name()).warning("%s", specification["x"])
            self.logger.debug("below the level that is kept")

    ExperimentRunner().run("some", [{"x": 0}, {"x": 1}], Sometimes(), show_progress=False)
    assert not log_of("some", {"x": 0}).exists()
    assert log_of("some", {"x": 1}).read_text(encoding="utf-8").endswith(" WARNING 1\n")


def test_the_name_is_that_of_the_logger():
    class Named(Experiment):
        def main(self, specification):
            logging.getLogger(self.get_logger_name()).info("by its name")
            return logging.getLogger(self.get_logger_name()) is self.logger

    ExperimentRunner().run("named", [{}], Named(), show_progress=False)
    assert load_result("named", {}).result is True
    assert "by its name" in log_of("named", {}).read_text(encoding="utf-8")
    assert isinstance(Named().get_logger_name(), str)  # outside a run too
    Named().logger.debug("likewise")


def test_what_is_logged_before_a_failure_is_kept():
    class Fails(Experiment):
        def main(self, specification):
            self.logger.info("about to fail")
            try:
                raise ValueError("inner")
            except ValueError:
                self.logger.exception("it did")
            raise ValueError("outer")

    ExperimentRunner().run("fails", [{}], Fails(), show_progress=False)
    text = log_of("fails", {}).read_text(encoding="utf-8")
    assert "about to fail" in text
    assert "ValueError: inner" in text
    assert (log_of("fails", {}).parent / "failure.json").exists()


@pytest.mark.parametrize("message", ["größe 日本語 😀", "two\nlines", "a lone \ud800 surrogate", "%s %d"])
def test_any_message_can_be_logged(message, capfd):
    class Says(Experiment):
        def main(self, specification):
            self.logger.info(message)

    assert ExperimentRunner().run("says", [{}], Says(), show_progress=False)
    text = log_of("says", {}).read_bytes().decode("utf-8")
    assert message.encode("utf-8", "backslashreplace").decode("utf-8") in text.replace(os.linesep, "\n")
    assert "Logging error" not in capfd.readouterr().err


def test_messages_reach_the_user_s_own_handlers_too(caplog):
    ExperimentRunner().run("caplog", [{"x": 1}], LogsALot(), show_progress=False)
    own = [record for record in caplog.records if record.getMessage().startswith("1: line")]
    assert [record.levelno for record in own].count(logging.INFO) == 1000


def test_a_logging_configuration_made_meanwhile_does_not_silence_the_next_batch():
    ExperimentRunner().run("before", [{"x": 1}], LogsALot(), show_progress=False)
    logging.config.dictConfig({"version": 1})  # disables every logger that it does not know
    try:
        ExperimentRunner().run("after", [{"x": 1}], LogsALot(), show_progress=False)
        assert log_of("after", {"x": 1}).exists()
    finally:
        for logger in logging.Logger.manager.loggerDict.values():
            if isinstance(logger, logging.Logger):
                logger.disabled = False


@pytest.mark.parametrize("options", [WAYS["one thread"], WAYS["4 threads"]], ids=["one thread", "4 threads"])
def test_logger_names_and_open_files_do_not_grow(options):
    def open_files():
        return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0

    runner = ExperimentRunner()
    runner.run("warm", [{"x": x} for x in range(8)], LogsALot(), show_progress=False, **options)
    names, files = len(logging.Logger.manager.loggerDict), open_files()
    runner.run("many", [{"x": x} for x in range(40)], LogsALot(), show_progress=False, **options)
    assert len(logging.Logger.manager.loggerDict) <= names + 4  # as many as ever ran at once
    assert open_files() <= files
    ours = [name for name in logging.Logger.manager.loggerDict if name.startswith("smallab.experiment.")]
    left = [handler for name in ours for handler in logging.getLogger(name).handlers]
    assert not [handler for handler in left if isinstance(handler, logging.FileHandler)]


def test_the_root_logger_is_left_alone():
    root = logging.getLogger()
    before = root.level, list(root.handlers), logging.raiseExceptions, logging.lastResort
    ExperimentRunner().run("guest", [{"x": 1}], LogsALot(), show_progress=False)
    assert (root.level, list(root.handlers), logging.raiseExceptions, logging.lastResort) == before
    assert not [
        handler for handler in logging.getLogger("smallab").handlers if not isinstance(handler, logging.NullHandler)
    ]


# Its own copy.


@pytest.mark.parametrize("options", WAYS.values(), ids=WAYS)
def test_every_specification_has_its_own_copy(options):
    experiment = StoresOnItself()
    ExperimentRunner().run("own", [{"x": x} for x in range(8)], experiment, show_progress=False, **options)
    assert experiment.seen == []
    assert not hasattr(experiment, "last")
    assert all(found.result == [found.specification["x"]] for found in load_results("own"))


def test_what_a_hook_changes_of_the_experiment_changes_nothing_that_runs():
    experiment = StoresOnItself()
    runner = ExperimentRunner()
    runner.on_specification_complete(lambda specification, result: experiment.seen.append("changed"))
    runner.run("hook", [{"x": x} for x in range(3)], experiment, show_progress=False)
    assert [found.result for found in load_results("hook")] == [[0], [1], [2]]


@pytest.mark.parametrize("options", WAYS.values(), ids=WAYS)
def test_an_experiment_that_cannot_be_changed_runs(options):
    result = ExperimentRunner().run("frozen", [{"x": 2}], Frozen(factor=5), show_progress=False, **options)
    assert result
    assert load_result("frozen", {"x": 2}).result[1] == 10


def test_an_experiment_without_a_constructor_of_its_base_class():
    class Bare(Square):
        def __init__(self):
            self.offset = 1

        def main(self, specification):
            return super().main(specification)["square"] + self.offset

    ExperimentRunner().run("bare", [{"x": 3}], Bare(), show_progress=False)
    assert load_result("bare", {"x": 3}).result == 10


def test_main_is_required():
    class Nothing(Experiment):
        pass

    with pytest.raises(TypeError, match="main"):
        Nothing()


def test_an_experiment_can_be_returned():
    class ReturnsItself(Experiment):
        def main(self, specification):
            self.logger.info("once")
            self.value = self.rng.random()
            return self

    assert ExperimentRunner().run("self", [{"x": 1}], ReturnsItself(), show_progress=False)
    assert 0 <= load_result("self", {"x": 1}).result.value < 1


def test_a_copy_of_a_running_experiment_can_run_a_batch_of_its_own():
    class Outer(Experiment):
        def main(self, specification):
            if specification["level"] == 2:
                return self.rng.random()
            inner = [{"level": 2, "x": x} for x in range(3)]
            name = f"inner-{specification['x']}"
            before = copy.deepcopy(self.rng).random()
            completed = ExperimentRunner().run(name, inner, self, show_progress=False).completed
            return len(completed), before == self.rng.random()

    result = ExperimentRunner().run("outer", [{"level": 1, "x": x} for x in range(3)], Outer(), num_parallel=2)
    assert result
    assert {found.result for found in load_results("outer")} == {(3, True)}
    assert len({found.result for found in load_results("inner-0")}) == 3


# Its name.


def test_the_label_is_the_specification_unless_it_has_a_name():
    assert Square().get_name({"b": 1, "a": (2,)}) == '{"a":[2],"b":1}'


def test_the_folder_is_the_hash_whatever_the_name():
    class Named(Square):
        def get_name(self, specification):
            specification["x"] = "changed"
            return "../../elsewhere"

    ExperimentRunner().run("label", [{"x": 3}], Named(), show_progress=False)
    assert load_result("label", {"x": 3}).result == {"square": 9}
    assert (ExperimentRunner().get_save_directory("label") / specification_hash({"x": 3})).is_dir()
