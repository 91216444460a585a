"""The frozen value that a screen shows: every job of the daemon at one revision."""

from __future__ import annotations

from msgspec import Struct, structs

from corral.model.job import Job, place_of
from corral.model.machine import Machine
from corral.protocol.protocol_number import NEWEST_ENDED
from corral.protocol.pushes import ChangesPushed, Push, SnapshotPushed


class Snapshot(Struct, frozen=True, kw_only=True):
    """Everything a dashboard shows. Replaced as a whole, never changed.

    `trouble` is None while the daemon answers, else a sentence such as `daemon gone`; the values then are the last
    ones known.
    """

    rev: int = 0
    jobs: dict[str, Job] = {}
    """By id, in the order of their numbers. Not to be mutated."""
    machine: Machine | None = None
    queued: int = 0
    """How many jobs are queued: `jobs` may have only the first of them."""
    trouble: str | None = None

    def having(self, push: Push) -> Snapshot:
        """The snapshot after `push`: changes are merged, a whole snapshot replaces this one."""
        machine = push.machine or self.machine
        jobs = _in_order(push.jobs) if isinstance(push, SnapshotPushed) else self._jobs_after(push)
        # A push of the machine alone says nothing of the queue, and an earlier daemon tells of all that is queued.
        queued = self.queued if push.queued is None else push.queued
        return Snapshot(rev=push.rev, jobs=jobs, machine=machine, queued=queued)

    def _jobs_after(self, push: ChangesPushed) -> dict[str, Job]:
        jobs = dict(self.jobs)
        is_unordered = False
        for job in push.jobs:
            is_unordered = is_unordered or job.id not in jobs
            jobs[job.id] = job
        for job_id in push.removed:
            jobs.pop(job_id, None)
        if is_unordered:
            jobs = _in_order(tuple(jobs.values()))
        return _newest(jobs)

    def in_trouble(self, trouble: str | None) -> Snapshot:
        return structs.replace(self, trouble=trouble)


def _newest(jobs: dict[str, Job]) -> dict[str, Job]:
    """Drop the oldest ended jobs beyond the number in a first snapshot: a screen may be open for weeks."""
    if len(jobs) <= NEWEST_ENDED:
        return jobs
    gone = [job.id for job in jobs.values() if job.is_ended and not job.leftovers]
    for job_id in gone[: max(0, len(gone) - NEWEST_ENDED)]:
        del jobs[job_id]
    return jobs


def _in_order(jobs: tuple[Job, ...]) -> dict[str, Job]:
    return {job.id: job for job in sorted(jobs, key=lambda job: place_of(job.id))}
