"""What jobs that have ended left alive: found by the mark, shown, and in hand again to be ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import chain

from msgspec import structs

from corral.jobs.job_table import JobTable
from corral.jobs.managed_job import ManagedJob, new_job
from corral.jobs.snapshots import Snapshots
from corral.jobs.transitions import Apply
from corral.journal.journal import Journal
from corral.lifecycle.clock import moment
from corral.lifecycle.job_reference import NEWEST
from corral.lifecycle.state import Ending, Life, StopRequested
from corral.model.batch import BatchJobId
from corral.model.errors import NotSoError
from corral.model.job import Job
from corral.model.spec import Command, JobSpec, Pipeline, Surroundings
from corral.platform.host.procfs import read_stat
from corral.platform.process.identity import ProcessIdentity, identify, is_alive
from corral.processes.job_lifetimes import JobLifetimes
from corral.processes.process_scan import ProcessScan
from corral.processes.stop_sequence import StopSequences
from corral.processes.unmarked_claims import Seen
from corral.runner.leftover_watch import LeftoverWatch

CHECK_SECONDS = 0.05
"""How soon after a job's end its leftovers are looked for: one look for all that ended meanwhile."""
_MOST_NAMED = 5
RETRY_SECONDS = 0.5
"""Until the next look where the last one failed."""


def live_members(seen: Iterable[Seen]) -> list[ProcessIdentity]:
    """Those of a count that are alive: no zombies."""
    identities = (identify(entry.pid) for entry in seen)
    return [identity for identity in identities if identity is not None and is_alive(identity)]


class LocalLeftovers:
    """Looks after the jobs that have ended while processes of theirs have not.

    Args:
        reap: reaps every child that has ended.
        wake: called when something waits no more for what was left.
    """

    def __init__(
        self,
        table: JobTable,
        journal: Journal,
        snapshots: Snapshots,
        apply: Apply,
        process_scan: ProcessScan,
        lifetimes: JobLifetimes,
        stopper: StopSequences,
        *,
        reap: Callable[[], None],
        wake: Callable[[], None],
    ) -> None:
        self._table = table
        self._journal = journal
        self._snapshots = snapshots
        self._apply = apply
        self._process_scan = process_scan
        self._lifetimes = lifetimes
        self._stopper = stopper
        self._reap = reap
        self._wake = wake
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._ended: set[int] = set()
        """The jobs in hand that have ended."""
        self._watch = LeftoverWatch(self._check_soon)
        self._looked = asyncio.Event()
        """Every job that has ended was looked at since."""
        self._looked.set()

    @property
    def in_hand(self) -> Iterable[int]:
        """The jobs that have ended and may have left something alive."""
        return self._ended

    def job_ended(self, job: Job) -> None:
        self.look_after(int(job.id))

    def jobs_withdrawn(self, job_ids: Sequence[int]) -> None:
        """Nothing was started of them."""

    def look_after(self, job_id: int, *, is_urgent: bool = True) -> None:
        """It has ended: look soon what is left of it, or at the next pass over all jobs."""
        self._ended.add(job_id)
        self._looked.clear()
        if is_urgent:
            self._check_soon()

    def _check_soon(self) -> None:
        if self._timer is None:
            self._timer = self._loop.call_later(CHECK_SECONDS, self.check)

    def look(self, jobs: Iterable[int] | None = None) -> None:
        """Look at once, for a client that asks about these jobs, or all, where there is anything to look at."""
        if self._ended if jobs is None else not self._ended.isdisjoint(jobs):
            self.check()

    def named(self, names: Collection[str | None], ids: Collection[int] = ()) -> list[ManagedJob]:
        """The ended jobs of one of these names, or ids, that have left something alive."""
        if not ids and all(name is None or name == NEWEST or name.isdecimal() for name in names):
            return []
        self.look()
        jobs = [
            self._table.started[job_id] for job_id in sorted(self._ended) if job_id in self._table.started
        ]
        return [job for job in jobs if job.leftovers and (job.spec.name in names or job.id in ids)]

    def told(self, names: Collection[str | None], ids: Collection[int] = ()) -> tuple[str, ...]:
        """The same in words, for who is about to start a job of that name."""
        jobs = self.named(names, ids)
        found = self._process_scan.take(jobs) if jobs else {}
        return tuple(_told(job.id, live) for job in jobs if (live := live_members(found.get(job.id, []))))

    def check(self) -> None:
        """One look for what ended jobs have left alive. Jobs without leftovers are let go."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        jobs = self._table.started
        done = [jobs[job_id] for job_id in self._ended if job_id in jobs]
        self._ended = {job.id for job in done}
        try:
            self._look_at(done)
        except (OSError, MemoryError):
            # Nothing to look with (EMFILE, ENFILE, ENOMEM): no job is let go of unseen.
            self._timer = self._loop.call_later(RETRY_SECONDS, self.check)
            return
        self._looked.set()

    def _look_at(self, done: list[ManagedJob]) -> None:
        if not done:
            self._watch.watch(())
            return
        self._reap()
        found = self._process_scan.take(done)
        left = {job.id: live_members(found.get(job.id, [])) for job in done}
        self._watch.watch(chain.from_iterable(left.values()))
        for job in done:
            count = len(left[job.id])
            self.note(job, count, len(self._process_scan.doubtful(job.id)))
            if count and job.spec.leftovers == "stop" and not job.life.sweeping:
                self._sweep(job)

    def _sweep(self, job: ManagedJob) -> None:
        """End what outlived the job, as was decided when it was started."""
        event = StopRequested(**moment(), cause="leftovers", reason="stopped by --leftovers stop")
        self._apply(job, event)

    async def until_swept(self, job_ids: Iterable[int]) -> None:
        """Return once nothing is left of those of these jobs whose leftovers are to be stopped, or nothing more helps."""
        jobs = [job for job_id in job_ids if (job := self._table.started.get(job_id)) is not None]
        jobs = [job for job in jobs if job.spec.leftovers == "stop"]
        if jobs:
            await self._looked.wait()
        await asyncio.gather(*(self._stopper.outcome(job) for job in jobs))

    def note(self, job: ManagedJob, count: int, doubt: int) -> None:
        """So many processes of that ended job are alive, and so many may be its own."""
        before = job.leftovers, job.in_doubt
        job.leftovers, job.in_doubt = count, doubt
        if before != (count, doubt):
            if not isinstance(job.id, BatchJobId):
                snapshot = structs.replace(self._snapshots.of(job.id), leftovers=count, in_doubt=doubt)
                self._table.ended[job.id] = snapshot
                self._journal.update_ended(snapshot)
            self._table.touch(job)
            self._wake()
        if count == doubt == 0 and self._stopper.of(job) is None:
            self.let_go(job.id)

    def let_go(self, job_id: int) -> None:
        """Nothing is left of that job."""
        job = self._table.remove(job_id)
        self._ended.discard(job_id)
        if job is not None:
            self._lifetimes.note_over(job)

    def forget_the_gone(self) -> None:
        """Nothing is left any more of what the last daemon had counted and this one does not find."""
        for job_id, snapshot in self._table.ended.items():
            if (snapshot.leftovers or snapshot.in_doubt) and job_id not in self._table.started:
                self._table.ended[job_id] = snapshot = structs.replace(snapshot, leftovers=0, in_doubt=0)
                self._journal.update_ended(snapshot)

    def take_on(self, job_id: int) -> ManagedJob:
        """An ended job of which processes are alive, in hand again."""
        snapshot = self._snapshots.of(job_id)
        try:
            spec, surroundings = self._snapshots.origin_of(job_id)
        except NotSoError:
            # Only its mark tells of it.
            pipeline = Pipeline((Command((snapshot.command,)),))
            spec = JobSpec(pipeline=pipeline, command=snapshot.command, max_output=None)
            surroundings = Surroundings({}, snapshot.cwd, 0o022)
        job = new_job(job_id, spec, surroundings, snapshot.created)
        job.life = _life_of(snapshot, job.life)
        job.leftovers, job.in_doubt = snapshot.leftovers, snapshot.in_doubt
        self._table.add(job)
        self.look_after(job_id)
        return job


def _told(job_id: int, left: Sequence[ProcessIdentity]) -> str:
    stats = (read_stat(identity.pid) for identity in left[:_MOST_NAMED])
    named = [f"{stat.pid} {stat.name}" for stat in stats if stat is not None]
    if len(left) > len(named):
        named.append(f"{len(left) - len(named)} more")
    who = named[0] if len(named) == 1 else f"{', '.join(named[:-1])} and {named[-1]}"
    ends = "ends it" if len(left) == 1 else "ends them"
    return f"job {job_id} left {who} running; corral stop {job_id} {ends}"


def _life_of(snapshot: Job, life: Life) -> Life:
    ending = Ending(snapshot.state, snapshot.exit_status, snapshot.signal, snapshot.reason)
    return structs.replace(
        life, state=snapshot.state, ending=ending, started=snapshot.started, ended=snapshot.ended
    )
