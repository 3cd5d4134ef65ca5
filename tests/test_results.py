"""What an experiment returns or raises, as another process finds it again."""

import copy
import json
import os
import pickle
import subprocess
import sys
import textwrap

import pytest
from misbehaving import WAYS, Frozen, ReturnsWhatWillNotLoad, Square

from smallab import Experiment, ExperimentRunner, load_result, load_results
from smallab.observation import Metadata

# A researcher's script: everything is defined in __main__, nothing can be imported.
SCRIPT = """
    import abc, collections, dataclasses, enum, functools, json, sys, threading, typing
    import numpy
    from smallab import Experiment, ExperimentRunner

    FACTOR = 3

    class Base:
        def __init__(self, value):
            self.value = value

        def times(self):
            return self.value * FACTOR

    class Child(Base):
        def __init__(self, value):
            super().__init__(value + 1)

        def zeros(self):
            return numpy.zeros(self.value)

    class Shape(abc.ABC):
        @abc.abstractmethod
        def area(self): ...

    class Flat(Shape):
        def area(self):
            return 42

    @dataclasses.dataclass
    class Point:
        x: int = 1

    @dataclasses.dataclass(frozen=True, slots=True)
    class Fixed:
        x: int = 1

    class Colour(enum.Enum):
        RED = "red"

    class Level(enum.IntEnum):
        HIGH = 3

    Pair = collections.namedtuple("Pair", "a b")

    class Row(typing.NamedTuple):
        a: int

    T = typing.TypeVar("T")

    class Box(typing.Generic[T]):
        def __init__(self, value):
            self.value = value

    class Circle:
        def __init__(self, radius):
            self.radius = radius

        @property
        def colour(self):
            return Colour.RED

        @staticmethod
        def of(radius):
            return Circle(radius)

        @property
        def area(self):
            return FACTOR * self.radius**2

    def helper(x):
        return x * FACTOR

    def factorial(n):
        return 1 if n < 2 else n * factorial(n - 1)

    class Own(Exception):
        def __init__(self, message, code=7):
            super().__init__(message)
            self.code = code

    class TwoArguments(Exception):
        def __init__(self, what, where):
            super().__init__(f"{what} in {where}")

    class HoldsALock(Exception):
        def __init__(self):
            super().__init__("held")
            self.lock = threading.Lock()

    class Returns(Experiment):
        def __init__(self):
            self.offset = 5

        def main(self, specification):
            offset = self.offset
            makes = {
                "lambda": lambda: lambda x: x + offset,
                "lambda with a global": lambda: lambda x: helper(x) + offset,
                "lambda with numpy": lambda: lambda x: float(numpy.sum(x)),
                "lambda with an enum": lambda: lambda: Colour.RED.value,
                "function": lambda: helper,
                "recursive function": lambda: factorial,
                "partial": lambda: functools.partial(helper, 4),
                "child": lambda: Child(2),
                "class": lambda: Child,
                "abstract": lambda: Flat(),
                "dataclass": lambda: Point(3),
                "frozen dataclass": lambda: Fixed(4),
                "enum": lambda: {"colour": Colour.RED, Colour.RED: 1},
                "int enum": lambda: Level.HIGH,
                "named tuple": lambda: Pair(1, Pair(2, 3)),
                "typed named tuple": lambda: Row(1),
                "generic": lambda: Box([1]),
                "circle": lambda: Circle.of(2),
                "array": lambda: {"a": numpy.arange(4), "f": numpy.float32(0.5), "o": numpy.array([Point(1)])},
                "method": lambda: Child(3).times,
                "itself": lambda: self,
                "text": lambda: {"text": "__main__", "bytes": b"__main__"},
                "mixed": lambda: [Child(1), lambda: Point(2).x, {"deep": [Colour.RED, numpy.int64(3)]}],
                "lock": lambda: threading.Lock(),
            }
            raises = {
                "own": lambda: Own("mine", code=8),
                "two": lambda: TwoArguments("a", "b"),
                "lock": lambda: HoldsALock(),
            }
            if "raises" in specification:
                raise raises[specification["raises"]]()
            return makes[specification["returns"]]()

    KINDS = [
        "lambda", "lambda with a global", "lambda with numpy", "lambda with an enum", "function", "recursive function",
        "partial", "child", "class", "abstract", "dataclass", "frozen dataclass", "enum", "int enum", "named tuple",
        "typed named tuple", "generic", "circle", "array", "method", "itself", "text", "mixed", "lock",
    ]

    if __name__ == "__main__":
        told, heard = {}, []
        runner = ExperimentRunner(sys.argv[1])
        runner.on_specification_complete(lambda specification, result: heard.append(specification["returns"]))
        runner.on_specification_failure(lambda error, specification: told.update({specification.get("raises"): error}))
        specifications = [{"returns": kind} for kind in KINDS]
        specifications += [{"raises": kind} for kind in ("own", "two", "lock")]
        runner.run("kinds", specifications, Returns(), num_parallel=int(sys.argv[2]), backend=sys.argv[3] or None)
        types = {kind: [type(error).__name__, isinstance(error, Own), str(error)] for kind, error in told.items()}
        code = getattr(told["own"], "code", None)
        json.dump({"types": types, "heard": sorted(heard), "code": code}, sys.stdout)
"""

# Another process, which has nothing but the files and the loader that the documents name.
READER = """
    import json, os, pathlib, pickle, sys, dill

    load, shown = {"pickle": pickle.load, "dill": dill.load}[sys.argv[2]], {}
    looks = {
        "lambda": lambda it: it(1),
        "lambda with a global": lambda it: it(1),
        "lambda with numpy": lambda it: it([1, 2]),
        "lambda with an enum": lambda it: it(),
        "function": lambda it: it(2),
        "recursive function": lambda it: it(5),
        "partial": lambda it: it(),
        "child": lambda it: [it.value, it.times(), it.zeros().tolist()],
        "class": lambda it: it(1).times(),
        "abstract": lambda it: it.area(),
        "dataclass": lambda it: [it.x, it == type(it)(3)],
        "frozen dataclass": lambda it: [it.x, hash(it) == hash(type(it)(4))],
        "enum": lambda it: [it["colour"].value, it["colour"] in it, type(it["colour"])("red") is it["colour"]],
        "int enum": lambda it: [it + 1, it.name],
        "named tuple": lambda it: [it.a, it.b.b],
        "typed named tuple": lambda it: it.a,
        "generic": lambda it: it.value,
        "circle": lambda it: [it.area, it.colour.value],
        "array": lambda it: [it["a"].tolist(), it["a"].dtype.str[1:], float(it["f"]), it["o"][0].x],
        "method": lambda it: it(),
        "itself": lambda it: it.main({"returns": "child"}).times(),
        "text": lambda it: [it["text"], it["bytes"].decode()],
        "mixed": lambda it: [it[0].times(), it[1](), it[2]["deep"][0].value, int(it[2]["deep"][1])],
        "lock": lambda it: it.acquire(),
    }
    for path in pathlib.Path(sys.argv[1]).rglob("*.pkl"):
        with open(path, "rb") as file:
            record = load(file)
        assert list(record) == ["specification", "result"]
        kind = record["specification"]["returns"]
        shown[kind] = looks[kind](record["result"])
    json.dump(shown, sys.stdout)
"""

EXPECTED = {
    "lambda": 6,
    "lambda with a global": 8,
    "lambda with numpy": 3.0,
    "lambda with an enum": "red",
    "function": 6,
    "recursive function": 120,
    "partial": 12,
    "child": [3, 9, [0.0, 0.0, 0.0]],
    "class": 6,
    "abstract": 42,
    "dataclass": [3, True],
    "frozen dataclass": [4, True],
    "enum": ["red", True, True],
    "int enum": [4, "HIGH"],
    "named tuple": [1, 3],
    "typed named tuple": 1,
    "generic": [1],
    "circle": [12, "red"],
    "array": [[0, 1, 2, 3], "i8", 0.5, 1],
    "method": 12,
    "itself": 9,
    "text": ["__main__", "__main__"],
    "mixed": [6, 2, "red", 3],
    "lock": True,
}


def python(folder, name, code, *arguments):
    path = folder / name
    path.write_text(textwrap.dedent(code), encoding="utf-8")
    done = subprocess.run([sys.executable, str(path), *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


@pytest.fixture(scope="module", params=[("1", ""), ("4", ""), ("2", "loky")], ids=WAYS)
def script(request, tmp_path_factory):
    """Return what the script said, and the folder of its batches."""
    folder = tmp_path_factory.mktemp("script")
    return *python(folder, "script.py", SCRIPT, str(folder / "runs"), *request.param), folder


KEEPS_ITS_CLASSES = """
    import sys
    from smallab import Experiment, ExperimentRunner, load_result

    FACTOR = 3

    class Base:
        def times(self):
            return FACTOR

    class Own(Exception):
        def __str__(self):
            return f"times {FACTOR}"

    class Returns(Experiment):
        def main(self, specification):
            class Local(Base):
                def more(self):
                    return FACTOR + 1
            if specification["fails"]:
                raise Own()
            return Base(), Local()

    methods = Base.times, Own.__str__, Returns.main
    number, backend = int(sys.argv[2]), sys.argv[3] or None
    if __name__ == "__main__":
        runner = ExperimentRunner(sys.argv[1])
        told = []
        runner.on_specification_complete(lambda specification, result: told.extend(result))
        runner.on_specification_failure(lambda exception, specification: told.append(exception))
        batch = [{"fails": False}, {"fails": True}]
        runner.run("batch", batch, Returns(), num_parallel=number, backend=backend)
        told += load_result("batch", {"fails": False}, sys.argv[1]).result
        FACTOR = 4
        import json
        kept = (Base.times, Own.__str__, Returns.main) == methods
        print(json.dumps([kept, sorted(type(thing).__name__ for thing in told if isinstance(thing, (Base, Own)))]))
        print(Base().times(), Own(), [thing.times() for thing in told if isinstance(thing, Base)], file=sys.stderr)
"""


@pytest.mark.parametrize("way", [("1", ""), ("4", ""), ("2", "loky")], ids=WAYS)
def test_reading_back_leaves_the_scripts_own_classes_as_they_are(tmp_path, way):
    shown, said = python(tmp_path, "script.py", KEEPS_ITS_CLASSES, str(tmp_path / "runs"), *way)
    assert shown == [True, ["Base", "Base", "Local", "Local", "Own"]]
    assert said.endswith("4 times 4 [4, 4, 4, 4]\n")  # they see what the script's globals are now


@pytest.mark.parametrize("loader", ["pickle", "dill"])
def test_another_process_loads_what_a_script_returned(script, loader):
    _, _, folder = script
    shown, _ = python(folder, "reader.py", READER, str(folder / "runs"), loader)
    assert shown == EXPECTED


def test_the_hooks_of_a_script_are_told_every_result(script):
    told, _, _ = script
    assert told["heard"] == sorted(EXPECTED)


def test_the_hooks_of_a_script_are_told_its_own_exceptions(script):
    told, _, _ = script
    assert told["types"]["own"] == ["Own", True, "mine"]
    assert told["code"] == 8
    for kind, message in (("two", "a in b"), ("lock", "held")):
        name, _, text = told["types"][kind]
        assert name == "SpecificationFailed"
        assert message in text
        assert "script.py" in text
    assert set(told["types"]) == {"own", "two", "lock"}


def test_nothing_but_the_first_failure_is_said_on_the_way(script):
    _, err, _ = script
    assert "Warning" not in err
    assert err.count("Traceback") == 1


def test_the_results_of_a_script_are_read_back_with_load_results(script):
    _, _, folder = script
    loaded = list(load_results("kinds", folder / "runs"))
    found = {each.specification["returns"]: each.result for each in loaded if "returns" in each.specification}
    assert found["lambda"](1) == 6
    assert found["enum"]["colour"].value == "red"
    failures = {each.specification["raises"]: each.failure for each in loaded if "raises" in each.specification}
    assert {kind: failure.type for kind, failure in failures.items()} == {
        "own": "__main__.Own",
        "two": "__main__.TwoArguments",
        "lock": "__main__.HoldsALock",
    }


HALF = """
    import enum, json, sys, threading
    from smallab import Experiment, ExperimentRunner

    class Colour(enum.Enum):
        RED = "red"

    class Half(Experiment):
        def main(self, specification):
            return {"lock": threading.Lock(), "colour": Colour.RED}

    if __name__ == "__main__":
        options = {"num_parallel": int(sys.argv[2]), "backend": sys.argv[3] or None}
        result = ExperimentRunner(sys.argv[1]).run("half", [{}], Half(), **options)
        json.dump(len(result.completed), sys.stdout)
"""


@pytest.mark.parametrize("way", [("1", ""), ("4", ""), ("2", "loky")], ids=WAYS)
def test_what_is_called_completed_loads_elsewhere(way, tmp_path):
    """A lock is more than cloudpickle can do, an enum of __main__ more than dill can: then it fails, and says so."""
    completed, err = python(tmp_path, "half.py", HALF, str(tmp_path / "runs"), *way)
    (found,) = load_results("half", tmp_path / "runs")
    if completed:
        assert found.failure is None
        assert found.result["colour"].value == "red"
    else:
        assert "pickle" in found.failure.type.lower() + found.failure.message.lower()
    assert "Warning" not in err


class ReturnsA(Experiment):
    """Returns what it was made with, from within the test's own module."""

    def __init__(self, value):
        self.value = value

    def main(self, specification):
        return self.value


class Importable:
    """Can be imported, so pickle needs no help."""

    def __eq__(self, other):
        return isinstance(other, Importable)

    __hash__ = None


@pytest.mark.parametrize(
    "value",
    [None, 0, "", [], {}, (1, (2,)), {1: {2}}, b"bytes", float("inf"), 10**5000, Importable(), Frozen(4), ReturnsA],
    ids=lambda value: type(value).__name__,
)
def test_what_pickle_can_do_stays_a_plain_pickle(value):
    assert ExperimentRunner().run("plain", [{"x": 1}], ReturnsA(value), show_progress=False)
    assert load_result("plain", {"x": 1}).result == value
    (path,) = ExperimentRunner().get_save_directory("plain").rglob("*.pkl")
    assert b"dill" not in path.read_bytes()
    assert b"cloudpickle" not in path.read_bytes()


def test_the_same_object_twice_is_still_one():
    shared = [1]
    ExperimentRunner().run("shared", [{}], ReturnsA([shared, shared]), show_progress=False)
    first, second = load_result("shared", {}).result
    assert first is second


@pytest.mark.parametrize("options", WAYS.values(), ids=WAYS)
def test_a_result_that_does_not_load_names_its_file_and_hides_no_other(options):
    ExperimentRunner().run(
        "broken", [{"x": x} for x in range(5)], ReturnsWhatWillNotLoad(), show_progress=False, **options
    )
    found = {each.specification["x"]: each for each in load_results("broken")}
    assert [found[x].result for x in (0, 3)] == ["fine", "fine"]
    for x in (1, 2, 4):
        assert found[x].failure is not None
        assert found[x].result is None
        assert found[x].id in found[x].failure.message


def test_two_batches_of_one_process_with_other_experiments_do_not_mix():
    """A pool of processes is kept between batches; what it was sent the first time must not be run the second."""
    for offset in range(3):
        experiment = ReturnsA(offset)
        ExperimentRunner().run(
            f"batch-{offset}", [{"x": x} for x in range(3)], experiment, show_progress=False, **WAYS["loky"]
        )
        assert {each.result for each in load_results(f"batch-{offset}")} == {offset}
        ExperimentRunner().run(
            f"batch-{offset}",
            [{"x": x} for x in range(3)],
            Square(),
            continue_from_last_run=False,
            show_progress=False,
            **WAYS["loky"],
        )
        assert {each.result["square"] for each in load_results(f"batch-{offset}")} == {0, 1, 4}


def test_a_result_of_many_megabytes_is_whole():
    ExperimentRunner().run("large", [{"x": 1}], ReturnsA(os.urandom(1) * 30_000_000), show_progress=False)
    assert len(load_result("large", {"x": 1}).result) == 30_000_000


def test_metadata_is_a_dict_among_dicts():
    metadata = Metadata(lambda: {"host": "here"})
    assert metadata | {"pid": 1} == {"host": "here", "pid": 1}
    assert {"pid": 1} | metadata == {"host": "here", "pid": 1}
    assert metadata.copy() == copy.deepcopy(metadata) == pickle.loads(pickle.dumps(Metadata(dict(metadata))))
