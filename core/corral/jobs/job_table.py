"""The jobs of one home that are held in memory. What happens to a job is decided elsewhere."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import NamedTuple

from corral.jobs.managed_job import ManagedJob
from corral.model.job import Job
from corral.model.spec import JobInput, JobSpec

KEPT_ENDED = 1000
"""Ended jobs whose snapshots stay in memory; the journal has all."""


class Changes(NamedTuple):
    """Ids of jobs since these were taken last."""

    changed: set[int]
    removed: set[int]


class JobIndex:
    """Jobs by something that their specifications name: found without a loop over all jobs.

    Args:
        keys: by what a job of that specification is found.
    """

    def __init__(self, keys: Callable[[JobSpec], Iterable[str]]) -> None:
        self._keys = keys
        self._jobs: dict[str, dict[int, ManagedJob]] = {}

    def add(self, job: ManagedJob) -> None:
        for key in self._keys(job.spec):
            self._jobs.setdefault(key, {})[job.id] = job

    def remove(self, job: ManagedJob) -> None:
        for key in set(self._keys(job.spec)):
            jobs = self._jobs[key]
            del jobs[job.id]
            if not jobs:
                del self._jobs[key]

    def of(self, key: str) -> list[ManagedJob]:
        """In the order in which they were added."""
        return list(self._jobs.get(key, {}).values())

    @property
    def keys(self) -> Collection[str]:
        return self._jobs.keys()


def _some(*keys: str | None) -> Iterable[str]:
    return (key for key in keys if key)


class JobTable:
    """By id: what has not ended, what has and is still looked after, and the newest snapshots of the rest."""

    def __init__(self, ended: Iterable[Job] = ()) -> None:
        self.managed: dict[int, ManagedJob] = {}
        """Those that have not ended, and ended ones whose leftovers are alive or not yet looked for."""
        self.started: dict[int, ManagedJob] = {}
        """Those of them whose turn has come: all but what is queued."""
        self.named = JobIndex(lambda spec: _some(spec.name))
        self.children = JobIndex(lambda spec: _some(spec.parent))
        """By the job from within which they were started."""
        self.restarts = JobIndex(lambda spec: _some(spec.restarted_from))
        self.replacements = JobIndex(lambda spec: spec.instead_of)
        """By the job that has to be gone before they start."""
        self.waiters = JobIndex(lambda spec: spec.after)
        """By the job that has to succeed before they start."""
        self.readers = JobIndex(
            lambda spec: _some(spec.stdin.job if isinstance(spec.stdin, JobInput) else None)
        )
        """By the job whose output they read."""
        self._indexes = (
            self.named,
            self.children,
            self.restarts,
            self.replacements,
            self.waiters,
            self.readers,
        )
        self.ended: OrderedDict[int, Job] = OrderedDict((int(snapshot.id), snapshot) for snapshot in ended)
        self.on_screen: set[int] = set()
        """Those that somebody looks at."""
        self.on_change: Callable[[], None] = lambda: None
        """Called at least once after any job changed, before the next pass of the loop ends."""
        self._changes = Changes(set(), set())

    def add(self, job: ManagedJob, *, is_queued: bool = False) -> None:
        self.managed[job.id] = job
        if not is_queued:
            self.started[job.id] = job
        for index in self._indexes:
            index.add(job)

    def begin(self, job: ManagedJob) -> None:
        """It is queued no more."""
        self.started[job.id] = job

    def remove(self, job_id: int) -> ManagedJob | None:
        """Look after it no more; its snapshot stays."""
        self.started.pop(job_id, None)
        job = self.managed.pop(job_id, None)
        if job is not None:
            for index in self._indexes:
                index.remove(job)
        return job

    def unended(self, job_id: int) -> ManagedJob | None:
        """The job, unless it has ended or is not known."""
        job = self.managed.get(job_id)
        return None if job is None or job.life.is_ended else job

    def all_unended(self) -> Iterator[ManagedJob]:
        """In the order in which they were added, the queued ones included: there may be very many."""
        return (job for job in self.managed.values() if not job.life.is_ended)

    @property
    def queued_count(self) -> int:
        return len(self.managed) - len(self.started)

    @property
    def unended_count(self) -> int:
        return self.queued_count + sum(not job.life.is_ended for job in self.started.values())

    def newest_queued(self) -> ManagedJob | None:
        """Jobs are added in the order of their ids: those that wait in the queue stand at the end."""
        return next((job for job in reversed(self.managed.values()) if job.life.state == "queued"), None)

    def queued_replacements_of(self, job_id: int) -> list[ManagedJob]:
        """The jobs that wait for this one to be gone."""
        return [job for job in self.replacements.of(str(job_id)) if job.life.state == "queued"]

    def is_known(self, job_id: int) -> bool:
        return job_id in self.managed or job_id in self.ended

    def remember(self, snapshot: Job) -> None:
        """Keep the snapshot of an ended job, for a while."""
        self.ended[int(snapshot.id)] = snapshot
        while len(self.ended) > KEPT_ENDED:
            self.ended.popitem(last=False)

    # ---- changes

    def touch(self, job: ManagedJob) -> None:
        """Something about the job changed."""
        job.snapshot = None
        self.note_changed(job.id)

    def note_changed(self, job_id: int) -> None:
        self._changes.changed.add(job_id)
        self.on_change()

    def note_removed(self, job_ids: Iterable[int]) -> None:
        """These jobs are deleted."""
        for job_id in job_ids:
            self.ended.pop(job_id, None)
            self._changes.changed.discard(job_id)
            self._changes.removed.add(job_id)
        self.on_change()

    def take_changes(self) -> Changes:
        """What was noted since the last call."""
        changes, self._changes = self._changes, Changes(set(), set())
        return changes
