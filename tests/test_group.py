"""Groups: what is in them, and what their experiments inherit."""

import pytest

from smallab import ExperimentRunner, group, load_results, parameter
from smallab.experiment import FunctionExperiment
from smallab.functions.group import Group
from smallab.functions.parameters import ParameterError


@pytest.fixture
def tools():
    @parameter("learning_rate", type=float, default=0.1, help="How far each step goes.")
    @group
    @parameter("seed", type=int, default=1)
    def tools():
        """Everything for the paper."""
        raise AssertionError("a group's function is never run")

    return tools


def test_a_group_has_its_function_s_name_and_docstring(tools):
    assert isinstance(tools, Group)
    assert (tools.name, tools.__doc__) == ("tools", "Everything for the paper.")
    assert repr(tools) == "<group tools: empty>"


def test_its_experiments_are_experiments_like_any_other(tools):
    @tools.experiment
    def fit(params):
        """Fit."""
        return params["learning_rate"] * params["seed"]

    assert isinstance(fit, FunctionExperiment)
    assert dict(tools.members) == {"fit": fit}
    assert fit.run({"seed": 3, "learning_rate": 2}) == 6
    (observation,) = fit.observations()
    assert observation.specification == {"learning_rate": 2, "seed": 3}
    ExperimentRunner().run("in_a_batch", [{"seed": 5}], fit, show_progress=False)
    assert [found.result for found in load_results("in_a_batch")] == [0.5]


def test_a_function_with_a_signature_inherits_what_it_names(tools):
    @tools.experiment
    def fit(x, learning_rate):
        return x * learning_rate

    @tools.experiment
    def draw(x): ...

    @tools.experiment
    def anything(**more):
        return more

    assert fit.run({"x": 2}) == 0.2
    assert fit.parameters["learning_rate"].help == "How far each step goes."
    with pytest.raises(ParameterError, match="'learning_rate': expected a number, not 'x'"):
        fit.run({"x": 2, "learning_rate": "x"})
    assert list(draw.parameters) == ["x"]
    assert anything.run({"y": 1}) == {"learning_rate": 0.1, "seed": 1, "y": 1}


def test_what_an_experiment_says_itself_counts_more(tools):
    @tools.experiment
    def fit(learning_rate: int = 3): ...

    @tools.experiment
    @parameter("learning_rate", default=7, help="Its own.")
    def refit(params): ...

    own = fit.parameters["learning_rate"]
    assert (own.type, own.default, own.help) == (int, 3, "How far each step goes.")
    own = refit.parameters["learning_rate"]
    assert (own.type, own.default, own.help) == (float, 7, "Its own.")


def test_groups_nest_and_hand_down(tools):
    @parameter("depth", type=int, default=2)
    @tools.group
    def forest():
        """Trees."""

    @forest.group(name="deep")
    def very_deep(): ...

    @very_deep.experiment(name="fell")
    def fell_one(params):
        return params

    assert repr(tools) == "<group tools: forest>"
    assert list(forest.members) == ["deep"]
    assert fell_one.name == "fell"
    assert fell_one.run({"depth": 4}) == {"learning_rate": 0.1, "seed": 1, "depth": 4}


def test_the_inner_of_two_groups_counts_more(tools):
    @tools.group
    @parameter("seed", type=float, default=0.5, help="Its own.")
    def inner(): ...

    @inner.experiment
    def fit(params): ...

    seed = fit.parameters["seed"]
    assert (seed.type, seed.default, seed.help) == (float, 0.5, "Its own.")


def test_a_parameter_declared_last_is_inherited_too(tools):
    @tools.group
    def inner(): ...

    @inner.experiment
    def fit(params):
        return params

    parameter("late", default=9)(tools)
    assert fit.run({})["late"] == 9


def test_an_experiment_can_join_two_groups(tools):
    @group
    def others(): ...

    @others.experiment
    @tools.experiment
    def fit(params):
        return params

    assert others.members["fit"] is tools.members["fit"]
    assert fit.run({}) == {"learning_rate": 0.1, "seed": 1}


def test_two_members_of_one_name_are_an_error(tools):
    @tools.experiment
    def fit(params): ...

    with pytest.raises(ValueError, match="tools has a member 'fit' already"):

        @tools.group
        def fit(): ...
