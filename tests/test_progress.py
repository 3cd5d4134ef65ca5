"""Progress: the figures, and what is seen of them on a real terminal, in a notebook, and in a log."""

import logging
import os
import re
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from smallab.display import progress as module
from smallab.display.figures import Figures, duration
from smallab.display.progress import progress

NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
BOUND = 60  # seconds, for what should take one

pexpect = pytest.importorskip("pexpect") if os.name != "nt" else None
on_a_terminal = pytest.mark.skipif(os.name == "nt", reason="pexpect has no terminals there")


# The figures.


@pytest.mark.parametrize(
    ("figures", "now", "text"),
    [
        (Figures(10, 0), NOON, "0/10 completed"),
        (Figures(10, 0, seconds=9.0), NOON, "0/10 completed, 0:09 so far"),
        (Figures(10, 5), NOON, "5/15 completed, 5 skipped"),
        (Figures(10, 5, 2, 0, 4.0), NOON, "7/15 completed, 30/min, 0:16 left, ends 12:00, 5 skipped"),
        (Figures(10, 0, 3, 2, 5.0), NOON, "3/10 completed, 2 failed, 1.0/s, 0:05 left, ends 12:00"),
        (Figures(100, 0, 1, 0, 600.0), NOON, "1/100 completed, 6.0/h, 16:30:00 left, ends 2026-11-22 04:30"),
        (Figures(10, 0, 1, 0, 864000.0), NOON, "1/10 completed, 0.1/day, 90 days left, ends 2027-02-19 12:00"),
        (Figures(10**6, 0, 10**4, 0, 10.0), NOON, "10000/1000000 completed, 1000/s, 16:30 left, ends 12:16"),
        (Figures(1000, 0, 996, 0, 10.0), NOON, "996/1000 completed, 100/s, 0:00 left, ends 12:00"),
        (Figures(10, 2, 10, 0, 75.0), None, "12/12 completed, 8.0/min, took 1:15, 2 skipped"),
        (Figures(10, 0, 4, 0, 2.0), None, "4/10 completed, 2.0/s, took 0:02"),
        (Figures(10, 0, 0, 0, 2.0), None, "0/10 completed, took 0:02"),
        (Figures(10**9 + 1, 0, 1, 0, 1e3), NOON, "1/1000000001 completed, 3.6/h, 11574074 days left, ends never"),
        (Figures(None, 5, 6, 1, 7.0), NOON, "11 completed, 1 failed, 1.0/s, 0:07 so far, 5 skipped"),
        (Figures(None, 0, 6, 0, 3.0), None, "6 completed, 2.0/s, took 0:03"),
    ],
)
def test_figures_as_text(figures, now, text):
    assert figures.text(now) == text


def test_the_rate_is_that_of_this_call_whatever_was_skipped():
    figures = [Figures(100, skipped, 15, 5, 10.0) for skipped in (0, 1_000_000)]
    assert [each.rate for each in figures] == [2.0, 2.0]
    assert [each.seconds_left for each in figures] == [40.0, 40.0]


def test_before_anything_has_ended_no_rate_is_made_up():
    assert Figures(100, 50, seconds=10.0).rate is None
    assert Figures(100, 50, seconds=10.0).seconds_left is None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0:00"), (59.4, "0:59"), (3600, "1:00:00"), (359999, "99:59:59"), (360000, "4 days")],
)
def test_durations(seconds, text):
    assert duration(seconds) == text


# The log.


@pytest.fixture
def messages(caplog):
    caplog.set_level(logging.INFO, logger="smallab")
    return lambda: [record.getMessage() for record in caplog.records if record.name == "smallab"]


def test_without_a_terminal_the_log_tells_now_and_then(messages, monkeypatch, capsys):
    monkeypatch.setattr(module, "LOG_SECONDS", 0.0)
    monkeypatch.setattr(module, "LOG_SHARE", 0.0)
    with progress("digits", 2, 3, True) as advance:
        advance("completed")
        advance("failed")
    assert len(messages()) == 3
    assert messages()[0].startswith("digits: 4/5 completed, ")
    assert messages()[1].startswith("digits: 4/5 completed, 1 failed, ")
    assert messages()[2].startswith("digits: 4/5 completed, 1 failed, ")
    assert re.search(r", took \d:\d\d, 3 skipped$", messages()[2])
    assert capsys.readouterr() == ("", "")


def test_a_quick_batch_has_one_line(messages):
    with progress("digits", 1000, 0, True) as advance:
        for _ in range(1000):
            advance("completed")
    assert len(messages()) == 1


def test_where_nobody_knows_how_many_there_are_the_log_has_no_total(messages):
    with progress("digits", None, 2, True) as advance:
        advance("completed")
    assert messages()[-1].startswith("digits: 3 completed, ")


def test_what_was_not_run_is_not_counted(messages):
    with progress("digits", 3, 0, True) as advance:
        advance("completed")
        advance("pending")
    assert messages()[-1].startswith("digits: 1/3 completed, ")


def test_nothing_is_shown_where_nothing_shall_be(messages, capsys):
    with progress("digits", 1, 0, False) as advance:
        advance("completed")
    assert messages() == []
    assert capsys.readouterr() == ("", "")


def test_an_error_passes_and_the_last_line_is_logged(messages):
    def interrupted():
        with progress("digits", 3, 0, True) as advance:
            advance("completed")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert messages()[-1].startswith("digits: 1/3 completed")


@pytest.mark.parametrize("stream", [None, "closed"])
def test_without_any_stderr_the_log_tells(stream, messages, monkeypatch, tmp_path):
    if stream == "closed":
        stream = (tmp_path / "stderr").open("w")
        stream.close()
    monkeypatch.setattr(sys, "stderr", stream)
    with progress("digits", 1, 0, True) as advance:
        advance("completed")
    assert messages()[-1].startswith("digits: 1/1 completed")


# A terminal.

PREAMBLE = """
import logging, os, sys, time
from pathlib import Path
from smallab import Experiment, ExperimentRunner
from smallab.display.progress import progress
streams = sys.stdout, sys.stderr

def wait_for(name):
    until = time.monotonic() + 60
    while not Path(name).exists():
        assert time.monotonic() < until, name
        time.sleep(0.005)

def check_streams():
    assert (sys.stdout, sys.stderr) == streams, "a stream was not given back"
    Path("given back").touch()
"""


class Screen:
    """What a person would see: a terminal of tmux's, whose screen and history can be read."""

    def __init__(self, tmp_path, width=100, height=12):
        self.folder = tmp_path
        self.socket = str(tmp_path / "tmux")
        self.size = ["-x", str(width), "-y", str(height)]

    def tmux(self, *arguments):
        environment = {key: value for key, value in os.environ.items() if not key.startswith("TMUX")}
        command = ["tmux", "-S", self.socket, "-f", os.devnull, *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        return done.stdout

    def start(self, script, after="", **environment):
        path = self.folder / "script.py"
        path.write_text(PREAMBLE + script)
        settings = " ".join(f"{key}={value}" for key, value in environment.items())
        command = f"cd '{self.folder}'; {settings} '{sys.executable}' script.py {after}; echo ended; exec cat"
        self.tmux("new-session", "-d", *self.size, command)

    def text(self):
        lines = self.tmux("capture-pane", "-p", "-S", "-").splitlines()
        return "\n".join(line.rstrip() for line in lines).strip("\n")

    def keys(self, *keys):
        self.tmux("send-keys", *keys)

    def wait(self, pattern):
        until = time.monotonic() + BOUND
        while not re.search(pattern, text := self.text(), re.MULTILINE):
            assert time.monotonic() < until, f"{pattern!r} is not on the screen:\n{text}"
            time.sleep(0.02)
        return text


@pytest.fixture
def screen(tmp_path):
    try:
        subprocess.run(["tmux", "-V"], check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("needs tmux, to see what a terminal shows")
    pytest.importorskip("rich")
    screen = Screen(tmp_path)
    yield screen
    subprocess.run(["tmux", "-S", screen.socket, "kill-server"], check=False, capture_output=True)


def test_the_bar_is_right_while_one_after_the_other_runs(screen, tmp_path):
    screen.start(
        """
class Wait(Experiment):
    def main(self, specification):
        if specification["n"] < 2:
            return 1
        wait_for(f"go{specification['n']}")
        if specification["n"] == 3:
            raise ValueError("three")
runner = ExperimentRunner(Path("runs"))
runner.run("digits", [{"n": n} for n in range(2)], Wait(), show_progress=False)
logging.disable()
runner.run("digits", [{"n": n} for n in range(5)], Wait(), num_parallel=1)
check_streams()
"""
    )
    screen.wait("^digits .*2/5 completed, .* so far, 2 skipped$")
    (tmp_path / "go2").touch()
    screen.wait("^digits .*3/5 completed, .* left, ends")
    (tmp_path / "go3").touch()
    screen.wait("^digits .*3/5 completed, 1 failed, .* left, ends")
    (tmp_path / "go4").touch()
    text = screen.wait("^ended$")
    assert re.search(r"^digits .*4/5 completed, 1 failed, .* took \d", text, re.MULTILINE)
    assert text.count("digits") == 1, "one bar, and none of its earlier states"
    assert (tmp_path / "given back").exists()


def test_what_hooks_print_stands_above_the_bar_whole_and_in_order(screen, tmp_path):
    screen.start(
        """
handler = logging.StreamHandler()  # holds sys.stderr, as logging.basicConfig does
logging.getLogger("mine").addHandler(handler)
with progress("digits", 3, 0, True) as advance:
    for n in range(3):
        advance("completed")
        print("printed", n)
        print("half", end="", flush=True)
        print(" a line", n)
        sys.stderr.write(f"to stderr {n}\\n")
        logging.getLogger("mine").warning("logged %d", n)
        sys.stdout.writelines(["lines\\n", f"and more {n}\\n"])
        print("[bold]as it is[/bold] 1.5", end="\\n\\n")
        print("x" * 150)
    wait_for("go")
check_streams()
assert handler.stream is streams[1]
Path("handler given back").touch()
"""
    )
    expected = "\n".join(
        f"printed {n}\nhalf a line {n}\nto stderr {n}\nlogged {n}\nlines\nand more {n}\n"
        f"[bold]as it is[/bold] 1.5\n\n{'x' * 100}\n{'x' * 50}"
        for n in range(3)
    )
    text = screen.wait("^digits .*3/3 completed")
    assert text.startswith(expected)
    (tmp_path / "go").touch()
    lines = screen.wait("^ended$").removeprefix(expected).strip().splitlines()
    assert len(lines) == 2, lines
    assert lines[0].startswith("digits")
    assert (tmp_path / "handler given back").exists()


def test_a_line_that_is_written_over_and_over_stays_one_line(screen, tmp_path):
    screen.start(
        """
with progress("digits", 3, 0, True) as advance:
    for n in range(5):
        print(f"\\rinner: {n}/4", end="", file=sys.stderr, flush=True)
    wait_for("go")
    print(file=sys.stderr)
    print("no end", end="")
print("next")
"""
    )
    screen.wait("^inner: 4/4\ndigits .*0/3 completed")
    (tmp_path / "go").touch()
    lines = screen.wait("^ended$").splitlines()
    assert [line[:6] for line in lines] == ["inner:", "no end", "digits", "next", "ended"]


def test_where_nobody_knows_how_many_there_are_the_bar_has_no_total(screen, tmp_path):
    screen.start(
        """
with progress("digits", None, 2, True) as advance:
    advance("completed")
    wait_for("go")
"""
    )
    screen.wait(r"^digits .* 3 completed, .*, 0:0\d so far, 2 skipped$")
    (tmp_path / "go").touch()
    text = screen.wait("^ended$")
    assert re.search(r"^digits .* 3 completed, .*, took 0:0\d, 2 skipped$", text, re.MULTILINE)


def test_half_a_line_stays_until_it_is_finished(screen, tmp_path):
    screen.start(
        """
with progress("digits", 3, 0, True) as advance:
    print("dots: ", end="", flush=True)
    for n in range(3):
        advance("completed")
        print(".", end="", flush=True)
        wait_for(f"go{n}")
print("next")
"""
    )
    for n in range(3):
        text = screen.wait(f"^digits .*{n + 1}/3 completed")
        assert text.startswith("dots: " + "." * (n + 1) + "\n")
        (tmp_path / f"go{n}").touch()
    text = screen.wait("^ended$")
    assert text.startswith("dots: ...\ndigits")
    assert "\nnext\n" in text


def test_a_line_that_another_process_writes_is_left_whole(screen, tmp_path):
    screen.start(
        """
import subprocess
with progress("digits", 3, 0, True) as advance:
    wait_for("go")
    subprocess.run(["echo", "from elsewhere"])
    wait_for("end")
"""
    )
    screen.wait("^digits .*0/3 completed")
    (tmp_path / "go").touch()
    screen.wait("^from elsewhere$")
    screen.wait("^digits .*0/3 completed")
    (tmp_path / "end").touch()
    screen.wait("^ended$")


def test_a_debugger_can_be_used(screen, tmp_path):
    screen.start(
        """
with progress("digits", 3, 0, True) as advance:
    answer = input("how many? ")
    print("you said", answer)
"""
    )
    screen.wait(r"^how many\?")
    screen.wait("^digits .*0/3 completed")
    screen.keys("four", "Enter")
    text = screen.wait("^ended$")
    assert "you said four" in text


def test_ctrl_c_gives_the_terminal_back(screen, tmp_path):
    screen.start(
        """
class Slow(Experiment):
    def main(self, specification):
        if specification["n"]:
            Path("running").touch()
            wait_for("never")
try:
    ExperimentRunner(Path("runs")).run("digits", [{"n": n} for n in range(3)], Slow())
except KeyboardInterrupt:
    print("stopped")
    check_streams()
"""
    )
    screen.wait("^digits .*1/3 completed")
    screen.keys("C-c")
    text = screen.wait("^ended$")
    assert "\nstopped\n" in text
    assert re.search(r"^digits .*1/3 completed, .* took", text, re.MULTILINE)
    assert screen.tmux("display-message", "-p", "#{cursor_flag}") == "1\n", "the cursor is visible"
    assert (tmp_path / "given back").exists()


def test_a_killed_process_leaves_a_visible_cursor(screen):
    screen.start(
        """
with progress("digits", 3, 0, True) as advance:
    Path("drawn").touch()
    wait_for("never")
""",
        after="& while [ ! -e drawn ]; do sleep 0.1; done; kill -9 $!",
    )
    screen.wait("^digits .*0/3 completed")
    screen.wait("^ended$")
    assert screen.tmux("display-message", "-p", "#{cursor_flag}") == "1\n"


def test_a_batch_inside_a_batch_draws_no_second_bar(screen):
    screen.start(
        """
with progress("outer", 2, 0, True) as advance:
    with progress("inner", 2, 0, True) as inner_advance:
        inner_advance("completed")
        print("inside")
    advance("completed")
    print("outside")
check_streams()
"""
    )
    text = screen.wait("^ended$")
    assert text.startswith("inside\noutside\nouter")
    assert "inner" not in text


def test_a_stream_put_in_place_meanwhile_stays(screen, tmp_path):
    screen.start(
        """
class Tee:
    def __init__(self, stream): self.stream = stream
    def write(self, text): Path("tee").write_text(text); return self.stream.write(text)
    def flush(self): self.stream.flush()
tee = Tee(sys.stdout)
with progress("digits", 2, 0, True) as advance:
    sys.stdout = tee
    sys.stdout.write("once\\n")
assert sys.stdout is tee
sys.stdout.write("after\\n")
sys.stdout = streams[0]
check_streams()
"""
    )
    text = screen.wait("^ended$")
    assert "\nonce\ndigits" in text
    assert "\nafter\n" in text
    assert (tmp_path / "given back").exists()


def test_a_stream_of_the_users_own_is_left_alone(screen, tmp_path):
    screen.start(
        """
class Tee:
    def write(self, text):
        with Path("tee").open("a") as file: file.write(text)
        return streams[0].write(text)
    def flush(self): streams[0].flush()
    def isatty(self): return True
sys.stdout = Tee()
with progress("digits", 2, 0, True) as advance:
    print("once", flush=True)
    wait_for("go")
"""
    )
    screen.wait("^once$")
    assert (tmp_path / "tee").read_text() == "once\n"
    (tmp_path / "go").touch()
    screen.wait("^ended$")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.parametrize("end", ["os._exit(0)", "sys.exit(0)"])
def test_a_forked_process_neither_draws_nor_hangs(screen, tmp_path, end):
    screen.start(
        f"""
import threading
from smallab.display.terminal import _Bar
logging.basicConfig(level=logging.INFO)
held = threading.Event()
def hold():  # as rich's own thread may at that moment
    bar = _Bar.shown
    with bar._lock, bar.live._lock, bar.console._lock:
        held.set()
        wait_for("forked")
with progress("digits", 2, 0, True) as advance:
    holder = threading.Thread(target=hold)
    holder.start()
    held.wait()
    child = os.fork()
    if child == 0:
        check_streams()
        print("from the child", flush=True)
        logging.info("logged by the child")
        with progress("inner", 1, 0, True) as inner_advance:
            inner_advance("completed")
        {end}
    assert os.waitpid(child, 0)[1] == 0
    Path("forked").touch()
    holder.join()
    wait_for("go")
check_streams()
""",
        PYTHONWARNINGS="ignore",
    )
    screen.wait("^from the child$")
    screen.wait("^INFO:root:logged by the child$")
    screen.wait("^INFO:smallab:inner: 1/1 completed")
    screen.wait("^digits .*0/2")
    (tmp_path / "go").touch()
    text = screen.wait("^ended$")
    assert "\ninner" not in text, "the child has a log line, not a bar"
    assert text.count("from the child") == 1


def test_what_workers_print_stands_on_rows_of_its_own(screen):
    screen.start(
        """
class Print(Experiment):
    def main(self, specification):
        sys.stdout.write(f"worked on {specification['n']}\\n")  # print may write a line in pieces
        sys.stdout.flush()
        ExperimentRunner(Path("inner")).run(f"inner-{specification['n']}", [{}], Nothing())
class Nothing(Experiment):
    def main(self, specification): pass
runner = ExperimentRunner(Path("runs"))
runner.on_specification_complete(lambda specification, result: print("told of", specification["n"]))
runner.run("digits", [{"n": n} for n in range(4)], Print(), num_parallel=2, backend="loky")
"""
    )
    text = screen.wait("^ended$")
    lines = text.splitlines()
    for n in range(4):
        assert f"worked on {n}" in lines
        assert f"told of {n}" in lines
    assert "\ninner" not in text, "a batch in a worker has no bar"


def test_threads_that_print_do_not_garble(screen):
    screen.start(
        """
class Print(Experiment):
    def main(self, specification):
        for line in range(20):
            sys.stdout.write(f"line {line} of {specification['n']}\\n")
ExperimentRunner(Path("runs")).run("digits", [{"n": n} for n in range(4)], Print(), num_parallel=4)
"""
    )
    text = screen.wait("^ended$")
    lines = [line for line in text.splitlines() if line.startswith("line")]
    assert sorted(lines) == sorted(f"line {line} of {n}" for line in range(20) for n in range(4))


@pytest.mark.parametrize("width", [20, 40])
def test_a_narrow_terminal_has_a_bar_of_one_line(tmp_path, screen, width):
    screen.size = ["-x", str(width), "-y", "12"]
    screen.start(
        """
with progress("a rather long name of a batch", 200, 30, True) as advance:
    for n in range(100):
        advance("failed")
    wait_for("go")
"""
    )
    screen.wait("^a.* 30/230 co")
    (tmp_path / "go").touch()
    text = screen.wait("^ended$")
    assert text.count("30/230") == 1, text
    assert len(text.splitlines()) == 2, text


def test_piped_output_gets_what_hooks_print_and_nothing_else(screen, tmp_path):
    screen.start(
        """
assert not sys.stdout.isatty()
with progress("digits", 2, 0, True) as advance:
    print("for the file")
    print("and " + "x" * 300, end="")
    wait_for("go")
check_streams()
""",
        after="> output.txt",
    )
    screen.wait("^digits .*0/2 completed")
    (tmp_path / "go").touch()
    text = screen.wait("^ended$")
    assert "for the file" not in text
    assert (tmp_path / "output.txt").read_text() == "for the file\nand " + "x" * 300
    assert (tmp_path / "given back").exists()


NO_RICH = "import sys; sys.modules['rich'] = None; import logging; logging.basicConfig(level=logging.INFO)\n"
SHORT = """
with progress("digits", 2, 1, True) as advance:
    advance("completed")
    print("a hook's line")
check_streams()
"""


def run_in_terminal(tmp_path, script, **environment):
    """Run a script on a terminal; return all that it wrote there."""
    path = Path(tmp_path, "script.py")
    path.write_text(PREAMBLE + script)
    environment = {**os.environ, "TERM": "xterm", **environment}
    output, status = pexpect.run(
        f"{sys.executable} {path}", env=environment, cwd=str(tmp_path), withexitstatus=True, timeout=BOUND
    )
    assert status == 0, output.decode()
    return output.decode()


@on_a_terminal
def test_a_terminal_has_the_bar_and_escape_codes(tmp_path):
    output = run_in_terminal(tmp_path, SHORT)
    assert "\x1b" in output
    assert "2/3 completed" in output


@on_a_terminal
def test_without_rich_the_log_tells_and_what_to_install(tmp_path):
    output = run_in_terminal(tmp_path, NO_RICH + SHORT + SHORT)
    assert output.count('pip install "smallab[progress]"') == 1, "once, however many batches there are"
    assert "INFO:smallab:digits: 2/3 completed, " in output
    assert "\x1b" not in output


@on_a_terminal
def test_a_terminal_that_knows_no_codes_gets_none(tmp_path):
    output = run_in_terminal(tmp_path, SHORT, TERM="dumb")
    assert "\x1b" not in output
    assert "a hook's line" in output


@on_a_terminal
def test_a_rich_display_of_the_users_own_is_left_alone(tmp_path):
    script = """
from rich.console import Console
from rich.live import Live
with Live("mine", console=Console(stderr=True), auto_refresh=False):
    with progress("digits", 2, 1, True) as advance:
        advance("completed")
"""
    assert "digits" not in run_in_terminal(tmp_path, script)


@on_a_terminal
@pytest.mark.skipif(not hasattr(os, "openpty"), reason="there are no terminals to close")
def test_a_terminal_that_goes_away_does_not_take_the_batch_with_it(tmp_path):
    script = PREAMBLE + (
        "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "with progress('digits', 2, 0, True) as advance:\n"
        "    Path('drawn').touch()\n"
        "    wait_for('closed')\n"
        "    try: os.write(2, b'text')\n"
        "    except OSError: Path('no terminal').touch()\n"
        "    time.sleep(0.6)  # rich's thread draws\n"
        "assert (sys.stdout, sys.stderr) == streams\n"
        "Path('survived').touch()\n"
    )
    outer, inner = os.openpty()
    environment = os.environ | {"TERM": "xterm"}
    with subprocess.Popen([sys.executable, "-c", script], stderr=inner, cwd=tmp_path, env=environment) as process:
        os.close(inner)
        wait_until((tmp_path / "drawn").exists)
        os.close(outer)
        (tmp_path / "closed").touch()
        process.wait(BOUND)
    assert (tmp_path / "no terminal").exists()
    assert (tmp_path / "survived").exists()


def wait_until(condition):
    until = time.monotonic() + BOUND
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_forced_colours_draw_no_bar_into_a_file(tmp_path):
    environment = os.environ | {"FORCE_COLOR": "1", "TTY_COMPATIBLE": "1", "TERM": "xterm"}
    script = PREAMBLE + SHORT
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert done.stdout == "a hook's line\n"


# A notebook.


def test_a_notebook_shows_the_figures_and_keeps_the_last(tmp_path):
    nbclient = pytest.importorskip("nbclient")
    import nbformat

    definitions = (
        "from smallab import Experiment, ExperimentRunner\n"
        "class Half(Experiment):\n"
        "    def main(self, specification):\n"
        "        print('main', specification['n'])\n"
        "        return specification['n'] / (specification['n'] - 3)\n"
        "runner = ExperimentRunner()\n"
        "runner.on_specification_complete(lambda specification, result: print('hook', specification['n']))\n"
        "result = runner.run('a & b', [{'n': 1}], Half(), show_progress=False)"
    )
    cells = [definitions, "result = runner.run('a & b', [{'n': n} for n in range(5)], Half())", "result"]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    nbclient.NotebookClient(notebook, timeout=BOUND, kernel_name="python3").execute()
    outputs = notebook.cells[1].outputs
    (shown,) = [output.data for output in outputs if output.output_type == "display_data"]
    assert "a & b: 4/5 completed, 1 failed, " in shown["text/plain"]
    assert "took" in shown["text/plain"]
    assert '<progress value="5" max="5">' in shown["text/html"]
    assert "a &amp; b: " in shown["text/html"]
    printed = "".join(output.text for output in outputs if output.get("name") == "stdout")
    assert printed == "main 0\nhook 0\nmain 2\nhook 2\nmain 3\nmain 4\nhook 4\n"
