"""Snapshots of jobs: from handles and observations to a frozen value."""

from __future__ import annotations

from datetime import timedelta

from msgspec import structs

from corral.jobs.executor import Observation, StopSequence
from corral.jobs.managed_job import ManagedJob, ManagedStage
from corral.journal.rows import accepted_job
from corral.lifecycle.outcome import StageOutcome, view_stages
from corral.model.batch import BatchJobInput
from corral.model.job import Job, Stage, Stopping


def snapshot_of(
    job: ManagedJob, now: float, waiting_for: str | None, seen: Observation, stop: StopSequence | None
) -> Job:
    """The job as it is at `now` (monotonic seconds)."""
    life = job.life
    ending = life.ending
    accepted = accepted_job(job.id, job.spec, job.surroundings.cwd, job.created, job.shown)
    snapshot = structs.replace(
        accepted,
        state=life.state,
        started=life.started,
        ended=life.ended,
        elapsed=_rounded(life.elapsed(now)),
        exit_status=ending.exit_status if ending else None,
        signal=ending.signal if ending else None,
        reason=ending.reason if ending else None,
        cpu_seconds=_rounded(seen.cpu_seconds) if life.started else None,
        peak_memory_bytes=job.history.peak_memory_bytes,
        leftovers=job.leftovers,
        in_doubt=job.in_doubt,
        stdout_bytes=job.output.stdout,
        stderr_bytes=sum(stage.history.stderr_bytes for stage in job.stages),
        stdout_dropped_bytes=job.output.stdout_dropped,
        stderr_dropped_bytes=sum(stage.history.stderr_dropped for stage in job.stages),
        last_output=job.output.last_output,
        stages=tuple(
            _stage(job, *each) for each in zip(job.stages, view_stages(life), seen.pids, strict=True)
        ),
        pipes=job.pipe_views or accepted.pipes,
        paused_since=life.paused_since,
        hidden=job.hidden,
        terminal_size=job.terminal_size,
        disk_full=job.history.disk_full,
        stdout_truncated_bytes=job.history.streams[0].lost if job.history.streams else 0,
        stderr_truncated_bytes=sum(stream.lost for stream in job.history.streams[1:]),
        output_truncated=job.history.truncated,
    )
    if job.batch_input is not None:
        snapshot = _with_input(snapshot, job, job.batch_input)
    return snapshot if life.is_ended else _with_present(snapshot, job, now, waiting_for, seen, stop)


def _with_input(snapshot: Job, job: ManagedJob, given: BatchJobInput) -> Job:
    return structs.replace(
        snapshot,
        batch=snapshot.id.partition(".")[0],
        input=given.text,
        retries=given.retries,
        retry_delay=given.retry_delay,
        attempt=given.attempt,
        attempts=given.attempts,
    )


def _with_present(
    snapshot: Job,
    job: ManagedJob,
    now: float,
    waiting_for: str | None,
    seen: Observation,
    stop: StopSequence | None,
) -> Job:
    """The snapshot with what only a job has that has not ended."""
    life, history = job.life, job.history
    is_running = life.state == "running"
    return structs.replace(
        snapshot,
        health=history.health if is_running else None,
        health_since=history.health_since if is_running else None,
        bottleneck=job.bottleneck if is_running else None,
        summary=job.diagnosis.summary if job.diagnosis and is_running else None,
        cpu_percent=history.cpu_percent,
        memory_bytes=history.memory_bytes,
        processes=seen.processes,
        output_bytes_per_second=seen.output_rate,
        full_screen=job.is_full_screen,
        waiting_for=waiting_for if life.state == "queued" else None,
        stopping=_stopping(job, stop, now) if life.state == "stopping" else None,
    )


def _stage(job: ManagedJob, stage: ManagedStage, seen: StageOutcome, pid: int | None) -> Stage:
    lived = job.life.stages[stage.number - 1]
    usage = stage.history.usage
    return Stage(
        number=stage.number,
        name=stage.name,
        argv=job.shown.argvs[stage.number - 1],
        pid=pid,
        state=seen.state,
        started=lived.started,
        ended=lived.end.at if lived.end else None,
        exit_status=lived.end.exit_status if lived.end else None,
        signal=lived.end.signal if lived.end else None,
        reason=seen.reason,
        cpu_percent=stage.history.cpu_percent if lived.is_running else None,
        cpu_seconds=_rounded(stage.history.cpu_seconds),
        memory_bytes=usage.memory_bytes if usage and lived.is_running else None,
        read_bytes=usage.read_bytes if usage else None,
        written_bytes=usage.written_bytes if usage else None,
        stderr_bytes=stage.history.stderr_bytes,
        stderr_dropped_bytes=stage.history.stderr_dropped,
        stderr_truncated_bytes=job.history.streams[stage.number].lost if job.history.streams else 0,
        waits=stage.history.does if lived.is_running else None,
        time=stage.history.time if lived.is_running else None,
    )


def _stopping(job: ManagedJob, stop: StopSequence | None, now: float) -> Stopping | None:
    life = job.life
    if stop is None or life.stop is None:
        return None
    since = life.stop.since
    return Stopping(
        since=since,
        signal=life.stop.signal or stop.signal,
        total=stop.total,
        left=stop.left,
        kill_at=None if stop.is_killing else since + timedelta(seconds=stop.grace),
    )


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
