"""A crash loses nothing: SIGKILL of the daemon while jobs run, wait, start and stop; then a new one."""

from __future__ import annotations

import fcntl
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import corral as library
import forkserver
from corral.client.environment import surroundings
from corral.journal.journal import Journal
from corral.model.errors import DaemonUnavailableError
from corral.platform.process.identity import identify, is_alive
from corral.protocol import requests as p
from e2e.daemons import Daemons, job, spec, start, stdout, wait
from managers import marked, nonce_of, python, zoo_argv
from until import until


def test_jobs_run_on_and_are_taken_over_with_their_status_and_output(
    daemons: Daemons, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    os.mkfifo(go)
    code = f"import sys\nfor n in range(20000): print(n)\nsys.stdout.flush()\nopen({str(go)!r}).read()\nprint('end')\nsys.exit(7)"
    with daemons.client() as client:
        (one,) = start(client, python(code))
        (chain,) = start(client, "sleep 60 | cat | cat")
        before = [job(client, each) for each in (one, chain)]
        until(lambda: b"19999\n" in stdout(daemons, one), "the first output")
    daemons.signal()
    assert all(identify(stage.pid) for each in before for stage in each.stages if stage.pid)
    with daemons.client() as client:
        after = [job(client, each) for each in (one, chain)]
        assert [each.state for each in after] == ["running", "running"]
        assert [[s.pid for s in each.stages] for each in after] == [
            [s.pid for s in each.stages] for each in before
        ]
        with open(go, "wb"):
            pass
        (ended,) = wait(client, one)
        # What the kernel tells: PIDFD_INFO_EXIT, Linux 6.15, or the zombie; else nobody knows.
        assert (ended.state, ended.exit_status) in {("failed", 7), ("lost", None)}
        if ended.state == "lost":
            assert ended.reason == "ended while no daemon ran"
        report = client.call(p.StopJobs(ids=(chain,), grace=5.0), timeout=30).reports[0]
        assert len(report.processes) == 3
        assert report.nothing_is_left
        # After 20,000 lines and the crash, to the last byte, and started once.
        assert stdout(daemons, one) == b"".join(b"%d\n" % n for n in range(20000)) + b"end\n"
        assert len(client.call(p.ListJobs(all=True)).jobs) == 2


def test_the_time_limit_of_a_job_that_was_taken_over_still_runs_out(daemons: Daemons) -> None:
    with daemons.client() as client:
        (one,) = start(client, "sleep 60", timeout=1.0, stop_grace=0.1)
    daemons.signal()
    with daemons.client() as client:
        (ended,) = wait(client, one)
    assert (ended.state, ended.exit_status) == ("timed_out", 124)


def test_a_paused_job_stays_paused_and_a_stop_goes_on(daemons: Daemons) -> None:
    with daemons.client() as client:
        (paused,) = start(client, "sleep 60")
        client.call(p.PauseJobs(ids=(paused,)))
        (stubborn,) = start(client, zoo_argv("ignores_term"))
        until(lambda: stdout(daemons, stubborn), "it to ignore TERM")
        client.call(p.StopJobs(ids=(stubborn,), grace=1.0, wait=False))
        until(lambda: (stop := job(client, stubborn).stopping) and stop.signal == "TERM", "TERM to be sent")
    daemons.signal()
    with daemons.client() as client:
        assert job(client, paused).state == "paused"
        (ended,) = wait(client, stubborn)
        assert (ended.state, ended.leftovers) == ("stopped", 0)
        client.call(p.ResumeJobs(ids=(paused,)))
        assert job(client, paused).state == "running"


def test_what_was_queued_starts_once(daemons: Daemons, tmp_path: Path) -> None:
    note = tmp_path / "note"
    with daemons.client() as client:
        (first,) = start(client, "sleep 60")
        (second,) = start(client, ["sh", "-c", f"echo ran >> {note}"], after=(first,))
        (third,) = start(client, "echo third", after=(second,))
    daemons.signal()
    assert not note.exists()
    with daemons.client() as client:
        assert job(client, second).waiting_for == f"job {first} to succeed"
        client.call(p.StopJobs(ids=(first,), grace=5.0))
        assert [each.state for each in wait(client, second, third)] == ["failed", "failed"]
    # The same once more, where what it waits for has succeeded and was removed before the crash.
    go = tmp_path / "go"
    os.mkfifo(go)
    with daemons.client() as client:
        (done,) = start(client, "true")
        (blocker,) = start(client, ["sh", "-c", f"cat < {go}"])
        (waiter,) = start(client, ["sh", "-c", f"echo ran >> {note}"], after=(done, blocker))
        wait(client, done)
        assert client.call(p.RemoveJobs(ids=(done,))).errors == ()
    daemons.signal()
    with daemons.client() as client:
        with open(go, "wb"):
            pass
        state = wait(client, blocker, waiter)[1].state
    # The blocker's status may be lost with the daemon that could have reaped it; then the waiter does not run.
    assert note.exists() == (state == "succeeded")
    assert not note.exists() or note.read_text() == "ran\n"


def test_starting_without_a_process_is_lost_and_never_started_again(daemons: Daemons, tmp_path: Path) -> None:
    from datetime import UTC, datetime

    note = tmp_path / "note"
    journal = Journal.open(daemons.home)
    (one,) = journal.add_jobs([spec(["sh", "-c", f"echo ran >> {note}"])], surroundings(), datetime.now(UTC))
    journal.mark_starting([one])
    (two,) = journal.add_jobs([spec("echo queued")], surroundings(), datetime.now(UTC))
    journal.close()
    with daemons.client() as client:
        lost, queued = wait(client, str(one), str(two))
    reason = "the daemon ended while it was starting this job"
    assert (lost.state, lost.exit_status, lost.reason) == ("lost", None, reason)
    assert (queued.state, queued.exit_status) == ("succeeded", 0)
    assert not note.exists()


def test_term_of_the_daemon_leaves_the_jobs(daemons: Daemons) -> None:
    with daemons.client() as client:
        (one,) = start(client, "sleep 60")
        pid = job(client, one).stages[0].pid
    assert pid is not None
    sleeper = identify(pid)
    daemons.signal(signal.SIGTERM)
    assert not os.path.exists(daemons.home.socket)
    assert sleeper is not None
    assert is_alive(sleeper)
    with daemons.client() as client:
        assert job(client, one).state == "running"


def test_leftovers_are_known_to_the_next_daemon(daemons: Daemons) -> None:
    with daemons.client() as client:
        (one,) = start(client, zoo_argv("double_fork", "x"))
        wait(client, one)
        until(lambda: job(client, one).leftovers == 1, "the leftover to be seen")
    daemons.signal()
    with daemons.client() as client:
        until(lambda: job(client, one).leftovers == 1, "the leftover to be seen again")
        report = client.call(p.StopJobs(ids=(one,), grace=5.0), timeout=30).reports[0]
        assert report.nothing_is_left
        assert len(report.processes) == 1
        assert job(client, one).state == "succeeded"


def test_marked_processes_that_the_journal_does_not_know_can_be_stopped(daemons: Daemons) -> None:
    with daemons.client() as client:
        (one,) = start(client, "sleep 60")
    daemons.signal()
    for suffix in ("", "-wal", "-shm"):
        if os.path.exists(daemons.home.journal + suffix):
            os.unlink(daemons.home.journal + suffix)
    with daemons.client() as client:
        found = job(client, one)
        assert (found.state, found.leftovers) == ("lost", 1)
        assert client.call(p.StopJobs(ids=(one,), grace=5.0), timeout=30).reports[0].nothing_is_left
        assert start(client, "true") == [str(int(one) + 1)]


def test_many_kills_in_a_row_leave_every_job_accounted_for(daemons: Daemons) -> None:
    """While jobs are being accepted, started and ended: whatever was answered is there, and nothing runs twice."""
    accepted: list[str] = []
    for turn in range(6):
        with daemons.client() as client:
            request = p.StartJobs(
                specs=tuple(spec(["sh", "-c", "echo $CORRAL_JOB_ID"]) for _ in range(30)),
                surroundings=surroundings(),
            )
            accepted += client.call(request, timeout=30).ids
            if turn % 2:
                wait(client, accepted[-30])
        daemons.signal()
    with daemons.client() as client:
        jobs = wait(client, *accepted)
        assert len({each.id for each in jobs}) == 180
        assert {each.state for each in jobs} <= {"succeeded", "lost"}
        for each in jobs:
            path = Path(daemons.home.stdout(each.id))
            written = path.read_bytes() if path.exists() else b""
            assert written in (
                {b"%d\n" % int(each.id)} if each.state == "succeeded" else {b"", b"%d\n" % int(each.id)}
            )
    connection = sqlite3.connect(daemons.home.journal)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


# ---- beginning and ending


def test_twenty_clients_at_once_get_one_daemon(daemons: Daemons) -> None:
    pids: list[int] = []
    errors: list[BaseException] = []

    def connect() -> None:
        try:
            pids.append(daemons.pid())
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=connect) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(pids) == 20
    assert len(set(pids)) == 1


def test_a_client_that_comes_while_another_daemon_leaves_starts_its_own(daemons: Daemons) -> None:
    """The lock is held a little longer than the socket is there."""
    os.makedirs(daemons.home.path, mode=0o700)
    lock = os.open(daemons.home.daemon_lock, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    timer = threading.Timer(0.6, os.close, [lock])
    timer.start()
    try:
        assert daemons.pid() > 1
    finally:
        timer.join()


def test_a_socket_without_a_daemon_is_replaced(daemons: Daemons) -> None:
    first = daemons.pid()
    daemons.signal()
    assert os.path.exists(daemons.home.socket)
    assert daemons.pid() != first


def test_it_ends_by_itself_when_there_is_nothing_to_do(daemons: Daemons) -> None:
    code = (
        "import sys\nfrom corral.daemon import server\nfrom corral.daemon.main import run_foreground\nfrom corral.model.home import Home\n"
        "server.IDLE_SECONDS = 0.3\nsys.exit(run_foreground(Home(sys.argv[1])))"
    )
    with forkserver.popen([sys.executable, "-c", code, daemons.home.path], start_new_session=True) as process:
        until(daemons.listens, "it to listen")
        with daemons.client(start=False) as client:
            assert client.hello.pid == process.pid
            (one,) = start(client, "sleep 60")
        # A job keeps it, though no client is there.
        with daemons.client(start=False) as client:
            client.call(p.StopJobs(ids=(one,), grace=5.0))
        assert process.wait(30) == 0
    assert not os.path.exists(daemons.home.socket)


def test_a_daemon_that_a_job_starts_is_not_of_its_tree(daemons: Daemons, tmp_path: Path) -> None:
    inner = Daemons(tmp_path / "inner")
    code = (
        "import sys, time\nfrom corral.client.blocking import Client\nfrom corral.model.home import Home\n"
        "Client.connect(Home(sys.argv[1]))\nprint('ready', flush=True)\ntime.sleep(60)"
    )
    try:
        with daemons.client() as client:
            (one,) = start(client, [sys.executable, "-c", code, inner.home.path])
            until(lambda: stdout(daemons, one), "the inner daemon to be started")
            pid = inner.pid()
            report = client.call(p.StopJobs(ids=(one,), grace=5.0), timeout=30).reports[0]
            assert report.nothing_is_left
            assert pid not in {process.pid for process in report.processes}
            assert pid not in marked(daemons.nonce())
            assert inner.pid() == pid
    finally:
        inner.end()


@pytest.mark.parametrize("fork", [False, True], ids=["alone", "with a forked child"])
def test_the_jobs_of_an_owner_that_was_killed_go_with_it(fork: bool) -> None:
    """SIGKILL leaves it no time to say anything, and a child that it forked may still hold the socket."""
    code = (
        "import asyncio, corral, os, sys, time\n"
        "async def main():\n"
        "    async with corral.open() as manager:\n"
        "        handle = await manager.start('sleep 60 | sleep 60')\n"
        "        print(manager.session.home.path, manager.session.hello.pid, flush=True)\n"
        f"        if {fork} and os.fork() == 0:\n"
        "            sys.stdin.read()\n"
        "            os._exit(0)\n"
        "        await handle.wait()\n"
        "asyncio.run(main())\n"
    )
    reader, writer = os.pipe()
    try:
        with forkserver.popen([sys.executable, "-c", code], stdin=reader, stdout=subprocess.PIPE) as owner:
            assert owner.stdout is not None
            path, pid = owner.stdout.readline().decode().split()
            with open(os.path.join(path, "home.json"), encoding="utf-8") as file:
                import json

                nonce = json.load(file)["nonce"]
            daemon = identify(int(pid))
            assert len(marked(nonce)) == 2
            owner.kill()
        assert daemon is not None
        until(lambda: not marked(nonce), "its jobs to be ended", seconds=10)
        until(lambda: not is_alive(daemon), "its daemon to have ended", seconds=10)
        assert not os.path.exists(path)
    finally:
        os.close(reader)
        os.close(writer)


async def test_leaving_ends_all_even_where_the_private_daemon_was_killed() -> None:
    async with library.open() as manager:
        await manager.start("sleep 60 | sleep 60")
        home, hello = manager.session.home, manager.session.hello
        assert hello is not None
        nonce = nonce_of(home)
        os.kill(hello.pid, signal.SIGKILL)
        with pytest.raises(DaemonUnavailableError):
            await manager.start("true")
        assert len(marked(nonce)) == 2
    assert marked(nonce) == []
    assert not os.path.exists(home.path)
    assert [len(report.processes) for report in manager.reports] == [2]
