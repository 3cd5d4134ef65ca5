"""Hooks: who is called, when, where and with what; and hooks that misbehave."""

import asyncio
import logging
import threading

import pytest
from misbehaving import RAISES, WAYS, Echo, FailsOn, Importable, Raises, ReturnsWhatWillNotLoad, Square, WaitsFor

from smallab import CallbackManager, ExperimentRunner, SpecificationFailed, load_results

HOOKS = ("on_specification_complete", "on_specification_failure", "on_batch_complete", "on_batch_failure")


class Hears(CallbackManager):
    """Remembers every call."""

    def __init__(self):
        self.calls = []
        self.threads = set()

    def _hear(self, hook, *arguments):
        self.calls.append((hook, *arguments))
        self.threads.add(threading.get_ident())

    def set_experiment_name(self, name):
        super().set_experiment_name(name)
        self._hear("set_experiment_name", name)

    def on_specification_complete(self, specification, result):
        self._hear("on_specification_complete", specification, result)

    def on_specification_failure(self, exception, specification):
        self._hear("on_specification_failure", exception, specification)

    def on_batch_complete(self, specifications):
        self._hear("on_batch_complete", specifications)

    def on_batch_failure(self, exceptions, specifications):
        self._hear("on_batch_failure", exceptions, specifications)

    def of(self, hook):
        return [arguments for name, *arguments in self.calls if name == hook]


def specifications(*values):
    return [{"x": x} for x in values]


def run(runner, listed, experiment=None, name="batch", **options):
    return runner.run(name, listed, experiment or Square(), show_progress=False, **options)


@pytest.mark.parametrize("options", WAYS.values(), ids=WAYS)
def test_what_each_hook_is_told(options):
    hears = Hears()
    runner = ExperimentRunner(callbacks=[hears])
    run(runner, specifications(0, 1, 2, 3), FailsOn(1, 3), **options)
    assert hears.calls[0] == ("set_experiment_name", "batch")
    assert hears.experiment_name == "batch"
    complete = hears.of("on_specification_complete")
    assert sorted(complete, key=str) == [[{"x": 0}, {"square": 0}], [{"x": 2}, {"square": 4}]]
    failed = hears.of("on_specification_failure")
    assert sorted((type(error), str(error), each["x"]) for error, each in failed) == [
        (ValueError, "1 will not do", 1),
        (ValueError, "3 will not do", 3),
    ]
    (((batch_complete,)), ((errors, batch_failed))) = hears.of("on_batch_complete")[0], hears.of("on_batch_failure")[0]
    assert sorted(each["x"] for each in batch_complete) == [0, 2]
    assert sorted(each["x"] for each in batch_failed) == [1, 3]
    assert [str(error) for error in errors] == [f"{each['x']} will not do" for each in batch_failed]
    assert [name for name, *_ in hears.calls[-2:]] == ["on_batch_complete", "on_batch_failure"]
    assert len(hears.calls) == 7


@pytest.mark.parametrize("options", WAYS.values(), ids=WAYS)
def test_hooks_run_in_the_thread_that_called_run(options):
    hears = Hears()
    runner = ExperimentRunner(callbacks=[hears])
    run(runner, specifications(*range(6)), FailsOn(1), **options)
    assert hears.threads == {threading.get_ident()}
    elsewhere = threading.Thread(target=lambda: run(runner, specifications(7), name="elsewhere", **options))
    hears.threads.clear()
    elsewhere.start()
    identity = elsewhere.ident
    elsewhere.join()
    assert hears.threads == {identity}


@pytest.mark.parametrize("options", [WAYS["one thread"], WAYS["loky"], {"num_parallel": 2}], ids=["one", "loky", "two"])
def test_a_hook_is_called_before_the_batch_has_ended(options, tmp_path):
    runner = ExperimentRunner()
    runner.on_specification_complete(lambda specification, result: (tmp_path / "called").touch())
    assert run(runner, specifications(0, 1, 2), WaitsFor(tmp_path / "called"), **options)


def test_batch_hooks_are_called_with_what_this_call_did_alone():
    hears = Hears()
    runner = ExperimentRunner(callbacks=[hears])
    run(runner, specifications(0, 1), FailsOn(1))
    hears.calls.clear()
    run(runner, specifications(0, 1, 2), FailsOn(1, 2))
    assert not hears.of("on_batch_complete")
    ((_, failed),) = hears.of("on_batch_failure")
    assert sorted(each["x"] for each in failed) == [1, 2]
    hears.calls.clear()
    run(runner, specifications(0, 1, 2, 3))
    assert not hears.of("on_batch_failure")
    ((completed,),) = hears.of("on_batch_complete")
    assert sorted(each["x"] for each in completed) == [1, 2, 3]
    hears.calls.clear()
    run(runner, specifications(0, 1, 2, 3))
    assert not [call for call in hears.calls if call[0] in HOOKS]


def test_functions_are_hooks_and_none_takes_them_off():
    heard = []
    runner = ExperimentRunner()
    for hook in HOOKS:
        getattr(runner, hook)(lambda *arguments, hook=hook: heard.append(hook))
    run(runner, specifications(1, 2), FailsOn(2))
    assert sorted(heard) == sorted(HOOKS)
    heard.clear()
    for hook in HOOKS:
        getattr(runner, hook)(lambda *arguments, hook=hook: heard.append(f"new {hook}"))  # replaces the other
    run(runner, specifications(1, 2), FailsOn(2), name="second")
    assert sorted(heard) == sorted(f"new {hook}" for hook in HOOKS)
    heard.clear()
    for hook in HOOKS:
        getattr(runner, hook)(None)
        getattr(runner, hook)(None)
    run(runner, specifications(1, 2), FailsOn(2), name="third")
    assert heard == []


def test_the_documents_spelling_of_a_hook():
    heard = []
    runner = ExperimentRunner()
    runner.on_specification_falure(lambda exception, specification: heard.append((str(exception), specification)))
    run(runner, specifications(1), FailsOn(1))
    assert heard == [("1 will not do", {"x": 1})]
    runner.on_specification_failure(None)
    run(runner, specifications(1), FailsOn(1))
    assert len(heard) == 1


@pytest.mark.parametrize("wrong", [3, "text", [print], CallbackManager()], ids=repr)
def test_a_hook_that_cannot_be_called_is_refused(wrong):
    with pytest.raises(TypeError, match="on_batch_complete"):
        ExperimentRunner().on_batch_complete(wrong)


@pytest.mark.parametrize("wrong", [[CallbackManager], [print], CallbackManager(), ["text"], [None]], ids=repr)
def test_what_is_no_list_of_callbacks_is_refused(wrong):
    with pytest.raises(TypeError, match=r"CallbackManager|list"):
        ExperimentRunner().attach_callbacks(wrong)
    with pytest.raises(TypeError, match=r"CallbackManager|list"):
        ExperimentRunner(callbacks=wrong)


def test_attaching_replaces_the_list_and_leaves_the_functions():
    first, second, heard = Hears(), Hears(), []
    runner = ExperimentRunner(callbacks=[first])
    runner.on_specification_complete(lambda specification, result: heard.append(specification))
    runner.attach_callbacks(iter([second, second]))
    run(runner, specifications(1))
    assert first.calls == []
    assert len(second.of("on_specification_complete")) == 2
    runner.attach_callbacks([])
    run(runner, specifications(2))
    assert heard == specifications(1, 2)
    assert len(second.of("on_specification_complete")) == 2


def test_the_base_class_is_four_hooks_that_do_nothing():
    runner = ExperimentRunner(callbacks=[CallbackManager(), CallbackManager()])
    assert not run(runner, specifications(1, 2), FailsOn(2))
    assert all(getattr(CallbackManager, hook).__doc__ for hook in (*HOOKS, "set_experiment_name"))


def test_every_hook_has_its_own_copy_of_what_it_is_told():
    class Spoils(Hears):
        def on_specification_complete(self, specification, result):
            super().on_specification_complete(dict(specification), result["sizes"].copy())
            specification.clear()
            result["sizes"].append(99)

        def on_specification_failure(self, exception, specification):
            super().on_specification_failure(str(exception), dict(specification))
            exception.args = ("spoilt",)
            specification.clear()

        def on_batch_complete(self, specifications):
            super().on_batch_complete([dict(each) for each in specifications])
            specifications[0]["sizes"].append(99)
            specifications.clear()

        def on_batch_failure(self, exceptions, specifications):
            super().on_batch_failure(len(exceptions), [dict(each) for each in specifications])
            specifications.clear()
            exceptions.clear()

    class EchoOrFail(Echo):
        def main(self, specification):
            if specification.get("fail"):
                raise ValueError("as it was")
            return specification

    hooks = [Spoils(), Spoils()]
    listed = [{"sizes": [1]}, {"fail": True}]
    result = run(ExperimentRunner(callbacks=hooks), listed, EchoOrFail())
    assert hooks[0].calls == hooks[1].calls
    assert result.completed == [{"sizes": [1]}]
    assert [specification for specification, _ in result.failed] == [{"fail": True}]
    assert listed == [{"sizes": [1]}, {"fail": True}]
    assert next(load_results("batch")).result == {"sizes": [1]}
    assert run(ExperimentRunner(), listed, EchoOrFail()).skipped == [{"sizes": [1]}]


class Breaks(Hears):
    """Raises in every hook."""

    def __init__(self, error):
        super().__init__()
        self.error = error

    def _hear(self, hook, *arguments):
        super()._hear(hook, *arguments)
        raise self.error


@pytest.mark.parametrize(
    "error", [ValueError("broken"), SystemExit(3), MemoryError(), StopIteration(), asyncio.CancelledError()]
)
@pytest.mark.parametrize("options", WAYS.values(), ids=WAYS)
def test_a_hook_that_raises_is_logged_and_changes_nothing(options, error, caplog):
    breaks, hears = Breaks(error), Hears()
    runner = ExperimentRunner(callbacks=[breaks, hears])
    runner.on_specification_complete(breaks.on_specification_complete)
    runner.on_batch_failure(breaks.on_batch_failure)
    result = run(runner, specifications(0, 1, 2, 3), FailsOn(1, 3), **options)
    assert sorted(each["x"] for each in result.completed) == [0, 2]
    assert sorted(each["x"] for each, _ in result.failed) == [1, 3]
    assert [len(hears.of(hook)) for hook in ("set_experiment_name", *HOOKS)] == [1, 2, 2, 1, 1]
    logged = [record for record in caplog.records if record.exc_info and record.exc_info[1] is error]
    assert len(logged) == 7 + 3  # each of its calls, and the three of the functions
    assert all(record.levelno == logging.ERROR for record in logged)
    assert {found.specification["x"]: bool(found.failure) for found in load_results("batch")} == {
        0: False,
        2: False,
        1: True,
        3: True,
    }
    assert len(run(ExperimentRunner(), specifications(0, 1, 2, 3)).skipped) == 2


def test_a_hook_that_is_interrupted_stops_the_batch_and_loses_nothing():
    runner = ExperimentRunner()

    def interrupt(specification, result):
        if specification["x"] == 2:
            raise KeyboardInterrupt

    runner.on_specification_complete(interrupt)
    with pytest.raises(KeyboardInterrupt):
        run(runner, specifications(*range(6)))
    result = run(ExperimentRunner(), specifications(*range(6)))
    assert result.skipped == specifications(0, 1, 2)
    assert result.completed == specifications(3, 4, 5)


@pytest.mark.parametrize("options", WAYS.values(), ids=WAYS)
def test_whatever_is_raised_fails_one_specification_and_reaches_the_hooks(options):
    hears = Hears()
    listed = [each for kind in RAISES for each in ({"raises": kind}, {"after": kind})]
    result = run(ExperimentRunner(callbacks=[hears]), listed, Raises(), **options)
    assert sorted(each["after"] for each in result.completed) == sorted(RAISES)
    assert {each["raises"]: failure.type for each, failure in result.failed} == {
        kind: name for kind, (_, name) in RAISES.items()
    }
    found = {each.specification["raises"]: each.failure for each in load_results("batch") if each.failure}
    assert {kind: failure.type for kind, failure in found.items()} == {kind: name for kind, (_, name) in RAISES.items()}
    assert all("misbehaving.py" in failure.traceback for failure in found.values())
    assert "no words" in found["one that cannot be shown"].message
    assert "KeyError: 'inner'" in found["one with a cause"].traceback
    told = {each["raises"]: error for error, each in hears.of("on_specification_failure")}
    assert told.keys() == RAISES.keys()
    ((errors, failed),) = hears.of("on_batch_failure")
    for kind, error in [*told.items(), *zip([each["raises"] for each in failed], errors, strict=True)]:
        if type(error) is SpecificationFailed:
            assert error.failure == found[kind]
            assert found[kind].type in str(error)
            assert found[kind].traceback in str(error)
        else:
            assert type(error).__name__ == found[kind].type.rpartition(".")[2]
    stand_ins = {kind for kind, error in told.items() if type(error) is SpecificationFailed}
    # Where Dask is imported, it teaches pickle to keep the one with two arguments, too.
    assert {"one that cannot be pickled", "one that breaks when loaded"} <= stand_ins
    as_they_are = (
        "an exception",
        "an exception of its own",
        "sys.exit",
        "an endless recursion",
        "no memory",
        "StopIteration",
    )
    assert not stand_ins & set(as_they_are)
    assert type(told["an exception of its own"]) is Importable
    assert told["sys.exit"].code == 3
    assert told["an exception"].args == ("no",)


def test_the_traceback_of_the_worker_comes_with_the_exception():
    hears = Hears()
    run(ExperimentRunner(callbacks=[hears]), specifications(1), FailsOn(1), **WAYS["loky"])
    ((error, _),) = hears.of("on_specification_failure")
    assert any("misbehaving.py" in note for note in error.__notes__)


@pytest.mark.parametrize("options", WAYS.values(), ids=WAYS)
def test_a_result_that_does_not_load_is_not_told_and_stops_nobody(options, caplog):
    hears = Hears()
    result = run(ExperimentRunner(callbacks=[hears]), specifications(*range(5)), ReturnsWhatWillNotLoad(), **options)
    told = {each["x"] for each, _ in hears.of("on_specification_complete")}
    assert told == {0, 3}
    assert len(result.completed) + len(result.failed) == 5
    found = {each.specification["x"]: each for each in load_results("batch")}
    assert {x for x, each in found.items() if each.failure} == {1, 2, 4}
    assert "will not load" in found[1].failure.message
    assert "cannot be read" in caplog.text or "will not load" in caplog.text


def test_a_hook_can_run_another_batch():
    runner = ExperimentRunner()

    def second_stage(specification, result):
        listed = specifications(*range(result["square"], result["square"] + 3))
        ExperimentRunner().run(f"stage-2-{specification['x']}", listed, Square(), num_parallel=2, show_progress=False)

    runner.on_specification_complete(second_stage)
    assert run(runner, specifications(0, 1, 2), num_parallel=2)
    for x in range(3):
        assert {each.specification["x"] for each in load_results(f"stage-2-{x}")} == set(range(x**2, x**2 + 3))


def test_a_hook_can_change_the_hooks():
    heard = []
    runner = ExperimentRunner()

    def once(specification, result):
        heard.append(specification)
        runner.on_specification_complete(None)
        runner.attach_callbacks([])

    runner.on_specification_complete(once)
    assert run(runner, specifications(0, 1, 2))
    assert heard == specifications(0)
