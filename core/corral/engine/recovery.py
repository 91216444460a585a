"""Taking over what an earlier daemon left running: found by the journal and by marks, never started twice."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from heapq import merge
from operator import attrgetter

from msgspec import Struct
from msgspec.structs import replace

from corral.jobs.batches.batches import Batches
from corral.jobs.batches.stored_batches import unended_batches
from corral.jobs.executor import BY_STOP, Executor
from corral.jobs.job_table import JobTable
from corral.jobs.managed_job import ManagedJob, new_job
from corral.jobs.queued_job import QueuedJob, queued_job
from corral.jobs.transitions import Transitions
from corral.journal.commits import Commits
from corral.journal.journal import Journal
from corral.journal.unfinished_jobs import (
    StoredJob,
    WaitingJob,
    begun_jobs,
    unended_job,
    unended_jobs,
    waiting_jobs,
)
from corral.lifecycle.clock import moment
from corral.lifecycle.outcome import HALF_STARTED, OUT_OF_SIGHT, RESTARTED
from corral.lifecycle.scheduler import Scheduler
from corral.lifecycle.state import DeclaredLost, Ending, FeedFailed, StagesSpawned, StopRequested
from corral.lifecycle.state_machine import grace_left
from corral.model.batch import FIRST_RUN, BatchJobId
from corral.model.home import Home
from corral.model.job import UNKNOWN_COMMAND, Job
from corral.model.spec import DescriptorInput
from corral.model.wire import to_wire
from corral.platform.host.daemon_log import log
from corral.platform.process import boot_id

A_WHILE = 5000
"""Jobs: a tenth of a second."""
_WHY_LOST: dict[boot_id.Difference | None, str] = {"boot": RESTARTED, "namespace": OUT_OF_SIGHT}


class Recovery(Struct, eq=False):
    """Takes over the jobs that an earlier daemon of this home has left."""

    _home: Home
    _table: JobTable
    _journal: Journal
    _commits: Commits
    _transitions: Transitions
    _scheduler: Scheduler
    _executor: Executor
    enqueue: Callable[[QueuedJob], None]
    """Puts a job that is in the journal into the queue."""
    take: Callable[[int], ManagedJob | None]
    """Takes one out of it."""
    batches: Batches
    resume_restarts: Callable[[], None]
    """Stops what is to be replaced, where that was noted."""
    wake: Callable[[], None]
    """Starts what may start."""

    def take_over_all(self, note_progress: Callable[[], None]) -> None:
        """Take over every job that has not ended; end as lost what nothing is left of. `note_progress` is called meanwhile.

        Nothing is started before all of it is committed, so a daemon that is killed meanwhile leaves it to the next one.
        """
        journal, now = self._journal, boot_id.current()
        why_lost = _WHY_LOST.get(journal.boot.difference(now))
        if journal.copy_of is not None:
            self._disown(journal.copy_of)
        begun = list(begun_jobs(journal, time.monotonic(), is_same_boot=why_lost is None))
        begun += self._runs_of_batches()
        found = self._executor.takeover.find(begun)
        ran = self._that_ran(found)
        unended: Iterator[StoredJob | WaitingJob] = merge(begun, waiting_jobs(journal), key=attrgetter("id"))
        for count, job in enumerate(unended, 1):
            if count % A_WHILE == 0:
                note_progress()
            if job.id in self._table.started or job.id in self._table.queued:
                continue
            if job.id not in ran and (isinstance(job, WaitingJob) or job.is_queued):
                self._queue_again(job)
            elif isinstance(job, StoredJob):
                self._take_over(job, why_lost)
            elif (stored := unended_job(journal, job.id)) is not None:
                self._take_over(stored, why_lost)
        for job_id, alive in found.items():
            if alive and job_id not in self._table.started and job_id not in self._table.queued:
                if job_id >= FIRST_RUN:
                    self._add_leftovers_of_run(job_id)
                else:
                    self._add_leftovers(job_id, alive)
        if why_lost is None:
            self._executor.takeover.recall_unmarked()
        self._executor.leftovers.forget_the_gone()
        self.resume_restarts()
        journal.note_boot(now)
        self._commits.soon()
        self.wake()

    def _runs_of_batches(self) -> list[StoredJob]:
        """Take the batches on; what was started of them, or was about to be."""
        taken = {batch.id: batch for batch in self._table.batches.values()}
        taken |= {
            stored.id: self.batches.take_over(stored)
            for stored in unended_batches(self._journal)
            if stored.id not in taken
        }
        return [
            self.batches.stored_run(batch, number, record)
            for batch in taken.values()
            for number, record in batch.recount()
        ]

    def _add_leftovers_of_run(self, run: int) -> None:
        job_id = self.batches.find_run(run)
        if job_id is None:
            log(f"processes with the mark of run {run - FIRST_RUN} are alive, of a batch that is not known")
            return
        self._executor.leftovers.take_on(job_id)

    def _disown(self, original: str) -> None:
        """End what this home has only as a copy of another one. Whatever runs of it carries the other one's marks."""
        journal = self._journal
        stored = list(unended_jobs(journal, time.monotonic(), is_same_boot=False))
        reason = f"this home is a copy of {original}; its jobs belong to that"
        for batch in list(unended_batches(journal)):
            taken = self.batches.take_over(batch)
            for number, record in taken.recount():
                taken.lose(number, record)
            taken.skip_rest()
            self.batches.ends.end(taken, Ending("lost", None, None, reason))
        for each in stored:
            job = new_job(each.id, each.spec, each.surroundings, each.created)
            job.life, job.hidden = each.life, each.hidden
            self._table.add(job)
            self._transitions.apply(job, DeclaredLost(**moment(), reason=reason))
        journal.note_disowned()
        count = "1 job that had" if len(stored) == 1 else f"{len(stored)} jobs that had"
        notice = f"{to_wire(self._home.path)} is a copy of {original}"
        notice += f": {count} not ended belong to that, and are lost here" if stored else ""
        journal.notices.append(notice)
        log(notice)

    def _take_over(self, stored: StoredJob, why_lost: str | None) -> None:
        job = new_job(stored.id, stored.spec, stored.surroundings, stored.created)
        job.life, job.hidden = stored.life, stored.hidden
        if isinstance(job.id, BatchJobId):
            self.batches.adopt(job)
        self._table.add(job)
        self._scheduler.adopt(job.id)
        if why_lost is None:
            self._find_processes(job, stored)
        if why_lost is not None or job.life.state == "queued" or not job.life.is_started:
            self._transitions.apply(job, DeclaredLost(**moment(), reason=why_lost or HALF_STARTED))
            return
        self._journal.record(job.id, datetime.now(UTC), "adopted", "taken over by a new daemon")
        self._executor.takeover.adopt(job)
        self._transitions.arm_timeout(job)
        self._executor.takeover.settle(job)
        self._resume_stage_stops(job)

    def _that_ran(self, found: Iterable[int]) -> set[int]:
        """Jobs that were started, which a damaged journal may have forgotten: the folder of one is made for its first process."""
        folders = os.listdir(self._home.jobs) if os.path.isdir(self._home.jobs) else ()
        return {*found, *(int(name) for name in folders if name.isdecimal())}

    def _queue_again(self, stored: StoredJob | WaitingJob) -> None:
        self.enqueue(queued_job(stored.id, stored.spec, stored.created))
        is_fed = isinstance(stored.spec.stdin, DescriptorInput)
        if is_fed and (job := self.take(stored.id)) is not None:
            # It came by the socket; nothing else knows of it.
            reason = "its stdin was lost with the daemon that held it; --stdin FILE can be opened again"
            self._transitions.apply(job, FeedFailed(**moment(), reason=reason))

    def _resume_stage_stops(self, job: ManagedJob) -> None:
        """`stop --stage` that was under way: with what is left of its grace, or where an earlier Corral noted none the job's."""
        for stage, lived in zip(job.stages, job.life.stages, strict=True):
            sent = [signal for signal, by in lived.signalled if by == BY_STOP]
            if sent and lived.is_running and job.life.state != "stopping":
                stop = lived.stop
                grace = job.life.stop_grace if stop is None else grace_left(stop, datetime.now(UTC))
                self._executor.stop(job, sent[-1], grace, stage.number)

    def _find_processes(self, job: ManagedJob, stored: StoredJob) -> None:
        """Give each stage its process, and go on with what the daemon before was about to note."""
        found = self._executor.takeover.assign(job, stored)
        if found:
            job.life = replace(job.life, is_starting=True)
            self._transitions.apply(job, StagesSpawned(**moment(), numbers=found))
        if job.life.is_starting:
            # What had not been started when the daemon died never will be.
            job.life = replace(job.life, is_starting=False)

    def _add_leftovers(self, job_id: int, alive: int) -> None:
        """Processes with our mark of a job that has ended, or that the journal knows nothing of."""
        if not self._journal.exists(job_id):
            now = datetime.now(UTC)
            lost = Job(
                id=str(job_id),
                name=None,
                command=UNKNOWN_COMMAND,
                cwd="/",
                state="lost",
                created=now,
                ended=now,
                reason="found by its mark; the journal does not know it",
                leftovers=alive,
            )
            self._journal.add_recovered(lost)
            self._commits.soon()
        job = self._executor.leftovers.take_on(job_id)
        if self._was_sweeping(job_id):
            reason = "stop resumed after daemon restart"
            self._transitions.apply(job, StopRequested(**moment(), cause="shutdown", reason=reason))

    def _was_sweeping(self, job_id: int) -> bool:
        """Whether a stop of its leftovers was under way."""
        kinds = [event.kind for event in self._journal.events(job_id) if event.kind in ("sweeping", "swept")]
        return bool(kinds) and kinds[-1] == "sweeping"
