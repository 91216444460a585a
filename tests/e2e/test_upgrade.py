"""What the release before this one started goes on under this one: jobs, their ends, and the whole journal.

`tests/releases/core-before.tar.gz` is that release's engine as it was; a landing that becomes a release replaces it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from e2e.command import Corral
from until import until

RELEASES = Path(__file__).resolve().parent.parent / "releases"
END = """
import asyncio, sys, corral
from corral.service import protocol as p

async def main():
    async with corral.connect(sys.argv[1]) as manager:
        await manager.job("stopping").kill()
        await manager.session.call(p.Shutdown(jobs="stop"))

asyncio.run(main())
"""
"""How the release before ends its daemon and all jobs."""


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the engine of the release before can be imported from."""
    place = tmp_path_factory.mktemp("before")
    with tarfile.open(RELEASES / "core-before.tar.gz") as archive:
        archive.extractall(place, filter="data")
    return place / "core"


@pytest.fixture
def jobs(corral: Corral, before: Path) -> dict[str, Any]:
    """Jobs of every kind, started by the release before: by name, their id, state and pids."""
    ran = subprocess.run(
        [sys.executable, str(RELEASES / "populate.py"), str(corral.home)],
        env=corral.environment | {"PYTHONPATH": str(before)},
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert ran.returncode == 0, ran.stderr.decode()
    return json.loads(ran.stdout)


def listed(corral: Corral) -> dict[str, Any]:
    return {job["name"]: job for job in json.loads(corral.ok("ps", "-a", "--json"))}


def daemon_pid(corral: Corral) -> int:
    return int(json.loads(corral.ok("daemon", "status", "--json"))["pid"])


def assert_told_as_before(corral: Corral, jobs: dict[str, Any]) -> None:
    """What has ended is told whole, and nothing was set aside."""
    now = listed(corral)
    assert {name: (job["id"], job["state"]) for name, job in now.items()} == {
        name: (job["id"], job["state"]) for name, job in jobs.items()
    }
    assert corral.ok("logs", "done") == "kept"
    assert (now["failed"]["exit_status"], now["failed"]["reason"]) == (7, "stage 1 (sh) exited with 7")
    assert (now["stopped"]["signal"], now["left"]["leftovers"]) == ("TERM", 1)
    assert now["limited"]["timeout"] == 200
    assert "nothing of it is left" in corral.ok("show", "stopped").lower()
    assert not [name for name in os.listdir(corral.home) if "damaged" in name]


def assert_all_stop_with_proof(corral: Corral, *running: str) -> None:
    corral.ok("resume", "paused")
    stopped = json.loads(corral("stop", "--grace", "0.2s", "--all", "--json").stdout)
    assert [report["survivors"] for report in stopped] == [[]] * len(stopped)
    corral.ok("stop", "stopping", "left", "--json")
    now = listed(corral)
    assert {now[name]["state"] for name in (*running, "paused", "stopping")} == {"stopped"}
    assert now["waits"]["state"] in ("failed", "stopped")
    assert now["left"]["leftovers"] == 0


def test_daemon_restart_takes_running_jobs_into_this_release(corral: Corral, jobs: dict[str, Any]) -> None:
    pid = daemon_pid(corral)
    corral("daemon", "restart")
    assert daemon_pid(corral) == pid
    assert_told_as_before(corral, jobs)
    now = listed(corral)
    for name in ("asks", "pipeline", "flow", "limited", "terminal", "paused", "stopping"):
        assert [stage["pid"] for stage in now[name]["stages"]] == jobs[name]["pids"], name
    written = now["flow"]["stdout_bytes"]
    until(lambda: listed(corral)["flow"]["stdout_bytes"] > written, "a job that prints to go on")
    corral.ok("send", "asks", "hello")
    assert corral("wait", "asks").returncode == 5
    assert corral.ok("logs", "asks") == "talk\ngot hello"
    assert_all_stop_with_proof(corral, "pipeline", "flow", "limited", "terminal")


def test_a_crash_of_the_release_before_is_taken_over(corral: Corral, jobs: dict[str, Any]) -> None:
    os.kill(daemon_pid(corral), signal.SIGKILL)
    assert "of an earlier Corral and was brought up to date" in corral("ps").stderr
    now = listed(corral)
    for name in ("pipeline", "flow", "limited"):
        assert [stage["pid"] for stage in now[name]["stages"]] == jobs[name]["pids"], name
    # Their stdin and their terminal went with the daemon that held them. What ends of that before the next daemon runs is lost.
    until(lambda: listed(corral)["asks"]["ended"], "the job whose stdin ended to end")
    until(lambda: listed(corral)["terminal"]["ended"], "the job that lost its terminal to end")
    assert {listed(corral)[name]["state"] for name in ("asks", "terminal")} <= {"failed", "lost"}
    assert_all_stop_with_proof(corral, "pipeline", "flow", "limited")


def test_a_journal_is_read_whole_without_any_daemon(
    corral: Corral, jobs: dict[str, Any], before: Path
) -> None:
    environment = corral.environment | {"PYTHONPATH": str(before)}
    subprocess.run([sys.executable, "-c", END, str(corral.home)], env=environment, check=True, timeout=60)
    until(lambda: not corral.processes(), "the daemon before to be gone")
    now = listed(corral)
    assert {name: job["id"] for name, job in now.items()} == {name: job["id"] for name, job in jobs.items()}
    assert (now["done"]["state"], now["failed"]["exit_status"]) == ("succeeded", 7)
    assert corral.ok("logs", "done") == "kept"
    assert not corral.processes()
