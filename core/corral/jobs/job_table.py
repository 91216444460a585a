"""The jobs of one home that are held in memory. What happens to a job is decided elsewhere."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Iterator
from datetime import datetime
from typing import NamedTuple

from corral.jobs.managed_batch import ManagedBatch
from corral.jobs.managed_job import ManagedJob
from corral.jobs.queued_job import NO_LINKS, Links, QueuedJob, links_of
from corral.model.batch import BatchJobId
from corral.model.job import Job

KEPT_ENDED = 1000
"""Ended jobs whose snapshots stay in memory; the journal has all."""


class Changes(NamedTuple):
    """Ids of jobs since these were taken last."""

    changed: set[int]
    removed: set[int]


class JobIndex:
    """Ids of jobs by something that their specifications name: found without a loop over all jobs."""

    def __init__(self) -> None:
        self._jobs: dict[str, dict[int, None]] = {}

    def add(self, key: str, job_id: int) -> None:
        self._jobs.setdefault(key, {})[job_id] = None

    def remove(self, key: str, job_id: int) -> None:
        jobs = self._jobs[key]
        del jobs[job_id]
        if not jobs:
            del self._jobs[key]

    def of(self, key: str) -> list[int]:
        """In the order in which they were added."""
        return list(self._jobs.get(key, ()))

    @property
    def keys(self) -> Collection[str]:
        return self._jobs.keys()


class JobTable:
    """By id: the queue, what was started, what has ended and is still looked after, and the newest snapshots of the rest."""

    def __init__(self, ended: Iterable[Job] = ()) -> None:
        self.queued: dict[int, QueuedJob] = {}
        """Those that wait for their turn, in the order of their ids."""
        self.started: dict[int, ManagedJob] = {}
        """Those whose turn has come and that have not ended, and ended ones whose leftovers are alive or not yet looked for.
        Jobs of batches are among them, by the numbers of their runs."""
        self.batches: dict[int, ManagedBatch] = {}
        """Those that have not ended."""
        self.named = JobIndex()
        self.children = JobIndex()
        """By the job from within which they were started."""
        self.restarts = JobIndex()
        self.replacements = JobIndex()
        """By the job that has to be gone before they start."""
        self.waiters = JobIndex()
        """By the job that has to succeed before they start."""
        self.readers = JobIndex()
        """By the job whose output they read."""
        self.ended: OrderedDict[int, Job] = OrderedDict((int(snapshot.id), snapshot) for snapshot in ended)
        self.on_screen: set[int] = set()
        """Those that somebody looks at."""
        self.on_change: Callable[[], None] = lambda: None
        """Called at least once after any job changed, before the next pass of the loop ends."""
        self._changes = Changes(set(), set())

    def enqueue(self, job: QueuedJob) -> None:
        """It waits for its turn."""
        self.queued[job.id] = job
        self._link(job.id, job.name, job.links)

    def add(self, job: ManagedJob) -> None:
        """Its turn has come; it may have stood in the queue."""
        self.started[job.id] = job
        if self.queued.pop(job.id, None) is None:
            self._link(job.id, job.spec.name, links_of(job.spec))

    def add_batch(self, batch: ManagedBatch) -> None:
        """It has been accepted."""
        self.batches[batch.id] = batch
        self._link(batch.id, batch.spec.job.name, links_of(batch.spec.job))

    def remove_batch(self, batch: ManagedBatch) -> None:
        """It has ended."""
        del self.batches[batch.id]
        self._unlink(batch.id, batch.spec.job.name, links_of(batch.spec.job))

    def withdraw(self, job_ids: Iterable[int]) -> None:
        """These stand in the queue no more, and never will begin."""
        for job_id in job_ids:
            job = self.queued.pop(job_id)
            self._unlink(job_id, job.name, job.links)
            self._changes.changed.add(job_id)
        self.on_change()

    def remove(self, job_id: int) -> ManagedJob | None:
        """Look after it no more; its snapshot stays."""
        job = self.started.pop(job_id, None)
        if job is not None:
            self._unlink(job_id, job.spec.name, links_of(job.spec))
        return job

    def _link(self, job_id: int, name: str | None, links: Links) -> None:
        for index, key in self._keys(name, links):
            index.add(key, job_id)

    def _unlink(self, job_id: int, name: str | None, links: Links) -> None:
        for index, key in self._keys(name, links):
            index.remove(key, job_id)

    def _keys(self, name: str | None, links: Links) -> Iterator[tuple[JobIndex, str]]:
        """By what a job of that name and those links is found."""
        if name:
            yield self.named, name
        if links is NO_LINKS:
            return
        if links.parent:
            yield self.children, links.parent
        if links.restarted_from:
            yield self.restarts, links.restarted_from
        if links.reads:
            yield self.readers, links.reads
        for replaced in set(links.instead_of):
            yield self.replacements, replaced
        for awaited in set(links.after):
            yield self.waiters, awaited

    def live(self, job_id: int) -> ManagedJob | None:
        """The job, where its turn has come and it has not ended."""
        job = self.started.get(job_id)
        return None if job is None or job.life.is_ended else job

    def is_unended(self, job_id: int) -> bool:
        """Whether it is in the queue or beyond it, and has not ended."""
        if isinstance(job_id, BatchJobId):
            batch = self.batches.get(job_id.batch)
            return batch is not None and batch.is_unended(job_id.number)
        return job_id in self.queued or job_id in self.batches or self.live(job_id) is not None

    def name_of(self, job_id: int) -> str | None:
        """Of a job or batch in the queue or beyond it."""
        if job_id in self.batches:
            return self.batches[job_id].spec.job.name
        queued = self.queued.get(job_id)
        return self.started[job_id].spec.name if queued is None else queued.name

    def stage_count(self, job_id: int) -> int:
        """0 of a batch, and of one that is neither in the queue nor beyond it."""
        queued = self.queued.get(job_id)
        if queued is not None:
            return queued.stages
        return len(self.started[job_id].stages) if job_id in self.started else 0

    def created(self, job_id: int) -> datetime:
        """When a job or batch in the queue or beyond it was accepted."""
        if job_id in self.batches:
            return self.batches[job_id].created
        queued = self.queued.get(job_id)
        return self.started[job_id].created if queued is None else queued.created

    def begun_ids(self) -> Iterator[int]:
        """The batches, and of the jobs outside of them those whose turn has come; without those that have ended."""
        yield from self.batches
        for job in self.started.values():
            if not (job.life.is_ended or isinstance(job.id, BatchJobId)):
                yield job.id

    def unended_ids(self) -> Iterator[int]:
        """Batches and the jobs outside of them; the queued ones last: there may be very many."""
        yield from self.begun_ids()
        yield from self.queued

    @property
    def unended_count(self) -> int:
        return len(self.queued) + sum(1 for _ in self.begun_ids())

    @property
    def is_empty(self) -> bool:
        """Whether nothing is to be looked after."""
        return not (self.started or self.queued or self.batches)

    def queued_replacements_of(self, job_id: int) -> list[int]:
        """The jobs that wait for this one to be gone."""
        return [each for each in self.replacements.of(str(job_id)) if each in self.queued]

    def is_known(self, job_id: int) -> bool:
        if isinstance(job_id, BatchJobId):
            return True
        return any(job_id in known for known in (self.started, self.queued, self.ended, self.batches))

    @property
    def has_all_ended(self) -> bool:
        """Whether as many ended ones are in memory as are kept there."""
        return len(self.ended) >= KEPT_ENDED

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
        """Of a job in a batch the batch is told of, and the job itself where somebody looks at it."""
        if isinstance(job_id, BatchJobId):
            self._changes.changed.add(job_id.batch)
            if job_id in self.on_screen:
                self._changes.changed.add(job_id)
        else:
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
