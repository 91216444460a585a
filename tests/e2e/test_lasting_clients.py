"""Clients that outlive the daemon: a restart in place, its crash, and its end by somebody else."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import threading
from pathlib import Path

import pytest

import corral as library
from corral.client import connection, restart_daemon, start_daemon
from corral.client.blocking import Client
from corral.client.environment import surroundings
from corral.client.restart_daemon import restart
from corral.model.errors import DaemonUnavailableError
from corral.model.home import Home
from corral.platform.process.identity import identify, is_alive
from corral.protocol import requests as p
from e2e.command import Corral, read_all
from e2e.daemons import Daemons, job, spec, start, wait
from managers import eventually, zoo_argv
from until import until

COUNTS = "i=0; while [ ! -e {end} ]; do i=$((i+1)); echo $i; sleep 0.001; done; exit 5"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """That this Python can load the daemon is known here; and no service manager is about to start one."""
    monkeypatch.setattr(restart_daemon, "check_own_program", lambda: None)
    monkeypatch.setattr(connection, "PATIENCE_AFTER_END", 0.2)


def daemon_of(corral: Corral) -> int:
    return int(json.loads(corral.ok("daemon", "status", "--json"))["pid"])


def test_commands_go_on(corral: Corral, tmp_path: Path) -> None:
    end, home = tmp_path / "end", Home(str(corral.home))
    copies = {name: open(tmp_path / name, "wb") for name in ("run", "logs")}  # noqa: SIM115
    commands: list[subprocess.Popen[bytes]] = []
    command = COUNTS.format(end=end)
    commands.append(corral.start("run", "-n", "count", "--wait", "sh", "-c", command, stdout=copies["run"]))
    until(lambda: (tmp_path / "run").read_bytes(), "the first line")
    corral.ok("run", "-q", "-n", "stubborn", *zoo_argv("ignores_term"))
    until(lambda: corral.ok("logs", "stubborn") == "ready", "it to ignore TERM")
    commands.append(corral.start("logs", "-f", "count", stdout=copies["logs"]))
    commands.append(corral.start("wait", "--timeout", "60", "@", "count"))
    until(lambda: (tmp_path / "logs").read_bytes(), "logs to follow")
    commands.append(corral.start("stop", "--grace", "60s", "stubborn"))
    until(lambda: "stopping" in corral.ok("ps"), "the stop to begin")
    daemon = daemon_of(corral)
    for _ in range(2):
        restart(home)
    assert daemon_of(corral) == daemon
    # What `@` and `count` meant when they were written is what is waited for.
    corral.ok("run", "-q", "-n", "count2", "true")
    os.kill(daemon, signal.SIGKILL)
    until(lambda: corral("daemon", "status").returncode == 0, "one of the clients to start a daemon")
    # By the daemon that took the stop over, whose grace is not over: the one who waits for it hears of the end.
    corral.ok("kill", "stubborn")
    end.touch()
    statuses = [process.wait(timeout=30) for process in commands]
    said = [read_all(process.stderr).decode() for process in commands]
    assert (statuses[1], statuses[3]) == (0, 0), said
    # After a crash the kernel tells the status from Linux 6.15 on; else it is lost, and 125.
    assert statuses[0] in (5, 125)
    assert statuses[2] in (137, 125)
    for copy in copies.values():
        copy.close()
    written = Path(home.stdout(1)).read_bytes()
    assert len(written) > 100
    assert (tmp_path / "run").read_bytes() == (tmp_path / "logs").read_bytes() == written
    told = [read_all(process.stdout).decode() for process in commands[2:]]
    assert "1 by KILL" in told[1]
    events = json.loads(corral.ok("show", "--json", "stubborn"))["events"]
    skipped = [event["text"] for event in events if event["kind"] == "grace_skipped"]
    assert skipped == ["stopped by corral kill: KILL now"], "who asks again must not skip the grace"


def test_a_daemon_that_was_ended_is_not_started_by_who_waits(daemons: Daemons) -> None:
    with Client.connect(daemons.home, is_lasting=True) as client:
        (one,) = start(client, "sleep 60")
        waiting = client.begin(p.WaitForJobs(ids=(one,)))
        assert job(client, one).state == "running"
        with daemons.client() as other:
            other.call(p.Shutdown(jobs="leave"))
        with pytest.raises(DaemonUnavailableError, match=r"^the daemon was ended; its jobs go on"):
            waiting.result(20)
    with pytest.raises(DaemonUnavailableError, match="no daemon runs"):
        Client.connect(daemons.home, start=False)


def test_the_search_for_a_daemon_is_bounded(daemons: Daemons, monkeypatch: pytest.MonkeyPatch) -> None:
    with Client.connect(daemons.home, is_lasting=True) as client:
        (one,) = start(client, "sleep 60")
        waiting = client.begin(p.WaitForJobs(ids=(one,)))
        with monkeypatch.context() as patch:
            patch.setattr(connection, "PATIENCE_SECONDS", 0.2)
            patch.setattr(start_daemon, "START_SECONDS", 0.1)
            patch.setattr(start_daemon, "LAUNCH", "no.such.program")
            os.kill(client.hello.pid, signal.SIGKILL)
            with pytest.raises(DaemonUnavailableError, match=r"gone away \(.*its jobs go on"):
                waiting.result(20)


def test_what_may_not_be_sent_twice_is_not(daemons: Daemons, tmp_path: Path) -> None:
    note = tmp_path / "note"
    request = p.StartJobs(
        specs=(spec(["sh", "-c", f"echo ran >> {note}"]),), surroundings=surroundings(), wait_started=True
    )
    with Client.connect(daemons.home, is_lasting=True) as client:
        with daemons.client() as other:
            start(other, "sleep 60")
        os.kill(client.hello.pid, signal.SIGSTOP)
        unread = client.begin(request)
        os.kill(client.hello.pid, signal.SIGKILL)
        with pytest.raises(DaemonUnavailableError, match="it is not known whether it did: corral ps -a"):
            unread.result(20)
        with daemons.client() as other:
            assert len(other.call(p.ListJobs(all=True)).jobs) == 1
        restart(daemons.home)
        # Never sent to anybody that is gone by now.
        (started,) = client.call(request, timeout=20).ids
        until(lambda: note.exists() and note.read_text() == "ran\n", "it to run, once")
        assert job(client, started).id == "2"


def test_each_job_that_is_asked_for_during_a_restart_starts_once(daemons: Daemons, tmp_path: Path) -> None:
    with Client.connect(daemons.home, is_lasting=True) as client, daemons.client() as other:
        (stubborn,) = start(client, zoo_argv("ignores_term"), stop_grace=0.4)
        until(lambda: Path(daemons.home.stdout(stubborn)).read_bytes(), "it to ignore TERM")
        # This cannot be asked again, so the restart waits for it; what comes meanwhile is not read before the exec.
        removed = other.begin(p.RemoveJobs(ids=(stubborn,), force=True))
        until(lambda: job(client, stubborn).state == "stopping", "the old job to be stopped")
        thread = threading.Thread(target=restart, args=(daemons.home,))
        thread.start()
        asked = []
        while thread.is_alive():
            command = ["sh", "-c", f"echo x >> {tmp_path}/{len(asked)}"]
            asked.append(client.begin(p.StartJobs(specs=(spec(command),), surroundings=surroundings())))
            thread.join(0.05)
        started = [reply.ids[0] for one in asked if (reply := one.result(20))]
        assert len(set(started)) == len(asked) > 3
        assert all(each.state == "succeeded" for each in wait(client, *started))
        assert {(tmp_path / str(number)).read_text() for number in range(len(asked))} == {"x\n"}
        reply = removed.result(20)
        assert reply is not None
        assert reply.done == (f"job {stubborn} removed",)
        assert client.hello.generation == 2


async def test_a_program_goes_on(daemons: Daemons, tmp_path: Path) -> None:
    end = tmp_path / "end"
    async with library.connect(daemons.home.path) as manager:
        handle = await manager.start(["sh", "-c", COUNTS.format(end=end)], name="count")
        session = manager.session
        await session.subscribe()
        await session.call(p.WatchJobs(ids=(handle.id,)))
        follower = asyncio.create_task(_all_of(manager.job("count")))
        waiting = asyncio.create_task(manager.wait([manager.job("count")]))
        assert session.hello is not None
        pid = session.hello.pid
        seen: list[str | None] = []
        watcher = asyncio.create_task(_troubles(session, seen))
        for generation in (2, 3):
            await asyncio.to_thread(restart, daemons.home)
            await eventually(
                lambda generation=generation: session.hello.generation == generation, "the session to return"
            )
        rev = session.snapshot.jobs[handle.id].elapsed
        await eventually(lambda: session.snapshot.jobs[handle.id].elapsed != rev, "pushes to come")
        assert session.snapshot.trouble is None
        assert not any(seen)
        daemon = identify(pid)
        assert daemon is not None
        os.kill(pid, signal.SIGKILL)
        await eventually(lambda: not is_alive(daemon), "the daemon to be dead")
        # Whether or not the session has noticed yet: what reaches nobody is sent to the next one.
        result = await manager.run(["echo", "the next daemon"])
        assert result.stdout == b"the next daemon\n"
        assert session.hello.pid != pid
        end.touch()
        (ended,) = await waiting
        assert (ended.state, ended.exit_status) in {("failed", 5), ("lost", None)}
        assert await follower == await handle.stdout()
        watcher.cancel()
        with daemons.client():
            pass


async def _all_of(handle: library.JobHandle) -> bytes:
    return b"".join([piece async for piece in handle.follow()])


async def _troubles(session: object, seen: list[str | None]) -> None:
    while True:
        seen.append((await session.changed()).trouble)  # type: ignore[attr-defined]


async def test_a_screen_leaves_an_ended_daemon_ended_until_something_is_wanted(daemons: Daemons) -> None:
    async with library.connect(daemons.home.path) as manager:
        session = manager.session
        handle = await manager.start(["sleep", "60"])
        await session.subscribe()
        with daemons.client() as client:
            client.call(p.Shutdown(jobs="leave"))
        await eventually(lambda: session.snapshot.trouble, "the screen to say so")
        assert "no daemon runs" in str(session.last_trouble)
        again = await manager.start(["sleep", "60"])
        assert session.snapshot.trouble is None
        assert [each.state for each in await manager.jobs()] == ["running", "running"]
        reports = await manager.stop([handle, again])
        assert all(report.nothing_is_left for report in reports)
        with daemons.client():
            pass
