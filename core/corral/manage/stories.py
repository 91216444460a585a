"""What is kept of a job beyond its end: why it was stuck last, and CPU and memory over its life."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from corral.manage.lifepast import LifeOfJob
from corral.values.jobs import Job
from corral.values.reports import Diagnosis
from corral.values.story import LifePast, Story

if TYPE_CHECKING:
    from corral.manage.jobs import ManagedJob
    from corral.manage.manager import Manager


@dataclass(slots=True)
class StoryOfJob:
    """Of a job in hand. `diagnosis` is the last one taken while it was stuck, and `diagnosed` when."""

    diagnosis: Diagnosis | None = None
    diagnosed: datetime | None = None
    life: LifeOfJob | None = None


def note_life(job: ManagedJob, now: float, cpu_seconds: float) -> None:
    """One look at a job, at `now` (monotonic seconds)."""
    life = job.story.life
    if life is None:
        if job.life.started_now is None:
            return
        life = job.story.life = LifeOfJob(min(now, job.life.started_now))
    if job.life.state == "paused":
        life.stop_measuring()
    else:
        life.note(now, cpu_seconds, job.memory_bytes)


def note_rest(job: ManagedJob, now: float) -> None:
    """The same, of one that has not moved since the last one."""
    if job.story.life is not None:
        job.story.life.rest(now)


def story(manager: Manager, job_id: int) -> Story:
    """Of a job that runs, or has ended. Raises UnknownJobError."""
    job = manager.jobs.get(job_id)
    if job is not None and not job.life.is_ended:
        return story_in_hand(job, time.monotonic())
    return Story(id=str(job_id), life=whole_life_in_one(manager.snapshot(job_id)))


def story_in_hand(job: ManagedJob, now: float | None = None) -> Story:
    """Up to `now` (monotonic seconds), or up to the last look."""
    kept = job.story
    life = LifePast() if kept.life is None else kept.life.values(now)
    return Story(str(job.id), kept.diagnosis, kept.diagnosed, life)


def whole_life_in_one(job: Job) -> LifePast:
    """Of one that ended too soon to be watched: its mean and its peak, as far as they are known."""
    if not job.elapsed or job.cpu_seconds is None:
        return LifePast()
    cpu = round(100 * job.cpu_seconds / job.elapsed, 1)
    return LifePast(job.elapsed, (cpu,), (job.peak_memory_bytes,))
