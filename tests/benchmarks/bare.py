"""The bare loop that every figure is measured against: what a batch writes, in plain Python with ``open``.

It canonicalises, hashes and pickles each specification and makes the same folder, files and journal lines with the
same content, and nothing else: nothing is checked, recovered or flushed, and no experiment is called.
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import platform
import time
from datetime import UTC, datetime
from typing import Any

RUN_ID = "2026-11-23_12-25-19_107238_4ac67e"
RESULT = {"accuracy": 0.9}


def canonical(specification: dict[str, Any]) -> str:
    """Return a specification's canonical JSON."""
    return json.dumps(specification, sort_keys=True, separators=(",", ":"))


def digest(data: bytes) -> str:
    """Return blake2b (16 bytes) in hex."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def specifications(number: int) -> list[dict[str, Any]]:
    """Return that many specifications, each different."""
    return [{"seed": seed, "lr": 0.1, "model": "resnet"} for seed in range(number)]


def _now() -> str:
    return datetime.now(UTC).isoformat()


class Body:
    """The body of the loop: call it with one specification after another.

    Parameters
    ----------
    folder
        Where the tree is made; it must not be there yet.
    """

    def __init__(self, folder: str) -> None:
        os.makedirs(f"{folder}/journal")
        self._folder, self._host, self._pid = folder, platform.node(), os.getpid()
        path = f"{folder}/journal/{RUN_ID}.{self._host}.{self._pid}.jsonl"
        # Unbuffered: a line is one write, as two threads and a crash demand. `close` closes it.
        self._journal = open(path, "ab", buffering=0)  # noqa: SIM115

    def __call__(self, specification: dict[str, Any]) -> None:
        """Write what a batch writes for one specification."""
        text = canonical(specification)
        name = digest(text.encode())
        started, clock = _now(), time.perf_counter()
        self._journal.write(f'{{"event":"started","id":"{name}","time":"{started}","specification":{text}}}\n'.encode())
        record = pickle.dumps({"specification": specification, "result": RESULT})
        metadata = {
            "run_id": RUN_ID,
            "started": started,
            "ended": _now(),
            "duration": time.perf_counter() - clock,
            "host": self._host,
            "pid": self._pid,
            "attempt": 1,
            "size": len(record),
            "digest": digest(record),
        }
        folder = f"{self._folder}/{name}"
        os.mkdir(folder)
        with open(f"{folder}/specification.json", "w", encoding="utf-8") as file:
            file.write(f"{text}\n")
        with open(f"{folder}/metadata.json", "w", encoding="utf-8") as file:
            file.write(json.dumps(metadata))
        with open(f"{folder}/{self._host}.tmp", "wb") as file:
            file.write(record)
        os.replace(f"{folder}/{self._host}.tmp", f"{folder}/{name}.pkl")
        self._journal.write(
            f'{{"event":"completed","id":"{name}","time":"{_now()}","size":{len(record)},'
            f'"digest":"{metadata["digest"]}","specification":{text}}}\n'.encode()
        )

    def close(self) -> None:
        """Close the journal."""
        self._journal.close()


def run(folder: str, number: int, threads: int = 1) -> None:
    """Run the loop over that many specifications; with more than one thread, as joblib runs its body."""
    body = Body(folder)
    if threads == 1:
        for specification in specifications(number):
            body(specification)
    else:
        import joblib

        tasks = (joblib.delayed(body)(specification) for specification in specifications(number))
        joblib.Parallel(n_jobs=threads, prefer="threads")(tasks)
    body.close()
