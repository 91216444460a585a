"""The manager: the single-threaded owner of the children of its process. Wires starting, watching and stopping.

Internal: one per process, inside the daemon. Everything here runs in one thread on one event loop.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime

from msgspec import structs

from corral.decide.endings import dependency_failure
from corral.decide.life import (
    BeginStop,
    DependencyFailed,
    DependencyMet,
    Effect,
    EndStages,
    Event,
    JobEnded,
    PauseTree,
    Record,
    ResumeTree,
    SignalSent,
    SkipGrace,
    SlotGranted,
    StageSignalled,
    StartStages,
    SurvivorsFound,
    Ticked,
    TreeEmptied,
    is_worth_noting,
)
from corral.decide.lifecycle import advance, new_life
from corral.decide.naming import resolve
from corral.decide.scheduler import Dependency, FailedWait, Scheduler
from corral.decide.store import Journal
from corral.manage import diskfull, heirs, operations, stories, views
from corral.manage.births import Births
from corral.manage.capping import Capping
from corral.manage.census import Census
from corral.manage.checking import check_surroundings, check_values
from corral.manage.children import Children
from corral.manage.cleaning import Cleaner
from corral.manage.commits import Commits
from corral.manage.jobs import ManagedJob, ManagedStage
from corral.manage.laststacks import LastStacks
from corral.manage.launching import RETRY_SECONDS, Launcher
from corral.manage.leftovers import Leftovers
from corral.manage.moments import moment
from corral.manage.monitor import Monitor
from corral.manage.reaping import ChildEnd
from corral.manage.spying import Spy
from corral.manage.stopping import BY_STOP, StopOfJob, Stopper, report_on
from corral.manage.terminals import Terminals
from corral.manage.truncations import Truncations
from corral.manage.upkeep import Upkeep
from corral.manage.waiting import Waiters
from corral.system import mark
from corral.system.identity import ProcessIdentity
from corral.system.mounts import Mounts
from corral.system.pipes import PipeBudget
from corral.system.signals import RefusedSignalError, Signaller
from corral.system.subreaper import become_subreaper
from corral.values.errors import UnknownJobError
from corral.values.home import Home
from corral.values.jobs import Job
from corral.values.programwords import program_name
from corral.values.shown import short, with_short_command
from corral.values.spec import JobInput, JobSpec, Surroundings

STARTS_A_PASS = 20
"""Spawning is synchronous; more in one pass of the loop would keep everybody else waiting."""
FAILS_A_PASS = 100
"""Jobs that are ended in one pass since the one that they waited for failed."""
COMMIT_SECONDS = 0.01
"""Until the pids of what was started are committed, unless an earlier pass takes them along. A daemon that dies
before finds them by their marks, since the jobs were committed as starting."""
KEPT_ENDED = 1000
"""Ended jobs whose snapshots stay in memory; the journal has all."""


class Manager:
    """Runs, watches and ends the jobs of one home.

    Args:
        journal: open for writing; its owner is this manager.
        parallel: how many jobs may run at a time, None for any number.
    """

    def __init__(self, home: Home, journal: Journal, *, parallel: int | None = None) -> None:
        self.home = home
        self.journal = journal
        self.why_no_marks = mark.why_not()
        self.nonce = None if self.why_no_marks else journal.nonce
        become_subreaper()
        self.jobs: dict[int, ManagedJob] = {}
        """Those that have not ended, and ended ones whose leftovers are alive or not yet looked for."""
        self.ended: OrderedDict[int, Job] = OrderedDict()
        self.scheduler = Scheduler(parallel)
        self.budget = PipeBudget()
        self.mounts = Mounts(home.path)
        self.signaller = Signaller(self.nonce)
        self.births = Births(self.jobs)
        self.census = Census(self.nonce, home.path, self.signaller, self.jobs, self.births.of)
        self.stopper = Stopper(self, self.census, self.signaller, home.path)
        self.on_change: Callable[[], None] = lambda: None
        """Called at least once after any job changed, before the next pass of the loop ends."""
        self.is_attended: Callable[[int], bool] = lambda _: False
        """Whether somebody sits at the terminal of that job."""
        self.changed_ids: set[int] = set()
        self.removed_ids: set[int] = set()
        self.children = Children(self)
        self.spy = Spy(self.children.reap, self.mounts)
        self.last_stacks = LastStacks(self.spy)
        self.leftovers = Leftovers(self)
        self.monitor = Monitor(self)
        self.capping = Capping(self)
        self.truncations = Truncations(self)
        self.cleaner = Cleaner(self)
        self.launcher = Launcher(self)
        self.terminals = Terminals(self)
        self.restarting = asyncio.Lock()
        """While a restart is being accepted: the next one of the same job is to find it."""
        self._waiters = Waiters()
        self._start_waiters = Waiters()
        self._to_start: list[ManagedJob] = []
        self._loop = asyncio.get_running_loop()
        self._has_pass = False
        self.commits = Commits(journal, self.wake)
        self.upkeep = Upkeep(journal)
        for view in journal.ended(KEPT_ENDED):
            self.ended[int(view.id)] = view

    # ---- accepting

    async def accept(
        self, specs: Sequence[JobSpec], surroundings: Surroundings, descriptor: int | None = None
    ) -> list[int]:
        """Take jobs on: their rows are committed when this returns. `descriptor`, the first one's stdin, is taken over
        in any case.

        Raises:
            UsageError, UnknownJobError: nothing was accepted.
            JournalError: neither; the journal could not be written, or was locked for too long.
        """
        with ExitStack() as unless_accepted:
            if descriptor is not None:
                unless_accepted.callback(os.close, descriptor)
            check_surroundings(surroundings)
            specs = [self._checked(spec) for spec in specs]
            created = datetime.now(UTC)
            ids = self.journal.add_jobs(specs, surroundings, created)
            try:
                await self.commits.done()
            finally:
                # Who asked may leave while a lock is waited for: what was written by then is accepted all the same.
                if not self.journal.take_back(ids):
                    unless_accepted.pop_all()
                    for job_id, spec in zip(ids, specs, strict=True):
                        job = self.new_job(job_id, spec, surroundings, created)
                        job.stdin_descriptor, descriptor = descriptor, None
                        self.enqueue(job)
        return ids

    def new_job(
        self, job_id: int, spec: JobSpec, surroundings: Surroundings, created: datetime
    ) -> ManagedJob:
        """Of a long command only what is shown of it is kept: the journal has all."""
        spec = short(spec)
        stages = [
            ManagedStage(number, program_name(command.argv), command.argv)
            for number, command in enumerate(spec.pipeline.stages, 1)
        ]
        life = new_life(spec, [stage.name for stage in stages])
        return ManagedJob(job_id, spec, surroundings, created, life, stages)

    def enqueue(self, job: ManagedJob) -> None:
        self.jobs[job.id] = job
        after = [self._dependency(int(reference)) for reference in job.spec.after]
        self.scheduler.add(job.id, [*after, *heirs.dependencies(self, job)])
        self.touch(job)
        self.wake()

    def _dependency(self, job_id: int) -> Dependency:
        job = self.jobs.get(job_id)
        if job is not None and not job.life.is_ended:
            return Dependency(job_id, job.spec.name)
        try:
            view = self.snapshot(job_id)
        except UnknownJobError:
            # Removed since, and it had succeeded: else this job would not be queued any more.
            return Dependency(job_id, None, True)
        return Dependency(job_id, view.name, view.state == "succeeded")

    def _checked(self, spec: JobSpec) -> JobSpec:
        """The specification with its references made numbers. Raises UsageError, UnknownJobError."""
        check_values(spec)
        after = tuple(str(self.resolve(reference)) for reference in spec.after)
        stdin = spec.stdin
        if isinstance(stdin, JobInput):
            stdin = JobInput(str(self.resolve(stdin.job)))
        return structs.replace(with_short_command(spec), after=after, stdin=stdin)

    # ---- the passes of the loop

    def wake(self) -> None:
        """Start what may start, soon."""
        if not self._has_pass:
            self._has_pass = True
            self._loop.call_soon(self._pass)

    def _pass(self) -> None:
        self._has_pass = False
        self._fail(self.scheduler.take_failed(FAILS_A_PASS))
        ready = self.scheduler.take_ready(STARTS_A_PASS)
        for job_id in ready:
            self.apply(self.jobs[job_id], SlotGranted(**moment()))
        if self._to_start:
            self.journal.mark_starting([job.id for job in self._to_start])
        if not self.commit_soon():
            # Nothing starts that the journal does not know to be starting: after a crash it would start again.
            self._loop.call_later(RETRY_SECONDS, self.wake)
            return
        starting, self._to_start = self._to_start, []
        for job in starting:
            if not job.life.is_ended:
                self.launcher.start(job)
        if len(ready) == STARTS_A_PASS or self.scheduler.has_failed:
            self.wake()
        elif self.journal.is_dirty:
            self.commits.within(COMMIT_SECONDS)

    def fail_waiters(self) -> None:
        """End those that wait for a job that did not succeed. Before one is removed: then nobody could tell of it."""
        while found := self.scheduler.take_failed():
            self._fail(found)

    def _fail(self, waits: Iterable[FailedWait]) -> None:
        for failed in waits:
            state = self._state_of(failed.dependency)
            message = dependency_failure(failed.dependency, state)  # type: ignore[arg-type]
            self.apply(self.jobs[failed.job], DependencyFailed(**moment(), message=message))

    def _state_of(self, job_id: int) -> str:
        job = self.jobs.get(job_id)
        return job.life.state if job is not None else self.snapshot(job_id).state

    def commit(self) -> None:
        """Commit what the journal collected. Raises JournalError where it cannot be written now."""
        self.journal.commit()

    def commit_soon(self) -> bool:
        """The same for what no client waits for: kept and tried again at the next pass where it fails."""
        return self.commits.soon()

    # ---- the state machine

    def apply(self, job: ManagedJob, event: Event) -> None:
        """The one way in which a job's life goes on."""
        before = job.life
        job.life, effects = advance(before, event)
        if is_worth_noting(before, job.life):
            self.journal.state_changed(job.id, job.life)
        if job.spec.timeout is not None and job.life.deadline != before.deadline:
            self.arm_timeout(job)
        self.touch(job)
        for effect in effects:
            self._do(job, effect)

    def arm_timeout(self, job: ManagedJob) -> None:
        """Wake when the time limit runs out, were the job not paused before."""
        if job.timeout_timer is not None:
            job.timeout_timer.cancel()
            job.timeout_timer = None
        deadline = job.life.deadline
        if deadline is not None:
            delay = max(0.0, deadline - time.monotonic())
            job.timeout_timer = self._loop.call_later(delay, self._watch_time, job)

    def _watch_time(self, job: ManagedJob) -> None:
        job.timeout_timer = None
        self.apply(job, Ticked(**moment()))
        if job.life.deadline is not None and job.timeout_timer is None:
            self.arm_timeout(job)

    def _do(self, job: ManagedJob, effect: Effect) -> None:
        match effect:
            case StartStages():
                self._to_start.append(job)
            case BeginStop(signal, grace, cause):
                stories.note_stop(self, job, cause)
                self.stopper.begin(job, signal, grace)
            case EndStages():
                self.stopper.begin(job, "KILL", 0.0)
            case SkipGrace():
                self.stopper.skip_grace(job)
            case PauseTree():
                # Noted first: what a next daemon finds paused it pauses, what runs it leaves as it is.
                self.commits.for_sure()
                self._signal_tree(job, "STOP")
            case ResumeTree():
                self._signal_tree(job, "CONT")
            case Record(kind, text):
                self.journal.record(job.id, datetime.now(UTC), kind, text)
            case JobEnded():
                self._finish(job)

    def _signal_tree(self, job: ManagedJob, signal: str) -> None:
        try:
            operations.signal_tree(self, job, signal)
        except (RefusedSignalError, PermissionError) as error:
            self.journal.record(job.id, datetime.now(UTC), "signal", f"{signal} was not sent to all: {error}")

    def _finish(self, job: ManagedJob) -> None:
        self.close_stdin(job)
        self.launcher.end(job)
        self.terminals.end(job)
        self.monitor.close_outputs(job)
        views.final_sizes(job, self.home)
        diskfull.look_at_end(self, job)
        self.monitor.close_pipes(job)
        self.budget.gave_back(job.pipe_bytes)
        job.pipe_bytes = 0
        self.capping.finish(job)
        stop = self.stopper.of(job)
        if stop is not None:
            job.report = report_on(stop)
        job.view = None
        view = self.view(job)
        self.journal.job_ended(view, job.report)
        stories.finish(self, job, views.cpu_seconds_of(job))
        self.scheduler.ended(job.id, view.state == "succeeded")
        self._remember(view)
        self.cleaner.note_ended(view)
        self._waiters.release(job.id)
        self._start_waiters.release(job.id)
        self.leftovers.look_after(job)
        self.wake()

    def close_stdin(self, job: ManagedJob) -> None:
        """Close our ends of its stdin."""
        for descriptor in (job.stdin_descriptor, job.stdin_writer):
            if descriptor is not None:
                os.close(descriptor)
        job.stdin_descriptor = job.stdin_writer = None

    def _remember(self, view: Job) -> None:
        self.ended[int(view.id)] = view
        while len(self.ended) > KEPT_ENDED:
            self.ended.popitem(last=False)

    # ---- what the stop sequence asks and tells

    def note_stops(self) -> None:
        """Note what is about to be stopped, and why."""
        self.commits.for_sure()

    def reap(self) -> None:
        """Reap every child that has ended."""
        self.children.reap()

    def end_of(self, identity: ProcessIdentity) -> ChildEnd | None:
        """How a process that we reaped lately has ended."""
        return self.children.end_of(identity)

    def signal_sent(self, stop: StopOfJob, signal: str) -> None:
        if stop.stage is None:
            self.apply(stop.job, SignalSent(**moment(), signal=signal))
        else:
            self.apply(stop.job, StageSignalled(**moment(), number=stop.stage, signal=signal, by=BY_STOP))

    def tree_emptied(self, stop: StopOfJob) -> None:
        job = stop.job
        if stop.stage is not None or self.jobs.get(job.id) is not job:
            # Of one stage only; or the job was removed meanwhile, its leftovers having ended.
            return
        job.report = report_on(stop)
        job.leftovers = 0
        was_ended = job.life.is_ended
        self.apply(job, TreeEmptied(**moment()))
        job.report = structs.replace(job.report, state=job.life.state)
        self.journal.stop_reported(job.id, job.report)
        if was_ended:
            self.leftovers.note(job, 0, len(job.report.in_doubt))
        self.wake()

    def survivors_found(self, stop: StopOfJob, text: str) -> None:
        self.apply(stop.job, SurvivorsFound(**moment(), text=text))
        if stop.stage is None:
            heirs.give_up(self, stop.job.id, text)

    def unended(self) -> Collection[ManagedJob]:
        return self.jobs.values()

    # ---- asking

    def resolve(self, reference: str) -> int:
        """The id that a number, a name or `@` means. Raises UnknownJobError, NotSoError."""
        job_id = resolve(
            reference,
            heirs.named(self.jobs.values()),
            exists=lambda job_id: job_id in self.jobs or job_id in self.ended or self.journal.exists(job_id),
            newest_ended=self.journal.newest_ended,
            newest=self.journal.newest,
        )
        if job_id in self.cleaner.going:
            raise UnknownJobError(f"no job {job_id}: it is being cleaned")
        return job_id

    def snapshot(self, job_id: int) -> Job:
        """The job as it is now."""
        job = self.jobs.get(job_id)
        if job is not None and not job.life.is_ended:
            return self.view(job)
        return self.ended.get(job_id) or self.journal.job(job_id)

    def fresh(self, job_id: int, now: float) -> Job:
        """The same with `elapsed` as of `now` (monotonic seconds), which no change of the job carries along."""
        view = self.snapshot(job_id)
        job = self.jobs.get(job_id)
        if job is None or job.life.is_ended or job.life.started is None:
            return view
        elapsed = job.life.elapsed(now)
        return structs.replace(view, elapsed=None if elapsed is None else round(elapsed, 3))

    def origin_of(self, job_id: int) -> tuple[JobSpec, Surroundings]:
        """What a job was started with. Raises NotSoError where the journal does not know."""
        job = self.jobs.get(job_id)
        if job is None or job.shown.is_cut:
            return self.journal.origin(job_id)
        return job.spec, job.surroundings

    def is_known(self, job_id: int) -> bool:
        return job_id in self.jobs or job_id in self.ended

    def note_changed(self, job_id: int) -> None:
        self.changed_ids.add(job_id)
        self.on_change()

    def view(self, job: ManagedJob) -> Job:
        """The snapshot of a job in hand, built anew only when something changed."""
        if job.view is None:
            waiting_for = self._waiting_for(job) if job.life.state == "queued" else None
            job.view = views.view_of(job, time.monotonic(), waiting_for, self.stopper.of(job))
        return job.view

    def _waiting_for(self, job: ManagedJob) -> str | None:
        ahead = None if job.ahead is None else job.ahead.waiting_for
        return ahead or self.scheduler.waiting_for(job.id)

    def touch(self, job: ManagedJob) -> None:
        """Something about the job changed."""
        job.view = None
        self.changed_ids.add(job.id)
        self.on_change()

    def note_removed(self, job_ids: Iterable[int]) -> None:
        for job_id in job_ids:
            self.ended.pop(job_id, None)
            self.changed_ids.discard(job_id)
            self.removed_ids.add(job_id)
        self.on_change()

    def note_met_dependency(self, job: ManagedJob, dependency: int) -> None:
        self.apply(job, DependencyMet(**moment(), job=dependency))

    # ---- waiting

    def ends_of(self, job_ids: Iterable[int]) -> list[asyncio.Future[None]]:
        """For each of these jobs that has not ended a future that is done once it has. Cancel what is not awaited."""
        jobs = (self.jobs.get(job_id) for job_id in job_ids)
        return [self._waiters.add(job.id) for job in jobs if job is not None and not job.life.is_ended]

    def note_started(self, job: ManagedJob) -> None:
        """Its start is over, well or not."""
        self._start_waiters.release(job.id)

    async def until_started(self, job_id: int) -> None:
        """Return once it has started, could not start, or has to wait in the queue."""
        job = self.jobs.get(job_id)
        while job is not None and job.life.state == "queued" and not self._has_to_wait(job):
            future = self._start_waiters.add(job_id)
            await asyncio.wait([future], timeout=0.05)
            future.cancel()

    def _has_to_wait(self, job: ManagedJob) -> bool:
        if job.ahead is not None:
            return job.ahead.has_to_wait
        return self._waiting_for(job) is not None and not job.life.is_starting
