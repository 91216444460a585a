"""The dashboard on a real terminal: whatever ends it, the terminal is given back as it was."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import forkserver
from corral.platform.files.pty import set_size

TESTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PROGRAM = """
import asyncio, contextlib, os, sys, time
sys.path.insert(0, sys.argv[1])
from corral_tui.dashboard.start import show
from tui.fake_jobs import six_jobs
from tui.fake_source import FakeSource
def prepare(app):
    def burst(action_id, job_ids):
        while sys.argv[3] == "hang":
            time.sleep(0.01)
        raise ValueError("[/] a bug in the dashboard")
    app.on_action(burst)
source = FakeSource(six_jobs(), home=sys.argv[2])
code = asyncio.run(show(source, prepare))
kinds = {type(each).__name__ for each in source.requests} - {"Subscribe", "Look", "AskRecentHistory"}
with contextlib.suppress(OSError):  # the terminal may be gone
    os.write(1, f"asked for: {sorted(kinds)}".encode())
sys.exit(code)
"""
SOON = 10.0
"""Seconds; it takes two at most, on a machine that has nothing else to do."""
ENTERED, LEFT = b"\x1b[?1049h", b"\x1b[?1049l"
TITLE, TITLE_BACK = b"\x1b]2;[1 STUCK] 4 fetch-index - corral\a", b"\x1b[23;2t"


class Terminal:
    """The dashboard on a pty of 80x24, and what it wrote."""

    def __init__(self, process: subprocess.Popen[bytes], master: int, path: str) -> None:
        self.process = process
        self.master = master
        self.path = path
        self.written = b""

    def resize(self, columns: int, rows: int) -> None:
        """As a window does that is dragged."""
        set_size(self.master, columns, rows)
        self.process.send_signal(signal.SIGWINCH)  # by itself it only goes to a foreground group

    def stall(self) -> None:
        """Read nothing any more, until nothing can be written to it either."""
        other = os.open(self.path, os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(other, b"." * 4096)
        os.close(other)
        for rows in (50, 40):
            self.resize(160, rows)

    def read_until(self, text: bytes, what: str, seconds: float = 60.0) -> None:
        deadline = time.monotonic() + seconds
        while text not in self.written:
            assert time.monotonic() < deadline, f"waited {seconds:g} s for {what}: {self.written[-2000:]!r}"
            if not self.read_some(0.1):
                assert text in self.written, f"ended before {what}: {self.written[-2000:]!r}"

    def read_to_the_end(self) -> int:
        """What is left, then the exit status."""
        deadline = time.monotonic() + 60.0
        while self.read_some(0.1):
            assert time.monotonic() < deadline, f"it goes on: {self.written[-2000:]!r}"
        return self.process.wait(30)

    def read_some(self, seconds: float) -> bool:
        """What comes within that time; False once nobody holds the other side any more."""
        readable, _, _ = select.select([self.master], [], [], seconds)
        if not readable:
            return True
        try:
            data = os.read(self.master, 65536)
        except OSError:  # EIO: nobody holds the other side any more (pty(7))
            return False
        self.written += data
        return bool(data)


@pytest.fixture
def terminal(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Terminal]:
    columns, rows, habit = getattr(request, "param", (80, 24, "crash"))
    master, slave = os.openpty()
    set_size(slave, columns, rows)
    environment = {**os.environ, "TERM": "xterm-256color", "XDG_CONFIG_HOME": str(tmp_path), "COLUMNS": "80"}
    process = forkserver.popen(
        [sys.executable, "-c", PROGRAM, TESTS, str(tmp_path), habit],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env=environment,
        start_new_session=True,
    )
    path = os.ttyname(slave)
    os.close(slave)
    try:
        yield Terminal(process, master, path)
    finally:
        process.kill()
        process.wait()
        with contextlib.suppress(OSError):
            os.close(master)


def test_q_leaves(terminal: Terminal) -> None:
    terminal.read_until(TITLE, "the jobs on the screen, and the title")
    os.write(terminal.master, b"q")
    assert terminal.read_to_the_end() == 0
    assert terminal.written.index(LEFT) < terminal.written.index(TITLE_BACK)
    assert terminal.written.index(b"\x1b[22;2t") < terminal.written.index(TITLE)
    # What was so before rings no bell; the others end an OSC.
    assert terminal.written.count(b"\a") == terminal.written.count(b"\x1b]")
    assert b"asked for: []" in terminal.written


@pytest.mark.parametrize(
    ("number", "status"),
    [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130), (signal.SIGQUIT, 131)],
)
def test_a_signal_restores_the_terminal_and_leaves_the_jobs_alone(
    number: signal.Signals, status: int, terminal: Terminal
) -> None:
    terminal.read_until(TITLE, "the jobs on the screen, and the title")
    terminal.process.send_signal(number)
    assert terminal.read_to_the_end() == status
    assert LEFT in terminal.written
    assert TITLE_BACK in terminal.written
    assert b"asked for: []" in terminal.written


def test_a_crash_restores_the_terminal(terminal: Terminal) -> None:
    terminal.read_until(TITLE, "the jobs on the screen, and the title")
    os.write(terminal.master, b"!")
    assert terminal.read_to_the_end() == 1
    assert terminal.written.index(ENTERED) < terminal.written.index(LEFT)
    assert TITLE_BACK in terminal.written
    assert b"a bug in the dashboard" in terminal.written


def test_a_terminal_that_went_away_ends_it(terminal: Terminal) -> None:
    terminal.read_until(TITLE, "the jobs on the screen, and the title")
    os.close(terminal.master)  # no SIGHUP comes: it is not its controlling terminal
    assert terminal.process.wait(SOON) == 129


@pytest.mark.parametrize("is_told", [False, True])
def test_a_terminal_that_goes_away_at_the_first_output_ends_it(is_told: bool, terminal: Terminal) -> None:
    terminal.read_until(ENTERED, "the first output")
    os.close(terminal.master)
    if is_told:
        terminal.process.send_signal(signal.SIGHUP)
        terminal.process.send_signal(signal.SIGCONT)  # as the kernel does to a foreground group
    assert terminal.process.wait(SOON) == 129


def test_a_signal_at_the_first_output_restores_the_terminal(terminal: Terminal) -> None:
    terminal.read_until(ENTERED, "the first output")
    terminal.process.send_signal(signal.SIGTERM)
    assert terminal.read_to_the_end() == 143
    assert LEFT in terminal.written


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_terminal_that_stops_reading_does_not_make_it_deaf(
    number: signal.Signals, terminal: Terminal
) -> None:
    terminal.read_until(TITLE, "the jobs on the screen, and the title")
    terminal.stall()
    terminal.process.send_signal(number)
    assert terminal.process.wait(SOON) == 128 + number


def test_a_terminal_that_stops_reading_and_goes_away_ends_it(terminal: Terminal) -> None:
    terminal.read_until(TITLE, "the jobs on the screen, and the title")
    terminal.stall()
    os.write(terminal.master, b"q")
    os.close(terminal.master)
    assert terminal.process.wait(SOON) in (0, 129)


def test_a_terminal_that_reads_again_shows_all_of_it_in_its_size_of_then(terminal: Terminal) -> None:
    terminal.read_until(TITLE, "the jobs on the screen, and the title")
    terminal.stall()
    terminal.resize(100, 30)
    terminal.written = b""
    terminal.read_until(b"\x1b[30;1H", "the last row of now")
    terminal.read_until(b"q\x1b[0m", "the footer")
    os.write(terminal.master, b"q")
    assert terminal.read_to_the_end() == 0


@pytest.mark.parametrize(
    "terminal", [(80, 0, "crash"), (0, 0, "crash"), (1, 1, "crash"), (65535, 65535, "crash")], indirect=True
)
def test_a_terminal_of_any_size_is_left_with_q(terminal: Terminal) -> None:
    terminal.read_until(TITLE, "the title")
    os.write(terminal.master, b"q")
    assert terminal.read_to_the_end() == 0
    assert LEFT in terminal.written


def test_two_sizes_at_once_while_it_begins_are_not_painted_in_turn_for_ever(terminal: Terminal) -> None:
    terminal.read_until(ENTERED, "the first output")
    for number in range(60):
        terminal.resize(160, 50 + number % 2)
        terminal.read_some(0.005)
    terminal.read_until(TITLE, "the title")
    os.write(terminal.master, b"q")
    assert terminal.read_to_the_end() == 0


def test_going_on_without_a_stop_does_not_keep_it_from_leaving(terminal: Terminal) -> None:
    terminal.read_until(TITLE, "the jobs on the screen, and the title")
    terminal.process.send_signal(signal.SIGCONT)
    terminal.read_until(LEFT + b"\x1b[?25h\x1b[?1004l" + ENTERED, "the screen to be left, and entered again")
    os.write(terminal.master, b"q")
    assert terminal.read_to_the_end() == 0


@pytest.mark.parametrize("terminal", [(80, 24, "hang")], indirect=True)
def test_one_that_hangs_is_ended_by_a_signal_with_the_terminal_restored(terminal: Terminal) -> None:
    before = termios.tcgetattr(terminal.master)
    terminal.read_until(TITLE, "the jobs on the screen, and the title")
    assert termios.tcgetattr(terminal.master) != before
    os.write(terminal.master, b"!")
    terminal.process.send_signal(signal.SIGTERM)
    assert terminal.read_to_the_end() == 143
    assert LEFT in terminal.written
    assert termios.tcgetattr(terminal.master) == before
