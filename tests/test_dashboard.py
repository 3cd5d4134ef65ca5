"""What a person sees of a batch in a terminal: frames, the application, its keys."""

import asyncio
import html
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

pytest.importorskip("textual")

from traces import BOUND, batches_in_processes, fail, living, tell, text, wait_for

from smallab.command_line.dashboard import Dashboard
from smallab.command_line.frame import Drawing, time_of_day
from smallab.command_line.looking import Seen
from smallab.command_line.screens import BatchScreen
from smallab.dashboard import dashboard
from smallab.display.figures import Figures
from smallab.reading.state import View, Watch
from smallab.storage.base import open_storage


@pytest.fixture
def storage(tmp_path):
    return open_storage(tmp_path / "runs", "digits")


@pytest.fixture
def start(tmp_path):
    with batches_in_processes(tmp_path) as start:
        yield start


# What is drawn.

HOSTILE = "a\nb\x1b[31mred\x1b[0m\x1b]0;title\x07\x9b2J\t模型émigré🙂\r" + "x" * 5000


@pytest.fixture
def full(storage):
    """What is seen of a batch with much in it, and nasty names."""
    with living(storage, 1000) as run:
        for x in range(30):
            tell(storage, run, "started", x, label=HOSTILE)
            tell(storage, run, "progress", x, done=x, total=30 if x % 2 else 1e9)
            fail(storage, run, x + 100, HOSTILE)
        yield Watch(storage).look()


def plain(lines):
    return [line.plain for line in lines]


@pytest.mark.parametrize("height", [1, 2, 4, 10, 24, 40, 200])
@pytest.mark.parametrize("width", [1, 2, 12, 40, 80, 99, 100, 120, 400])
def test_a_frame_fits_whatever_the_terminal_s_size(full, width, height):
    lines = Drawing().frame(full, full.failures.groups(BOUND), width, height)
    assert len(lines) <= height
    assert max(line.cell_len for line in lines) <= width
    assert all(line.plain.isprintable() for line in lines)


@pytest.mark.parametrize(("width", "height"), [(40, 10), (80, 24), (120, 40)])
def test_both_lists_are_in_a_frame(full, width, height):
    lines = plain(Drawing().frame(full, full.failures.groups(BOUND), width, height))
    text = "\n".join(lines)
    assert re.search(r"^  Running \((1 to \d+ of )?30\)$", text, re.MULTILINE)
    assert "  Failed (30, for 1 reason)" in lines
    assert text.count("a bred") >= 2
    assert "     30 " in text
    assert "ValueE" in text


def test_what_an_experiment_names_or_raises_is_only_text(full):
    drawing = Drawing()
    (group,) = full.failures.groups(BOUND)
    rows = [drawing.group(group, 200), drawing.failed(group.members[0], 200, True)]
    rows.append(drawing.running(full.running[0], 200, hosts=True, goes_on=True))
    assert all(row.plain.isprintable() for row in rows)
    details = full.details(group.members[0].id)
    assert all(line.isprintable() for line in drawing.details(details).plain.split("\n"))
    assert drawing.line(80, "[red]\ud800 \x1b[2J").plain == r"[red]\ud800 \x1b[2J"
    assert len(drawing.plain_lines("x" * 10**6)) < 10**6, "what is too long for a screen is left out"


def test_how_many_there_are_may_be_unknown(full, monkeypatch):
    monkeypatch.setattr(View, "figures", Figures(pending=None, skipped=2, completed=3, failed=1))
    _, bar, text = plain(Drawing().head(full, 80, 24))
    assert (bar, text) == ("─" * 80, "5 completed, 1 failed, 2 skipped")


def test_what_was_forgotten_since_the_run_ended_does_not_look_completed(tmp_path):
    storage = open_storage(tmp_path, "forgotten")
    with storage.run({"started": datetime.now(UTC).isoformat(), "pending": 1, "skipped": 0}) as run:
        storage.save(run.id, '{"x":1}', 1, {"run_id": run.id})
        run.note('{"x":1}', "completed")
    storage.forget(['{"x":1}'])
    head = plain(Drawing().head(Watch(storage).look(), 80, 24))
    assert "in the batch: 0 completed, 0 failed" in head


def test_what_failed_on_another_day_is_shown_with_that():
    assert time_of_day("2020-02-03T12:00:00+00:00") == "02-03"
    assert re.fullmatch(r"\d\d:\d\d:\d\d", time_of_day(datetime.now(UTC).isoformat()))
    assert time_of_day("what a damaged file tells") == ""


def test_a_terminal_that_takes_only_ascii_gets_only_ascii(full):
    drawing = Drawing("#", "-", "~", ascii_only=True)
    lines = drawing.frame(full, full.failures.groups(BOUND), 80, 24)
    lines.append(drawing.details(full.details(full.failures.latest(0, 1)[0].id)))
    assert all(line.plain.isascii() for line in lines)


def printed(arguments, **environment):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", f"from smallab.dashboard import dashboard; dashboard({arguments})"],
        env=os.environ | environment,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def test_where_stdout_is_no_terminal_one_plain_frame_is_printed(full, storage):
    text = printed(f"'digits', {storage.root!r}", PYTHONIOENCODING="utf-8", COLUMNS="100").decode()
    assert text.startswith("digits  running  ")
    assert "0/1000 completed, 30 failed" in text
    assert "\x1b" not in text
    assert "Search" not in text


def test_a_file_that_does_not_take_all_of_unicode_gets_what_it_can_take(full, storage):
    assert b"Running (" in printed(f"'digits', {storage.root!r}, once=True", PYTHONIOENCODING="ascii")


def test_a_batch_that_is_not_there_names_those_that_are(full, storage, capsys):
    dashboard("letters", storage.root, once=True)
    output = " ".join(capsys.readouterr().out.split())
    assert output.startswith("letters not started")
    assert output.endswith("there are: digits")


def test_a_name_that_no_batch_can_have_is_refused():
    with pytest.raises(ValueError, match="cannot name a batch"):
        dashboard("../digits", once=True)


@pytest.mark.parametrize("missing", ["rich", "textual"])
def test_without_textual_the_error_names_what_to_install(missing):
    code = f"import sys; sys.modules['{missing}'] = None; import smallab.dashboard"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert 'ImportError: the dashboard needs textual: pip install "smallab[dashboard]"' in done.stderr


# The application, without a terminal.


def drive(storage, steps, width=80, height=24):
    """Run the application, and do with it what the steps do."""

    async def main():
        application = Dashboard(Watch(storage), Drawing())
        async with application.run_test(size=(width, height)) as pilot:
            await steps(Driven(application, pilot))

    asyncio.run(main())


class Driven:
    def __init__(self, application, pilot):
        self.application, self.pilot = application, pilot

    def text(self):
        """What is on the screen, taken from a picture of it."""
        image = self.application.export_screenshot()
        rows = {}
        for x, y, found in re.findall(r'<text class="[^"]*" x="([\d.]+)" y="([\d.]+)"[^>]*>(.*?)</text>', image):
            rows.setdefault(float(y), []).append((float(x), html.unescape(found).replace("\xa0", " ")))
        lines = []
        for _, parts in sorted(rows.items()):
            line = ""
            for x, part in sorted(parts):
                line = line.ljust(round(x / 12.2)) + part
            lines.append(line.rstrip())
        return "\n".join(lines)

    async def press(self, *keys):
        await self.pilot.press(*keys)

    async def see(self, pattern):
        await self.until(
            lambda: re.search(pattern, self.text(), re.MULTILINE),
            lambda: f"{pattern!r} is not on the screen:\n{self.text()}",
        )

    async def laid_out(self):
        """Wait until the tables are where they were told to be: what is drawn in them is new before that."""
        await self.until(
            lambda: all(it.size.height == it.styles.height.value for it in self.application.screen.sections),
            lambda: f"the layout is not done:\n{self.text()}",
        )

    async def until(self, condition, trouble):
        until = time.monotonic() + BOUND
        while not condition():
            assert time.monotonic() < until, trouble()
            await self.pilot.pause(0.05)

    @property
    def table(self):
        return self.application.focused

    @property
    def chosen(self):
        return self.table.rows[self.table.cursor]


def test_an_answer_that_comes_while_it_ends_is_left(full, storage):
    answer = Dashboard.Looked(Seen(full, full.failures.groups(BOUND), None, None))

    class Ending(BatchScreen):
        def on_unmount(self):
            assert not self.query("#head"), "what it consisted of is gone already"
            self.app.on_dashboard_looked(answer)

    class Answered(Dashboard):
        def get_default_screen(self):
            return Ending(Drawing())

    async def main():
        async with Answered(Watch(storage), Drawing()).run_test() as pilot:
            await pilot.pause()

    asyncio.run(main())


@pytest.fixture
def run(storage):
    """Be a run that has 50 in hand, and 50 others have failed for three reasons."""
    with living(storage, 1000) as run:
        for x in range(50):
            tell(storage, run, "started", x)
            fail(storage, run, x + 100, ["no", "never", "[bold]the loss is nan"][min(2, x % 4)])
        yield run


def test_enter_opens_a_group_a_failure_and_its_traceback(storage, run):
    fail(storage, run, 149, "never", traceback="Traceback:\n  File [bold]\x1b[31m.py")

    async def steps(driven):
        await driven.see(r"Failed \(50, for 3 reasons\)")
        await driven.see(r"^ +24 .* ValueError: \[bold\]the loss is nan")
        await driven.press("tab", "down", "enter")
        await driven.see(r"^ValueError: never$")
        await driven.see(r"^  Failed \(13, the latest first\)$")
        await driven.press("enter")
        await driven.see(r"^  File \[bold\]\.py$")
        await driven.see(r'^  "x": 149$')
        await driven.press("escape")
        await driven.see(r"^  Failed \(13, the latest first\)$")
        await driven.press("escape", "escape")
        await driven.see(r"Failed \(50, for 3 reasons\)")

    drive(storage, steps)


def test_enter_opens_what_runs_and_follows_its_log(storage, run):
    folder = Path(storage.workspace(text(3)))
    folder.mkdir(parents=True)
    (folder / "log.txt").write_text("epoch 1\n", encoding="utf-8")

    async def steps(driven):
        await driven.see(r"Running \(50\)")
        await driven.press("down", "down", "down", "enter")
        await driven.see("^epoch 1$")
        (folder / "log.txt").write_text("epoch 1\nepoch 2\n", encoding="utf-8")
        await driven.see("^epoch 2$")
        tell(storage, run, "completed", 3)
        await driven.see("^it has completed meanwhile")
        await driven.see("^epoch 2$")
        await driven.press("escape")
        await driven.see(r"Running \(49\)")
        await driven.press("q")

    drive(storage, steps)


def test_the_cursor_stays_with_its_row_and_the_list_where_it_was_scrolled(storage, run):
    async def steps(driven):
        await driven.see(r"Running \(50\)")
        await driven.press("pagedown", "pagedown", "down")
        chosen, line = driven.chosen.id, driven.table.cursor - driven.table.scroll_offset.y
        for x in range(5):
            tell(storage, run, "completed", x)
        await driven.see(r"Running \(45\)")
        assert driven.chosen.id == chosen
        assert driven.table.cursor - driven.table.scroll_offset.y == line
        await driven.press("end")
        assert driven.table.cursor == 44
        await driven.press("home", "up")
        assert driven.table.cursor == 0
        await driven.see(r'\{"x":5\}')

    drive(storage, steps)


def test_a_search_filters_both_lists_until_escape(storage, run):
    async def steps(driven):
        await driven.see(r"Running \(50\)")
        await driven.press("slash", *'"X":4')
        await driven.see(r"""Running \(11\) with '"X":4'""")
        await driven.see(r"""^  Failed \(0, for 0 reasons\)|^ tab""")
        await driven.press("enter", "j", "j")
        assert json.loads(driven.chosen.label)["x"] == 41
        await driven.press("slash", *["backspace"] * 5, *"never")
        await driven.see(r"""Failed \(13, for 1 reason\) with 'never'""")
        await driven.press("enter", "enter")
        await driven.see(r"^  Failed \(13, the latest first\)$")
        await driven.press("escape", "escape")
        await driven.see(r"Running \(50\)$")
        await driven.see(r"Failed \(50, for 3 reasons\)$")

    drive(storage, steps)


def test_a_click_moves_the_cursor_and_another_opens(storage, run):
    async def steps(driven):
        await driven.see(r"Failed \(50, for 3 reasons\)$")
        await driven.laid_out()
        await driven.pilot.click("#failures", offset=(20, 1))
        assert driven.table.id == "failures"
        assert driven.table.cursor == 1
        await driven.pilot.click("#failures", offset=(20, 1))
        await driven.see(r"the latest first\)$")

    drive(storage, steps)


@pytest.mark.parametrize(("width", "height"), [(1, 1), (12, 4), (40, 10), (80, 24), (200, 60)])
def test_the_application_fits_whatever_the_terminal_s_size(full, storage, width, height):
    async def steps(driven):
        for key in ("tab", "enter", "enter", "escape", "escape", "slash", "x", "escape"):
            await driven.press(key)
            await driven.pilot.pause(0.2)
        if width >= 40:
            await driven.see("^digits  running")
            await driven.see(r"Running \(30\)")
            await driven.see(r"Failed \(30, for 1 reason\)")

    drive(storage, steps, width, height)


def test_keys_are_answered_while_the_share_is_not(storage, monkeypatch):
    answered = threading.Event()
    look = Watch.look
    monkeypatch.setattr(Watch, "look", lambda watch: answered.wait(BOUND) and look(watch))
    monkeypatch.setattr("smallab.command_line.dashboard.SLOW_SECONDS", 0.1)

    async def steps(driven):
        await driven.see("^no answer from the batch's folder for 0:0")
        await driven.press("slash", "x")
        assert driven.application.screen.search.value == "x"
        await driven.press("escape")
        answered.set()
        await driven.see("^digits  not started")
        await driven.see("^waiting for a batch 'digits' in")
        assert "no answer" not in driven.text()

    drive(storage, steps)


def test_a_share_that_fails_is_told_and_looked_at_again(storage, monkeypatch):
    look = Watch.look
    errors = [OSError(116, "Stale file handle"), OSError(116, "Stale file handle")]

    def failing(watch):
        if errors:
            raise errors.pop()
        return look(watch)

    monkeypatch.setattr(Watch, "look", failing)

    async def steps(driven):
        await driven.see("^the batch cannot be read: .*Stale file handle")
        await driven.see("^digits  not started")
        assert "Stale" not in driven.text()

    drive(storage, steps)


def test_an_error_of_ours_ends_it_and_is_raised(storage, monkeypatch):
    monkeypatch.setattr(Watch, "look", lambda _: 1 / 0)
    application = Dashboard(Watch(storage), Drawing())

    async def main():
        async with application.run_test() as pilot:
            while application.error is None:
                await pilot.pause(0.05)

    asyncio.run(main())
    assert isinstance(application.error, ZeroDivisionError)


# In a terminal.


class Screen:
    """A terminal of tmux's, in which a shell command runs."""

    def __init__(self, folder, width, height):
        self.folder, self.size = folder, ["-x", str(width), "-y", str(height)]
        self.socket = str(folder / "tmux")

    def tmux(self, *arguments):
        environment = {key: value for key, value in os.environ.items() if not key.startswith("TMUX")}
        command = ["tmux", "-S", self.socket, "-f", os.devnull, *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout

    def start(self):
        code = "from smallab.dashboard import dashboard; dashboard('digits', 'runs')"
        command = f"'{sys.executable}' -c \"{code}\""
        shell = f"cd '{self.folder}'; echo before; stty -a >before; {command}; stty -a >after; echo ended; exec cat"
        self.tmux("new-session", "-d", *self.size, shell)

    def text(self):
        return "\n".join(line.rstrip() for line in self.tmux("capture-pane", "-p").splitlines()).rstrip()

    def wait(self, pattern):
        def look():
            self.last = self.text()
            return re.search(pattern, self.last, re.MULTILINE)

        try:
            wait_for(look)
        except AssertionError:
            pytest.fail(f"{pattern!r} is not on the screen:\n{self.last}")
        return self.last

    def ended(self):
        text = self.wait("^ended$")
        assert text == "before\nended", "the screen is as it was"
        assert (self.folder / "after").read_text() == (self.folder / "before").read_text(), "and so is the terminal"


@pytest.fixture
def screen(tmp_path):
    try:
        subprocess.run(["tmux", "-V"], check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("needs tmux, to see what a terminal shows")
    screen = Screen(tmp_path, 80, 24)
    yield screen
    subprocess.run(["tmux", "-S", screen.socket, "kill-server"], check=False, capture_output=True)


def test_a_batch_from_before_its_start_to_its_end(screen, start, tmp_path):
    screen.start()
    screen.wait("^digits  not started")
    start(0, 4)
    screen.wait(r"^1/\d completed, 1 failed, .* left, ends ")
    screen.wait(r"^ +0:\d\d net 2 +━+─+ +1/3$")
    screen.wait(r"^ +1 \d\d:\d\d:\d\d  ValueError: the loss is not a number +net 0$")
    for n in (2, 3):
        (tmp_path / f"go{n}").touch()
    screen.wait("^digits  ended")
    screen.wait(r"^3/4 completed, 1 failed, .* took 0:\d\d$")
    screen.wait("^in the batch: 3 completed, 1 failed$")
    screen.tmux("send-keys", "q")
    screen.ended()


def test_a_killed_runner_is_said_to_be_killed(screen, start):
    process = start(0, 4)
    screen.start()
    screen.wait(r"^  Running \(2\)")
    process.kill()
    process.wait()
    screen.wait("^digits  killed")
    text = screen.wait(rf"^its runner was killed \(process {process.pid} on .*\): run it again to go on$")
    assert "Running" not in text
    assert "  In hand when it was killed (2)" in text


def test_keys_and_resizing(screen, storage):
    with living(storage, 1000) as run:
        for x in range(50):
            tell(storage, run, "started", x, label=f"net {x}")
            fail(storage, run, x + 100, "no " * 100)
        screen.start()
        screen.wait(r"^ +\d:\d\d net 0$")
        screen.tmux("send-keys", "NPage", "NPage")
        screen.wait(r"^ +\d:\d\d net 30\b")
        screen.tmux("send-keys", "End")
        screen.wait(r"^ +\d:\d\d net 49\b")
        screen.tmux("send-keys", "Tab", "Enter")
        screen.wait(r"^  Failed \(50, the latest first\)")
        screen.tmux("send-keys", "Escape")
        for width, height in ((120, 40), (40, 10), (12, 4), (200, 60), (80, 24)):
            screen.tmux("resize-window", "-x", str(width), "-y", str(height))

            def fits(width=width, height=height):
                lines = screen.text().splitlines()
                return len(lines) == height and lines[0].startswith("digits  run") and max(map(len, lines)) <= width

            wait_for(fits)
        screen.wait(r"^ +\d:\d\d net 49\b")
        screen.tmux("send-keys", "C-z", "q")
        screen.ended()


@pytest.mark.parametrize("how", ["C-c", signal.SIGTERM])
def test_it_gives_the_terminal_back_however_it_ends(screen, how, tmp_path):
    screen.start()
    screen.wait("^digits  not started")
    if how == "C-c":
        screen.tmux("send-keys", how)
    else:
        shell = screen.tmux("list-panes", "-F", "#{pane_pid}").strip()
        children = Path(f"/proc/{shell}/task/{shell}/children")
        if not children.exists():
            pytest.skip("needs /proc, to find the process")
        os.kill(int(children.read_text().split()[0]), how)
    screen.wait("ended$")
    assert (tmp_path / "after").read_text() == (tmp_path / "before").read_text()


def test_where_nobody_can_press_keys_it_is_shown_all_the_same(storage, tmp_path):
    pexpect = pytest.importorskip("pexpect")
    if os.name == "nt":
        pytest.skip("pexpect has no terminals there")
    code = f"from smallab.dashboard import dashboard; dashboard('digits', {storage.root!r})"
    shell = pexpect.spawn(
        "sh", ["-c", f"'{sys.executable}' -c \"{code}\" </dev/null"], timeout=BOUND, cwd=str(tmp_path)
    )
    shell.expect("not started")
    shell.sendintr()
    shell.expect(pexpect.EOF)
