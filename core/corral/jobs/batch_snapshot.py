"""Snapshots of batches: one job to those that list them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

from msgspec import structs

from corral.jobs.executor import Observation
from corral.jobs.managed_batch import ManagedBatch
from corral.jobs.managed_job import ManagedJob
from corral.journal.rows import accepted_batch
from corral.lifecycle.state import Ending
from corral.model.job import Job

_SHOWN_STRAGGLERS = 20
_URGENCY = ("stuck", "active", "waiting")


def snapshot_of_batch(
    batch: ManagedBatch,
    waiting_for: str | None,
    observe: Callable[[ManagedJob], Observation],
    ending: Ending | None = None,
) -> Job:
    """The batch as it is now; `ending` where it ends."""
    now, at = time.monotonic(), datetime.now(UTC)
    jobs = [each.job for each in batch.under_way.values()]
    seen = [observe(job) for job in jobs]
    cpu = batch.cpu_seconds + sum(each.cpu_seconds for each in seen)
    started = batch.life.started
    snapshot = structs.replace(
        accepted_batch(batch.id, batch.spec, batch.surroundings.cwd, batch.created),
        state=batch.life.state if ending is None else ending.state,
        started=started,
        elapsed=None if started is None else round(max(0.0, (at - started).total_seconds()), 3),
        cpu_seconds=None if started is None else round(cpu, 3),
        peak_memory_bytes=max(batch.peak_memory, *(job.history.peak_memory_bytes or 0 for job in jobs), 0)
        or None,
        stdout_bytes=batch.stdout_bytes + sum(job.output.stdout for job in jobs),
        stderr_bytes=batch.stderr_bytes
        + sum(stage.history.stderr_bytes for job in jobs for stage in job.stages),
        last_output=max((job.output.last_output for job in jobs if job.output.last_output), default=None),
        hidden=batch.hidden,
        batch_progress=batch.progress(now),
        failures=batch.failures.groups(),
    )
    if ending is not None:
        return structs.replace(
            snapshot, ended=at, exit_status=ending.exit_status, signal=ending.signal, reason=ending.reason
        )
    most_urgent = _most_urgent(jobs) if batch.life.state == "running" else None
    return structs.replace(
        snapshot,
        health=None if most_urgent is None else most_urgent.history.health,
        health_since=None if most_urgent is None else most_urgent.history.health_since,
        summary=_summary(most_urgent),
        cpu_percent=_sum(job.history.cpu_percent for job in jobs),
        memory_bytes=_sum(job.history.memory_bytes for job in jobs),
        processes=sum(each.processes for each in seen),
        output_bytes_per_second=_sum(each.output_rate for each in seen),
        waiting_for=waiting_for,
        stragglers=tuple(str(job.id) for job in batch.stragglers(now)[:_SHOWN_STRAGGLERS]),
    )


def _most_urgent(jobs: list[ManagedJob]) -> ManagedJob | None:
    """One that is stuck, since a batch waits for its last job; else one that is active, else any."""
    known = [job for job in jobs if job.history.health is not None]
    return min(known, key=lambda job: _URGENCY.index(job.history.health or ""), default=None)


def _summary(job: ManagedJob | None) -> str | None:
    if job is None or job.history.health != "stuck" or job.diagnosis is None:
        return None
    return f"{job.id}: {job.diagnosis.summary}"


def _sum(values: Iterable[float | None]) -> Any:
    """None where none is known."""
    known = [value for value in values if value is not None]
    return sum(known) if known else None
