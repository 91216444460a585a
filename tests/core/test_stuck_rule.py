from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.jobs.job_table import JobTable
from corral.measure.history import History
from corral.measure.stuck_rule import MOVES_FOR, ObservationGaps, PollingDetector, Progress, health_of
from corral.monitor.monitor import Monitor

STUCK_AFTER = 60.0
ONE = frozenset({1})


def still(seconds_still: float) -> tuple[Progress, float]:
    progress = Progress(100.0)
    progress.observe(100.0, 5, 5, ONE)
    return progress, 100.0 + seconds_still


def test_silent_but_busy_job_is_active():
    progress = Progress(0.0)
    for second in range(300):
        progress.observe(float(second), second * 1000, 0, ONE)
    assert health_of(progress, 300.0, STUCK_AFTER, None) == ("active", 0.0)


def test_each_kind_of_progress_counts_by_itself():
    for change in ((6, 5, ONE), (5, 6, ONE), (5, 5, frozenset({1, 2})), (4, 5, ONE)):
        progress, now = still(50)
        assert progress.observe(now, *change)
        assert progress.last_moved == now
    progress, now = still(50)
    assert not progress.observe(now, 5, 5, ONE)
    assert progress.last_moved == 100.0


def test_wait_that_is_not_benign_is_stuck_after_the_time():
    progress, now = still(59.9)
    assert health_of(progress, now, STUCK_AFTER, False) == ("waiting", 100.0)
    assert health_of(progress, now + 0.1, STUCK_AFTER, False) == ("stuck", 100.0)


def test_benign_wait_is_never_stuck():
    progress, now = still(1e6)
    assert health_of(progress, now, STUCK_AFTER, True) == ("waiting", 100.0)


def test_unknown_wait_has_no_health_once_it_is_long():
    progress, now = still(10)
    assert health_of(progress, now, STUCK_AFTER, None) == ("waiting", 100.0)
    progress, now = still(61)
    assert health_of(progress, now, STUCK_AFTER, None) == (None, 100.0)


def test_cycle_is_stuck_at_once():
    progress, now = still(0.5)
    assert health_of(progress, now, STUCK_AFTER, False, is_cycle=True) == ("stuck", 100.0)


def test_what_is_resumed_moves_now():
    progress, now = still(500)
    progress.touch(now)
    assert health_of(progress, now + 1, STUCK_AFTER, False) == ("active", now)


def test_short_limit_is_kept():
    progress, now = still(1.0)
    assert health_of(progress, now, 0.5, False)[0] == "stuck"


def test_active_has_lasted_since_it_began_to_move():
    progress, now = still(30)
    progress.observe(now, 6, 5, ONE)
    progress.observe(now + 2, 7, 5, ONE)
    assert health_of(progress, now + 2, STUCK_AFTER, None) == ("active", now)


def test_a_time_without_attention_is_held_against_no_job():
    attention = ObservationGaps()
    assert attention.missed(100.0, 7.0, 1.0) == 0.0
    assert attention.missed(101.1, 7.0, 1.0) == 0.0
    assert attention.missed(3702.1, 7.0, 1.0) == 3600.0
    assert attention.missed(3712.1, 16.0, 1.0) == 0.0, "it was at work on this itself"
    progress, now = still(59)
    quiet = PollingDetector(100.0)
    progress.pass_over(3600.0, now + 3600)
    quiet.pass_over(3600.0, now + 3600)
    assert health_of(progress, now + 3600, STUCK_AFTER, False) == ("waiting", 3700.0)
    assert quiet.lasts(now + 3600) == 59.0
    assert health_of(progress, now + 3601, STUCK_AFTER, False) == ("stuck", 3700.0)
    progress.touch(now + 3602)
    progress.pass_over(50.0, now + 3603)
    assert progress.still_for(now + 3603) == 0.0


async def test_the_monitor_passes_over_the_time_that_it_did_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1000.0]
    monkeypatch.setattr(
        "corral.monitor.monitor.time", SimpleNamespace(monotonic=lambda: clock[0], process_time=lambda: 0.0)
    )
    asked: Any = SimpleNamespace(
        id=1,
        history=History(progress=Progress(999.0)),
        polling=PollingDetector(999.0),
        next_visit=100,
        life=SimpleNamespace(is_started=True),
    )
    unseen: Any = SimpleNamespace(
        id=2, history=History(), polling=None, next_visit=100, life=SimpleNamespace(is_started=False)
    )
    table = JobTable()
    table.started = {1: asked, 2: unseen}
    parts: Any = SimpleNamespace(last_scan=1e9, tick=lambda: None)
    monitor = Monitor(table, parts, parts, parts, parts, parts, parts, after_scan=lambda: None)
    for clock[0] in (1000.0, 1001.0, 1062.0, 1063.0):
        monitor.tick()
    assert asked.history.progress.still_for(1063.0) == asked.polling.lasts(1063.0) == 4.0


@given(
    st.lists(
        st.tuples(st.floats(0.01, 50), st.integers(0, 2), st.sampled_from([True, False, None])),
        max_size=60,
    ),
    st.floats(0.1, 100),
)
def test_health_follows_from_the_evidence(events, stuck_after):
    progress, now, cpu, moved_at = Progress(0.0), 0.0, 0, 0.0
    progress.observe(now, cpu, 0, ONE)
    for passed, used, benign in events:
        now, cpu = now + passed, cpu + used
        if progress.observe(now, cpu, 0, ONE):
            moved_at = now
        assert progress.last_moved == moved_at
        health, since = health_of(progress, now, stuck_after, benign)
        still_for = now - moved_at
        assert since is None or since <= now
        assert (health == "stuck") == (benign is False and still_for >= stuck_after)
        if health == "active":
            assert still_for <= MOVES_FOR
        if health is None:
            assert benign is None
