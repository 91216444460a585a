"""`> /dev/stdout` and its like are the stage's own, as in a shell; never the daemon's."""

from __future__ import annotations

from pathlib import Path

import pytest

from e2e.command import Corral

BOTH = "sh -c 'echo out; echo err >&2'"


@pytest.mark.parametrize(
    ("line", "out", "err"),
    [
        ("echo HELLO > /dev/stdout", "HELLO\n", ""),
        (f"{BOTH} 2> /dev/stdout", "out\nerr\n", ""),
        (f"{BOTH} > /dev/stderr", "", "out\nerr\n"),
        (f"{BOTH} > /dev/null 2> /proc/self/fd/1", "", ""),
        (f"{BOTH} 2> /dev/fd/1 > /dev/null", "err\n", ""),
        (f"{BOTH} > /proc/thread-self/fd/2 2> /dev/null", "", "out\n"),
        (f"echo first > /dev/stdout | {BOTH} 2>> /dev/stdout", "out\nerr\n", ""),
        ("printf piped | cat < /dev/stdin", "piped", ""),
        ("echo linked > link", "linked\n", ""),
        ("head -n 1 < /proc/self/status", "Name:\thead\n", ""),
        ("cat < /dev/stdin", "", ""),
    ],
)
def test_the_stages_own(shared: Corral, line: str, out: str, err: str) -> None:
    link = shared.directory / "link"
    link.unlink(missing_ok=True)
    link.symlink_to("/dev/stdout")
    ended = shared("run", "--wait", line)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, out, err)


def test_it_empties_neither_the_jobs_output_nor_the_daemons_log(corral: Corral) -> None:
    log = corral.home / "daemon.log"
    corral.ok("run", "true")
    before = log.read_bytes()
    with log.open("ab") as file:
        file.write(b"a line of the daemon's\n")
    for line in ("echo again > /dev/stdout", "echo again 2> /dev/stderr", "cat < /dev/stdin > /dev/fd/1"):
        corral.ok("run", "--wait", line)
    assert log.read_bytes() == before + b"a line of the daemon's\n"
    # One process writes, is opened anew by the next command of the line, and nothing is lost.
    assert corral.ok("run", "--wait", "sh -c 'echo one; echo two' > /dev/stdout 2> /dev/stdout") == "one\ntwo"


def test_what_a_stage_does_not_have_is_said_before_anything_is_emptied(corral: Corral) -> None:
    kept = corral.directory / "kept"
    kept.write_text("all of it")
    for line, words in (
        (
            "echo x > kept | cat > /dev/fd/5",
            "stage 2: cannot write to /dev/fd/5: the stage has no descriptor 5",
        ),
        ("cat < /proc/self/fd/63 > kept", "cannot read /proc/self/fd/63: the stage has no descriptor 63"),
        ("echo x > kept 2> /dev/tty", "cannot write to /dev/tty: the job has no terminal; corral run --pty"),
    ):
        ended = corral("run", line)
        assert (ended.returncode, words in ended.stderr) == (125, True), ended
    assert kept.read_text() == "all of it"


def test_the_terminal_of_a_job_that_has_one(corral: Corral) -> None:
    assert corral.ok("run", "--wait", "--pty", "echo there > /dev/tty") == "there"
    assert corral.ok("run", "--wait", "--pty", f"{BOTH} > /dev/null 2> /dev/tty") == "err"


def test_the_stdin_of_the_command_line_by_any_name(corral: Corral, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/proc/self/fd/0")
    for name in ("-", "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0", str(tmp_path / "link")):
        assert corral.ok("run", "--wait", "--stdin", name, "cat", input="typed") == "typed", name
