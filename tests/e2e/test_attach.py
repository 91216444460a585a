"""Jobs with a terminal, on a real one: `run --pty`, `attach`, `send`, and the terminal afterwards."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import sys
from typing import Any

import pytest

from e2e.command import Corral
from e2e.terminal import Terminal
from until import ZOO, until

DETACH = "\x1d"
ASKS = "import getpass; print('hello', getpass.getpass('Secret: '), flush=True); input('and? ')"
"""Asks for a password, as sudo does: without echo, on the terminal itself."""


def python(code: str) -> tuple[str, ...]:
    return (sys.executable, "-S", "-E", "-c", code)


def on_terminal(corral: Corral, *words: str, columns: int = 80, rows: int = 24) -> Terminal:
    return Terminal(
        (*corral.argv, *words),
        environment=corral.environment,
        columns=columns,
        rows=rows,
        cwd=corral.directory,
    )


def job(corral: Corral, job_id: str) -> dict[str, object]:
    (found,) = json.loads(corral.ok("ps", "--all", "--json", job_id))
    return dict(found)


def asked(corral: Corral, job_id: str) -> dict[str, Any]:
    """The diagnosis, once it is that it waits for the terminal."""
    said = dict(json.loads(corral.ok("why", "--json", job_id)))
    return said if said["root"] and said["root"]["kind"] == "tty_input" else {}


def stdout(corral: Corral, job_id: str) -> bytes:
    return (corral.home / "jobs" / job_id / "stdout").read_bytes()


@pytest.mark.parametrize("size", [5000, 200_000])
def test_a_long_line_arrives_whole(size: int, corral: Corral) -> None:
    """A terminal drops what of a line is beyond 4,095 bytes."""
    reads = python(
        "import sys; print(len(sys.stdin.readline()), len(sys.stdin.readline()), len(sys.stdin.read()))"
    )
    job_id = corral.ok("run", "--pty", "--shell", "stty -echo; exec " + shlex.join(reads))
    until(lambda: asked(corral, job_id), "it to read")
    corral.ok("send", job_id, "-", input="x" * size + "\n" + "y\n" * size)
    corral.ok("send", "-n", "--eof", job_id, "z" * 5000)
    assert corral("wait", job_id).returncode == 0
    assert stdout(corral, job_id).split() == [b"%d" % (size + 1), b"2", b"%d" % (2 * (size - 1) + 5000)]


def test_who_sends_to_one_that_never_reads_waits_and_hears_how_much_was_taken(served: Corral) -> None:
    much = served.directory / "much"
    much.write_bytes(b"x" * 300_000)
    for how in ("--pty", "-i"):
        job_id = served.ok("run", how, "sleep", "60")
        with much.open() as source:
            sender = served.start("send", job_id, "-", stdin=source)
        assert sender.stderr is not None
        assert b"does not read; waiting until it does" in sender.stderr.readline()
        served.ok("ps")
        served.ok("kill", job_id)
        _, said = sender.communicate()
        assert sender.returncode == 1
        assert re.fullmatch(
            rb"corral: job \d: it does not read its stdin any more; bytes taken: [1-9]\d+\n", said
        )


def test_a_password_is_answered_by_send_and_by_attach(served: Corral) -> None:
    job_id = served.ok("run", "--pty", *python(ASKS))
    until(lambda: b"Secret: " in stdout(served, job_id), "the question")
    name = os.path.basename(sys.executable)
    said = until(lambda: asked(served, job_id), "the diagnosis")
    assert (
        said["summary"]
        == f"{name} waits for somebody to type on its terminal; `corral attach {job_id}` lets you"
    )
    assert {advice["command"] for advice in said["advice"]} >= {
        f"corral attach {job_id}",
        f"corral send {job_id} TEXT",
    }
    served.ok("send", job_id, "s3cret")
    until(lambda: b"and? " in stdout(served, job_id), "the next question")
    with on_terminal(served, "attach", job_id) as terminal:
        first = terminal.wait_for("and?").splitlines()
        assert (
            first[0]
            == f"attached to {job_id} {os.path.basename(sys.executable)}: ctrl+] detaches, the job goes on"
        )
        terminal.press("yes\r")
        assert terminal.wait_for_end() == 0
        assert terminal.lines()[3:5] == ["and? yes", f"job {job_id} {name} has ended: succeeded"]
        assert terminal.settings_now() == terminal.settings
    # What was typed without echo is nowhere but in what the program made of it.
    assert stdout(served, job_id) == b"Secret: \r\nhello s3cret\r\nand? yes\r\n"
    ended = job(served, job_id)
    assert (ended["pty"], ended["stdin"], ended["state"], ended["stderr_bytes"]) == (
        True,
        "terminal",
        "succeeded",
        0,
    )


def test_a_full_screen_program_is_left_and_found_again(served: Corral) -> None:
    program = (sys.executable, "-S", "-E", os.path.join(ZOO, "full_screen.py"))
    job_id = served.ok("run", "-t", "-n", "screen", *program)
    with on_terminal(served, "attach", "screen") as terminal:
        terminal.wait_for("size 80x24")
        assert terminal.lines()[23] == "the last line"
        terminal.press("ab\x03")  # to a program in raw mode ctrl+c is a key like any other
        terminal.wait_for("keys ab^C")
        with on_terminal(served, "attach", "screen", columns=90, rows=20) as other:
            other.wait_for("size 90x20")
            terminal.press("c")  # the last one that types has the say
            other.wait_for("size 80x24")
            terminal.wait_for("keys ab^Cc")
            other.press(DETACH)
            assert other.wait_for_end() == 0
        terminal.resize(60, 12)
        os.kill(terminal.process.pid, signal.SIGWINCH)
        terminal.wait_for("size 60x12")
        terminal.press(DETACH)
        assert terminal.wait_for_end() == 0
        assert (
            f"detached from {job_id} screen, which goes on: corral attach {job_id} comes back"
            in terminal.text()
        )
        assert terminal.settings_now() == terminal.settings
        # What the program turned on is off again: the alternate screen last, and the cursor is shown.
        assert terminal.written.index("\x1b[?25h") < terminal.written.rindex("\x1b[?1049l")
    with on_terminal(served, "attach", "--detach-key", "^p", "screen", columns=90, rows=20) as terminal:
        terminal.wait_for("size 90x20")
        terminal.wait_for("keys ab^Cc")
        terminal.press("d\x1d")
        terminal.wait_for("keys ab^Ccd")  # ctrl+] is a key like any other now
        terminal.press("\x10")
        assert terminal.wait_for_end() == 0
    with on_terminal(served, "attach", "screen", columns=90, rows=20) as terminal:
        terminal.wait_for("size 90x20")  # drawn again, though the size is what it was
        terminal.press("q")
        assert terminal.wait_for_end() == 7
    assert job(served, job_id)["exit_status"] == 7


@pytest.mark.skipif(shutil.which("less") is None, reason="needs less")
def test_a_key_is_not_lost_to_a_new_size_and_a_hangup_leaves_the_job(served: Corral) -> None:
    (served.directory / "pages").write_text("".join(f"line {number}\n" for number in range(200)))
    job_id = served.ok("run", "-t", "less", "pages")
    terminal = on_terminal(served, "attach", job_id)
    terminal.press(" ")  # at once, while less is asked to draw again
    terminal.wait_for("line 40")
    os.close(terminal.release())
    assert terminal.process.wait(20) == 129
    assert job(served, job_id)["state"] == "running"


def test_ctrl_c_goes_to_the_job(corral: Corral) -> None:
    code = "import time\ntry:\n print('here', flush=True); time.sleep(60)\nexcept KeyboardInterrupt: print('caught'); raise SystemExit(9)"
    with on_terminal(corral, "run", "-t", "-w", *python(code)) as terminal:
        terminal.wait_for("here")
        terminal.press("\x03")
        assert terminal.wait_for_end() == 9
        assert "caught" in terminal.text()
    assert stdout(corral, "1") == b"here\r\n^Ccaught\r\n"


def test_the_terminal_is_given_back_when_we_are_ended(served: Corral) -> None:
    job_id = served.ok(
        "run", "-t", "--", "sh", "-c", r"printf '\033[?1049h\033[?2004h\033[?1000hdrawn'; sleep 60"
    )
    with on_terminal(served, "attach", job_id) as terminal:
        until(lambda: terminal.text() is not None and "\x1b[?2004h" in terminal.written, "its modes on ours")
        until(lambda: terminal.settings_now() != terminal.settings, "the terminal to be raw")
        terminal.process.send_signal(signal.SIGTERM)
        assert terminal.wait_for_end() == 143
        assert terminal.settings_now() == terminal.settings
        for mode in (1000, 2004, 1049):
            assert terminal.written.rindex(f"\x1b[?{mode}l") > terminal.written.rindex(f"\x1b[?{mode}h")
    assert job(served, job_id)["state"] == "running"


def test_a_flood_through_a_terminal_is_all_kept(corral: Corral) -> None:
    code = "import sys\nfor _ in range(20): sys.stdout.write('x' * ((1 << 20) - 1) + '\\n')"
    assert corral.ok("run", "-t", "-w", *python(code)).count("x") == 20 * ((1 << 20) - 1)
    assert job(corral, "1")["stdout_bytes"] == 20 * (1 << 20) + 20  # each line feed is shown as two bytes


def test_what_cannot_be_is_said(served: Corral) -> None:
    refused = served("run", "-t", "cat | cat")
    assert refused.returncode == 125
    assert "--pty --shell 'a | b'" in refused.stderr
    assert "--interactive and --pty exclude each other" in served("run", "-t", "-i", "cat").stderr
    plain = served.ok("run", "sleep", "60")
    pty = served.ok("run", "-t", "sleep", "60")
    assert "this is not a terminal" in served("attach", pty).stderr
    with on_terminal(served, "attach", plain, columns=100) as terminal:
        assert terminal.wait_for_end() == 125
        assert f"job {plain} has no terminal; start it with corral run --pty" in terminal.text()


def test_a_restart_keeps_the_terminal_and_a_crash_hangs_up(corral: Corral) -> None:
    job_id = corral.ok("run", "-t", "cat")
    daemon = json.loads(corral.ok("daemon", "status", "--json"))["pid"]
    with on_terminal(corral, "attach", job_id) as terminal:
        until(lambda: terminal.settings_now() != terminal.settings, "the terminal to be raw")
        terminal.press("one\r")
        until(lambda: terminal.text().count("one") == 2, "the echo and cat's own")
        corral.ok("daemon", "restart")
        terminal.press("two\r")
        until(lambda: terminal.text().count("two") == 2, "the same from the daemon after it")
        os.kill(daemon, signal.SIGKILL)
        assert terminal.wait_for_end() == 125
        assert "the daemon that held the terminal of job 1 has ended, so the job got SIGHUP" in "".join(
            terminal.lines()
        )
        assert terminal.settings_now() == terminal.settings
    corral("wait", job_id)
    shown = json.loads(corral.ok("show", "--json", job_id))
    assert shown["signal"] in ("HUP", None)
    assert "its terminal was hung up" in " ".join(event["text"] for event in shown["events"])


def attach_again(terminal: Terminal) -> None:
    """Attach to the selected job, and wait until its program has drawn its screen anew."""
    before = len(terminal.raw)
    terminal.press("a")

    def has_drawn() -> bool:
        terminal.text()
        return b"the last line" in terminal.raw[before:].partition(b"attached to 1 screen")[2]

    until(has_drawn, "its screen on our terminal")


def test_the_dashboard_hands_its_terminal_over_and_whatever_ends_it_puts_it_back(corral: Corral) -> None:
    program = (sys.executable, "-S", "-E", os.path.join(ZOO, "full_screen.py"))
    corral.ok("run", "-t", "-n", "screen", *program)
    with on_terminal(corral, columns=100, rows=30) as terminal:
        terminal.wait_for("size 80x24")  # its screen, in the panel
        terminal.press("a")
        terminal.wait_for("size 100x30")
        terminal.press(DETACH)
        terminal.wait_for("1 screen")
        attach_again(terminal)
        terminal.process.send_signal(signal.SIGTERM)
        assert terminal.wait_for_end() == 143
        assert terminal.settings_now() == terminal.settings
        assert b"\x1b[?1049l" in terminal.raw[-300:]
    with on_terminal(corral, columns=100, rows=30) as terminal:
        terminal.wait_for("1 screen")
        attach_again(terminal)
        terminal.process.kill()
        terminal.wait_for_end()
        # The program that stood in its place does it, a moment later.
        until(lambda: terminal.settings_now() == terminal.settings, "the settings of before")
    terminal = on_terminal(corral, columns=100, rows=30)
    terminal.wait_for("1 screen")
    attach_again(terminal)
    os.close(terminal.release())
    assert terminal.process.wait(30) == 129
    assert job(corral, "1")["state"] == "running"


@pytest.mark.parametrize("verb", [("attach",), ("run", "--wait"), ("run", "--wait", "--pty")])
def test_a_terminal_that_stops_reading_does_not_make_us_deaf(verb: tuple[str, ...], served: Corral) -> None:
    flood = python("import os, time\nwhile True: os.write(1, b'x' * 500); time.sleep(0.02)")
    words = (*verb, served.ok("run", "--pty", *flood)) if verb == ("attach",) else (*verb, "--", *flood)
    with on_terminal(served, *words) as terminal:
        terminal.wait_for("xxxx")
        terminal.stall()
        terminal.process.send_signal(signal.SIGTERM)
        assert terminal.process.wait(10) == 143
        assert terminal.settings_now() == terminal.settings
