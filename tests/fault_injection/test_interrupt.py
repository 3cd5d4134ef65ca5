"""Ctrl-C at a real terminal, and the interrupt button of a real notebook (signals to scripts are in test_runner.py)."""

import json
import os
import re
import sys
import time

import pytest

from .experiments import Counted, specifications
from .helpers import PATIENCE, PYTHONPATH, check_always, check_finished, executed, listed, run, wait_for

pexpect = pytest.importorskip("pexpect", reason="there are no terminals on Windows")
pytestmark = pytest.mark.skipif(os.name == "nt", reason="there are no terminals on Windows")

WAYS = {"one thread": ("threading", 1), "four threads": ("threading", 4), "loky": ("loky", 2)}
COUNT = 200


@pytest.mark.parametrize(
    ("way", "times"), [("one thread", 1), ("one thread", 2), ("four threads", 2), ("loky", 1), ("loky", 2)]
)
def test_ctrl_c_at_a_terminal(tmp_path, way, times):
    backend, workers = WAYS[way]
    executions, folder = tmp_path / "executions", tmp_path / "root" / "batch"
    options = {"root": str(tmp_path / "root"), "count": COUNT, "executions": str(executions), "seconds": 0.05}
    arguments = ["-m", "fault_injection.run_batch", json.dumps(options | {"backend": backend, "workers": workers})]
    environment = os.environ | {"PYTHONPATH": PYTHONPATH, "TERM": "xterm"}
    with pexpect.spawn(sys.executable, arguments, env=environment, timeout=PATIENCE, encoding="utf-8") as terminal:
        wait_for(lambda: len(executed(executions)) > 8, "work to begin")
        for _ in range(times):
            terminal.sendintr()
        terminal.expect("KeyboardInterrupt")
        terminal.expect(pexpect.EOF)
    assert terminal.exitstatus != 0 or terminal.signalstatus is not None
    if times == 1:  # a second one can reach a worker of loky's outside its task, and loky then prints where
        assert not re.search("Process.*Traceback", terminal.before, re.DOTALL)
    check_always(folder)
    _goes_on(tmp_path, executions, workers)


def _goes_on(tmp_path, executions, workers):
    """Run the rest: only what was in hand at the end runs again, and at least what was not begun."""
    done = executed(executions)
    assert len(done) < COUNT
    result = run(tmp_path / "root", specifications(COUNT), Counted(executions))
    again = set(executed(executions)[len(done) :]) & set(done)
    assert len(again) <= workers
    assert len(result.skipped) + len(result.completed) == COUNT
    check_finished(tmp_path / "root" / "batch", specifications(COUNT))


@pytest.mark.parametrize("way", ["four threads", "loky"])
def test_the_interrupt_of_a_notebook(tmp_path, way, monkeypatch):
    """The kernel lives on, so its own earlier run must not look as if it still went on."""
    manager = pytest.importorskip("jupyter_client").manager
    pytest.importorskip("ipykernel", reason="the notebook tests need ipykernel")
    monkeypatch.setenv("PYTHONPATH", PYTHONPATH)
    backend, workers = WAYS[way]
    executions = tmp_path / "executions"
    cell = f"""
from fault_injection.experiments import Counted, specifications
from fault_injection.helpers import run
result = run({str(tmp_path / "root")!r}, specifications({COUNT}), Counted({str(executions)!r}, 0.05),
             num_parallel={workers}, backend={backend!r})
"""
    kernel, client = manager.start_new_kernel(startup_timeout=PATIENCE, kernel_name="python3")
    try:
        message = client.execute(cell, stop_on_error=False)  # else the kernel takes no cell for the next 100 ms
        wait_for(lambda: len(executed(executions)) > 8, "work to begin")
        kernel.interrupt_kernel()
        assert _reply(client, message)["ename"] == "KeyboardInterrupt"
        check_always(tmp_path / "root" / "batch")
        done, saved = executed(executions), listed(tmp_path / "root" / "batch")
        assert len(done) < COUNT
        assert len(saved) >= len(done) - workers
        message = client.execute(cell.replace("0.05", "0"))
        assert _reply(client, message)["status"] == "ok"
    finally:
        client.stop_channels()
        kernel.shutdown_kernel(now=True)
    assert not set(executed(executions)[len(done) :]) & set(saved)
    check_finished(tmp_path / "root" / "batch", specifications(COUNT))


def _reply(client, message):
    """Wait for the answer to a cell."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        reply = client.get_shell_msg(timeout=PATIENCE)
        if reply["parent_header"].get("msg_id") == message:
            return reply["content"]
    raise TimeoutError("the kernel did not answer")
