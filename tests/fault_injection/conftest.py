"""What the fault injector's tests share."""

import shutil
import tempfile
from pathlib import Path

import pytest


@pytest.fixture
def quick_folder(tmp_path):
    """A folder in memory where there is one: thousands of small batches do not need a disk."""
    if not Path("/dev/shm").is_dir():
        yield tmp_path
        return
    folder = Path(tempfile.mkdtemp(dir="/dev/shm"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(autouse=True)
def joblib_in_tmp_path(tmp_path, monkeypatch):
    """What killed runners leave behind of joblib's own goes with the test's folder."""
    monkeypatch.setenv("JOBLIB_TEMP_FOLDER", str(tmp_path))
