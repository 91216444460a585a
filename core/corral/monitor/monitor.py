"""The monitor: one pass a second over all jobs, cheap for jobs that sleep, thorough for those that move or are on a screen."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence

from msgspec import Struct, field

from corral.jobs.executor import TICK_SECONDS
from corral.jobs.job_table import JobTable
from corral.jobs.managed_job import ManagedJob
from corral.measure.pipe_flow import PipeFlow
from corral.measure.sampler import ProcessSampler
from corral.measure.stuck_rule import ObservationGaps, Progress
from corral.monitor.health import HealthJudge, is_settled
from corral.monitor.history_store import KEEP_TICKS, HistoryStore
from corral.monitor.output_watch import OutputWatch
from corral.monitor.pipe_watch import PipeWatch, close_pipes
from corral.monitor.stage_times_sampler import StageTimes
from corral.monitor.stop_stuck import StuckStopper, is_to_be_ended
from corral.platform.host import resource_errors
from corral.processes import usage_meter
from corral.processes.local_run import Member, run_of
from corral.processes.member_scan import MemberScan
from corral.processes.unmarked_claims import Seen
from corral.processes.usage_meter import note_history

SCAN_SECONDS = 5.0
"""How often the whole process table is read for marks when nothing asks for it sooner."""
SLEEPY_AFTER = 8.0
"""A job that has not moved for so long is visited at each tick only while there are few, or somebody looks at it."""
FEW_JOBS = 200
MOST_TICKS = 5
"""Ticks between two visits of a job that sleeps, however many there are."""


class Monitor(Struct, eq=False):
    """Observes the jobs of a table. `tick` is called once a second."""

    _table: JobTable
    _members: MemberScan
    _outputs: OutputWatch
    _pipes: PipeWatch
    _judge: HealthJudge
    _stuck: StuckStopper
    _history_store: HistoryStore
    after_scan: Callable[[], None]
    """Called once the members of all jobs are up to date."""
    _sampler: ProcessSampler = field(default_factory=ProcessSampler)
    _stage_times: StageTimes = field(default_factory=StageTimes)
    _followed_since: dict[int, float] = {}
    """Since when this daemon follows the pipes of each job (monotonic seconds)."""
    _attention: ObservationGaps = field(default_factory=ObservationGaps)
    _ticks: int = 0
    _has_moved: bool = False
    """Whether any job has, since the last scan."""
    _to_end: list[ManagedJob] = []
    """Jobs that were found stuck in this pass, and are to be stopped then."""

    def tick(self) -> None:
        """One pass over everything."""
        now = time.monotonic()
        self._ticks += 1
        self._pass_over(self._attention.missed(now, time.process_time(), TICK_SECONDS), now)
        if now - self._members.last_scan >= self._scan_interval:
            self.scan(now)
        due = [
            job
            for job in self._table.started.values()
            if (job.next_visit <= self._ticks or job.id in self._table.on_screen) and job.life.is_started
        ]
        if fresh := [job for job in due if job.history.progress is None]:
            self._scan_fresh(fresh)
        for job in due:
            self._visit_safely(job, now)
        self._outputs.tick()
        self._stage_times.tick(self._table.on_screen)
        if self._to_end:
            self._stuck.stop(self._to_end, self._has_moved_since_visit)
            self._to_end.clear()
        if self._ticks % KEEP_TICKS == 0:
            self._history_store.keep_all()

    def _pass_over(self, seconds: float, now: float) -> None:
        """So many seconds without a look are held against no job."""
        if not seconds:
            return
        for job in self._table.started.values():
            for observed in (job.history.progress, job.polling):
                if observed is not None:
                    observed.pass_over(seconds, now)

    # ---- the trees

    def scan(self, now: float) -> None:
        """Read the process table and give every job its members."""
        if self._members.scan_all(now):
            self._forget_the_gone()
        self.after_scan()
        self._has_moved = False

    def _forget_the_gone(self) -> None:
        jobs = self._table.started
        self._sampler.forget_all_but(
            {member.identity for job in jobs.values() for member in run_of(job).members.values()}
        )
        for job_id in self._followed_since.keys() - jobs.keys():
            del self._followed_since[job_id]
            self._stage_times.forget(job_id)

    @property
    def _scan_interval(self) -> float:
        """Each tick while a job moves, were that not more than a thousandth of a core; else now and then."""
        if not self._has_moved:
            return SCAN_SECONDS
        return min(SCAN_SECONDS, max(0.9 * TICK_SECONDS, 1000 * self._members.cost))

    # ---- taking on

    def see(self, job: ManagedJob) -> None:
        """Have a first look at a job that was started since the last tick, for somebody who asks already."""
        if job.history.last_sampled is None and job.life.is_started:
            self._scan_fresh([job])
            self._visit_safely(job, time.monotonic())

    def recall(self, job: ManagedJob, seen: Sequence[Seen]) -> None:
        """Go on from what a daemon before has kept of a job. `seen` are its processes now."""
        progress = self._history_store.recall(job)
        if progress is not None:
            # Whatever ran meanwhile has used CPU, written or forked, and then the first look finds it otherwise.
            self._members.set_members(job, seen)
            self.go_on(job, progress)

    def go_on(self, job: ManagedJob, progress: Progress) -> None:
        """Go on from what was observed of a job before; its members come with the next scan."""
        try:
            self._begin(job)
        except OSError:
            return  # as for a new one: the first visit tries again, and notes it
        job.history.progress = progress
        self._outputs.look_at_cap(job)

    def _begin(self, job: ManagedJob) -> None:
        self._outputs.open(job)
        job.pipes = [PipeFlow(stage.number) for stage in job.stages[:-1]]
        self._followed_since[job.id] = time.monotonic()

    def finish(self, job: ManagedJob) -> None:
        """Every stage has ended."""
        self._outputs.finish(job)
        if len(job.stages) > 1:
            close_pipes(job)

    # ---- visits

    def _visit_safely(self, job: ManagedJob, now: float) -> None:
        """One job that cannot be observed, such as one whose output file was removed, keeps no other from it."""
        try:
            self._visit(job, now)
        except (OSError, MemoryError) as error:
            self._note_trouble([job], error)
        self._outputs.note_if_gone(job)

    def _note_trouble(self, jobs: Sequence[ManagedJob], error: OSError | MemoryError) -> None:
        what = resource_errors.explanation(error) if resource_errors.is_shortage(error) else error
        for job in jobs:
            self._outputs.note_trouble(job, f"cannot be observed: {what}")

    def _scan_fresh(self, jobs: Sequence[ManagedJob]) -> None:
        """Find the processes of jobs that are to be visited for the first time."""
        try:
            self._members.scan(jobs)
        except (OSError, MemoryError) as error:
            self._note_trouble(jobs, error)

    def _visit(self, job: ManagedJob, now: float) -> None:
        """Look at one job: cheaply first, and at the rest only if that could have changed."""
        progress = job.history.progress
        if progress is None:
            self._begin(job)
            progress = job.history.progress = Progress(now)
        job.next_visit = self._next_visit(job, progress.still_for(now))
        cpu_ns, ran = usage_meter.read_clocks(job)
        has_stirred = not _has_its_members(job) or bool(ran)
        if not has_stirred and self._still_rests(job, now):
            return
        is_writing = self._outputs.look(job, now)
        if (has_stirred or is_writing) and _observe(job, progress, now, cpu_ns):
            self._has_moved = True
            job.next_visit = self._ticks + 1
        job.pipes_rest = bool(job.pipes) and self._pipes_rest(job, progress, now)
        if ran or is_writing or self._needs_sample(job, now):
            self._sample(job, now, ran)
        elif is_settled(job):
            run_of(job).rested_at = [job.output.stdout, *(stage.history.stderr_bytes for stage in job.stages)]
            _note_rest(job, now)
            return
        elif job.history.cpu_percent:
            usage_meter.note_idle(job, now)
            self._table.touch(job)
        self._judge.judge(job, now)
        if is_to_be_ended(job):
            self._to_end.append(job)
            job.next_visit = self._ticks + 1
        note_history(job, now)
        if job.life.state == "stopping":
            self._table.touch(job)

    def _still_rests(self, job: ManagedJob, now: float) -> bool:
        """Whether all about a job that has not run had settled by its last visit, and still is: the cheapest look."""
        run = run_of(job)
        if run.rested_at is None or run.capped or not is_settled(job) or usage_meter.is_due(job, now):
            return False
        if run.files.sizes() != run.rested_at:
            run.rested_at = None
            return False
        _note_rest(job, now)
        return True

    def _has_moved_since_visit(self, job: ManagedJob) -> bool:
        """Whether it has moved since the visit that is just over; its members are up to date."""
        progress, now = job.history.progress, time.monotonic()
        assert progress is not None
        cpu_ns, _ = usage_meter.read_clocks(job)
        with contextlib.suppress(OSError):  # its output file was removed: the clocks have to do
            self._outputs.read_sizes(job, now)
        return _observe(job, progress, now, cpu_ns)

    def _next_visit(self, job: ManagedJob, still_for: float) -> int:
        """The tick of it. Those of the jobs that sleep are spread by their ids."""
        if still_for < SLEEPY_AFTER:
            return self._ticks + 1
        period = min(MOST_TICKS, 1 + len(self._table.started) // FEW_JOBS)
        return self._ticks + period - (self._ticks + job.id) % period

    def _pipes_rest(self, job: ManagedJob, progress: Progress, now: float) -> bool:
        """Whether nothing moved for so long that rates are 0 and the bottleneck has settled: only a stage changes a pipe."""
        since = max(progress.last_moved, self._followed_since.get(job.id, now))
        return now - since >= SLEEPY_AFTER

    def _needs_sample(self, job: ManagedJob, now: float) -> bool:
        """Also where nothing ran: the first time, now and then, and while its pipes may be moving."""
        is_first = job.history.last_sampled is None
        return is_first or (bool(job.pipes) and not job.pipes_rest) or usage_meter.is_due(job, now)

    def _sample(self, job: ManagedJob, now: float, ran: Sequence[Member]) -> None:
        usage_meter.sample(self._sampler, job, now, ran)
        if job.pipes:
            self._pipes.follow(job, now)
            self._stage_times.follow(job)
        self._table.touch(job)


def _note_rest(job: ManagedJob, now: float) -> None:
    if job.history.lifetime is not None:
        job.history.lifetime.rest(now)


def _has_its_members(job: ManagedJob) -> bool:
    """Whether its processes are those of the visit before."""
    run = run_of(job)
    before, run.members_seen = (
        run.members_seen,
        (run.members, len(run.members)),
    )
    return before is not None and before[0] is run.members and before[1] == len(run.members)


def _observe(job: ManagedJob, progress: Progress, now: float, cpu_ns: int) -> bool:
    output_bytes = job.output.stdout + job.output.stderr
    has_moved = progress.observe(now, cpu_ns, output_bytes, frozenset(run_of(job).members))
    if has_moved:
        job.diagnosis = None
    return has_moved
