"""Which jobs need a human, and which of them first."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec import structs

from corral.model.job import Job
from corral.model.urgency import needs_a_human, urgency

NOW = datetime(2026, 11, 22, 14, 0, tzinfo=UTC)


def job(number: int, state: Any, health: Any = None, *, ago: int = 0, reason: str | None = None) -> Job:
    at = NOW - timedelta(seconds=ago)
    found = Job(id=str(number), name=None, command="true", cwd="/", state=state, created=NOW, reason=reason)
    if found.is_ended:
        return structs.replace(found, ended=at)
    return structs.replace(found, health=health, health_since=at if health else None)


BY_URGENCY = (
    job(3, "running", "stuck", ago=90),
    job(9, "running", "stuck", ago=5),
    job(2, "lost", ago=1),
    job(4, "stopped", ago=10, reason="stuck: cat waits for input"),
    job(1, "failed", ago=3600),
    job(12, "queued"),
    job(6, "paused"),
    job(7, "running", "waiting", ago=60),
    job(5, "running", "waiting", ago=2),
    job(14, "running", "active", ago=1),
    job(13, "running", "active", ago=900),
    job(11, "stopped", ago=5, reason="stopped by corral stop"),
    job(10, "succeeded", ago=1),
)


def test_the_order_of_urgency() -> None:
    assert sorted(sorted(BY_URGENCY, key=lambda each: int(each.id)), key=urgency) == list(BY_URGENCY)


@pytest.mark.parametrize("each", BY_URGENCY, ids=lambda each: each.id)
def test_only_stuck_jobs_and_those_that_ended_badly_need_a_human(each: Job) -> None:
    assert needs_a_human(each) == (each in BY_URGENCY[:5])
