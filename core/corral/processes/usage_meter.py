"""CPU time and memory of jobs: what each process has used, added up by stage and by job."""

from __future__ import annotations

import time
from collections.abc import Iterable

from corral.jobs.executor import Observation
from corral.jobs.managed_job import ManagedJob
from corral.measure.history import Lifetime
from corral.measure.sampler import ProcessSampler
from corral.platform.host.procfs import CLOCK_TICKS, read_stat
from corral.platform.process.cpu_clock import cpu_nanoseconds
from corral.processes.local_run import Member, is_running, leader_of, leaders_of, run_of, running_stages

IDLE_SAMPLE_SECONDS = 180.0
"""How often a process that has not run is sampled all the same: its memory may have been reclaimed."""
_SHORTEST_SECONDS = 0.05
"""Between two samples, to compute a rate."""
_SHORTEST_AGE = 0.2


def read_clocks(job: ManagedJob) -> tuple[int, list[Member]]:
    """All CPU clocks of the tree: their sum in nanoseconds, and the processes that have run."""
    total = 0
    moved = []
    now = time.monotonic()
    for member in run_of(job).members.values():
        clock = cpu_nanoseconds(member.identity.pid)
        if clock is None:
            continue
        total += clock
        if clock != member.cpu_ns:
            member.cpu_ns, member.moved_at = clock, now
            moved.append(member)
    return total, moved


def is_due(job: ManagedJob, now: float) -> bool:
    """Whether all of its processes are to be sampled. Spread by the ids: a thousand at once take a tenth of a second."""
    return now - (job.history.last_sampled or 0) > IDLE_SAMPLE_SECONDS + job.id % 60


def sample(sampler: ProcessSampler, job: ManagedJob, now: float, moved: Iterable[Member]) -> None:
    """Ask the system about what moved, or about all where that is due, and add up."""
    is_full = job.history.last_sampled is None or is_due(job, now)
    for member in run_of(job).members.values() if is_full else moved:
        member.usage = sampler.usage(member.identity) or member.usage
        member.cpu_seconds = _with_children(member)
    _add_up(job, now - (job.history.last_sampled or now))
    job.history.last_sampled = now


def note_idle(job: ManagedJob, now: float) -> None:
    """Nothing used CPU since the last visit."""
    job.history.cpu_percent = 0.0
    for stage in job.stages:
        if is_running(stage) and stage.history.cpu_percent:
            stage.history.cpu_percent = 0.0
    job.history.last_sampled = now


def _add_up(job: ManagedJob, seconds: float) -> None:
    run = run_of(job)
    for stage, leader in leaders_of(job.stages):
        member = run.members.get(leader.pid)
        if member is None:
            continue
        stage.history.usage = member.usage
        if seconds > _SHORTEST_SECONDS and stage.history.cpu_seconds is not None:
            used = max(0.0, member.cpu_seconds - stage.history.cpu_seconds)
            stage.history.cpu_percent = round(100 * used / seconds, 1)
        stage.history.cpu_seconds = member.cpu_seconds
    total = cpu_seconds_of(job)
    if seconds > _SHORTEST_SECONDS:
        job.history.cpu_percent = round(100 * max(0.0, total - job.history.last_cpu_seconds) / seconds, 1)
    elif job.history.cpu_percent is None:
        started = job.life.started_now
        age = time.monotonic() - started if started is not None else 0.0
        job.history.cpu_percent = round(100 * total / age, 1) if age > _SHORTEST_AGE else 0.0
    job.history.last_cpu_seconds = total
    resident = [member.usage.memory_bytes for member in run.members.values() if member.usage]
    job.history.memory_bytes = sum(resident) if resident else job.history.memory_bytes
    if job.history.memory_bytes is not None:
        job.history.peak_memory_bytes = max(job.history.peak_memory_bytes or 0, job.history.memory_bytes)


def _with_children(member: Member) -> float:
    """CPU seconds of a process and of all the children that it has waited for."""
    stat = read_stat(member.identity.pid)
    if stat is None:
        return member.cpu_seconds
    own = member.cpu_ns / 1e9 if member.cpu_ns > 0 else stat.cpu_seconds
    return own + (stat.children_user_ticks + stat.children_system_ticks) / CLOCK_TICKS


def note_history(job: ManagedJob, now: float) -> None:
    """Add what was measured at this visit to the charts of the job."""
    note_lifetime(job, now)
    job.history.recent.note(
        now,
        None if job.life.state == "paused" else job.history.cpu_percent,
        job.history.memory_bytes,
        output_rate_of(job),
        tuple(stage.history.cpu_percent for stage in job.stages) if len(job.stages) > 1 else (),
    )


def note_lifetime(job: ManagedJob, now: float) -> None:
    """Add what a job has used up to `now` (monotonic seconds)."""
    history, began = job.history, job.life.started_now
    if history.lifetime is None:
        if began is None:
            return
        began = min(now, began)
        history.lifetime = Lifetime(began, until=began)
    lifetime = history.lifetime
    if job.life.state == "paused":
        lifetime.stop_measuring()
        return
    if lifetime.left_at is not None:
        if history.progress is not None and history.progress.last_moved <= lifetime.left_at:
            lifetime.bridge(history.last_cpu_seconds, history.memory_bytes)
        lifetime.left_at = None
    lifetime.note(now, history.last_cpu_seconds, history.memory_bytes)


def cpu_seconds_of(job: ManagedJob) -> float:
    """CPU seconds of the whole tree, ended children included."""
    leaders = {leader.pid for _, leader in leaders_of(running_stages(job))}
    total = job.history.reaped_cpu_seconds + sum(stage.history.cpu_seconds or 0.0 for stage in job.stages)
    return total + sum(
        member.cpu_seconds for pid, member in run_of(job).members.items() if pid not in leaders
    )


def output_rate_of(job: ManagedJob) -> float | None:
    """Bytes per second of stdout and stderr over the last 5 s; None while nobody looks."""
    return job.output.rate() if len(job.output.recent) > 1 or run_of(job).files.paths else None


def observation_of(job: ManagedJob) -> Observation:
    """What the snapshot of a job has of its processes."""
    if job.held is None:
        return Observation((None,) * len(job.stages), 0, 0.0, None)
    return Observation(
        pids=tuple(None if leader is None else leader.pid for leader in map(leader_of, job.stages)),
        processes=max(len(run_of(job).members), len(running_stages(job))),
        cpu_seconds=cpu_seconds_of(job),
        output_rate=output_rate_of(job),
    )
