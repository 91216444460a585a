"""What is kept of a job beyond its end: why it was stuck last, and CPU and memory over its life."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from msgspec import Struct, structs

from corral.decide.life import StopCause
from corral.decide.storyrows import StoryRow, shortened, told
from corral.manage.lifepast import LifeOfJob, LifeState
from corral.values.lifepast import LifePast
from corral.values.reports import Diagnosis
from corral.values.story import Story

if TYPE_CHECKING:
    from corral.manage.jobs import ManagedJob
    from corral.manage.manager import Manager

KEEP_SECONDS = 10.0
"""A running job's story is written at most so often, and at most once a cell of it."""
WORTH_KEEPING_SECONDS = 3.0
"""Of a shorter life the mean and the peak tell all that a chart would."""


class Spied(NamedTuple):
    """A diagnosis with the stacks of the Python programs, of the job that was stuck since then."""

    stuck_since: datetime | None
    found: Diagnosis


@dataclass(slots=True)
class StoryOfJob:
    """Of a job in hand. `diagnosis` is the last one taken while it was stuck, and `diagnosed` when."""

    diagnosis: Diagnosis | None = None
    diagnosed: datetime | None = None
    life: LifeOfJob | None = None
    seen: Diagnosis | None = None
    """The same as it was taken, at its full length."""
    spied: Spied | None = None
    has_news: bool = False
    """A diagnosis that the journal does not have."""
    kept_until: float = 0.0
    """Up to when the journal has the life (monotonic)."""


class HandedStory(Struct, frozen=True):
    """The same for the program that takes the place of this one."""

    diagnosis: Diagnosis | None
    diagnosed: datetime | None
    life: LifeState | None


# ---- looking ------------------------------------------------------------------------------------------------------


def note_life(job: ManagedJob, now: float, cpu_seconds: float) -> None:
    """One look at a job, at `now` (monotonic seconds)."""
    life = job.story.life
    if life is None:
        if job.life.started_now is None:
            return
        life = job.story.life = LifeOfJob(min(now, job.life.started_now))
    if job.life.state == "paused":
        life.stop_measuring()
        return
    if life.left_at is not None:
        if job.progress is not None and job.progress.last_moved <= life.left_at:
            life.bridge(cpu_seconds, job.memory_bytes)
        life.left_at = None
    life.note(now, cpu_seconds, job.memory_bytes)


def note_rest(job: ManagedJob, now: float) -> None:
    """The same, of one that has not moved since the last one."""
    if job.story.life is not None:
        job.story.life.rest(now)


def note_stuck(job: ManagedJob) -> None:
    """It is stuck, and has been diagnosed so."""
    story = job.story
    if job.diagnosis is None or job.diagnosis is story.seen:
        return
    story.seen, story.diagnosed = job.diagnosis, datetime.now(UTC)
    diagnosis = shortened(_with_stacks(job, job.diagnosis))
    if diagnosis != story.diagnosis:
        story.diagnosis, story.has_news = diagnosis, True


def _with_stacks(job: ManagedJob, found: Diagnosis) -> Diagnosis:
    """The same with what is known of where its Python programs stand, if it has been stuck without a break since."""
    spied = job.story.spied
    if spied is None or spied.stuck_since != job.health_since:
        return found
    pids = {wait.pid for wait in found.waits}
    return structs.replace(
        found,
        stacks=tuple(stack for stack in spied.found.stacks if stack.pid in pids),
        not_looked_at=tuple(dict.fromkeys((*found.not_looked_at, *spied.found.not_looked_at))),
    )


def note_stop(manager: Manager, job: ManagedJob, cause: StopCause) -> None:
    """It is about to be stopped: what it waits for now is what it was stuck with, or waited for, to the last.

    That somebody has stopped what just slept explains nothing; that a time limit did may.
    """
    if job.life.is_ended or job.diagnosis is None:
        return
    story, is_stuck = job.story, job.health == "stuck"
    is_telling = story.diagnosis is None and (job.is_benign is not True or cause == "timeout")
    if is_stuck or is_telling:
        note_stuck(job)
        story.diagnosed = datetime.now(UTC)
    if is_stuck:
        keep(manager, job)


# ---- keeping ------------------------------------------------------------------------------------------------------


def keep(manager: Manager, job: ManagedJob) -> None:
    """Note the story as it is now, to be committed with the rest."""
    story, life, began = job.story, job.story.life, job.life.started_now
    age = None
    if life is not None and began is not None:
        story.kept_until = life.looked_at
        age = None if job.life.is_ended else max(0.0, story.kept_until - began)
    values = LifePast() if life is None else life.values()
    manager.journal.keep_story(job.id, StoryRow(values, story.diagnosis, story.diagnosed, age))
    story.has_news = False


def keep_now_and_then(manager: Manager, job: ManagedJob, *, is_last: bool = False) -> None:
    """The same, where there is enough to tell that is new; with `is_last`, where there is anything."""
    story, life = job.story, job.story.life
    if not story.has_news:
        if life is None or not life.has_moved_since(story.kept_until):
            return
        if not is_last and life.looked_at - story.kept_until < max(KEEP_SECONDS, life.seconds):
            return
    keep(manager, job)


def finish(manager: Manager, job: ManagedJob, cpu_seconds: float) -> None:
    """It has ended, after so many CPU seconds in all."""
    story, ended = job.story, job.life.ended_now
    if story.life is not None and ended is not None:
        story.life.note(ended, cpu_seconds, job.memory_bytes)
    if story.diagnosis is not None or (job.life.elapsed(0.0) or 0.0) >= WORTH_KEEPING_SECONDS:
        keep(manager, job)


def recall(manager: Manager, job: ManagedJob) -> None:
    """Go on from what the daemon before has kept."""
    row = manager.journal.story(job.id)
    story, began = job.story, job.life.started_now
    if began is None:
        return
    if row is None or row.age is None:
        story.life = LifeOfJob(began, is_new=False)
        return
    story.diagnosis, story.diagnosed = row.diagnosis, row.diagnosed
    story.life = LifeOfJob.recalled(began, row.life, row.age)


def handed(job: ManagedJob) -> HandedStory:
    story = job.story
    return HandedStory(story.diagnosis, story.diagnosed, None if story.life is None else story.life.state)


def take_back(job: ManagedJob, story: HandedStory) -> None:
    job.story.diagnosis, job.story.diagnosed = story.diagnosis, story.diagnosed
    job.story.has_news = story.diagnosis is not None
    job.story.life = None if story.life is None else LifeOfJob.of(story.life)


# ---- telling ------------------------------------------------------------------------------------------------------


def story(manager: Manager, job_id: int) -> Story:
    """Of a job that runs, or has ended. Raises UnknownJobError."""
    job = manager.jobs.get(job_id)
    if job is None or job.life.is_ended:
        return told(manager.snapshot(job_id), manager.journal.story(job_id))
    life = LifePast() if job.story.life is None else job.story.life.values(time.monotonic())
    return Story(str(job_id), job.story.diagnosis, job.story.diagnosed, life)
