"""Stopping batches: what runs of them is ended as any job is, and the rest never starts."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

from msgspec import Struct, structs

from corral.commands.stop import StopCommands
from corral.jobs.batches.batches import Batches
from corral.jobs.batches.stop_reports import as_one
from corral.jobs.job_table import JobTable
from corral.jobs.managed_batch import ManagedBatch
from corral.jobs.managed_job import ManagedJob
from corral.jobs.snapshots import Snapshots
from corral.journal.journal import Journal
from corral.lifecycle.outcome import NEVER_STARTED
from corral.lifecycle.state import StopCause
from corral.model.batch import BatchJobId
from corral.model.reports import StopReport


class BatchStops(Struct, eq=False):
    """Stops batches, and jobs of batches that have not started."""

    _table: JobTable
    _journal: Journal
    _snapshots: Snapshots
    _batches: Batches
    _stops: StopCommands

    def end_what_runs(
        self,
        batch: ManagedBatch,
        by: str,
        *,
        signal: str | None = None,
        grace: float | None = None,
        cause: StopCause = "user",
    ) -> None:
        """Ask for the end of each of its jobs that is under way."""
        for each in list(batch.under_way.values()):
            self._stops.request(each.job.id, by=by, signal=signal, grace=grace, cause=cause)

    def begin(
        self,
        batch_id: int,
        by: str,
        *,
        signal: str | None = None,
        grace: float | None = None,
        cause: StopCause = "user",
        asked_before: bool = False,
    ) -> list[ManagedJob]:
        """Begin to end a batch, and what it has left alive. The jobs that are being ended.

        `asked_before`: of those that are being stopped already no grace is skipped.
        """
        batch = self._table.batches.get(batch_id)
        jobs = self._in_hand(batch_id)
        if batch is not None:
            self._batches.stop(batch, f"stopped {by}")
        for job in jobs:
            goes_on = job.life.state == "stopping" or job.life.sweeping
            if not (goes_on and asked_before and grace != 0):
                self._stops.request(job.id, by=by, signal=signal, grace=grace, cause=cause)
        if batch is not None:
            self._batches.ends.settle(batch)
        return jobs

    def _in_hand(self, batch_id: int) -> list[ManagedJob]:
        return [
            job
            for job in self._table.started.values()
            if isinstance(job.id, BatchJobId) and job.id.batch == batch_id
        ]

    def left_alive(self, batch_id: int) -> bool:
        """Whether its jobs have left something alive."""
        return any(job.leftovers for job in self._in_hand(batch_id))

    def is_batch(self, job_id: int) -> bool:
        """Whether it is one, or was."""
        if job_id in self._table.batches:
            return True
        if job_id in self._table.queued or job_id in self._table.started:
            return False
        return self._snapshots.of(job_id).kind == "batch"

    async def report(self, batch_id: int, jobs: Sequence[ManagedJob], *, wait: bool) -> StopReport:
        """What became of these jobs, as one report on the batch."""
        reports = await asyncio.gather(*(self._stops.report_on_held(job, wait=wait) for job in jobs))
        state = self._snapshots.of(batch_id).state
        kept = self._journal.stop_report(batch_id) if batch_id not in self._table.batches else None
        if kept is not None and not any(report.survivors for report in reports):
            return structs.replace(kept, state=state)
        return as_one(batch_id, state, reports)

    def skip(self, job_id: BatchJobId) -> StopReport | None:
        """Never start that job; None where it has begun or ended already."""
        batch = self._table.batches.get(job_id.batch)
        if batch is None or not batch.skip(job_id.number):
            return None
        self._batches.ends.note_skipped(batch, job_id.number)
        return StopReport(
            id=str(job_id), state="stopped", seconds=0.0, note=NEVER_STARTED, looked_at=datetime.now(UTC)
        )
