"""What clients ask about batches and their jobs: what holds a batch up, and all of their details."""

from __future__ import annotations

import asyncio
import heapq
import time
from collections.abc import Callable

from msgspec import Struct, structs

from corral.batch.batch_files import BatchFiles, packed_streams
from corral.diagnosis.diagnose import diagnose
from corral.jobs.batches.batches import Batches
from corral.jobs.job_table import JobTable
from corral.jobs.managed_batch import ManagedBatch
from corral.jobs.snapshots import Snapshots
from corral.journal.journal import Journal
from corral.lifecycle.outcome import all_events
from corral.model.batch import BatchJobId
from corral.model.job import Job
from corral.model.reports import Advice, Detail, Diagnosis
from corral.model.text import one_line
from corral.model.units import format_duration

_MOST_STRAGGLERS = 5
"""That are diagnosed: each takes a look at all that it waits for."""
_SLOWEST = 3
_LONGEST_LINE = 200


class BatchExplanation(Struct, eq=False):
    """Answers what clients ask about batches."""

    _table: JobTable
    _journal: Journal
    _snapshots: Snapshots
    _batches: Batches
    why_job: Callable[[int], Diagnosis]
    """Of a job that runs."""

    # ---- of a batch

    def why(self, batch_id: int) -> Diagnosis:
        """What holds a batch up, or how it ended."""
        batch = self._table.batches.get(batch_id)
        snapshot = self._snapshots.of(batch_id)
        if batch is None:
            return self._of_ended(snapshot)
        late = [self.why_job(job.id) for job in batch.stragglers(time.monotonic())[:_MOST_STRAGGLERS]]
        stuck = None if late else self._stuck(batch)
        late = late if stuck is None else [stuck]
        return Diagnosis(
            id=snapshot.id,
            health=snapshot.health,
            since=snapshot.health_since,
            summary=self._summary(batch, snapshot, late),
            stragglers=tuple(late),
            advice=_advice(snapshot, late),
        )

    def _stuck(self, batch: ManagedBatch) -> Diagnosis | None:
        """A job that is stuck holds it up even where no median says how long it should take."""
        stuck = (each.job for each in batch.under_way.values() if each.job.history.health == "stuck")
        job = next(stuck, None)
        return None if job is None else self.why_job(job.id)

    def _summary(self, batch: ManagedBatch, snapshot: Job, late: list[Diagnosis]) -> str:
        if batch.life.state == "queued":
            return f"queued: {snapshot.waiting_for or 'its turn'}"
        if batch.life.state in ("paused", "stopping"):
            return f"{batch.life.state}: {len(batch.under_way)} of its jobs are under way"
        if late:
            others = (
                f", and {len(snapshot.stragglers) - 1} more run long" if len(snapshot.stragglers) > 1 else ""
            )
            return f"{self._how_late(batch, late[0])}: {late[0].summary}{others}"
        if batch.held_back is not None:
            return f"starts none for now: {batch.held_back}"
        if not batch.under_way and batch.retries:
            at, number = min(batch.retries)
            wait = format_duration(round(max(0.0, at - time.time()), 1))
            attempt = batch.files.record(number).attempt + 1
            return f"{batch.id}.{number} is tried again in {wait} (try {attempt} of {batch.spec.retries + 1})"
        if not batch.under_way and not batch.life.has_all_inputs:
            return "waits for further inputs"
        return _pace(snapshot)

    def _how_late(self, batch: ManagedBatch, found: Diagnosis) -> str:
        number = int(found.id.rpartition(".")[2])
        age, median = (
            batch.under_way[number].job.life.elapsed(time.monotonic()) or 0.0,
            batch.durations.median,
        )
        ran = f"{found.id} has run for {format_duration(round(age, 1))}"
        return ran if not median else f"{ran}, {age / median:.0f} times the median"

    def _of_ended(self, snapshot: Job) -> Diagnosis:
        found = diagnose(snapshot)
        told = [
            f"{group.count} times {group.cause} ({', '.join(group.ids)}{', …' if group.count > len(group.ids) else ''})"
            for group in snapshot.failures
        ]
        advice = found.advice
        if told:
            again = Advice("run again what did not succeed", f"corral restart --failed {snapshot.id}")
            advice = (again, *advice)
        return structs.replace(found, ended=snapshot.ended, evidence=tuple(told), advice=advice)

    async def detail(self, batch_id: int) -> Detail:
        """All of one batch."""
        found = self._journal.detail(batch_id)
        snapshot = self._snapshots.of(batch_id)
        _, surroundings = self._batches.origin(batch_id)
        files = self._batches.files(batch_id)
        try:
            slowest = await asyncio.to_thread(_slowest, files)
        finally:
            files.close()
        return structs.replace(
            found,
            job=snapshot,
            events=all_events(snapshot, self._journal.events(batch_id)),
            environment=surroundings.environment,
            slowest=tuple((f"{batch_id}.{number}", seconds) for number, seconds in slowest),
        )

    # ---- of one of its jobs

    def why_stored(self, job_id: BatchJobId) -> Diagnosis:
        """Of a job that has ended, or has not begun."""
        snapshot = self._snapshots.of(job_id)
        found = diagnose(snapshot)
        if not snapshot.is_ended:
            return found
        words = self._last_words(job_id, snapshot)
        if snapshot.state != "succeeded" and words:
            found = structs.replace(found, summary=f"{found.summary}; it said: {words}")
        return structs.replace(found, ended=snapshot.ended)

    def _last_words(self, job_id: BatchJobId, snapshot: Job) -> str:
        files = self._batches.files(job_id.batch)
        try:
            entry, output = files.entry(files.record(job_id.number))
        finally:
            files.close()
        streams = packed_streams(entry, output) if entry.is_packed else []
        failed = next((stage.number for stage in reversed(snapshot.stages) if stage.state == "failed"), 1)
        said = streams[failed].strip().splitlines() if failed < len(streams) else []
        return one_line(said[-1])[:_LONGEST_LINE] if said else ""

    def detail_of_job(self, job_id: BatchJobId) -> Detail:
        """All of one of its jobs, whether it has begun or not."""
        snapshot = self._snapshots.fresh(job_id, time.monotonic())
        spec, surroundings = self._batches.origin_of_job(job_id)
        if snapshot.cut:
            snapshot = structs.replace(snapshot, command=spec.command, cut=False)
        job = self._table.started.get(job_id)
        return Detail(
            job=snapshot,
            events=all_events(snapshot, self._journal.events(job_id)),
            stop=None if job is None else job.report,
            environment=surroundings.environment,
        )


def _slowest(files: BatchFiles) -> list[tuple[int, float]]:
    lasted = (
        (number, round(record.ended - record.started, 3))
        for number, record in enumerate(files.records(), 1)
        if record.ended > record.started > 0
    )
    return heapq.nlargest(_SLOWEST, lasted, key=lambda each: each[1])


def _pace(snapshot: Job) -> str:
    progress = snapshot.batch_progress
    assert progress is not None
    total = progress.total
    done = progress.succeeded + progress.failed + progress.stopped + progress.skipped
    of_all = f"{done} done so far" if total is None else f"{done} of {total} done"
    left = progress.seconds_left
    rest = "" if left is None else f", {format_duration(float(round(left)))} left"
    return f"nothing holds it up: {progress.running} run, {of_all}{rest}"


def _advice(snapshot: Job, late: list[Diagnosis]) -> tuple[Advice, ...]:
    if snapshot.state == "paused":
        return (Advice("let it go on", f"corral resume {snapshot.id}"),)
    if late:
        return (Advice("end that one, the batch goes on", f"corral stop {late[0].id}"), *late[0].advice)
    return ()
