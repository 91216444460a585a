"""The dashboard on a real terminal: whatever ends it, the terminal is given back as it was."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from fcntl import ioctl
from struct import pack

import pytest

TESTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PROGRAM = """
import contextlib, os, sys
sys.path.insert(0, sys.argv[1])
from corral_tui.dashboard.start import run_dashboard_on
from tui.fake_jobs import six_jobs
from tui.fake_source import FakeSource
def prepare(app):
    def burst(action_id, job_ids):
        raise ValueError("[/] a bug in the dashboard")
    app.on_action(burst)
source = FakeSource(six_jobs(), home=sys.argv[2])
code = run_dashboard_on(source, prepare)
kinds = {type(each).__name__ for each in source.requests} - {"Subscribe", "Look", "AskPast"}
with contextlib.suppress(OSError):  # the terminal may be gone
    os.write(1, f"asked for: {sorted(kinds)}".encode())
sys.exit(code)
"""
ENTERED, LEFT = b"\x1b[?1049h", b"\x1b[?1049l"
TITLE, TITLE_BACK = b"\x1b]2;[1 STUCK] 4 fetch-index - corral\a", b"\x1b[23;2t"


class Terminal:
    """The dashboard on a pty of 80x24, and what it wrote."""

    def __init__(self, process: subprocess.Popen[bytes], master: int) -> None:
        self.process = process
        self.master = master
        self.written = b""

    def read_until(self, text: bytes, what: str, seconds: float = 60.0) -> None:
        deadline = time.monotonic() + seconds
        while text not in self.written:
            assert time.monotonic() < deadline, f"waited {seconds:g} s for {what}: {self.written[-2000:]!r}"
            if not self._read():
                assert text in self.written, f"ended before {what}: {self.written[-2000:]!r}"

    def read_to_the_end(self) -> int:
        """What is left, then the exit status."""
        deadline = time.monotonic() + 60.0
        while self._read():
            assert time.monotonic() < deadline, f"it goes on: {self.written[-2000:]!r}"
        return self.process.wait(30)

    def _read(self) -> bool:
        readable, _, _ = select.select([self.master], [], [], 0.1)
        if not readable:
            return True
        try:
            data = os.read(self.master, 65536)
        except OSError:  # EIO: nobody holds the other side any more (pty(7))
            return False
        self.written += data
        return bool(data)


@pytest.fixture
def terminal(tmp_path: object) -> Iterator[Terminal]:
    master, slave = pty.openpty()
    ioctl(slave, termios.TIOCSWINSZ, pack("HHHH", 24, 80, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color", "XDG_CONFIG_HOME": str(tmp_path)}
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, TESTS, str(tmp_path)],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env=environment,
        start_new_session=True,
    )
    os.close(slave)
    try:
        yield Terminal(process, master)
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


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
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
    os.close(terminal.master)
    terminal.process.send_signal(signal.SIGHUP)
    assert terminal.process.wait(60) == 129
