"""What is kept of a job beyond its end: why it was stuck, and what it used over its whole life."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct
from msgspec.structs import replace

from corral.values.jobs import Job
from corral.values.lifepast import LifePast as LifePast
from corral.values.reports import Diagnosis


class Story(Struct, frozen=True):
    """Of one job, running or ended. `diagnosis` is as of `diagnosed`: the last of the times that it was stuck.

    Of a job that never was, it is what the job waited for when it was ended from outside; None where there is none.
    """

    id: str
    """The job's."""
    diagnosis: Diagnosis | None = None
    diagnosed: datetime | None = None
    """When the diagnosis was taken."""
    life: LifePast = LifePast()
    """CPU and memory over its whole life."""


def with_story(diagnosis: Diagnosis, job: Job, story: Story) -> Diagnosis:
    """What is said of a job that has ended, with what is kept of the time before."""
    kept = None if story.diagnosis is None else replace(story.diagnosis, taken=story.diagnosed)
    return replace(diagnosis, ended=job.ended, kept=kept)
