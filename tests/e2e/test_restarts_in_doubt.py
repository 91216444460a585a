"""`restart` of a job that runs, whoever is killed meanwhile: the new run starts once, and only when nothing of the old is left."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

import forkserver
from corral.client.blocking import Client
from corral.model.errors import NotSoError
from corral.model.home import Home
from corral.model.job import Job
from corral.protocol import requests as p
from e2e.command import Corral, read_all
from e2e.daemons import Daemons, altered, job, start
from managers import zoo_argv
from until import until


def listed(corral: Corral) -> dict[str, Job]:
    with Client.connect(Home(str(corral.home))) as client:
        return {job.id: job for job in client.call(p.ListJobs(all=True), timeout=30).jobs}


def kinds(corral: Corral, job_id: str) -> set[str]:
    """What its life tells of."""
    with Client.connect(Home(str(corral.home))) as client:
        return {event.kind for event in client.call(p.ShowJob(job=job_id), timeout=30).events}


def kill_daemon(corral: Corral) -> None:
    with Client.connect(Home(str(corral.home)), start=False) as client:
        os.kill(client.hello.pid, signal.SIGKILL)


def is_being_stopped(corral: Corral, job_id: str) -> bool:
    return "signal" in kinds(corral, job_id)


def stubborn(corral: Corral, note: Path, grace: str = "1s") -> None:
    """Job 1, which ignores TERM, and notes each of its runs."""
    line = f"echo ran >> {note}; exec {' '.join(zoo_argv('ignores_term'))}"
    corral.ok("run", "-q", "-n", "web", "--grace", grace, "--shell", line)
    output = corral.home / "jobs" / "1" / "stdout"
    until(lambda: output.exists() and b"ready" in output.read_bytes(), "it to ignore TERM")


@pytest.fixture
def note(tmp_path: Path) -> Path:
    return tmp_path / "note"


def runs(note: Path) -> int:
    return len(note.read_text().splitlines())


def test_a_daemon_killed_in_the_grace_leaves_the_new_run_to_the_next_one(corral: Corral, note: Path) -> None:
    stubborn(corral, note)
    asked = corral.start("restart", "web")
    until(lambda: is_being_stopped(corral, "1"), "TERM to be sent")
    new = listed(corral)["2"]
    assert (new.state, new.waiting_for) == ("queued", "job 1 (web) to be stopped")
    kill_daemon(corral)
    assert (asked.wait(30), read_all(asked.stdout), read_all(asked.stderr)) == (0, b"2\n", b"")
    until(lambda: listed(corral)["2"].state == "running", "the new run")
    assert listed(corral)["1"].state == "stopped"
    assert list(listed(corral)) == ["1", "2"]
    until(lambda: runs(note) == 2, "it to have run twice in all")


def test_a_command_killed_in_the_grace_takes_nothing_back(corral: Corral, note: Path) -> None:
    stubborn(corral, note)
    asked = corral.start("restart", "1")
    until(lambda: is_being_stopped(corral, "1"), "TERM to be sent")
    asked.kill()
    asked.wait()
    read_all(asked.stdout)
    read_all(asked.stderr)
    kill_daemon(corral)
    until(lambda: listed(corral)["2"].state == "running", "the new run")
    assert listed(corral)["1"].state == "stopped"


def test_a_daemon_restart_in_the_grace_is_not_held_up(corral: Corral, note: Path) -> None:
    stubborn(corral, note, "15s")
    asked = corral.start("restart", "1")
    until(lambda: is_being_stopped(corral, "1"), "TERM to be sent")
    corral.ok("daemon", "restart")
    new = listed(corral)["2"]
    assert (new.state, new.waiting_for) == ("queued", "job 1 (web) to be stopped")
    assert corral("kill", "1").returncode == 0
    assert (asked.wait(30), read_all(asked.stdout), read_all(asked.stderr)) == (0, b"2\n", b"")
    until(lambda: listed(corral)["2"].state == "running", "the new run")
    assert list(listed(corral)) == ["1", "2"]
    corral.ok("kill", "2")


def test_asked_several_times_it_runs_once_and_skips_no_grace(corral: Corral, note: Path) -> None:
    stubborn(corral, note, "15s")
    with Client.connect(Home(str(corral.home))) as client:
        asked = [client.begin(p.RestartJobs(ids=(reference,))) for reference in ("1", "1", "web")]
        until(lambda: "2" in listed(corral), "the new run to be accepted")
        asked += [client.begin(p.RestartJobs(ids=(reference,))) for reference in ("web", "2")]
        client.call(p.AskStatus(), timeout=30)
        assert "grace_skipped" not in kinds(corral, "1")
        client.call(p.StopJobs(ids=("1",), grace=0.0), timeout=30)
        started = [reply.ids for one in asked if (reply := one.result(30))]
    assert started == [("2",)] * 5
    assert list(listed(corral)) == ["1", "2"]
    corral.ok("kill", "2")


def test_the_name_means_the_new_run_while_the_old_one_is_being_stopped(corral: Corral, note: Path) -> None:
    stubborn(corral, note, "15s")
    asked = corral.start("restart", "web")
    until(lambda: is_being_stopped(corral, "1"), "TERM to be sent")
    assert corral("stop", "web").returncode == 0
    assert listed(corral)["2"].state == "stopped"
    assert listed(corral)["1"].state == "stopping"
    corral.ok("kill", "1")
    asked.wait(30)
    read_all(asked.stdout)
    read_all(asked.stderr)
    assert runs(note) == 1


@pytest.mark.parametrize("state", ["queued", "paused"])
def test_what_has_not_begun_and_what_is_paused(corral: Corral, state: str) -> None:
    corral.ok("run", "-q", "sleep", "100")
    if state == "queued":
        corral.ok("run", "-q", "--after", "1", "true")
    else:
        corral.ok("run", "-q", "sleep", "101")
        corral.ok("pause", "2")
    assert corral.ok("restart", "2") == "3"
    jobs = listed(corral)
    assert jobs["2"].state == "stopped"
    assert (jobs["2"].started is None) == (state == "queued")
    until(lambda: listed(corral)["3"].state in ("running", "succeeded"), "the new run")


def test_what_was_to_be_removed_is_removed_though_the_daemon_is_killed(corral: Corral, note: Path) -> None:
    stubborn(corral, note)
    asked = corral.start("rm", "--force", "1")
    until(lambda: is_being_stopped(corral, "1"), "TERM to be sent")
    kill_daemon(corral)
    assert (asked.wait(30), read_all(asked.stderr)) == (0, b"")
    read_all(asked.stdout)
    assert listed(corral) == {}
    assert not (corral.home / "jobs" / "1").exists()


SPARED = """
import os
from corral.processes import stop_sequence
from corral.platform.process.signalling import RefusedSignalError, Signaller
stop_sequence.PATIENCE_AFTER_KILL = 0.05
send = Signaller.send
def spare(self, *arguments, **options):
    if not os.path.exists({no_more!r}):
        raise RefusedSignalError("it is spared")
    return send(self, *arguments, **options)
Signaller.send = spare
"""
"""A daemon whose jobs survive every signal, until the file is there."""


def test_while_anything_survives_nothing_is_started(tmp_path: Path) -> None:
    no_more = tmp_path / "no more"
    spared = SPARED.format(no_more=str(no_more))
    with altered(tmp_path / "home", spared) as daemons, daemons.client(start=False) as client:
        (old,) = start(client, "sleep 100", stop_grace=0.0)
        for _ in range(2):
            with pytest.raises(NotSoError, match=r"job 1 was not restarted: \d+ sleep is still there"):
                client.call(p.RestartJobs(ids=(old,)), timeout=30)
        for heir in ("2", "3"):
            failed = job(client, heir)
            assert (failed.state, failed.exit_status, failed.started) == ("failed", 125, None)
            assert failed.reason is not None
            assert failed.reason.startswith("job 1, which it replaces, is still there")
        assert job(client, old).state == "stopping"
        # Nor is what never started, when it is asked for again.
        (fourth,) = client.call(p.RestartJobs(ids=("3",)), timeout=30).ids
        assert job(client, fourth).waiting_for == "job 1 to be stopped"
        no_more.touch()
        pid = job(client, old).stages[0].pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        until(lambda: job(client, fourth).state == "running", "it to start once the other one is gone")
        assert job(client, old).state == "stopped"


def test_a_daemon_killed_before_the_stop_was_noted(tmp_path: Path) -> None:
    daemons = Daemons(tmp_path / "home")
    code = (
        "import os, signal, sys\nfrom corral.commands.restart import Restarts\nfrom corral.daemon.main import run_foreground\n"
        "from corral.model.home import Home\n"
        "Restarts._stop = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "sys.exit(run_foreground(Home(sys.argv[1])))"
    )
    with forkserver.popen([sys.executable, "-c", code, daemons.home.path], start_new_session=True) as process:
        until(daemons.listens, "it to listen")
        with Client.connect(daemons.home, start=False, is_lasting=True) as client:
            (old,) = start(client, "sleep 100")
            assert client.call(p.RestartJobs(ids=(old,)), timeout=30).ids == ("2",)
            assert process.wait(30) == -signal.SIGKILL
    with daemons.client() as client:
        until(lambda: job(client, "2").state == "running", "the new run")
        assert job(client, old).reason == "stopped to restart it"
        assert len(client.call(p.ListJobs(all=True), timeout=30).jobs) == 2
    daemons.end()
