"""Where and by what a run was made: Python, packages, machine, git, and the experiment's source."""

from __future__ import annotations

import importlib.metadata
import inspect
import os
import platform
import shutil
import subprocess
import sys
import time
from functools import cache
from typing import Any

from smallab.storage import HOST, iso


@cache
def packages() -> dict[str, str]:
    """Return the installed packages and their versions."""
    names = ((found.metadata["Name"], found.version) for found in importlib.metadata.distributions())
    return dict(sorted((name, version) for name, version in names if name))


@cache
def git(folder: str) -> dict[str, Any] | None:
    """Return the branch, commit, remote and dirty flag of the checkout around a folder; None where there is none."""

    def ask(*arguments: str) -> str | None:
        command = ["git", "-C", folder, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=10, check=False)
        return done.stdout.strip() if done.returncode == 0 else None

    try:
        if not shutil.which("git") or ask("rev-parse", "--is-inside-work-tree") != "true":
            return None
        return {
            "branch": ask("rev-parse", "--abbrev-ref", "HEAD"),
            "commit": ask("rev-parse", "HEAD"),
            "remote": ask("config", "--get", "remote.origin.url"),
            "dirty": bool(ask("status", "--porcelain", "--untracked-files=no")),
        }
    except (OSError, subprocess.SubprocessError):  # git that hangs or cannot start is no reason not to run
        return None


def source(thing: object) -> str | None:
    """Return the source of a function or of an object's class; None where there is none (an old shell)."""
    try:
        return inspect.getsource(thing if inspect.isroutine(thing) else type(thing))
    except (OSError, TypeError):
        return None


def run_record(experiment: object) -> dict[str, Any]:
    """Return what is written into ``runs/<run-id>.json`` when a run starts."""
    return {
        "started": iso(time.time()),
        "command": sys.argv,
        "folder": os.getcwd(),
        "host": HOST,
        "pid": os.getpid(),
        "python": platform.python_version(),
        "executable": sys.executable,
        "platform": platform.platform(),
        "git": git(os.getcwd()),
        "experiment": f"{type(experiment).__module__}.{type(experiment).__qualname__}",
        "source": source(experiment),
        "packages": packages(),
    }
