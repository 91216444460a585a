"""When a daemon is started, when it is not, and how it goes."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from e2e.command import Corral, read_all
from until import until


def _runs(corral: Corral) -> bool:
    return bool(corral("daemon", "status").returncode == 0)


@pytest.mark.parametrize(
    "words", [["--help"], ["--version"], ["completion", "bash"], ["daemon", "status"], ["ps"], ["run", "a |"]]
)
def test_what_starts_none(words: list[str], corral: Corral) -> None:
    corral(*words)
    assert not corral.home.exists()
    assert corral.processes() == []


def test_status(corral: Corral) -> None:
    corral.ok("run", "-q", "sleep", "100")
    status = json.loads(corral.ok("daemon", "status", "--json"))
    assert (status["home"], status["jobs"]) == (str(corral.home), {"running": 1})
    assert status["pid"] in corral.processes()
    assert "1 running" in corral.ok("daemon", "status")


def test_stop_with_jobs_names_both_ways(corral: Corral) -> None:
    corral.ok("run", "-n", "nap", "sleep", "100")
    refused = corral("daemon", "stop")
    assert refused.returncode == 1
    (line,) = refused.stderr.splitlines()
    for expected in ("nap", "--jobs stop", "--jobs leave"):
        assert expected in line
    assert _runs(corral)
    ended = corral("daemon", "stop", "--jobs", "stop")
    assert ended.returncode == 0
    assert "Nothing of it is left. 1 process: 1 by TERM." in ended.stdout
    until(lambda: not corral.processes(), "daemon and job to be gone")
    assert corral("daemon", "stop").returncode == 0


def test_reading_what_has_ended_starts_none(corral: Corral) -> None:
    corral("run", "-n", "first", "--wait", "--shell", "echo kept; exit 3")
    corral.ok("daemon", "stop")
    until(lambda: not corral.processes(), "the daemon to be gone")
    assert corral.ok("ps", "-q") == ""
    assert corral.ok("ps", "-a", "-q") == "1"
    assert corral.ok("logs") == "kept"
    assert corral.ok("logs", "-f", "first") == "kept"
    assert "exited with 3" in corral.ok("show", "first")
    assert "3" in corral.ok("why", "first")
    assert corral("wait", "first").returncode == 3
    assert corral("wait", "--any", "first").stdout == "1\n"
    assert not _runs(corral)
    assert corral.processes() == []


def test_jobs_that_were_left_are_found_again(corral: Corral) -> None:
    corral.ok("run", "-n", "nap", "sleep", "100")
    corral.ok("daemon", "stop", "--jobs", "leave")
    until(lambda: len(corral.processes()) == 1, "the daemon to be gone")
    assert not _runs(corral)
    assert corral.ok("ps", "-q") == "1"
    assert _runs(corral)
    assert corral("stop", "nap").returncode == 0


def test_after_a_crash_it_is_said_that_a_job_goes_on_and_how_to_get_it_back(corral: Corral) -> None:
    corral.ok("run", "sleep", "100")
    os.kill(json.loads(corral.ok("daemon", "status", "--json"))["pid"], signal.SIGKILL)
    until(lambda: not _runs(corral), "it to be dead")
    left = "1 job was left unwatched; corral ps takes it over"
    status = corral("daemon", "status")
    assert (status.returncode, left in status.stdout) == (3, True)
    assert left in corral.ok("daemon", "stop")
    assert corral.ok("ps", "-q") == "1"
    assert corral("stop", "1").returncode == 0


def test_leftovers_are_told_and_outlive_the_daemon(corral: Corral) -> None:
    corral.ok("run", "-n", "bg", "--shell", "sleep 100 & sleep 101 & exit 0")
    corral("wait", "bg")
    until(lambda: " +2 left " in corral.ok("ps", "-a"), "the leftovers to be found")
    assert json.loads(corral.ok("daemon", "status", "--json"))["leftovers"] == {"1": 2}
    named = "2 processes of ended job 1 live on: corral stop 1"
    assert named in corral.ok("daemon", "status")
    assert corral.ok("daemon", "stop") == named
    until(lambda: not _runs(corral), "the daemon to be gone")
    assert len(corral.processes()) == 2
    ended = corral("stop", "bg")
    assert ended.returncode == 0
    assert "1 bg: its leftovers ended" in ended.stdout
    until(lambda: "left" not in corral.ok("ps", "-a"), "the mark to go")


def test_in_the_foreground(corral: Corral) -> None:
    process = corral.start("daemon", "run")
    until(lambda: _runs(corral), "the daemon to answer")
    assert json.loads(corral.ok("daemon", "status", "--json"))["pid"] == process.pid
    corral.ok("run", "-q", "--wait", "true")
    second = corral("daemon", "run")
    assert len(second.stderr.splitlines()) <= 1
    corral.ok("daemon", "stop")
    assert process.wait(timeout=30) == 0
    read_all(process.stdout)
    read_all(process.stderr)


def test_log(corral: Corral) -> None:
    corral.ok("run", "-q", "true")
    assert corral("daemon", "log").returncode == 0


def test_ctrl_c_while_the_first_command_starts_it_leaves_a_usable_home(corral: Corral) -> None:
    process = corral.start("run", "-q", "true")
    until(lambda: corral.home.exists() or process.poll() is not None, "the start to begin")
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) in (0, 130)
    read_all(process.stdout)
    assert b"Traceback" not in read_all(process.stderr)
    corral.ok("run", "-q", "--wait", "true")


@pytest.mark.skipif(os.geteuid() == 0, reason="root can write everywhere")
def test_a_home_that_cannot_be_written(corral: Corral) -> None:
    corral.home.mkdir(mode=0o500)
    _is_refused(corral, "write")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory to another user")
def test_a_home_of_somebody_else(corral: Corral) -> None:
    corral.home.mkdir()
    os.chown(corral.home, 12345, 12345)
    _is_refused(corral, "12345")
    os.chown(corral.home, 0, 0)


def test_a_home_that_is_a_file(corral: Corral) -> None:
    corral.home.write_text("")
    _is_refused(corral, "directory")
    corral.home.unlink()


def _is_refused(corral: Corral, word: str) -> None:
    for words in (["run", "true"], ["ps"], ["daemon", "status"]):
        ended = corral(*words)
        assert ended.returncode == 125
        (line,) = ended.stderr.splitlines()
        assert word in line
        assert "CORRAL_HOME" in line


def test_a_damaged_journal_is_set_aside_and_that_is_said_once(corral: Corral) -> None:
    corral.home.mkdir(mode=0o700)
    (corral.home / "corral.db").write_bytes(b"this is no database" * 100)
    ended = corral("ps")
    assert ended.returncode == 125
    (line,) = ended.stderr.splitlines()
    for expected in ("damaged", "corral run", "corral.db.damaged-", "jobs/"):
        assert expected in line
    assert "damaged" in corral("daemon", "status").stdout
    started = corral("run", "-q", "true")
    kept = [path for path in corral.home.iterdir() if path.name.startswith("corral.db") and _is_the_old(path)]
    assert len(kept) == 1
    (line,) = started.stderr.splitlines()
    assert line.startswith("corral: the journal ")
    assert str(kept[0]) in line
    assert corral.ok("ps", "-a", "-q") == "1"


def _is_the_old(path: Path) -> bool:
    return path.read_bytes().startswith(b"this is no database")


def test_a_home_with_a_long_path(corral: Corral, tmp_path: Path) -> None:
    corral.home = tmp_path / ("x" * 100) / ("y" * 100)
    corral.environment["CORRAL_HOME"] = str(corral.home)
    assert corral.ok("run", "--wait", "echo", "far") == "far"
    assert corral.ok("ps", "-a", "-q") == "1"
