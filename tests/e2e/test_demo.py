"""`corral demo`: it shows what it promises, agrees with itself, and leaves nothing behind however it is left."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import forkserver
from corral_tui.dashboard.dialogs.base import SOONEST_ANSWER
from e2e.command import Corral
from e2e.terminal import Terminal
from until import until

PROGRAMS = ("echo", "sleep", "sh", "gzip", "sha256sum", "yes", "head", "cat")
SLOW_GZIP = '#!/bin/sh\nwhile test "$(head -c 65536 | wc -c)" -gt 0; do echo squeezed; sleep 1; done\n'
KINDS = ("run and check", "poll while working", "many in parallel", "feed and read", "chains", "time limits")


@dataclass(frozen=True)
class Demo:
    """The demo with a folder of the test's own for its temporary home; every process inherits the folder's name."""

    folder: Path
    environment: dict[str, str]
    argv = (sys.executable, "-m", "corral_tui.main", "demo")

    def plain(self, *, asked: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
        argv = [*self.argv, "--plain"] if asked else self.argv
        return forkserver.run(argv, env=self.environment | environment, cwd="/", text=True, timeout=60)

    def on_terminal(self, columns: int = 160, rows: int = 50) -> Terminal:
        """With a gzip that takes its time: the real one takes a whole core for as long as the demo lasts."""
        gzip = self.folder.parent / "slow" / "gzip"
        gzip.parent.mkdir(exist_ok=True)
        gzip.write_text(SLOW_GZIP)
        gzip.chmod(0o755)
        path = f"{gzip.parent}:{self.environment['PATH']}"
        environment = self.environment | {"PATH": path}
        return Terminal(self.argv, environment=environment, columns=columns, rows=rows, cwd="/")

    def processes(self) -> list[int]:
        """All that are alive and have our folder in their environment."""
        wanted = b"TMPDIR=" + os.fsencode(self.folder)
        return [int(entry) for entry in os.listdir("/proc") if entry.isdigit() and _has(entry, wanted)]

    def is_gone(self) -> bool:
        return not self.processes() and not os.listdir(self.folder)

    def has_left_nothing(self) -> bool:
        """No file, and no process but the daemon, which says goodbye first and ends then."""
        return not os.listdir(self.folder) and not [pid for pid in self.processes() if not is_daemon(pid)]


def is_daemon(pid: int) -> bool:
    try:
        line = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return True  # ended meanwhile
    return not line or b"corral.service.launch" in line  # one that is ending has none


def _has(pid: str, variable: bytes) -> bool:
    try:
        return variable in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return False  # ended meanwhile


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    """The demo. A process or a file that is left at the end fails the test."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    environment = Corral(tmp_path / "home", tmp_path).environment | {"TMPDIR": os.fspath(folder)}
    if sys.getfilesystemencoding() != "utf-8":
        environment |= {"LC_ALL": "C.UTF-8"}
    demo = Demo(folder, environment)
    yield demo
    try:
        until(demo.is_gone, "every process and file of the demo to be gone", seconds=20)
    finally:
        for pid in demo.processes():
            os.kill(pid, signal.SIGKILL)
    assert not (tmp_path / "home").exists(), "the demo touched the user's own home"


def verdicts(output: str) -> dict[str, str]:
    """The last word of each kind's line."""
    return {kind: line.split()[-1] for kind in KINDS for line in output.splitlines() if line.startswith(kind)}


# ---- without a screen ---------------------------------------------------------------------------------------------


@pytest.mark.skipif(shutil.which("openssl") is None, reason="two of the kinds need openssl")
def test_plain_runs_the_six_kinds_and_each_agrees(demo: Demo) -> None:
    ended = demo.plain()
    assert (ended.returncode, ended.stderr) == (0, ""), ended
    assert verdicts(ended.stdout) == dict.fromkeys(KINDS, "agrees")
    assert "nothing is left." in ended.stdout
    assert ended.stdout.splitlines()[-1].startswith("6 of 6 checked: all as expected")
    assert "\x1b" not in ended.stdout
    assert demo.has_left_nothing()


def test_what_differs_or_is_missing_is_said_and_no_terminal_is_plain_without_being_asked(
    demo: Demo, tmp_path: Path
) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in PROGRAMS:
        found = shutil.which(name)
        assert found is not None
        (programs / name).symlink_to(found)
    (programs / "echo").unlink()
    (programs / "echo").write_text("#!/bin/sh\nprintf 'Goodbye\\n'\n")
    (programs / "echo").chmod(0o755)
    ended = demo.plain(asked=False, PATH=os.fspath(programs))
    assert (ended.returncode, ended.stderr) == (1, ""), ended
    others = {"run and check": "DIFFERS", "feed and read": "skipped", "chains": "skipped"}
    assert verdicts(ended.stdout) == dict.fromkeys(KINDS, "agrees") | others
    for line in ended.stdout.splitlines():
        if line.startswith(("feed and read", "chains")):
            assert line.count("skipped: no openssl on this machine") == 2
    last = ended.stdout.splitlines()[-1]
    assert last.startswith("4 of 6 checked, 2 skipped")
    assert "run and check: NOT as expected" in last


# ---- on a terminal ------------------------------------------------------------------------------------------------


def wait_until_it_is_all_there(terminal: Terminal) -> None:
    """Its panels, and the job that needs a human."""
    for words in ("squeeze", "numbers", "stubborn", "feed", "STUCK", "waits for input; a types the answer"):
        terminal.wait_for(words)


def assert_restored(terminal: Terminal) -> None:
    assert terminal.settings_now() == terminal.settings
    assert terminal.written.rindex("\x1b[?1049l") > terminal.written.rindex("\x1b[?1049h")
    assert terminal.written.rindex("\x1b[?25h") > terminal.written.rindex("\x1b[?25l")


def test_the_steps_are_ticked_what_refuses_is_stopped_and_q_ends_it_with_proof(demo: Demo) -> None:
    with demo.on_terminal() as terminal:
        wait_until_it_is_all_there(terminal)
        terminal.press("!")
        terminal.wait_for("Try it, 2 of 5:")
        terminal.press("w")
        terminal.wait_for("EVIDENCE")
        terminal.wait_for("Try it, 3 of 5:")  # also while a job is open
        terminal.press("\x1b")
        terminal.wait_for("squeeze")
        select_stubborn(terminal)
        terminal.press("s")
        terminal.wait_for("Stop 4 stubborn?")
        answer_yes(terminal, "Nothing of it is left. 4 processes: 1 by TERM, 3 by KILL.")
        terminal.press("\x1b")
        terminal.wait_for("Try it, 4 of 5:")
        terminal.press("q")
        assert terminal.wait_for_end() == 0
        screen = terminal.text()
        assert "Demo over: 25 jobs" in screen.replace("\n", ""), screen
        assert "nothing is left.  Your own:  corral run make -j8   ·   corral" in screen
        assert_restored(terminal)
        assert demo.has_left_nothing()


def answer_yes(terminal: Terminal, outcome: str) -> None:
    """Answer the question that stands there, once anybody could have read it; then what came of it is shown."""
    shown = time.monotonic()
    until(lambda: time.monotonic() - shown > SOONEST_ANSWER, "the time that it takes to read a question")
    terminal.press("y")
    terminal.wait_for(outcome)


def select_stubborn(terminal: Terminal) -> None:
    """From the first of two columns of panels, one down and one to the right; until it has the heavy frame."""
    terminal.press("gjl")
    until(
        lambda: any(_is_heavy_at(line, "4 stubborn") for line in terminal.lines()),
        "stubborn to be selected",
        seconds=10,
    )


def _is_heavy_at(line: str, title: str) -> bool:
    """Whether the frame around the title is the heavy one; two panels share a line."""
    place = line.find(title)
    return place >= 0 and "┏" in line[max(0, place - 12) : place]


SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


def test_a_signal_ends_it_with_proof_and_restores_the_terminal(demo: Demo) -> None:
    with contextlib.ExitStack() as stack:
        terminals = [stack.enter_context(demo.on_terminal(80, 24)) for _ in SIGNALS]
        for terminal, number in zip(terminals, SIGNALS, strict=True):
            terminal.wait_for("stubborn")
            terminal.process.send_signal(number)
        for terminal, number in zip(terminals, SIGNALS, strict=True):
            assert terminal.wait_for_end() == 128 + number, terminal.text()
            assert "nothing is left." in terminal.text()
            assert_restored(terminal)
        assert demo.has_left_nothing()


def test_whoever_is_killed_outright_no_job_is_left_behind(demo: Demo) -> None:
    with demo.on_terminal() as of_killed_daemon:
        of_killed_daemon.wait_for("stubborn")
        os.kill(_daemon_of(demo), signal.SIGKILL)
        with demo.on_terminal() as killed:
            killed.wait_for("stubborn")
            killed.process.kill()
            killed.wait_for_end()
        of_killed_daemon.wait_for("daemon gone")
        of_killed_daemon.press("q")
        assert of_killed_daemon.wait_for_end() == 0, of_killed_daemon.text()
        assert "nothing is left." in of_killed_daemon.text()
        assert_restored(of_killed_daemon)
    until(demo.is_gone, "the daemons to notice, end the jobs and remove their homes", seconds=20)


def _daemon_of(demo: Demo) -> int:
    """A child that has not come to its exec yet looks like the daemon, for a moment."""

    def the_only_one() -> list[int] | None:
        found = [pid for pid in demo.processes() if is_daemon(pid)]
        return found if len(found) == 1 else None

    (daemon,) = until(the_only_one, "one process alone to be the daemon")
    return daemon
