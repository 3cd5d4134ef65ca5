"""A cupboard of experiments: a few that behave, and many that do what experiments should not.

They are in a module of their own so that workers in other processes can import them.
"""

import asyncio
import ctypes
import dataclasses
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter

import psutil

from smallab import Experiment

# How a batch can be run: what the tests that hold for every backend are parametrised with.
WAYS = {
    "one thread": {},
    "4 threads": {"num_parallel": 4},
    "loky": {"num_parallel": 2, "backend": "loky"},
}


def wait_for(condition, seconds=30.0):
    """Poll until something holds; fail if it never does."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"{condition} did not come true")
        time.sleep(0.005)


def is_gone(pid):
    """Tell whether a process has ended, which it may do while it is asked for."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


class Square(Experiment):
    """Behaves."""

    def main(self, specification):
        return {"square": specification["x"] ** 2}


class Echo(Experiment):
    """Returns what it was passed."""

    def main(self, specification):
        return specification


class FailsOn(Experiment):
    """Raises for some values of x, for as long as a file is there, if one is named."""

    def __init__(self, *values, while_there=None):
        self.values, self.while_there = values, while_there

    def main(self, specification):
        x = specification["x"]
        if x in self.values and (self.while_there is None or os.path.exists(self.while_there)):
            raise ValueError(f"{x} will not do")
        return {"square": x**2}


class Records(Experiment):
    """Leaves a file for each time that it runs."""

    def __init__(self, folder):
        self.folder = str(folder)

    def main(self, specification):
        with open(f"{self.folder}/{specification['x']}.{time.time_ns()}.{random.random()}", "w", encoding="utf-8"):
            return {"square": specification["x"] ** 2}

    @staticmethod
    def seen(folder):
        """Return which x ran, once for each time."""
        return sorted(int(entry.partition(".")[0]) for entry in os.listdir(folder))


class WaitsFor(Experiment):
    """From the second specification on, does not return before a file is there."""

    def __init__(self, path):
        self.path = str(path)

    def main(self, specification):
        if specification["x"]:
            wait_for(lambda: os.path.exists(self.path))
        return specification["x"]


# What is raised.


class TwoArguments(Exception):
    """Pickles, but does not load: pickle calls the class with one argument."""

    def __init__(self, what, where):
        super().__init__(f"{what} in {where}")


class HoldsALock(Exception):
    """Cannot be pickled."""

    def __init__(self):
        super().__init__("held")
        self.lock = threading.Lock()


class Mute(Exception):
    """Cannot be shown."""

    def __str__(self):
        raise RuntimeError("no words")


class BreaksWhenLoaded(Exception):
    """Raises SystemExit while it is being unpickled."""

    def __reduce__(self):
        return sys.exit, (5,)


class Panic(BaseException):
    """As of a library written in Rust: no Exception."""


class PanicsWhenShown(Exception):
    """Cannot be shown, nor pickled, and says so with what is no Exception."""

    def __str__(self):
        raise Panic("shown")

    def __reduce__(self):
        raise Panic("pickled")


class PanicsWhenLoaded(Exception):
    """Pickles, and raises what is no Exception when it is loaded."""

    def __reduce__(self):
        return _raise, (Panic("loaded"),)


class Words(str):
    """A str that cannot be pickled."""

    __slots__ = ("lock",)


class SpeaksInWords(Exception):
    """Its message is no plain str."""

    def __str__(self):
        words = Words("in words")
        words.lock = threading.Lock()
        return words


class Importable(Exception):
    """Nothing special: it comes back as what it is."""


def _recurse():
    return _recurse() + 1


def _raise(error):
    raise error


def _chained():
    try:
        _raise(KeyError("inner"))
    except KeyError as error:
        raise ValueError("outer") from error


# name: how it misbehaves, and the type that is recorded
RAISES = {
    "an exception": (lambda: _raise(ValueError("no")), "ValueError"),
    "an exception of its own": (lambda: _raise(Importable("mine")), "misbehaving.Importable"),
    "one with a cause": (_chained, "ValueError"),
    "a two-argument exception": (lambda: _raise(TwoArguments("a", "b")), "misbehaving.TwoArguments"),
    "one that cannot be pickled": (lambda: _raise(HoldsALock()), "misbehaving.HoldsALock"),
    "one that cannot be shown": (lambda: _raise(Mute()), "misbehaving.Mute"),
    "one that breaks when loaded": (lambda: _raise(BreaksWhenLoaded()), "misbehaving.BreaksWhenLoaded"),
    "one that panics when shown": (lambda: _raise(PanicsWhenShown()), "misbehaving.PanicsWhenShown"),
    "one that panics when loaded": (lambda: _raise(PanicsWhenLoaded()), "misbehaving.PanicsWhenLoaded"),
    "one whose message is no plain str": (lambda: _raise(SpeaksInWords()), "misbehaving.SpeaksInWords"),
    "one with a lone surrogate": (lambda: _raise(ValueError("\ud800")), "ValueError"),
    "sys.exit": (lambda: sys.exit(3), "SystemExit"),
    "sys.exit with a text": (lambda: sys.exit("goodbye"), "SystemExit"),
    "a bare BaseException": (lambda: _raise(BaseException("base")), "BaseException"),
    "GeneratorExit": (lambda: _raise(GeneratorExit()), "GeneratorExit"),
    "CancelledError": (lambda: _raise(asyncio.CancelledError()), "asyncio.exceptions.CancelledError"),
    "StopIteration": (lambda: next(iter([])), "StopIteration"),
    "an endless recursion": (_recurse, "RecursionError"),
    "no memory": (lambda: _raise(MemoryError()), "MemoryError"),
    "an exception group": (
        lambda: _raise(ExceptionGroup("two", [ValueError(1), HoldsALock()])),
        "ExceptionGroup",
    ),
    "a full disk": (lambda: _raise(OSError(28, "No space left on device")), "OSError"),
    "a warning as an error": (lambda: _raise(UserWarning("warned")), "UserWarning"),
}


class Raises(Experiment):
    """Raises what RAISES names, or behaves where nothing is named."""

    def main(self, specification):
        if kind := specification.get("raises"):
            RAISES[kind][0]()
        return {"fine": True}


class Interrupts(Experiment):
    """Raises KeyboardInterrupt itself, once x reaches a number and until a file is there."""

    def __init__(self, number, until):
        self.number, self.until = number, str(until)

    def main(self, specification):
        if specification["x"] >= self.number and not os.path.exists(self.until):
            raise KeyboardInterrupt
        return specification["x"]


# What is returned.


def _exit_when_loaded():
    raise ValueError("will not load")


class WillNotLoad:
    """Pickles, and raises when it is loaded."""

    def __reduce__(self):
        return _exit_when_loaded, ()


class ExitsWhenLoaded:
    """Pickles, and ends the process that loads it."""

    def __reduce__(self):
        return sys.exit, (4,)


def _nested(depth):
    inner = []
    for _ in range(depth):
        inner = [inner]
    return inner


UNPICKLABLE = {
    "a generator": lambda: (x for x in range(3)),
    "a frame": sys._getframe,
    "a thread's own": threading.local,
    "a list nested too deeply": lambda: _nested(100_000),
    "one that is deep inside": lambda: {"model": [{"layers": (1, (x for x in "abc"))}]},
}


class ReturnsWhatCannotBeSaved(Experiment):
    """Returns what UNPICKLABLE names, or behaves where nothing is named."""

    def main(self, specification):
        return UNPICKLABLE[specification["returns"]]() if "returns" in specification else "fine"


class ReturnsWhatWillNotLoad(Experiment):
    """Returns something that is saved and never read again, where x is 1 (an error), 2 (the loader's end) or 4."""

    def main(self, specification):
        return {1: WillNotLoad(), 2: ExitsWhenLoaded(), 4: PanicsWhenLoaded()}.get(specification["x"], "fine")


# What is done to what it was lent.


class ChangesItsSpecification(Experiment):
    """Changes the dict that it was passed, and what is in it."""

    def main(self, specification):
        specification["sizes"].append(99)
        specification["new"] = True
        del specification["x"]
        return "changed"


class ChangesTheDirectory(Experiment):
    """Leaves the process in another working directory."""

    def __init__(self, folder):
        self.folder = str(folder)

    def main(self, specification):
        os.chdir(self.folder)
        return os.path.basename(os.getcwd())


class PrintsAMegabyte(Experiment):
    """Floods both streams."""

    def main(self, specification):
        print("x" * 1_000_000)
        print("y" * 1_000_000, file=sys.stderr)
        return 1_000_000


class LogsALot(Experiment):
    """Logs a thousand lines, some below the level that is kept."""

    def main(self, specification):
        for number in range(1000):
            self.logger.info("%s: line %d", specification["x"], number)
            self.logger.debug("%s: not kept %d", specification["x"], number)
        return 1000


class StoresOnItself(Experiment):
    """Remembers what it ran, on itself and in what it holds: each run sees only its own copy."""

    def __init__(self):
        self.seen = []

    def main(self, specification):
        self.seen.append(specification["x"])
        self.last = specification["x"]
        return list(self.seen)


class Uncopyable(Experiment):
    """Holds what cannot be copied."""

    def __init__(self):
        self.lock = threading.Lock()

    def main(self, specification):
        return None


@dataclasses.dataclass(frozen=True)
class Frozen(Experiment):
    """Cannot be changed, as a careful user would have it."""

    factor: int = 3

    def main(self, specification):
        return self.rng.random(), self.factor * specification["x"]


class NameRaises(Experiment):
    """Its get_name raises."""

    def __init__(self, error):
        self.error = error

    def get_name(self, specification):
        raise self.error

    def main(self, specification):
        return specification["x"]


class Draws(Experiment):
    """Uses its own generator."""

    def main(self, specification):
        return [self.rng.random() for _ in range(3)]


# Where and with whom it runs.


class Where(Experiment):
    """Returns the process and the thread that it ran in."""

    def main(self, specification):
        return os.getpid(), threading.get_ident()


class Meets(Experiment):
    """Returns only when as many run at once as it was told: a batch that runs one at a time never ends."""

    def __init__(self, folder, number):
        self.folder, self.number = str(folder), number

    def main(self, specification):
        with open(f"{self.folder}/{specification['x']}", "w", encoding="utf-8"):
            wait_for(lambda: len(os.listdir(self.folder)) >= self.number, seconds=10)
        return os.getpid()


class Large(Experiment):
    """Returns a megabyte."""

    def main(self, specification):
        return bytes([specification["x"]]) * 1_000_000


class RecordsAndFails(Records):
    """Leaves a file for each time that it runs; fails for some values of x while another file is there."""

    def __init__(self, folder, obstacle):
        super().__init__(folder)
        self.obstacle = str(obstacle)

    def main(self, specification):
        result = super().main(specification)
        if specification["x"] % 6 == 5 and os.path.exists(self.obstacle):
            raise ValueError(f"{specification['x']} will not do")
        return result


# What is done to the process.


def _segfault():
    ctypes.string_at(0)


def _out_of_memory():
    """Take more memory than is allowed, the way the kernel's killer answers: nobody is asked."""
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    resource.setrlimit(resource.RLIMIT_AS, (2**31, resource.getrlimit(resource.RLIMIT_AS)[1]))
    try:
        bytearray(2**33)
    except MemoryError:
        os.abort()


# name: how the process dies, and what is recorded of it
KILLS = {
    "os._exit": (lambda: os._exit(7), "exit status 7"),
    "os._exit(0)": (lambda: os._exit(0), "exit status 0"),
    "SIGKILL": (lambda: os.kill(os.getpid(), signal.SIGKILL), "SIGKILL"),
    "SIGTERM": (lambda: os.kill(os.getpid(), signal.SIGTERM), "SIGTERM"),
    "SIGSEGV": (_segfault, "SIGSEGV"),
    "a memory limit": (_out_of_memory, "SIGABRT"),
}


class Kills(Experiment):
    """Ends its own process as KILLS names, or leaves a file for each time that it ran and returns the pid."""

    def __init__(self, folder=None, seconds=0.0):
        self.folder, self.seconds = folder and str(folder), seconds

    def main(self, specification):
        if self.folder:
            with open(f"{self.folder}/{specification['x']}.{time.time_ns()}.begun", "w", encoding="utf-8"):
                pass
        if kind := specification.get("dies"):
            KILLS[kind][0]()
        time.sleep(self.seconds)
        if self.folder:
            with open(f"{self.folder}/{specification['x']}.{time.time_ns()}.finished", "w", encoding="utf-8"):
                pass
        return os.getpid()


def times(folder, what="*.begun"):
    """Return how often each x ran: Kills leaves a file each time."""
    return Counter(int(path.name.partition(".")[0]) for path in folder.glob(what))


class LimitsItsMemory(Experiment):
    """Raises MemoryError, where x is 1, against a limit that it sets and leaves behind."""

    def main(self, specification):
        import resource

        if specification["x"] == 1:
            resource.setrlimit(resource.RLIMIT_AS, (2**31, resource.getrlimit(resource.RLIMIT_AS)[1]))
            return len(bytearray(2**33))
        return specification["x"]


class Hangs(Experiment):
    """Leaves its pid and that of a process that it started, then hangs, where x is 0."""

    def __init__(self, folder):
        self.folder = str(folder)

    def main(self, specification):
        if specification["x"] == 0:
            child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
            with open(f"{self.folder}/{os.getpid()}.{child.pid}", "w", encoding="utf-8"):
                pass
            self.hang()
        return specification["x"]

    def hang(self):
        time.sleep(600)


class HoldsTheLock(Hangs):
    """Hangs in native code that never lets another thread run Python."""

    def hang(self):
        ctypes.PyDLL(None).sleep(600)
