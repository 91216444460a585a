"""The jobs of one home that are held in memory. Knows nobody above it: what happens to a job is decided elsewhere."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import NamedTuple

from corral.manage.jobs import ManagedJob
from corral.values.jobs import Job

KEPT_ENDED = 1000
"""Ended jobs whose snapshots stay in memory; the journal has all."""


class Changes(NamedTuple):
    """Ids of jobs since these were taken last."""

    changed: set[int]
    removed: set[int]


class JobTable:
    """By id: what has not ended, what has and is still looked after, and the newest snapshots of the rest."""

    def __init__(self, ended: Iterable[Job] = ()) -> None:
        self.managed: dict[int, ManagedJob] = {}
        """Those that have not ended, and ended ones whose leftovers are alive or not yet looked for."""
        self.begun: dict[int, ManagedJob] = {}
        """Those of them whose turn has come: all but what is queued."""
        self.ended: OrderedDict[int, Job] = OrderedDict((int(view.id), view) for view in ended)
        self.on_change: Callable[[], None] = lambda: None
        """Called at least once after any job changed, before the next pass of the loop ends."""
        self._changes = Changes(set(), set())

    def add(self, job: ManagedJob, *, is_queued: bool = False) -> None:
        self.managed[job.id] = job
        if not is_queued:
            self.begun[job.id] = job

    def begin(self, job: ManagedJob) -> None:
        """It is queued no more."""
        self.begun[job.id] = job

    def remove(self, job_id: int) -> ManagedJob | None:
        """Look after it no more; its snapshot stays."""
        self.begun.pop(job_id, None)
        return self.managed.pop(job_id, None)

    def unended(self, job_id: int) -> ManagedJob | None:
        """The job, unless it has ended or is not known."""
        job = self.managed.get(job_id)
        return None if job is None or job.life.is_ended else job

    def is_known(self, job_id: int) -> bool:
        return job_id in self.managed or job_id in self.ended

    def remember(self, view: Job) -> None:
        """Keep the snapshot of an ended job, for a while."""
        self.ended[int(view.id)] = view
        while len(self.ended) > KEPT_ENDED:
            self.ended.popitem(last=False)

    # ---- changes

    def touch(self, job: ManagedJob) -> None:
        """Something about the job changed."""
        job.view = None
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
