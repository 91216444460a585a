"""Times on the dashboard while the machine's clock is set: what runs for five minutes runs for five minutes."""

from __future__ import annotations

import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from msgspec import structs

from corral.client.snapshot import Snapshot
from corral.model.home import Home
from corral.model.job import Job
from corral_tui.dashboard.frame.clock import SettledTimes
from corral_tui.demo.own_daemon import DemoSession
from corral_tui.text.charset import UNICODE, status_of, time_of

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
MINUTES = timedelta(minutes=5)
STUCK = Job(
    id="1",
    name=None,
    command="sleep 9",
    cwd="/",
    state="running",
    health="stuck",
    created=NOW - MINUTES,
    started=NOW - MINUTES,
    health_since=NOW - timedelta(minutes=2),
    elapsed=300.0,
)


@pytest.mark.parametrize("jump", [timedelta(days=365), timedelta(days=-1)], ids=["a year on", "a day back"])
def test_a_job_started_by_another_clock_shows_how_long_it_runs(jump: timedelta) -> None:
    started = structs.replace(STUCK, started=STUCK.started + jump, health_since=STUCK.health_since + jump)
    now = NOW
    times = SettledTimes(lambda: now)
    (job,) = times.settle(Snapshot(jobs={"1": started})).jobs.values()
    assert time_of(job, NOW) == "5m00s"
    assert "2m" in status_of(job, NOW, UNICODE).word
    # Nothing of it changes for an hour, and its time goes on.
    now = NOW + timedelta(hours=1)
    (later,) = times.settle(Snapshot(rev=1, jobs={"1": started})).jobs.values()
    assert later is job
    assert time_of(later, now) == "1h05m"


def test_a_snapshot_that_is_right_is_left_as_it_is() -> None:
    late = structs.replace(STUCK, elapsed=298.5)
    ended = structs.replace(STUCK, id="2", state="failed", ended=NOW - timedelta(days=9))
    snapshot = Snapshot(jobs={"1": late, "2": ended})
    assert SettledTimes(lambda: NOW).settle(snapshot) is snapshot


async def test_a_job_of_the_demo_that_does_not_move_shows_how_long_it_runs(tmp_path: Path) -> None:
    now = NOW
    times = SettledTimes(lambda: now)
    asks = structs.replace(STUCK, summary="cat waits for input; only `corral send 1` gives it some")
    ours, daemons = socket.socketpair()
    session = DemoSession(Home(str(tmp_path)), "dashboard", ours)
    for minutes in range(3):
        now = NOW + timedelta(minutes=minutes)
        session._replace(Snapshot(jobs={"1": asks}))
        (job,) = times.settle(session.snapshot).jobs.values()
        assert time_of(job, now) == f"{5 + minutes}m00s"
        assert job.summary == "cat waits for input; a types the answer"
    await session.close()
    daemons.close()
