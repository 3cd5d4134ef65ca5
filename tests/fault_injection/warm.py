"""What the server of processes does before it makes any: run a batch, so that whatever is imported late is there."""

import os
import tempfile
import threading

from .experiments import Counted, specifications
from .helpers import run

with tempfile.TemporaryDirectory() as folder:
    run(folder, specifications(1), Counted(os.devnull))
for thread in threading.enumerate():
    if thread is not threading.current_thread():
        thread.join()  # the heartbeat's, which has been told to end
