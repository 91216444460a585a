"""What jobs that have ended left alive: found by the mark, shown, and in hand again to be ended."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Sequence
from itertools import chain
from typing import TYPE_CHECKING

from msgspec import structs

from corral.decide.life import Ending, Life, StopRequested
from corral.decide.naming import NEWEST
from corral.manage.census import Seen
from corral.manage.jobs import ManagedJob
from corral.manage.leftoverwatch import LeftoverWatch
from corral.manage.moments import moment
from corral.system.identity import ProcessIdentity, identify, is_alive
from corral.system.procfs import read_stat
from corral.values.errors import NotSoError
from corral.values.jobs import Job
from corral.values.spec import Command, JobSpec, Pipeline, Surroundings

if TYPE_CHECKING:
    from corral.manage.manager import Manager

CHECK_SECONDS = 0.05
"""How soon after a job's end its leftovers are looked for: one look for all that ended meanwhile."""
_MOST_NAMED = 5
RETRY_SECONDS = 0.5
"""Until the next look where the last one failed."""


def live_members(seen: Iterable[Seen]) -> list[ProcessIdentity]:
    """Those of a count that are alive: no zombies."""
    identities = (identify(entry.pid) for entry in seen)
    return [identity for identity in identities if identity is not None and is_alive(identity)]


class Leftovers:
    """Looks after the jobs that have ended while processes of theirs have not."""

    def __init__(self, manager: Manager) -> None:
        self._manager = manager
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

    def look_after(self, job: ManagedJob) -> None:
        """It has ended: look soon what is left of it."""
        self._ended.add(job.id)
        self._looked.clear()
        self._check_soon()

    def _check_soon(self) -> None:
        if self._timer is None:
            self._timer = self._loop.call_later(CHECK_SECONDS, self.check)

    def look(self, jobs: Iterable[int] | None = None) -> None:
        """Look at once, for somebody who asks about these jobs, or all, where there is anything to look at."""
        if self._ended if jobs is None else not self._ended.isdisjoint(jobs):
            self.check()

    def named(self, names: Collection[str | None], ids: Collection[int] = ()) -> list[ManagedJob]:
        """The ended jobs of one of these names, or ids, that have left something alive."""
        if not ids and all(name is None or name == NEWEST or name.isdecimal() for name in names):
            return []
        self.look()
        jobs = (job for _, job in sorted(self._manager.jobs.items()) if job.life.is_ended and job.leftovers)
        return [job for job in jobs if job.spec.name in names or job.id in ids]

    def told(self, names: Collection[str | None], ids: Collection[int] = ()) -> tuple[str, ...]:
        """The same in words, for who is about to start a job of that name."""
        jobs = self.named(names, ids)
        found = self._manager.census.take(jobs) if jobs else {}
        return tuple(_told(job.id, live) for job in jobs if (live := live_members(found.get(job.id, []))))

    def check(self) -> None:
        """One look for what ended jobs have left alive. Jobs without leftovers are let go."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        jobs = self._manager.jobs
        done = [jobs[job_id] for job_id in self._ended if job_id in jobs]
        self._ended = {job.id for job in done}
        try:
            self._look_at(done)
        except (OSError, MemoryError):
            # Nothing to look with (EMFILE, ENFILE, ENOMEM): nobody is let go of unseen.
            self._timer = self._loop.call_later(RETRY_SECONDS, self.check)
            return
        self._looked.set()

    def _look_at(self, done: list[ManagedJob]) -> None:
        if not done:
            self._watch.watch(())
            return
        manager = self._manager
        manager.children.reap()
        found = manager.census.take(done)
        left = {job.id: live_members(found.get(job.id, [])) for job in done}
        self._watch.watch(chain.from_iterable(left.values()))
        for job in done:
            count = len(left[job.id])
            self.note(job, count, len(manager.census.doubtful(job.id)))
            if count and job.spec.leftovers == "stop" and not job.life.sweeping:
                self._sweep(job)

    def _sweep(self, job: ManagedJob) -> None:
        """End what outlived the job, as was decided when it was started."""
        event = StopRequested(**moment(), cause="leftovers", reason="stopped by --leftovers stop")
        self._manager.apply(job, event)

    async def until_swept(self, job_ids: Iterable[int]) -> None:
        """Return once nothing is left of those of these jobs whose leftovers are to be stopped, or nothing more helps."""
        jobs = [job for job_id in job_ids if (job := self._manager.jobs.get(job_id)) is not None]
        jobs = [job for job in jobs if job.spec.leftovers == "stop"]
        if jobs:
            await self._looked.wait()
        stops = [stop for job in jobs if (stop := self._manager.stopper.of(job)) is not None]
        await asyncio.gather(*(self._manager.stopper.outcome(stop) for stop in stops))

    def note(self, job: ManagedJob, count: int, doubt: int) -> None:
        """So many processes of that ended job are alive, and so many may be its own."""
        manager = self._manager
        view = manager.snapshot(job.id)
        job.leftovers, job.in_doubt = count, doubt
        if (view.leftovers, view.in_doubt) != (count, doubt):
            view = structs.replace(view, leftovers=count, in_doubt=doubt)
            manager.ended[job.id] = view
            manager.journal.update_ended(view)
            manager.touch(job)
            manager.wake()
        if count == doubt == 0 and manager.stopper.of(job) is None:
            self.let_go(job.id)

    def let_go(self, job_id: int) -> None:
        """Nothing is left of that job."""
        job = self._manager.table.remove(job_id)
        self._ended.discard(job_id)
        if job is not None:
            self._manager.births.note_over(job)

    def forget_the_gone(self) -> None:
        """Nothing is left any more of what the last daemon had counted and this one does not find."""
        manager = self._manager
        for job_id, view in manager.ended.items():
            if (view.leftovers or view.in_doubt) and job_id not in manager.jobs:
                manager.ended[job_id] = view = structs.replace(view, leftovers=0, in_doubt=0)
                manager.journal.update_ended(view)

    def take_on(self, job_id: int) -> ManagedJob:
        """An ended job of which processes are alive, in hand again."""
        manager = self._manager
        view = manager.snapshot(job_id)
        try:
            spec, surroundings = manager.origin_of(job_id)
        except NotSoError:
            # Only its mark tells of it.
            pipeline = Pipeline((Command((view.command,)),))
            spec = JobSpec(pipeline=pipeline, command=view.command, max_output=None)
            surroundings = Surroundings({}, view.cwd, 0o022)
        job = manager.new_job(job_id, spec, surroundings, view.created)
        job.life = _life_of(view, job.life)
        manager.table.add(job)
        self.look_after(job)
        return job


def _told(job_id: int, left: Sequence[ProcessIdentity]) -> str:
    stats = (read_stat(identity.pid) for identity in left[:_MOST_NAMED])
    named = [f"{stat.pid} {stat.name}" for stat in stats if stat is not None]
    if len(left) > len(named):
        named.append(f"{len(left) - len(named)} more")
    who = named[0] if len(named) == 1 else f"{', '.join(named[:-1])} and {named[-1]}"
    ends = "ends it" if len(left) == 1 else "ends them"
    return f"job {job_id} left {who} running; corral stop {job_id} {ends}"


def _life_of(view: Job, life: Life) -> Life:
    ending = Ending(view.state, view.exit_status, view.signal, view.reason)
    return structs.replace(life, state=view.state, ending=ending, started=view.started, ended=view.ended)
