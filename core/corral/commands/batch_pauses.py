"""Pausing and resuming batches, and signals to all that runs of one."""

from __future__ import annotations

from contextlib import suppress

from msgspec import Struct

from corral.commands.signal import SignalCommands
from corral.jobs.batches.batches import Batches
from corral.jobs.job_table import JobTable
from corral.journal.journal import Journal
from corral.model.errors import NotSoError


class BatchPauses(Struct, eq=False):
    """Pauses, resumes and signals batches."""

    _table: JobTable
    _journal: Journal
    _batches: Batches
    _signals: SignalCommands

    def pause(self, batch_id: int) -> str:
        """Start no more, and suspend what runs; what was done, in a few words. Raises NotSoError."""
        batch = self._batches.running(batch_id)
        if batch.life.state not in ("queued", "running"):
            raise NotSoError(f"batch {batch_id} cannot be paused: it is {batch.life.state}")
        batch.life.state = "paused"
        self._journal.batch_changed(batch_id, batch.life)
        paused = 0
        for each in list(batch.under_way.values()):
            with suppress(NotSoError):  # it is being started, or has just ended
                self._signals.pause(each.job.id)
                paused += 1
        self._table.note_changed(batch_id)
        return f"batch {batch_id} is paused, with {paused} of its jobs"

    def resume(self, batch_id: int) -> str:
        """Go on. Raises NotSoError."""
        batch = self._batches.running(batch_id)
        if batch.life.state != "paused":
            raise NotSoError(f"batch {batch_id} is not paused: it is {batch.life.state}")
        batch.life.state = "queued" if batch.life.started is None else "running"
        self._journal.batch_changed(batch_id, batch.life)
        for each in list(batch.under_way.values()):
            if each.job.life.state == "paused":
                self._signals.resume(each.job.id)
        self._batches.ends.settle(batch)
        return f"batch {batch_id} goes on"

    def signal(self, batch_id: int, signal: str, *, tree: bool) -> str:
        """Send a signal to each job that runs of it. Raises NotSoError."""
        batch = self._batches.running(batch_id)
        sent = 0
        for each in list(batch.under_way.values()):
            with suppress(NotSoError):
                self._signals.signal_job(each.job.id, signal, tree=tree)
                sent += 1
        if not sent:
            raise NotSoError(f"batch {batch_id}: nothing of it runs")
        return f"{signal} sent to {sent} jobs of batch {batch_id}"
