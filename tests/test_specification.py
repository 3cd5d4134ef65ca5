"""Identity: canonical JSON, the hash, and what is refused, with its place."""

import collections
import copy
import dataclasses
import datetime
import decimal
import enum
import fractions
import hashlib
import json
import os
import subprocess
import sys
import types
import uuid

import numpy
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from misbehaving import Echo, Square

from smallab import SpecificationError, load_results, specification_hash
from smallab.runner import ExperimentRunner
from smallab.specification import canonical, python_number

unicode_text = st.text(st.characters(exclude_categories=["Cs"]))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | unicode_text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(unicode_text, inner, max_size=4),
    max_leaves=8,
)
specifications = st.dictionaries(unicode_text, json_values, max_size=5)
property_of = settings(max_examples=50, deadline=None)  # the machine may be busy

# Written down once and for all: folders that exist are found by these names.
KNOWN = [
    ({}, "{}", "2afb9b83f9314e5d029766197f539792"),
    ({"x": 1}, '{"x":1}', "baf059ca269223ef0e10bac9eb71ee58"),
    ({"x": 1.0}, '{"x":1.0}', "3aa5dbda0078fc0af150e47413a886a2"),
    ({"x": True}, '{"x":true}', "6ac41838941c6ae8d9b731427f973914"),
    ({"x": None}, '{"x":null}', "58d289383dd6d540f7c7dfef7dc9ac55"),
    ({"x": "1"}, '{"x":"1"}', "aa0122d0a549f7a929f0027fb0c971e6"),
    ({"seed": 1, "num_calls": 1}, '{"num_calls":1,"seed":1}', "518f35a55e4ca52af6287176f9acbfa8"),
    (
        {"seed": 1, "lr": 0.1, "model": {"sizes": [64, 32], "depth": 2}},
        '{"lr":0.1,"model":{"depth":2,"sizes":[64,32]},"seed":1}',
        "6ce0862fa17f7c8f0696f5cff7a216a2",
    ),
    ({"größe": "日本語 😀"}, '{"größe":"日本語 😀"}', "fca80b096f9be7408b1bbc7ec60f34e7"),
    (
        {"x": [1e-7, 1e22, 123456789012345678901234567890, -0.0]},
        '{"x":[1e-07,1e+22,123456789012345678901234567890,-0.0]}',
        "2d865b6d836868092450e89c55e90f42",
    ),
    ({"text": 'a"b\\c\n\0\x7f/'}, '{"text":"a\\"b\\\\c\\n\\u0000\x7f/"}', "dce68d2106108c65cf9bc02b6f01fd21"),
]


def blake(text):
    return hashlib.blake2b(text.encode("utf-8"), digest_size=16).hexdigest()


def exactly(value):
    """Return a value so that 1, 1.0 and True differ, and 0.0 and -0.0."""
    if isinstance(value, dict):
        return {key: exactly(item) for key, item in value.items()}
    return [exactly(item) for item in value] if isinstance(value, list) else (type(value), repr(value))


@pytest.mark.parametrize(("specification", "text", "hashed"), KNOWN, ids=[text for _, text, _ in KNOWN])
def test_a_hash_stays_what_it_is_for_good(specification, text, hashed):
    assert canonical(specification) == text
    assert specification_hash(specification) == hashed
    assert blake(text) == hashed


@property_of
@given(specifications)
@example({"": {"": [[], {}, None]}})
@example({"line separators": "\x85\u2028\u2029\r\n\x00\x7f", "float": 5e-324, "huge": 10**4000, "minus": -0.0})
def test_any_json_value_comes_back_equal_and_keeps_its_hash(specification):
    before = copy.deepcopy(specification)
    text = canonical(specification)
    back = json.loads(text)
    assert exactly(back) == exactly(specification)
    assert canonical(back) == text
    assert specification_hash(back) == specification_hash(specification) == blake(text)
    assert exactly(specification) == exactly(before)


@property_of
@given(specifications, st.randoms(use_true_random=False))
def test_the_order_of_keys_does_not_matter(specification, random):
    def shuffled(value):
        if isinstance(value, list):
            return [shuffled(item) for item in value]
        if not isinstance(value, dict):
            return value
        keys = list(value)
        random.shuffle(keys)
        return {key: shuffled(value[key]) for key in keys}

    assert canonical(shuffled(specification)) == canonical(specification)


@property_of
@given(specifications, specifications)
def test_two_share_a_hash_only_if_they_are_the_same(one, other):
    assert (specification_hash(one) == specification_hash(other)) == (exactly(one) == exactly(other))


@property_of
@given(specifications)
def test_a_tuple_is_a_list(specification):
    def with_tuples(value):
        if isinstance(value, list):
            return tuple(with_tuples(item) for item in value)
        return {key: with_tuples(item) for key, item in value.items()} if isinstance(value, dict) else value

    assert canonical(with_tuples(specification)) == canonical(specification)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batch=st.lists(specifications, max_size=6))
@example(batch=[{"line": "\x85\u2028\r\n,]"}, {"": None}, {"x": 1}, {"x": 1.0}, {"x": True}, {"huge": 10**4000}])
def test_what_ran_is_found_again(batch, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    first = ExperimentRunner(folder).run("any", batch, Echo(), show_progress=False)
    again = ExperimentRunner(folder).run("any", [json.loads(canonical(item)) for item in batch], Echo())
    distinct = {canonical(item) for item in batch}
    assert {canonical(item) for item in first.completed} == distinct
    assert {canonical(item) for item in again.skipped} == distinct
    assert not again.completed
    if batch:
        found = list(load_results("any", folder))
        assert {item.id: exactly(item.result) for item in found} == {
            specification_hash(item): exactly(item) for item in batch
        }


def test_one_and_one_point_zero_and_true_differ():
    values = [1, 1.0, True, "1", [1], None, 0, 0.0, -0.0, False, "", [], {}]
    assert len({specification_hash({"x": value}) for value in values}) == len(values)
    assert len({specification_hash({"x": [value]}) for value in values}) == len(values)


class Size(enum.IntEnum):
    SMALL = 1


class Name(str, enum.Enum):  # noqa: UP042  # the older spelling is the one that is met
    SVM = "svm"


Point = collections.namedtuple("Point", "x y")  # noqa: PYI024  # likewise


@pytest.mark.parametrize(
    ("value", "same"),
    [
        ((1, (2, [3])), [1, [2, [3]]]),
        (Point(1, 2), [1, 2]),
        (collections.OrderedDict(b=1, a=2), {"a": 2, "b": 1}),
        (collections.defaultdict(list, a=[1]), {"a": [1]}),
        (Size.SMALL, 1),
        (Name.SVM, "svm"),
    ],
    ids=["tuple", "named tuple", "ordered dict", "default dict", "int enum", "str enum"],
)
def test_what_json_takes_for_its_own(value, same):
    assert canonical({"x": value}) == canonical({"x": same})
    assert canonical({"x": [{"y": value}]}) == canonical({"x": [{"y": same}]})


@pytest.mark.parametrize(
    ("scalar", "number"),
    [
        *[(kind(7), 7) for kind in (numpy.int8, numpy.int16, numpy.int32, numpy.int64, numpy.intp, numpy.longlong)],
        *[(kind(7), 7) for kind in (numpy.uint8, numpy.uint16, numpy.uint32, numpy.uint64, numpy.ulonglong)],
        (numpy.uint64(2**64 - 1), 2**64 - 1),
        (numpy.float16(0.5), 0.5),
        (numpy.float32(0.1), 0.10000000149011612),
        (numpy.float64(0.1), 0.1),
        (numpy.bool_(True), True),
        (numpy.bool_(False), False),
        (numpy.str_("svm"), "svm"),
        (numpy.linspace(0, 1, 3)[1], 0.5),
        (numpy.arange(3)[2], 2),
    ],
    ids=lambda value: f"{type(value).__name__} {value}",
)
def test_a_numpy_scalar_counts_as_the_number_that_it_holds(scalar, number):
    for wrap in (lambda x: {"x": x}, lambda x: {"x": [{"y": (x, 1)}]}):
        text = canonical(wrap(scalar))
        assert text == canonical(wrap(number))
        assert exactly(json.loads(text)) == exactly(json.loads(json.dumps(wrap(number))))


@pytest.mark.parametrize("value", [numpy.array(3), numpy.str_("a"), numpy.datetime64("2026-01-01", "ns"), "a", None, 3])
def test_what_holds_no_number_stays_as_it_is(value):
    assert python_number(value) is value


def test_a_numpy_string_as_a_key():
    assert canonical({numpy.str_("a"): 1}) == '{"a":1}'


def _circular_list():
    inner = []
    inner.append(inner)
    return inner


def _circular_dict():
    inner = {}
    inner["self"] = [inner]
    return inner


def _deep(levels):
    inner = []
    for _ in range(levels):
        inner = [inner]
    return inner


# what is wrong: the value, and what else the message says (a part of it)
REFUSED = {
    "a set": ({1}, "set"),
    "a frozenset": (frozenset({1}), "frozenset"),
    "bytes": (b"abc", "bytes"),
    "a range": (range(3), "list"),
    "a generator": ((x for x in range(3)), "generator"),
    "a date": (datetime.date(2026, 1, 1), "date"),
    "a time": (datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC), "datetime"),
    "a decimal": (decimal.Decimal("0.1"), "Decimal"),
    "a fraction": (fractions.Fraction(1, 3), "Fraction"),
    "a complex": (1j, "complex"),
    "a uuid": (uuid.UUID(int=1), "UUID"),
    "a function": (blake, "function"),
    "a class": (int, "type"),
    "an object": (Square(), "Square"),
    "a mapping that is no dict": (types.MappingProxyType({"a": 1}), "mappingproxy"),
    "an array": (numpy.arange(3), "tolist"),
    "an array of nothing": (numpy.array(3), "ndarray"),
    "a numpy complex": (numpy.complex64(1j), "complex64"),
    "a numpy date": (numpy.datetime64("2026-01-01"), "datetime64"),
    "a numpy date in nanoseconds": (numpy.datetime64("2026-01-01T00:00:00", "ns"), "datetime64"),
    "a numpy time difference in nanoseconds": (numpy.timedelta64(5, "ns"), "timedelta64"),
    "numpy bytes": (numpy.bytes_(b"a"), "bytes"),
    "nan": (float("nan"), "nan"),
    "infinity": (float("inf"), "inf"),
    "minus infinity": (float("-inf"), "-inf"),
    "a numpy nan": (numpy.float32("nan"), "nan"),
    "a numpy infinity": (numpy.float64("inf"), "inf"),
    "a lone surrogate": ("\ud800", "surrogate"),
    "a lone surrogate among letters": ("abc\udfffdef", "surrogate"),
    "an integer too large to be read back": (10**5000, "4300"),
}


@pytest.mark.parametrize(("value", "says"), REFUSED.values(), ids=REFUSED)
def test_what_json_cannot_hold_is_refused_with_its_place(value, says, batches_in_tmp_path):
    list_of_them = [{"x": 0}, {"x": 1}, {"x": 2}, {"model": {"sizes": value}}]
    with pytest.raises(SpecificationError) as caught:
        ExperimentRunner().run("refused", list_of_them, Square())
    assert str(caught.value).startswith('specifications[3]["model"]["sizes"]: ')
    assert says in str(caught.value)
    assert len(str(caught.value)) < 300
    with pytest.raises(SpecificationError) as caught:
        specification_hash({"a": [0, (1, {"b": value})]})
    assert str(caught.value).startswith('specification["a"][1][1]["b"]: ')
    assert not batches_in_tmp_path.exists()  # nothing is written when one of them is refused


@pytest.mark.parametrize("key", [1, 1.5, True, None, (1, 2), b"a", numpy.int64(3)], ids=repr)
def test_a_key_that_is_no_string_is_refused(key):
    with pytest.raises(SpecificationError, match="strings") as caught:
        specification_hash({"model": [{key: 1}]})
    assert str(caught.value).startswith('specification["model"][0]: ')
    assert repr(key) in str(caught.value)


def test_keys_of_several_types_are_refused_by_name():
    with pytest.raises(SpecificationError, match=r"specification: .*1.*strings"):
        specification_hash({"a": 1, 1: 2})


def test_a_key_with_a_lone_surrogate_is_refused():
    with pytest.raises(SpecificationError, match="surrogate"):
        specification_hash({"a": {"\ud800": 1}})


@pytest.mark.parametrize(
    ("key", "place"),
    [("it's", '["it\'s"]'), ('say "hi"', '["say \\"hi\\""]'), ("größe", '["größe"]'), ("a b", '["a b"]'), ("", '[""]')],
)
def test_the_place_names_a_key_as_json_does(key, place):
    with pytest.raises(SpecificationError) as caught:
        specification_hash({key: {1}})
    assert str(caught.value).startswith(f"specification{place}: ")


@pytest.mark.parametrize("value", [_circular_list(), _circular_dict(), _deep(100_000)], ids=["list", "dict", "deep"])
def test_what_never_ends_is_refused(value):
    with pytest.raises(SpecificationError, match=r"specification.*(deep|itself)"):
        specification_hash({"x": value})


def test_nesting_that_people_write_is_not_too_deep():
    specification = {"x": _deep(100)}
    result = ExperimentRunner().run("deep", [specification], Echo(), show_progress=False)
    assert result.completed == [specification]
    assert next(load_results("deep")).result == specification


@pytest.mark.parametrize("wrong", [[1], "text", 3, None, {1}, Square(), Point(1, 2)], ids=repr)
def test_a_specification_that_is_no_dict_is_refused(wrong):
    with pytest.raises(SpecificationError, match="specification: "):
        specification_hash(wrong)
    with pytest.raises(SpecificationError, match=r"specifications\[1\]: "):
        ExperimentRunner().run("refused", [{"x": 1}, wrong], Square())


def test_an_object_that_cannot_be_shown_is_refused_all_the_same():
    @dataclasses.dataclass
    class Mute:
        def __repr__(self):
            raise RuntimeError("no words")

    with pytest.raises(SpecificationError, match=r'^specification\["x"\]: '):
        specification_hash({"x": Mute()})


FOLDERS = """
import sys
from smallab import Experiment, ExperimentRunner

class Keys(Experiment):
    def main(self, specification):
        return list(specification)

names = {"zeta", "alpha", "größe", "x y", "1", "true", "model", "lr"}
specifications = [{name: {other: [len(other), 0.1] for other in names} for name in names}, {name: 1 for name in names}]
ExperimentRunner(sys.argv[1]).run("hashed", specifications, Keys(), show_progress=False)
"""


def test_processes_with_different_hash_seeds_agree(tmp_path):
    trees = []
    for seed in ("0", "1", "4242"):
        folder = tmp_path / seed
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        subprocess.run([sys.executable, "-c", FOLDERS, str(folder)], env=environment, check=True)
        batch = folder / "hashed"
        files = sorted(str(path.relative_to(batch)) for path in batch.rglob("*.pkl"))
        contents = [(batch / name).read_bytes() for name in files]  # main saw the keys in the same order
        trees.append((files, contents, (batch / "completed.json").read_text(encoding="utf-8").count("alpha")))
    assert trees[0] == trees[1] == trees[2]
    assert len(trees[0][0]) == 2


def test_the_caller_s_dicts_are_left_as_they_are():
    sizes = (64, numpy.int64(32))
    specification = {"b": sizes, "a": numpy.float32(0.5)}
    ExperimentRunner().run("left", [specification], Echo(), show_progress=False)
    assert list(specification) == ["b", "a"]
    assert specification["b"] is sizes
    assert type(specification["b"][1]) is numpy.int64
    assert type(specification["a"]) is numpy.float32


def test_everybody_sees_the_same_normalised_copy():
    heard = []
    runner = ExperimentRunner()
    runner.on_specification_complete(lambda specification, result: heard.extend([specification, result]))
    runner.on_batch_complete(heard.extend)
    result = runner.run("copy", [{"b": (1, numpy.int8(2)), "a": numpy.bool_(True)}], Echo(), show_progress=False)
    expected = exactly({"a": True, "b": [1, 2]})
    seen = [*heard, *result.completed, next(load_results("copy")).specification, next(load_results("copy")).result]
    assert len(seen) == 6
    assert all(exactly(item) == expected for item in seen)
    assert all(list(item) == ["a", "b"] for item in seen)
