"""Parameters: what a function says of itself, what may be given, and the JSON that it becomes."""

import enum
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NewType, Optional, Union

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smallab import SpecificationError, parameter
from smallab.functions.docstring import documented
from smallab.functions.kinds import plain
from smallab.functions.parameters import MISSING, Declaration, Parameter, ParameterError, Parameters
from smallab.functions.signature import arguments, only_parameters, parameters_of, takes_params
from smallab.functions.values import complete, from_text, separate, typed


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Size(enum.IntEnum):
    SMALL = 1
    LARGE = 2


Metres = NewType("Metres", float)


def one(annotation, default=MISSING):
    """Return the parameter of a function with one argument."""

    def function(x): ...

    function.__annotations__["x"] = annotation
    if default is not MISSING:
        function.__defaults__ = (default,)
    return parameters_of(function)


# From a function to its parameters.


def test_the_signature_the_docstring_and_the_decorator():
    @parameter("rate", allowed_values=[0.1, 0.2], envvar="RATE")
    @parameter("steps", help="The decorator's words win.", hidden=True)
    def fit(rate: float, steps: int = 10, *, name="x"):
        """Fit.

        Parameters
        ----------
        rate : float
            How far
            each step goes.
        steps, name
            Both.

        Returns
        -------
        nothing
            At all.
        """

    found = parameters_of(fit)
    assert list(found) == ["rate", "steps", "name"]
    rate, steps, name = found.values()
    assert (rate.type, rate.default, rate.required, rate.help) == (float, MISSING, True, "How far each step goes.")
    assert (rate.allowed_values, rate.envvar) == ((0.1, 0.2), "RATE")
    assert (steps.type, steps.default, steps.required) == (int, 10, False)
    assert (steps.help, steps.hidden) == ("The decorator's words win.", True)
    assert (name.type, name.default, name.help) == (Any, "x", "Both.")


def test_types_from_the_docstring_where_nothing_is_annotated():
    def fit(rate, steps=2):
        """Fit.

        Parameters
        ----------
        rate : float
        steps : int, optional
        """

    assert [item.type for item in parameters_of(fit).values()] == [float, int]


def test_annotations_as_texts_and_those_that_only_type_checkers_know():
    def fit(rate: "float", table: "pandas.DataFrame", colour: "Colour" = Colour.RED): ...  # noqa: F821

    assert [item.type for item in parameters_of(fit).values()] == [float, Any, Colour]


def test_a_function_that_takes_params_has_what_is_declared():
    @parameter("rate", type=float, default=0.1)
    @parameter("steps", type=int, required=True)
    @parameter("name")
    @parameter("fast", is_flag=True)
    @parameter("sizes", type=int, multiple=True)
    def fit(params): ...

    found = parameters_of(fit)
    assert takes_params(fit)
    assert list(found) == ["rate", "steps", "name", "fast", "sizes"]
    assert complete(found, {"steps": 3}) == {"rate": 0.1, "steps": 3, "name": None, "fast": False, "sizes": []}
    with pytest.raises(ParameterError, match="'steps': missing; expected an integer"):
        complete(found, {})


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({}, str),
        ({"default": 4}, int),
        ({"default": 0.5}, float),
        ({"default": True}, bool),
        ({"default": Colour.RED}, Colour),
        ({"allowed_values": [1, 2]}, int),
        ({"default": None, "allowed_values": [0.5]}, float),
        ({"default": lambda: 4}, str),
        ({"is_flag": True}, bool),
        ({"default": 4, "type": float}, float),
    ],
)
def test_the_type_of_what_is_only_declared(options, kind):
    @parameter("x", **options)
    def fit(params): ...

    item = parameters_of(fit)["x"]
    assert (item.type, item.is_flag) == (kind, kind is bool)


def test_a_function_with_an_argument_of_another_name_takes_no_params():
    def fit(parameters, more=1): ...

    assert not takes_params(fit)
    assert list(parameters_of(fit)) == ["parameters", "more"]


def test_declaring_what_the_signature_does_not_have_is_an_error():
    @parameter("steps", type=int)
    def fit(rate, step=1): ...

    with pytest.raises(ValueError, match=r"fit\(rate, step\) has no such argument, did you mean 'step'"):
        parameters_of(fit)
    with pytest.raises(ValueError, match="write 'learning_rate'"):
        parameter("learning-rate")


def test_a_default_from_a_function_is_made_anew():
    made = iter([[1], [2]])

    @parameter("x", default=lambda: next(made))
    def fit(x: list[int]): ...

    found = parameters_of(fit)
    assert [complete(found, {}), complete(found, {})] == [{"x": [1]}, {"x": [2]}]


def test_a_decorator_can_make_a_default_required_and_a_required_one_not():
    @parameter("x", required=True)
    @parameter("y", default=3)
    @parameter("z", required=False)
    def fit(y: int, z: int, x: int = 1): ...

    found = parameters_of(fit)
    assert complete(found, {"x": 5}) == {"y": 3, "z": None, "x": 5}
    with pytest.raises(ParameterError, match="'x': missing"):
        complete(found, {})


def test_other_decorators_in_between_are_no_obstacle():
    import functools

    def traced(function):
        @functools.wraps(function)
        def inner(*args, **kwargs):
            return function(*args, **kwargs)

        return inner

    @parameter("x", default=3)
    @traced
    @parameter("x", help="Inner.")
    def fit(x: int): ...

    item = parameters_of(fit)["x"]
    assert (item.default, item.help) == (3, "Inner.")


# Types.

FITS = [  # annotation, what is given, what the specification holds, what the function gets
    (int, 3, 3, 3),
    (int, numpy.int64(3), 3, 3),
    (float, 3, 3, 3),
    (float, 0.5, 0.5, 0.5),
    (float, numpy.float32(0.5), 0.5, 0.5),
    (bool, True, True, True),
    (str, "x", "x", "x"),
    (Path, Path("a/b"), str(Path("a/b")), Path("a/b")),
    (Path, "a", "a", Path("a")),
    (Colour, Colour.RED, "red", Colour.RED),
    (Colour, "red", "red", Colour.RED),
    (Colour, "RED", "red", Colour.RED),
    (Size, Size.LARGE, "LARGE", Size.LARGE),
    (Size, 2, "LARGE", Size.LARGE),
    (Literal["a", 1], 1, 1, 1),
    (Optional[int], None, None, None),  # noqa: UP045  # the older spelling
    (int | None, 4, 4, 4),
    (Union[int, str], "x", "x", "x"),  # noqa: UP007  # likewise
    (int | str, 3, 3, 3),
    (Path | None, "a", "a", Path("a")),
    (list[int], [1, 2], [1, 2], [1, 2]),
    (list[int], (1, 2), [1, 2], [1, 2]),
    (list[int], numpy.array([1, 2]), [1, 2], [1, 2]),
    (list, [1, "x"], [1, "x"], [1, "x"]),
    (Sequence[Colour], ["red"], ["red"], [Colour.RED]),
    (tuple[int, str], (1, "x"), [1, "x"], (1, "x")),
    (tuple[float, ...], [1, 2.5], [1, 2.5], (1, 2.5)),
    (list[list[int]], [[1], []], [[1], []], [[1], []]),
    (list[Path] | None, ["a"], ["a"], [Path("a")]),
    (Annotated[int, "metres"], 3, 3, 3),
    (Metres, 3.5, 3.5, 3.5),
    (dict[str, int], {"a": 1}, {"a": 1}, {"a": 1}),
    (Any, [1, None], [1, None], [1, None]),
]


@pytest.mark.parametrize(("annotation", "value", "held", "expected"), FITS)
def test_what_fits_becomes_json_and_the_object_again(annotation, value, held, expected):
    found = one(annotation)
    specification = complete(found, {"x": value})
    assert specification == {"x": held}
    assert type(specification["x"]) is type(held)
    assert json.loads(json.dumps(specification)) == specification
    assert complete(found, specification) == specification
    back = typed(found, specification)["x"]
    assert back == expected
    assert type(back) is type(expected)


MISFITS = [  # annotation, what is given, what the error says is expected
    (int, "3", "an integer, not '3'"),
    (int, 3.0, "an integer, not 3.0"),
    (int, True, "an integer, not True"),
    (int, None, "an integer, not None"),
    (float, "x", "a number, not 'x'"),
    (float, True, "a number"),
    (bool, 1, "true or false, not 1"),
    (str, 1, "text, not 1"),
    (Path, 1, "a path, not 1"),
    (Colour, "green", "one of red, blue, not 'green'"),
    (Size, 3, "one of SMALL, LARGE, not 3"),
    (Literal["a", 1], True, "one of a, 1, not True"),
    (int | None, "x", "an integer or none, not 'x'"),
    (list[int], 3, "a list, each item an integer, not 3"),
    (list[int], "12", "a list, each item an integer, not '12'"),
    (list[int] | None, "12", "a list, each item an integer, or none, not '12'"),
    (str | None, 1, "text or none, not 1"),
    (Colour | None, "green", "one of red, blue, or none, not 'green'"),
    (list[int], [1, "x"], "a list, each item an integer, not [1, 'x']"),
    (tuple[int, str], [1], "a list of 2: an integer, text, not [1]"),
]


@pytest.mark.parametrize(("annotation", "value", "expected"), MISFITS)
def test_what_does_not_fit_is_an_error_that_names_the_parameter_and_what_is_expected(annotation, value, expected):
    with pytest.raises(ParameterError) as caught:
        complete(one(annotation), {"x": value})
    assert str(caught.value).startswith(f"parameter 'x': expected {expected}")
    assert isinstance(caught.value, SpecificationError)
    assert caught.value.name == "x"


TEXTS = [  # annotation, the text on a command line, what the specification holds
    (int, "3", 3),
    (float, "3", 3),
    (float, "3.0", 3.0),
    (float, "1e-3", 0.001),
    (str, "3", "3"),
    (Path, "a", "a"),
    (Colour, "blue", "blue"),
    (Literal["a", 1], "1", 1),
    (int | str, "3", 3),
    (str | int, "3", 3),
    (int | str, "x", "x"),
    (float | None, "none", None),
    (Any, "3", 3),
    (Any, "x", "x"),
    (Any, '{"a": [1]}', {"a": [1]}),
    (Any, "NaN", "NaN"),
    (list[int], ["1", "2"], [1, 2]),
    (tuple[int, str], ["1", "2"], [1, "2"]),
]


@pytest.mark.parametrize(("annotation", "text", "held"), TEXTS)
def test_texts(annotation, text, held):
    value = from_text(one(annotation)["x"], text)
    assert value == held
    assert type(value) is type(held)


@pytest.mark.parametrize(
    ("annotation", "text"),
    [
        (int, "x"),
        (int, "3.5"),
        (float, "nan"),
        (float, "inf"),
        (Colour, "green"),
        (list[int], ["1", "x"]),
        (list[int] | None, ["1", "x"]),
    ],
)
def test_texts_that_are_none(annotation, text):
    with pytest.raises(ParameterError, match="'x': expected "):
        from_text(one(annotation)["x"], text)


@pytest.mark.parametrize(
    ("default", "text", "held"), [("a", "3", "3"), (2, "3", 3), (2, "2.5", 2.5), (2, "x", "x"), (None, "3", 3)]
)
def test_without_an_annotation_the_default_says_what_a_text_is(default, text, held):
    assert from_text(one(Any, default)["x"], text) == held


@given(st.floats(allow_nan=False, allow_infinity=False) | st.integers())
def test_a_number_s_text_is_the_number(number):
    assert from_text(one(float)["x"], repr(number)) == number


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists))
def test_json_without_an_annotation_stays_as_it_is(value):
    found = one(Any)
    assert typed(found, complete(found, {"x": value})) == {"x": value}


# What was given.


def test_defaults_are_filled_in_in_the_order_of_the_signature():
    def fit(x: int, colour: Colour = Colour.RED, where: Path | None = None, sizes: Sequence[int] = (1, 2)): ...

    specification = complete(parameters_of(fit), {"where": "a", "x": 1})
    assert list(specification.items()) == [("x", 1), ("colour", "red"), ("where", "a"), ("sizes", [1, 2])]


def test_a_default_of_none_may_be_given_whatever_the_annotation():
    assert complete(one(int, None), {"x": None}) == {"x": None}
    assert typed(one(int, None), {"x": None}) == {"x": None}


def test_an_unknown_one_is_named_with_the_one_that_was_meant():
    def fit(learning_rate: float, steps: int): ...

    with pytest.raises(
        ParameterError, match=r"'learning_rat': .*did you mean 'learning_rate'\?; there are learning_rate, steps"
    ):
        complete(parameters_of(fit), {"learning_rat": 1, "steps": 1, "learning_rate": 1})
    with pytest.raises(ParameterError, match="'x': there is no such parameter; there are none"):
        complete(Parameters(), {"x": 1})


@pytest.mark.parametrize(("value", "fits"), [("sgd", True), ("adm", False)])
def test_allowed_values(value, fits):
    @parameter("optimizer", allowed_values=["sgd", "adam"])
    def fit(optimizer: str = "sgd"): ...

    if fits:
        assert complete(parameters_of(fit), {"optimizer": value}) == {"optimizer": value}
    else:
        with pytest.raises(ParameterError, match="expected one of sgd, adam, not 'adm', did you mean 'adam'"):
            complete(parameters_of(fit), {"optimizer": value})


def test_allowed_values_of_a_list_are_its_items_and_a_bool_is_no_number():
    @parameter("sizes", allowed_values=[1, 2])
    @parameter("colour", allowed_values=[Colour.RED])
    def fit(sizes: list[Any], colour: Colour): ...

    found = parameters_of(fit)
    assert complete(found, {"sizes": [1, 2], "colour": "red"}) == {"sizes": [1, 2], "colour": "red"}
    with pytest.raises(ParameterError, match="'sizes': expected a list, each item one of 1, 2, not True"):
        complete(found, {"sizes": [1, True], "colour": "red"})
    with pytest.raises(ParameterError, match="'colour': expected red, not 'blue'"):
        complete(found, {"sizes": [], "colour": "blue"})


def test_an_environment_variable_counts_more_than_the_default_and_less_than_what_is_given(monkeypatch):
    @parameter("rate", envvar="TEST_RATE")
    @parameter("sizes", envvar="TEST_SIZES")
    def fit(rate: float = 0.5, sizes: list[int] = ()): ...

    found = parameters_of(fit)
    assert complete(found, {}) == {"rate": 0.5, "sizes": []}
    monkeypatch.setenv("TEST_RATE", "0.25")
    monkeypatch.setenv("TEST_SIZES", "1 2")
    assert complete(found, {}) == {"rate": 0.25, "sizes": [1, 2]}
    assert complete(found, {"rate": 1})["rate"] == 1
    monkeypatch.setenv("TEST_RATE", "fast")
    with pytest.raises(ParameterError, match=r"not 'fast' \(the environment variable TEST_RATE"):
        complete(found, {})


def test_random_seed_is_part_of_the_specification_when_it_is_given():
    found = one(int)
    assert complete(found, {"x": 1, "random_seed": 7}) == {"x": 1, "random_seed": 7}
    assert complete(found, {"x": 1, "random_seed": None}) == {"x": 1}
    assert typed(found, {"x": 1, "random_seed": 7}) == {"x": 1}
    with pytest.raises(ParameterError, match="'random_seed': expected an integer, not 'x'"):
        complete(found, {"x": 1, "random_seed": "x"})

    def fit(random_seed: str): ...

    assert complete(parameters_of(fit), {"random_seed": "x"}) == {"random_seed": "x"}


def test_keyword_arguments_take_anything():
    def fit(x: int, **more: int): ...

    found = parameters_of(fit)
    specification = complete(found, {"x": 1, "y": 2})
    assert specification == {"x": 1, "y": 2}
    assert arguments(fit, typed(found, specification)) == ([], {"x": 1, "y": 2})
    with pytest.raises(ParameterError, match="'y': expected an integer"):
        complete(found, {"x": 1, "y": "z"})


def test_arguments_by_position_and_by_name():
    def fit(a, /, b, *rest: int, c=1): ...

    specification = complete(parameters_of(fit), {"a": 1, "b": 2, "rest": [3, 4]})
    args, kwargs = arguments(fit, typed(parameters_of(fit), specification))
    assert (args, kwargs) == ([1, 2, 3, 4], {"c": 1})


def test_settings_and_a_file_of_parameters(tmp_path):
    found = parameters_of(lambda x, y=1: None)
    (tmp_path / "p.json").write_text('{"x": 1, "y": 2}', encoding="utf-8")
    (tmp_path / "p.yaml").write_text("x: 3\ny: [4]\n", encoding="utf-8")
    values, settings = separate(
        found, {"y": 5, "params_file": str(tmp_path / "p.json"), "debug": True, "output_dir": "o"}
    )
    assert values == {"x": 1, "y": 5}
    assert (settings["debug"], settings["output_dir"]) == (True, Path("o"))
    assert separate(found, {"params_file": tmp_path / "p.yaml"})[0] == {"x": 3, "y": [4]}
    own = parameters_of(lambda debug: None)
    assert separate(own, {"debug": "mine"}) == ({"debug": "mine"}, {})


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("p.json", "{", "p.json cannot be read: "),
        ("p.json", "[1]", "p.json holds a list, not a dict"),
        ("p.yaml", "{", "p.yaml cannot be read: "),
        ("nowhere.json", None, "nowhere.json cannot be read: "),
    ],
)
def test_a_file_that_holds_no_parameters(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(ParameterError, match="'params_file': ") as caught:
        separate(Parameters(), {"params_file": tmp_path / name})
    assert message in str(caught.value)


def test_a_parameter_can_be_pickled():
    import pickle

    found = one(bool | None)
    assert found["x"].is_flag
    again = pickle.loads(pickle.dumps(found))
    assert again == found
    assert (again["x"].default, again["x"].is_flag) == (MISSING, True)


def test_declarations_alone_make_parameters():
    found = only_parameters([Declaration("rate", {"type": float}), Declaration("rate", {"default": 2})])
    assert (found["rate"].type, found["rate"].default) == (float, 2)


def test_what_follows_from_a_type_and_a_default_is_not_stored_beside_them():
    needed, flag, several = Parameter("x", int, MISSING), Parameter("x", bool | None), Parameter("x", list[int], ())
    assert [item.required for item in (needed, flag, several)] == [True, False, False]
    assert [item.is_flag for item in (needed, flag, several)] == [False, True, False]
    assert [item.multiple for item in (needed, flag, several)] == [False, False, True]
    assert Parameter("x", default=True).is_flag
    with pytest.raises(TypeError, match="required"):
        Parameter("x", int, required=True)


@pytest.mark.parametrize(
    ("options", "default"),
    [({}, None), ({"is_flag": True}, False), ({"multiple": True}, []), ({"required": True}, MISSING)],
)
def test_what_is_only_declared_without_a_default(options, default):
    @parameter("x", **options)
    def fit(params): ...

    assert parameters_of(fit)["x"].default == default


def test_documented_without_a_section():
    assert documented("") == {}
    assert documented("Fit.\n\nParameters are fun.\n") == {}


def test_plain_leaves_what_it_does_not_know_to_the_specification_s_own_check():
    thing = object()
    assert plain(thing) is thing
    assert plain({"a": (Path("x"), Size.SMALL)}) == {"a": [os.path.join("x"), "SMALL"]}
