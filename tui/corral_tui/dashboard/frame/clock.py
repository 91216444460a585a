"""The dashboard's clock, and the times of jobs as that clock would have shown them.

The machine's clock may be set while the dashboard is open, and while a job runs. Only what was counted is beyond that
(CLOCK_MONOTONIC, clock_gettime(2)): how long the dashboard has been open, and each job's `elapsed`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from msgspec import structs

from corral.client.snapshot import Snapshot
from corral.model.job import Job

TOLERANCE = timedelta(seconds=3)
"""A snapshot may be under way for so long; what is further off is a clock that was set."""


def steady_clock() -> Callable[[], datetime]:
    """A clock that starts with the machine's and is set by nobody."""
    wall, began = datetime.now(UTC), time.monotonic()
    return lambda: wall + timedelta(seconds=time.monotonic() - began)


class SettledTimes:
    """Moves the times of jobs that run to where they stand on the dashboard's own clock."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._known: dict[str, tuple[Job, Job]] = {}
        """By id: the job as it came, and as it was settled when it came."""

    def settle(self, snapshot: Snapshot) -> Snapshot:
        """The same with such times. A job that did not change keeps those that it was given."""
        now = self._clock()
        known, self._known = self._known, {}
        for job_id, job in snapshot.jobs.items():
            before = known.get(job_id)
            self._known[job_id] = (
                before if before is not None and before[0] is job else (job, _settled(job, now))
            )
        if all(came is settled for came, settled in self._known.values()):
            return snapshot
        jobs = {job_id: settled for job_id, (_, settled) in self._known.items()}
        return structs.replace(snapshot, jobs=jobs)


def _settled(job: Job, now: datetime) -> Job:
    if job.started is None or job.elapsed is None or job.is_ended:
        return job
    error = now - job.started - timedelta(seconds=job.elapsed)
    if abs(error) <= TOLERANCE:
        return job
    stopping = job.stopping
    if stopping is not None:
        stopping = structs.replace(
            stopping, since=stopping.since + error, kill_at=_moved(stopping.kill_at, error)
        )
    return structs.replace(
        job,
        started=job.started + error,
        health_since=_moved(job.health_since, error),
        last_output=_moved(job.last_output, error),
        paused_since=_moved(job.paused_since, error),
        stopping=stopping,
    )


def _moved(at: datetime | None, by: timedelta) -> datetime | None:
    return None if at is None else at + by
