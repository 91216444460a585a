"""Every error becomes one line and the documented exit status."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from corral.model.errors import (
    CannotStartError,
    CorralError,
    DaemonUnavailableError,
    NotSoError,
    UnknownJobError,
    UsageError,
)
from corral.protocol.requests import ListJobs
from corral_tui.cli.support.errors import guarded
from corral_tui.main import main
from tui.cli_fakes import FakeDaemon, fake

__all__ = ["fake"]


def _raising(error: BaseException) -> Callable[[list[str]], int]:
    def dispatch(words: list[str]) -> int:
        raise error

    return dispatch


@pytest.mark.parametrize(
    ("verb", "error", "status"),
    [
        ("show", CorralError("x"), 125),
        ("show", DaemonUnavailableError("x"), 125),
        ("show", UsageError("x"), 2),
        ("show", NotSoError("x"), 1),
        ("show", UnknownJobError("x"), 1),
        ("run", UsageError("x"), 125),
        ("run", UnknownJobError("x"), 125),
        ("wait", UnknownJobError("x"), 125),
        ("wait", UsageError("x"), 125),
        ("run", CannotStartError("x", 127), 127),
        ("restart", CannotStartError("x", 127), 125),
        ("show", KeyboardInterrupt(), 130),
        ("show", BrokenPipeError(), 141),
    ],
)
def test_exit_statuses(verb: str, error: BaseException, status: int, capsys: Any) -> None:
    assert guarded([verb], _raising(error)) == status
    lines = capsys.readouterr().err.splitlines()
    assert lines == (["corral: x"] if isinstance(error, CorralError) else [])


def test_the_unexpected_is_one_line_with_the_details_in_a_file(
    tmp_path: Any, monkeypatch: Any, capsys: Any
) -> None:
    monkeypatch.setattr("tempfile.tempdir", os.fspath(tmp_path))
    assert guarded(["show"], _raising(ZeroDivisionError("by\nzero"))) == 125
    (line,) = capsys.readouterr().err.splitlines()
    (details,) = tmp_path.iterdir()
    assert "ZeroDivisionError" in line
    assert str(details) in line
    assert "Traceback" in details.read_text()
    assert details.stat().st_mode & 0o077 == 0


def test_an_os_error_names_its_file(capsys: Any) -> None:
    assert guarded(["show"], _raising(PermissionError(13, "Permission denied", "/a\nb"))) == 125
    assert capsys.readouterr().err == "corral: /a b: Permission denied\n"


def test_control_characters_of_a_message_are_not_obeyed(capsys: Any) -> None:
    guarded(["show"], _raising(NotSoError("no job \x1b[2Jx")))
    assert "\x1b" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (["nosuchverb"], 2),
        (["--nosuchoption"], 2),
        (["ps", "--nosuchoption"], 2),
        (["show"], 2),
        (["stop", "--all", "7"], 2),
        (["stop", "-s", "NOSUCH", "7"], 2),
        (["stop", "--grace", "soon", "7"], 2),
        (["signal", "--tree", "--stage", "1", "TERM", "7"], 2),
        (["attach", "7"], 125),
        (["attach", "--detach-key", "ctrl+m", "7"], 125),
        (["run", "--nosuchoption", "ls"], 125),
        (["run", "--pty", "--from", "3", "cat"], 125),
        (["run", "-t", "--stdin", "x", "cat"], 125),
        (["run", "--on-stuck", "kill", "ls"], 125),
        (["run", "--timeout", "soon", "ls"], 125),
        (["run", "--timeout", "0", "ls"], 125),
        (["run", "--name", "7up", "ls"], 125),
        (["run", "a | | b"], 125),
        (["run", "echo 'unclosed"], 125),
        (["run", "a && b"], 125),
        (["run", ""], 125),
        (["run", "--shell", "a", "b"], 125),
        (["run", "-i", "--from", "3", "cat"], 125),
        (["run", "--stdin", "x", "-i", "cat"], 125),
        (["wait", "--nosuchoption", "7"], 125),
    ],
)
def test_wrong_usage_is_one_line_and_asks_nobody(
    words: list[str], status: int, fake: FakeDaemon, capsys: Any
) -> None:
    assert main(words) == status
    said = capsys.readouterr()
    assert said.out == ""
    assert len(said.err.splitlines()) == 1
    assert said.err.startswith("corral: ")
    assert fake.asked == []


def test_kill_does_not_take_the_signal_of_another_kill(fake: FakeDaemon, capsys: Any) -> None:
    for habit in ("-9", "-KILL", "-SIGKILL"):
        assert main(["kill", habit, "7"]) == 2
        assert "corral signal KILL 7" in capsys.readouterr().err
    assert fake.asked == []


def test_ps_with_a_closed_reader_ends_quietly(tmp_path: Any) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    environment = {**os.environ, "CORRAL_HOME": str(tmp_path / "home")}
    ended = subprocess.run(
        [sys.executable, "-m", "corral_tui.main", "ps"],
        stdout=writer,
        stderr=subprocess.PIPE,
        env=environment,
        timeout=30,
        check=False,
    )
    os.close(writer)
    assert (ended.returncode, ended.stderr) == (141, b"")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_descriptors_are_no_reason_to_fail(closed: str, tmp_path: Any) -> None:
    environment = {**os.environ, "CORRAL_HOME": str(tmp_path / "home"), "PYTHON": sys.executable}
    ended = subprocess.run(
        ["/bin/sh", "-c", f'exec "$PYTHON" -m corral_tui.main ps {closed}'],
        capture_output=True,
        env=environment,
        timeout=30,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, b"")


def test_listing_jobs_when_the_daemon_fails(fake: FakeDaemon, capsys: Any) -> None:
    fake.answers[ListJobs] = DaemonUnavailableError("the daemon has gone away")
    assert main(["ps"]) == 125
    assert capsys.readouterr().err == "corral: the daemon has gone away\n"
