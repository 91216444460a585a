"""The monitor: one pass a second over all jobs, cheap for what sleeps, thorough for what moves or is looked at."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from corral.manage import diskfull, flows, views
from corral.manage.census import Seen
from corral.manage.jobs import ManagedJob
from corral.manage.judging import Judge, is_settled
from corral.manage.keeping import KEEP_TICKS, keep_observed
from corral.manage.local_run import Member
from corral.manage.onstuck import end_stuck, is_to_be_ended
from corral.manage.stagetimes import StageTimes
from corral.manage.stories import note_life, note_rest
from corral.observe import ordering
from corral.observe.holders import Holders
from corral.observe.pipeflow import RATE_WINDOW, PipeFlow
from corral.observe.progress import ObservationGaps, Progress
from corral.observe.sampler import ProcessSampler
from corral.system import shortage
from corral.system.cpu_clock import cpu_nanoseconds
from corral.system.identity import ProcessIdentity, identify
from corral.system.procfs import CLOCK_TICKS, read_stat
from corral.values.wire import to_wire

if TYPE_CHECKING:
    from corral.manage.manager import Manager

TICK_SECONDS = 1.0
SCAN_SECONDS = 5.0
"""How often the whole process table is read for marks when nothing asks for it sooner."""
SLEEPY_AFTER = 8.0
"""A job that has not moved for so long is visited at each tick only while there are few, or somebody looks at it."""
FEW_JOBS = 200
MOST_TICKS = 5
"""Ticks between two visits of a job that sleeps, however many there are."""
IDLE_SAMPLE_SECONDS = 180.0
"""How often a process that has not run is sampled all the same: its memory may have been reclaimed."""


class Monitor:
    """Observes the jobs of a manager. `tick` is called once a second."""

    def __init__(self, manager: Manager) -> None:
        self._manager = manager
        self._sampler = ProcessSampler()
        self.holders = Holders(os.getpid())
        self.judge = Judge(manager)
        self._stage_times = StageTimes()
        self._followed_since: dict[int, float] = {}
        """When the pipes of each job were first looked at by this daemon, monotonic seconds."""
        self._attention = ObservationGaps()
        self._ticks = 0
        self.last_scan = 0.0
        self._scan_cost = 0.0
        self._has_moved = False
        self._to_end: list[ManagedJob] = []
        """Jobs that were found stuck in this pass, and are to be stopped then."""
        self.looked_at: set[int] = set()
        """Jobs on somebody's screen."""

    def tick(self) -> None:
        """One pass over everything."""
        now = time.monotonic()
        self._ticks += 1
        self._pass_over(self._attention.missed(now, time.process_time(), TICK_SECONDS), now)
        if now - self.last_scan >= self._scan_interval:
            self.scan(now)
        for job in list(self._manager.jobs.values()):
            if job.next_visit > self._ticks and job.id not in self.looked_at:
                continue
            if job.life.is_started:
                self._visit_safely(job, now)
        self._manager.capping.tick()
        self._stage_times.tick(self.looked_at)
        if self._to_end:
            end_stuck(self._manager, self._to_end)
            self._to_end.clear()
        if self._ticks % KEEP_TICKS == 0:
            keep_observed(self._manager)

    def _pass_over(self, seconds: float, now: float) -> None:
        """So many seconds without a look are held against no job."""
        if not seconds:
            return
        for job in self._manager.jobs.values():
            for kept in (job.progress, job.quiet):
                if kept is not None:
                    kept.pass_over(seconds, now)

    def _next_visit(self, job: ManagedJob, still_for: float) -> int:
        """The tick of it. Those of the jobs that sleep are spread by their ids."""
        if still_for < SLEEPY_AFTER:
            return self._ticks + 1
        period = min(MOST_TICKS, 1 + len(self._manager.jobs) // FEW_JOBS)
        return self._ticks + period - (self._ticks + job.id) % period

    # ---- the tree

    def scan(self, now: float) -> None:
        """Read the process table and give every job its members."""
        self.last_scan = now
        began = time.process_time()
        manager = self._manager
        found = manager.census.take(manager.jobs.values())
        for job in list(manager.jobs.values()):
            self.set_members(job, found.get(job.id, ()))
        manager.leftovers.check()
        self._forget_the_gone()
        self._has_moved = False
        self._scan_cost = time.process_time() - began

    def _forget_the_gone(self) -> None:
        manager = self._manager
        alive = {member.identity for job in manager.jobs.values() for member in job.run.members.values()}
        self._sampler.forget_all_but(alive)
        for job_id in self._followed_since.keys() - manager.jobs.keys():
            del self._followed_since[job_id]
            self._stage_times.forget(job_id)

    @property
    def _scan_interval(self) -> float:
        """Each tick while a job moves, were that not more than a thousandth of a core; else now and then."""
        if not self._has_moved:
            return SCAN_SECONDS
        return min(SCAN_SECONDS, max(0.9 * TICK_SECONDS, 1000 * self._scan_cost))

    def scan_job(self, job: ManagedJob) -> None:
        """The same for one job, at once."""
        found = self._manager.census.take([job])
        self.set_members(job, found.get(job.id, ()))

    def set_members(self, job: ManagedJob, found: Sequence[Seen]) -> None:
        """These are its processes; zombies are left out."""
        if len(found) == len(job.run.members) and all(seen.pid in job.run.members for seen in found):
            return
        members: dict[int, Member] = {}
        for pid, stage, _ in found:
            known = job.run.members.get(pid)
            if known is not None and identify(pid) == known.identity:
                members[pid] = known
                continue
            stat = read_stat(pid)
            if stat is not None and not stat.has_ended:
                members[pid] = Member(ProcessIdentity(pid, stat.started), stage, -1, stat.cpu_seconds)
        if members.keys() != job.run.members.keys():
            job.run.members = members
            self._manager.touch(job)

    # ---- one job

    def see(self, job: ManagedJob) -> None:
        """Have a first look at a job that was started since the last tick, for somebody who asks already."""
        if job.last_sampled is None and job.life.is_started:
            self._visit_safely(job, time.monotonic())

    def _visit_safely(self, job: ManagedJob, now: float) -> None:
        """One job that cannot be observed, its output file removed by hand say, keeps no other from it."""
        try:
            self._visit(job, now)
        except (OSError, MemoryError) as error:
            what = shortage.explanation(error) if shortage.is_shortage(error) else error
            self._note_trouble(job, f"cannot be observed: {what}")
        if job.output.is_gone:
            folder = to_wire(self._manager.home.job(job.id))
            self._note_trouble(job, f"its output was removed from {folder}: what it prints is lost")

    def _note_trouble(self, job: ManagedJob, text: str) -> None:
        if job.trouble != text:
            job.trouble = text
            self._manager.journal.record(job.id, datetime.now(UTC), "trouble", text)

    def _visit(self, job: ManagedJob, now: float) -> None:
        if job.progress is None:
            self._begin(job, now)
        cpu_ns, moved = self._read_clocks(job)
        has_output = self._read_sizes(job, now)
        if has_output:
            diskfull.look(self._manager, job)
        self._manager.capping.look(job)
        progress = job.progress
        assert progress is not None
        has_moved = False
        if moved or has_output or not self._has_its_members(job):
            output_bytes = job.output.stdout + job.output.stderr
            has_moved = progress.observe(now, cpu_ns, None, output_bytes, frozenset(job.run.members))
        is_first = job.last_sampled is None
        job.next_visit = self._next_visit(job, progress.still_for(now))
        if has_moved:
            self._has_moved = True
            job.diagnosis = None
        job.pipes_rest = bool(job.pipes) and self._pipes_rest(job, now)
        flows = bool(job.pipes) and not job.pipes_rest
        if moved or is_first or has_output or flows or self._needs_full_sample(job, now):
            self._sample(job, now, moved, is_first)
        elif is_settled(job):
            note_rest(job, now)
            return
        elif job.cpu_percent:
            self._cool_down(job, now)
        self.judge.judge(job, now)
        if is_to_be_ended(job):
            self._to_end.append(job)
            job.next_visit = self._ticks + 1
        note_life(job, now, job.last_cpu_seconds)
        job.past.note(
            now,
            None if job.life.state == "paused" else job.cpu_percent,
            job.memory_bytes,
            views.output_rate(job),
            tuple(stage.cpu_percent for stage in job.stages) if len(job.stages) > 1 else (),
        )
        if job.life.state == "stopping":
            self._manager.touch(job)

    def look_again(self, job: ManagedJob, now: float) -> bool:
        """Whether it has moved since the visit that is just over; its members are up to date."""
        progress = job.progress
        assert progress is not None
        cpu_ns, _ = self._read_clocks(job)
        with contextlib.suppress(OSError):  # its output file was removed by hand, say: the clocks have to do
            self._read_sizes(job, now)
        output_bytes = job.output.stdout + job.output.stderr
        has_moved = progress.observe(now, cpu_ns, None, output_bytes, frozenset(job.run.members))
        if has_moved:
            job.diagnosis = None
        return has_moved

    def _begin(self, job: ManagedJob, now: float) -> None:
        self.scan_job(job)
        self._open_outputs(job)
        job.progress = Progress(now)

    def go_on(self, job: ManagedJob, progress: Progress) -> None:
        """Go on from what was observed of a job before; its members come with the next scan."""
        try:
            self._open_outputs(job)
        except OSError:
            return  # as for a new one: the first visit tries again, and notes it
        job.progress = progress
        self._manager.capping.look(job)

    def _open_outputs(self, job: ManagedJob) -> None:
        self._follow_outputs(job)
        job.pipes = [PipeFlow(stage.number) for stage in job.stages[:-1]]
        self._followed_since[job.id] = time.monotonic()

    def _follow_outputs(self, job: ManagedJob) -> None:
        try:
            self._manager.truncations.open(job)
        except PermissionError as error:
            # A FIFO or a symlink, say, by the job's own hand: all else of it can be observed.
            self._note_trouble(job, f"its output is not followed: {error.filename}: {error.strerror}")

    def look_anew(self, job: ManagedJob) -> None:
        """Somebody removed a file of its output that we have open, or put something else in its place."""
        job.output.close()
        self._follow_outputs(job)
        job.next_visit = self._ticks + 1  # that says it

    def close_outputs(self, job: ManagedJob) -> None:
        """Every stage has ended."""
        self._manager.truncations.finish(job)
        output = job.output
        if output.newest is not None:
            with contextlib.suppress(OSError):  # nobody knows then what of its last second came first
                before = (output.stdout, *(stage.stderr_bytes for stage in job.stages))
                self._note_order(job, before, output.sizes() or before, was_shorter=False)
        output.close()

    def _read_clocks(self, job: ManagedJob) -> tuple[int, list[Member]]:
        """All CPU clocks of the tree: their sum, and who moved."""
        total = 0
        moved = []
        now = time.monotonic()
        for member in job.run.members.values():
            clock = cpu_nanoseconds(member.identity.pid)
            if clock is None:
                continue
            total += clock
            if clock != member.cpu_ns:
                member.cpu_ns, member.moved_at = clock, now
                moved.append(member)
        return total, moved

    def _read_sizes(self, job: ManagedJob, now: float) -> bool:
        """The sizes of the output files; whether anything was written."""
        output = job.output
        sizes = output.sizes()
        if not sizes:
            return False
        before = (output.stdout, *(stage.stderr_bytes for stage in job.stages))
        was_shorter = self._manager.truncations.look(job, sizes)
        # Of a file that was made shorter all that stands there now may be new.
        grown = sum(new - old if new >= old else new for new, old in zip(sizes, before, strict=True))
        has_output = was_shorter or tuple(sizes) != before
        if has_output and len(sizes) > 1:
            self._note_order(job, before, sizes, was_shorter=was_shorter)
        output.stdout, output.stderr = sizes[0], sum(sizes[1:])
        for stage, size in zip(job.stages, sizes[1:], strict=True):
            stage.stderr_bytes = size
        output.written += grown
        recent = output.recent
        if has_output:
            output.last_output = datetime.now(UTC)
        if has_output or recent:
            recent.append((now, output.written))
            while len(recent) > 2 and recent[1][0] <= now - RATE_WINDOW:
                recent.pop(0)
            if recent[0][1] == recent[-1][1] and recent[-1][0] - recent[0][0] >= RATE_WINDOW:
                recent.clear()
            self._manager.touch(job)
        return has_output

    def _note_order(
        self, job: ManagedJob, before: Sequence[int], sizes: Sequence[int], *, was_shorter: bool
    ) -> None:
        output, path = job.output, self._manager.home.order(job.id)
        if was_shorter:
            ordering.forget(path)
            output.newest = None
        else:
            output.newest = ordering.note_growth(path, output.newest, before, sizes, output.written_at)

    def _sample(self, job: ManagedJob, now: float, moved: list[Member], is_first: bool) -> None:
        """Ask psutil about what moved, and add up."""
        is_full = is_first or self._needs_full_sample(job, now)
        for member in job.run.members.values() if is_full else moved:
            member.usage = self._sampler.usage(member.identity) or member.usage
            member.cpu_seconds = self._with_children(member)
        seconds = now - (job.last_sampled or now)
        self._add_up(job, seconds)
        job.last_sampled = now
        if job.pipes:
            self._follow_pipes(job, now)
        self._manager.touch(job)

    @staticmethod
    def _needs_full_sample(job: ManagedJob, now: float) -> bool:
        """Spread by the ids: a thousand at once would keep everybody waiting for a tenth of a second."""
        return now - (job.last_sampled or 0) > IDLE_SAMPLE_SECONDS + job.id % 60

    @staticmethod
    def _with_children(member: Member) -> float:
        """CPU seconds of a process and of all the children that it has waited for."""
        stat = read_stat(member.identity.pid)
        if stat is None:
            return member.cpu_seconds
        own = member.cpu_ns / 1e9 if member.cpu_ns > 0 else stat.cpu_seconds
        return own + (stat.children_user_ticks + stat.children_system_ticks) / CLOCK_TICKS

    def _add_up(self, job: ManagedJob, seconds: float) -> None:
        for stage in job.stages:
            member = job.run.members.get(stage.handle.identity.pid) if stage.handle.identity else None
            if member is None:
                continue
            stage.usage = member.usage
            if seconds > 0.05 and stage.cpu_seconds is not None:
                used = max(0.0, member.cpu_seconds - stage.cpu_seconds)
                stage.cpu_percent = round(100 * used / seconds, 1)
            stage.cpu_seconds = member.cpu_seconds
        total = views.cpu_seconds_of(job)
        if seconds > 0.05:
            job.cpu_percent = round(100 * max(0.0, total - job.last_cpu_seconds) / seconds, 1)
        elif job.cpu_percent is None:
            started = job.life.started_now
            age = time.monotonic() - started if started is not None else 0.0
            job.cpu_percent = round(100 * total / age, 1) if age > 0.2 else 0.0
        job.last_cpu_seconds = total
        resident = [member.usage.memory_bytes for member in job.run.members.values() if member.usage]
        job.memory_bytes = sum(resident) if resident else job.memory_bytes
        if job.memory_bytes is not None:
            job.peak_memory_bytes = max(job.peak_memory_bytes or 0, job.memory_bytes)

    def _cool_down(self, job: ManagedJob, now: float) -> None:
        """Nothing used CPU since the last visit."""
        job.cpu_percent = 0.0
        for stage in job.stages:
            if stage.is_running and stage.cpu_percent:
                stage.cpu_percent = 0.0
        job.last_sampled = now
        self._manager.touch(job)

    # ---- pipes

    @staticmethod
    def _has_its_members(job: ManagedJob) -> bool:
        """Whether its processes are those of the visit before."""
        before, job.run.members_seen = job.run.members_seen, (job.run.members, len(job.run.members))
        return before is not None and before[0] is job.run.members and before[1] == len(job.run.members)

    def _pipes_rest(self, job: ManagedJob, now: float) -> bool:
        """Whether nothing moved for so long that rates are 0 and the bottleneck has settled: only a stage changes a pipe."""
        assert job.progress is not None
        since = max(job.progress.last_moved, self._followed_since.get(job.id, now))
        return now - since >= SLEEPY_AFTER

    def _follow_pipes(self, job: ManagedJob, now: float) -> None:
        flows.follow_pipes(self._manager, job, now)
        self._stage_times.follow(job)
        job.view = None

    def close_pipes(self, job: ManagedJob) -> None:
        """Every stage has ended."""
        if len(job.stages) > 1:
            flows.close_pipes(job)
