"""What is done about a job that is stuck and was started with `on_stuck="stop"`: its evidence is kept, then it ends."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from corral.decide.life import StopRequested
from corral.decide.storyrows import cut
from corral.manage.moments import moment
from corral.manage.stories import keep, note_stuck

if TYPE_CHECKING:
    from corral.manage.jobs import ManagedJob
    from corral.manage.manager import Manager


def is_to_be_ended(job: ManagedJob) -> bool:
    return job.health == "stuck" and job.spec.on_stuck == "stop" and job.life.state == "running"


def end_stuck(manager: Manager, jobs: Iterable[ManagedJob]) -> None:
    """Stop those of `jobs` that are stuck and are to be stopped then.

    Where its Python programs stand is looked at first, which may take until the next tick.
    Not while a person is attached to it, who may be thinking what to type.

    The diagnoses are in the journal before the first signal; while it cannot be written the jobs go on being stuck, and
    the next tick tries again. Writing may take a while, so each is looked at once more: what has moved since its
    diagnosis goes on.
    """
    stuck = [job for job in jobs if is_to_be_ended(job) and not manager.is_attended(job.id)]
    stuck = [job for job in stuck if manager.last_stacks.are_known(job)]
    if not stuck:
        return
    for job in stuck:
        note_stuck(job)
        keep(manager, job)
    if not manager.commit_soon():
        return
    found = manager.census.take(stuck)
    for job in stuck:
        manager.monitor.set_members(job, found.get(job.id, ()))
        if not manager.monitor.look_again(job, time.monotonic()):
            manager.apply(job, StopRequested(**moment(), cause="stuck", reason=_reason(job)))


def _reason(job: ManagedJob) -> str:
    diagnosis = job.story.diagnosis
    return "stuck" if diagnosis is None else cut(f"stuck: {diagnosis.summary}")
