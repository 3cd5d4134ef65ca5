"""Where and by what a run was made: Python, packages, machine, git, and the experiment's source."""

from __future__ import annotations

import ast
import inspect
import linecache
import logging
import os
import platform
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, cast

from smallab.storage.base import Storage, iso

_log = logging.getLogger("smallab")

_one_at_a_time = threading.Lock()  # ast.parse of two threads at once may raise SystemError in Python 3.11 (gh-106905)
_TRIES = 5  # for threads that parse without our lock
GIT_SECONDS = 3.0  # all that git may take before the batch starts without its answer
DIFF_CHARACTERS = 100_000  # of uncommitted changes; a changed data file can have gigabytes
_DISTRIBUTION = re.compile(r"(?P<name>.+?)-(?P<version>\d[^-]*)(-.*)?\.(dist|egg)-info")


def packages() -> dict[str, str]:
    """Return the installed packages, by their normalised names, and their versions.

    Folder names tell both: reading each package's own metadata took 30 ms for 85 packages, this takes one.
    """
    found: dict[str, str] = {}
    for folder in sys.path:
        with suppress(OSError):  # a zip file, or a folder that is not there
            for entry in os.listdir(folder or "."):
                if entry.endswith((".dist-info", ".egg-info")):
                    name, version = _distribution(folder, entry)
                    found.setdefault(re.sub(r"[-_.]+", "-", name).lower(), version)
    return dict(sorted(found.items()))


def _distribution(folder: str, entry: str) -> tuple[str, str]:
    """Return the name and version of the package that a .dist-info or .egg-info describes."""
    if match := _DISTRIBUTION.fullmatch(entry):
        return match["name"], match["version"]
    from importlib import metadata  # an old editable install: its folder's name holds no version

    version = metadata.Distribution.at(os.path.join(folder, entry)).metadata["Version"]
    return entry.rpartition(".")[0], version or "unknown"


class _Git:
    """Asks git about a folder, within a limited time for all questions together."""

    def __init__(self, folder: str) -> None:
        # fsmonitor would leave a daemon behind that keeps our pipe open
        self._command = ["git", "-C", folder, "-c", "core.fsmonitor=false"]
        # a status that refreshes the index would make the user's own git commands fail
        self._environment = os.environ | {"GIT_OPTIONAL_LOCKS": "0"}
        self._until = time.monotonic() + GIT_SECONDS

    def __call__(self, *arguments: str) -> str | None:
        """Return what a git command printed; None where it failed."""
        done = subprocess.run(  # noqa: S603  # fixed words, and the folder of the user's own code
            [*self._command, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=max(0.0, self._until - time.monotonic()),
            env=self._environment,
            check=False,
        )
        return done.stdout.strip() if done.returncode == 0 else None


def git(folder: str) -> dict[str, Any] | None:
    """Return the branch, commit, remote and dirty flag of the checkout around a folder; None where there is none.

    What git does not tell in time is None. A password in the remote's address is left out. Where the checkout is
    dirty, ``diff`` is what differs from the commit (cut off where it is very long).
    """
    found: dict[str, Any] = dict.fromkeys(("branch", "commit", "remote", "dirty"))
    ask = _Git(folder)
    try:
        if not shutil.which("git") or ask("rev-parse", "--is-inside-work-tree") != "true":
            return None
        if named := ask("rev-parse", "HEAD", "--abbrev-ref", "HEAD"):  # fails before the first commit
            found["commit"], found["branch"] = named.split("\n")
        if remote := ask("config", "--get", "remote.origin.url"):
            found["remote"] = re.sub(r"^(https?://)[^/]*@", r"\1", remote)
        found["dirty"] = bool(ask("status", "--porcelain", "--untracked-files=no"))  # late: this and diff are slow
        if found["dirty"] and found["commit"]:
            found["diff"] = _shortened(ask("diff", "HEAD", "--no-ext-diff", "--no-textconv", "--no-color"))
    except (OSError, subprocess.SubprocessError) as error:  # git that hangs or cannot start is no reason not to run
        _log.warning("the run's record lacks what git says about %s: %s", folder, error)
    return found


def _shortened(diff: str | None) -> str | None:
    if diff is None or len(diff) <= DIFF_CHARACTERS:
        return diff
    return f"{diff[:DIFF_CHARACTERS]}\n… and {len(diff) - DIFF_CHARACTERS} more characters"


def _code(thing: object) -> Any:
    """Return the function, or the class, that holds the code of an experiment."""
    thing = inspect.unwrap(thing) if hasattr(thing, "__wrapped__") else thing  # type: ignore[arg-type]  # a function
    return thing if inspect.isroutine(thing) else type(thing)


def source(thing: object) -> str | None:
    """Return the source of a function or of an object's class; None where there is none (an old shell).

    Of a class that was written in a notebook, it is the source of the whole cell. A function that is an experiment
    has kept its source since it was defined: its file may have been edited meanwhile.
    """
    code = _code(thing)
    if code is not thing and inspect.isroutine(code) and hasattr(thing, "code"):
        return cast("str | None", thing.code)
    for _ in range(_TRIES):
        with _one_at_a_time, suppress(SystemError):
            return _read_source(code)
    _log.warning("the source of %s is not recorded: other threads parse code all the time", code.__qualname__)
    return None


def _read_source(code: Any) -> str | None:
    try:
        return inspect.getsource(code)
    except (OSError, TypeError):  # a class of __main__, in a notebook or in a worker: its methods know their file
        file = _file(code)
        lines = linecache.getlines(file)
        return "".join(_class_in(lines, code.__name__) if os.path.isfile(file) else lines) or None


def _class_in(lines: list[str], name: str) -> list[str]:
    """Return the lines of a class, as `inspect` does where it has the class's module."""
    for node in ast.walk(ast.parse("".join(lines))):
        if isinstance(node, ast.ClassDef) and node.name == name:
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            return inspect.getblock(lines[first - 1 :])
    return lines


def _file(code: object) -> str:
    """Return the file, or the notebook's cell, that a function or a class's first method was written in."""
    methods = vars(code).values() if isinstance(code, type) else [code]
    return next((method.__code__.co_filename for method in methods if inspect.isfunction(method)), "")


def _folder() -> str | None:
    """Return the current folder; None where somebody has deleted it."""
    with suppress(FileNotFoundError):
        return os.getcwd()
    return None


def _checkout(experiment: object) -> dict[str, Any] | None:
    """Return what git says about the experiment's code; where that is in no checkout, about the current folder."""
    code = os.path.dirname(_file(_code(experiment)))
    folders = dict.fromkeys(folder for folder in (code, _folder()) if folder and os.path.isdir(folder))
    return next(filter(None, map(git, folders)), None)


def environment(experiment: object) -> dict[str, Any]:
    """Return what an experiment runs in: the system, Python, the installed packages, and git (see `git`)."""
    return {
        "system": {"platform": platform.platform(), "system": platform.system(), "machine": platform.machine()},
        "python": {"version": platform.python_version(), "executable": sys.executable},
        "git": _checkout(experiment),
        "packages": packages(),
    }


def run_record(experiment: object) -> dict[str, Any]:
    """Return what is written into ``runs/<run-id>.json`` when a run starts.

    ``environment`` and ``code`` are shown in the metadata of every observation of the run. It is gathered anew for
    every run, about 10 ms: in a notebook, hours and commits lie between two. Calls of an experiment that is a function
    share one, from the first on.
    """
    code = _code(experiment)
    return {
        "started": iso(time.time()),
        "command": sys.argv,
        "folder": _folder(),
        "experiment": f"{code.__module__}.{code.__qualname__}",
        "environment": environment(experiment),
        "code": source(experiment),
    }


def is_by_other_code(metadata: Mapping[str, Any], experiment: object) -> bool:
    """Tell whether an observation was made by other code than the experiment's now; not where either is unknown."""
    then, now = metadata.get("code"), source(experiment)
    return None not in (then, now) and then != now


def made_by_other_code(completed: Iterable[str], storage: Storage, experiment: object) -> list[str]:
    """Return those completed specifications whose run had another source for the experiment than it has now.

    Only if some run of the batch had other code are the metadata of the specifications read. What was made where no
    source could be had (an old shell) does not count as changed.
    """
    completed = list(completed)
    code = source(experiment) if completed else None
    if not code:
        return []
    other = {run.id for run in storage.runs() if run.record.get("code") not in (None, code)}
    if not other:
        return []
    return [text for text in completed if str(storage.metadata(text).get("run_id")) in other]
