"""What every test has: a folder of its own for the batches it runs."""

import signal

import pytest

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # started in the background: Ctrl-C is to reach what tests start
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def batches_in_tmp_path(tmp_path, monkeypatch):
    """No test, and no process that it starts, writes into the checkout."""
    folder = tmp_path / "experiment_runs"
    monkeypatch.setenv("SMALLAB_ROOT", str(folder))
    return folder
