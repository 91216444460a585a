"""What happens to the home under a living daemon is noticed, said, and made right; the daemon and its jobs stay in reach."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import forkserver
from corral.client.blocking import Client
from corral.home.identity import LOCK
from corral.platform.inspect.file_locks import flock_holders
from corral.platform.process.identity import identify, is_alive
from corral.protocol import requests as p
from e2e.command import Corral
from e2e.daemons import Daemons, start, wait
from until import until


def status(corral: Corral) -> dict[str, Any]:
    ended = corral("daemon", "status", "--json")
    assert ended.returncode == 0, ended
    return dict(json.loads(ended.stdout))


def states(corral: Corral) -> dict[str, str]:
    ended = corral("ps", "-a", "--json")
    assert ended.returncode == 0, ended
    return {job["id"]: job["state"] for job in json.loads(ended.stdout)}


def remove_journal(home: Path) -> None:
    for path in home.glob("corral.db*"):
        path.unlink()


def remove_log_of_journal(home: Path) -> None:
    (home / "corral.db-wal").unlink()


def remove_socket(home: Path) -> None:
    (home / "socket").unlink()


def remove_lock(home: Path) -> None:
    """And the socket: else nobody would try to start a second daemon."""
    (home / "daemon.lock").unlink()
    (home / "socket").unlink()


def remove_all(home: Path) -> None:
    shutil.rmtree(home)


def empty(home: Path) -> None:
    shutil.rmtree(home)
    home.mkdir(mode=0o700)


def replace_by_copy(home: Path) -> None:
    subprocess.run(["cp", "-a", home, f"{home}.copy"], check=True)
    shutil.rmtree(home)
    Path(f"{home}.copy").rename(home)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Daemons]:
    made = Daemons(tmp_path / "home")
    yield made
    made.end()


def told(client: Client) -> dict[str, str]:
    return {job.id: job.state for job in client.call(p.ListJobs(all=True), timeout=30).jobs}


@pytest.mark.parametrize(
    ("remove", "said"),
    [
        (remove_socket, r"socket was removed while the daemon ran: it was made again"),
        (remove_lock, r"daemon\.lock was removed while the daemon ran: it was made again"),
        (remove_journal, r"the journal .* was removed while the daemon ran: it was rewritten"),
        (remove_log_of_journal, r"the journal .* was removed while the daemon ran: it was rewritten"),
        (remove_all, r"home was removed while its daemon ran, which goes on there"),
        (empty, r"home was removed while its daemon ran, which goes on there"),
        (replace_by_copy, r"home was replaced while its daemon ran, .*set aside as .*corral\.db\.replaced-"),
    ],
)
def test_what_was_removed_is_made_again(served: Daemons, remove: Callable[[Path], None], said: str) -> None:
    with served.client() as client:
        start(client, "sleep 100")
        start(client, "true")
        wait(client, "2")
    pid = served.pid()
    home = Path(served.home.path)
    remove(home)
    # At once; where nobody answers, this would start a second daemon.
    with served.client() as client:
        start(client, "sleep 101")
        notices = list(client.hello.notices)
    until(lambda: _heard(served, notices, said), "it to be said")
    assert served.pid() == pid
    assert re.search(said, (home / "daemon.log").read_text())
    until(lambda: [one.pid for one in flock_holders(LOCK) if one.folder == str(home)] == [pid], "one daemon")
    # All of it is there for the next daemon.
    served.signal()
    with served.client() as client:
        assert told(client) == {"1": "running", "2": "succeeded", "3": "running"}


def _heard(served: Daemons, notices: list[str], said: str) -> bool:
    with served.client() as client:
        notices += client.hello.notices
    return any(re.search(said, notice) for notice in notices)


def test_a_daemon_whose_home_was_removed_is_never_said_not_to_run(corral: Corral) -> None:
    corral.ok("run", "-q", "sleep", "100")
    pid = status(corral)["pid"]
    shutil.rmtree(corral.home)
    assert status(corral)["pid"] == pid
    shutil.rmtree(corral.home)
    refused = corral("daemon", "stop")
    assert refused.returncode == 1
    assert "1 job has not ended" in refused.stderr
    shutil.rmtree(corral.home)
    ended = corral("daemon", "stop", "--jobs", "stop")
    assert ended.returncode == 0
    assert "Nothing of it is left." in ended.stdout
    assert corral.processes() == []


def test_the_note_of_its_marks_is_written_again(served: Daemons) -> None:
    with served.client() as client:
        start(client, "sleep 100")
        note = Path(served.home.identity_file)
        before = note.read_text()
        note.unlink()
        until(note.exists, "it to be written")
        assert note.read_text() == before


def test_with_nothing_to_do_it_ends_where_its_home_was_removed(corral: Corral) -> None:
    corral.ok("run", "-q", "--wait", "true")
    shutil.rmtree(corral.home)
    until(lambda: not corral.processes(), "the daemon to end")
    assert not corral.home.exists()


def test_output_that_was_removed_is_said(corral: Corral) -> None:
    corral.ok("run", "-q", "-n", "talk", "--shell", "echo before; while sleep 0.05; do echo on; done")
    until(lambda: "on" in corral.ok("logs", "talk"), "it to talk")
    shutil.rmtree(corral.home / "jobs")
    told = ""
    while "jobs was removed or replaced while the daemon ran: the output so far is lost" not in told:
        told += corral("ps").stderr
    logs = corral("logs", "talk")
    assert logs.stdout == ""
    assert "job 1: its stdout was removed" in logs.stderr
    assert corral.ok("run", "-q", "--wait", "echo", "new") == "new"
    # A daemon that never had the files open looks at the rest of the job all the same.
    corral.ok("daemon", "restart")
    until(lambda: "its output was removed from" in corral.ok("show", "talk"), "that to be noted")
    until(lambda: json.loads(corral.ok("ps", "--json"))[0]["health"] is not None, "it to be looked at")
    assert corral("stop", "talk").returncode == 0


def test_a_home_that_is_moved_is_followed(corral: Corral, tmp_path: Path) -> None:
    corral.ok("run", "-q", "-n", "cat", "-i", "cat")
    corral.ok("run", "-q", "-n", "later", "--after", "cat", "echo", "done")
    pid = status(corral)["pid"]
    corral.home.rename(tmp_path / "moved")
    corral.home = tmp_path / "moved"
    corral.environment["CORRAL_HOME"] = str(corral.home)
    until(lambda: status(corral)["home"] == str(corral.home), "the daemon to follow")
    assert status(corral)["pid"] == pid
    corral.ok("send", "cat", "hello")
    corral.ok("send", "--eof", "cat")
    corral.ok("wait", "cat", "later")
    assert corral.ok("logs", "cat") == "hello"
    assert corral.ok("logs", "later") == "done"
    assert [one.pid for one in flock_holders(LOCK) if one.folder == str(corral.home)] == [pid]
    assert not (tmp_path / "home").exists()


UNREACHABLE = """
import sys
from corral.daemon.main import run_foreground
from corral.daemon.home_watch import HomeWatch
from corral.model.home import Home
HomeWatch.look = lambda _: None
sys.exit(run_foreground(Home(sys.argv[1])))
"""
"""A daemon as that of an earlier release: it does not look after its socket."""


@pytest.mark.parametrize("jobs", ["stop", "leave"])
def test_a_daemon_that_cannot_be_reached_is_named_and_ended(corral: Corral, jobs: str) -> None:
    argv = [sys.executable, "-c", UNREACHABLE, str(corral.home)]
    with forkserver.popen(argv, env=corral.environment, start_new_session=True) as daemon:
        until(lambda: corral("daemon", "status").returncode == 0, "it to answer")
        corral.ok("run", "-q", "sleep", "100")
        (corral.home / "socket").unlink()
        if jobs == "leave":
            told = corral("daemon", "status")
            assert told.returncode == 125
            assert f"a daemon, pid {daemon.pid}, runs for {corral.home} and cannot be reached" in told.stderr
        ended = corral("daemon", "stop", "--jobs", jobs)
        assert ended.returncode == 0, ended
        assert daemon.wait(10) == 0
    if jobs == "stop":
        assert "Nothing of it is left." in ended.stdout
        assert corral.processes() == []
    else:
        assert "1 job was left unwatched" in ended.stdout
        assert states(corral) == {"1": "running"}


def test_stop_returns_once_the_process_is_gone(corral: Corral) -> None:
    corral.ok("run", "-q", "--wait", "true")
    daemon = identify(status(corral)["pid"])
    assert daemon is not None
    corral.ok("daemon", "stop")
    assert not is_alive(daemon)


def test_a_daemon_killed_while_it_stops_all_leaves_the_rest_to_the_next(corral: Corral) -> None:
    corral.ok("run", "-q", "--grace", "1s", "--shell", "trap '' TERM; echo ready; while :; do sleep 1; done")
    until(lambda: corral.ok("logs", "1") == "ready", "it to ignore TERM")
    pid = status(corral)["pid"]
    stop = corral.start("daemon", "stop", "--jobs", "stop")
    until(lambda: states(corral) == {"1": "stopping"}, "the stop to begin")
    os.kill(pid, signal.SIGKILL)
    out, err = stop.communicate(timeout=30)
    assert (stop.returncode, err) == (0, b"")
    assert b"Nothing of it is left." in out
    assert corral.processes() == []
