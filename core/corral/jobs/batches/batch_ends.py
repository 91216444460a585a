"""The ends of the jobs of batches, and of the batches: what is kept, what is tried again, and when a batch is given up."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable

from msgspec import Struct, structs

from corral.batch.batch_files import LETTER_OF, RETRYING, Entry, InputRecord
from corral.batch.statistics import cause_of
from corral.jobs.batch_snapshot import snapshot_of_batch
from corral.jobs.batches import joblog, kept_output
from corral.jobs.batches.stop_reports import as_one
from corral.jobs.executor import Executor
from corral.jobs.job_table import JobTable
from corral.jobs.managed_batch import ManagedBatch
from corral.jobs.managed_job import ManagedJob
from corral.jobs.snapshots import Snapshots
from corral.journal.journal import Journal
from corral.lifecycle.batch_life import BatchStop, batch_ending, halt_reason
from corral.lifecycle.outcome import OWN_FAILURE_STATUS
from corral.lifecycle.state import Ending
from corral.model.batch import BatchJobId, not_running
from corral.model.home import Home
from corral.model.job import Job
from corral.model.units import parse_signal
from corral.platform.host.daemon_log import log

Halt = Callable[[ManagedBatch], None]


class BatchEnds(Struct, eq=False):
    """Takes note of ends."""

    _home: Home
    _table: JobTable
    _journal: Journal
    _snapshots: Snapshots
    executor: Callable[[], Executor]
    note_end: Callable[[int, bool], None]
    """Tells the scheduler, and those that wait for this id, of an end; whether it has succeeded."""
    tell: Callable[[Job], None]
    """Tells the observers of ends that a batch has ended."""
    arm_timeout: Callable[[ManagedJob], None]
    halt: Halt
    """Ends what runs of a batch that is given up."""
    go_on: Halt
    """Asks the batch for further jobs."""

    def job_ended(self, job: ManagedJob) -> None:
        """The life of a job of a batch is over: for good, or until the next attempt."""
        assert isinstance(job.id, BatchJobId)
        batch, number = self._table.batches[job.id.batch], job.id.number
        job.snapshot = None
        snapshot = self._snapshots.snapshot(job)
        self._count(batch, snapshot)
        if batch.life.stop is not None and job.report is not None:
            batch.stop_reports.append(structs.replace(job.report, state=snapshot.state))
        is_again = self._is_tried_again(batch, job, snapshot)
        state = RETRYING if is_again else LETTER_OF[snapshot.state]
        record = self._record(batch, job, snapshot, is_again=is_again)
        if batch.joblog is not None:
            joblog.note_end(batch.joblog, number, snapshot)
        batch.end(number, record, state)
        self._journal.run_ended(int(job.id), len(job.stages))
        self.note_end(job.id, snapshot.state == "succeeded")
        self.executor().leftovers.look_after(job.id, is_urgent=job.spec.leftovers == "stop")
        if not is_again:
            self.note_end(not_running(batch.id, number), snapshot.state == "succeeded")
        self.settle(batch)

    def _count(self, batch: ManagedBatch, snapshot: Job) -> None:
        batch.cpu_seconds += snapshot.cpu_seconds or 0.0
        batch.peak_memory = max(batch.peak_memory, snapshot.peak_memory_bytes or 0)
        batch.stdout_bytes += snapshot.stdout_bytes
        batch.stderr_bytes += snapshot.stderr_bytes
        batch.rate.note_end(time.monotonic())
        if snapshot.state == "succeeded" and snapshot.elapsed is not None:
            was_unknown = batch.time_limit is None
            batch.durations.add(snapshot.elapsed)
            if was_unknown and batch.time_limit is not None:
                self._limit_those_that_run(batch, batch.time_limit)

    def _limit_those_that_run(self, batch: ManagedBatch, seconds: float) -> None:
        """They were started before anybody could tell how long they should take."""
        for each in batch.under_way.values():
            job = each.job
            if not job.life.is_ended:
                job.spec = structs.replace(job.spec, timeout=seconds)
                job.life = structs.replace(job.life, timeout=seconds)
                self.arm_timeout(job)

    @staticmethod
    def _is_tried_again(batch: ManagedBatch, job: ManagedJob, snapshot: Job) -> bool:
        has_failed = snapshot.state in ("failed", "timed_out") or snapshot.was_ended_as_stuck
        given = job.batch_input
        return (
            has_failed
            and batch.life.stop is None
            and job.life.start_failure is None
            and given is not None
            and given.attempt <= batch.spec.retries
        )

    def _record(self, batch: ManagedBatch, job: ManagedJob, snapshot: Job, *, is_again: bool) -> InputRecord:
        """What is kept of it; its output becomes part of the batch's, or is dropped."""
        assert isinstance(job.id, BatchJobId)
        sizes, packed, cause = self._take_output(batch, job, snapshot, is_again=is_again)
        number = 0
        if snapshot.state in ("failed", "timed_out", "lost") and not is_again:
            number = self._note_failure(batch, cause, str(job.id))
        record = batch.under_way[job.id.number].record._replace(
            started=0.0 if snapshot.started is None else snapshot.started.timestamp(),
            ended=time.time() if snapshot.ended is None else snapshot.ended.timestamp(),
            exit_status=-1 if snapshot.exit_status is None else snapshot.exit_status,
            signal=int(parse_signal(snapshot.signal)) if snapshot.signal else 0,
            cause=number,
            cpu_seconds=snapshot.cpu_seconds or 0.0,
            peak_memory=snapshot.peak_memory_bytes or 0,
        )
        entry = _entry_of(job, snapshot, sizes, is_packed=packed is not None)
        if entry == Entry():
            return record._replace(entry_at=0, entry_bytes=0)
        try:
            at, size = batch.files.add_entry(entry, packed or b"")
        except OSError as error:
            log(f"job {job.id}: what it printed cannot be kept: {error.strerror}")
            return record._replace(entry_at=0, entry_bytes=0)
        return record._replace(entry_at=at, entry_bytes=size)

    def _take_output(
        self, batch: ManagedBatch, job: ManagedJob, snapshot: Job, *, is_again: bool
    ) -> tuple[tuple[int, ...], bytes | None, str]:
        """The sizes of its streams, what they hold where that is kept in the batch's file, and why it failed."""
        stages = len(job.stages)
        taken = kept_output.take_in(self._home, job.id, stages)
        sizes, packed = taken.sizes, taken.content
        if taken.is_free:
            batch.spare_folders.append(self._home.job(job.id))
        elif is_again and packed is None:
            kept_output.drop(self._home, job.id, stages)
        if is_again:
            return (), b"", ""
        if snapshot.started is None and job.life.start_failure is not None:
            return (), b"", snapshot.reason or "could not start"
        cause = ""
        if snapshot.state in ("failed", "timed_out", "lost"):
            decisive = next((s.number for s in reversed(snapshot.stages) if s.state == "failed"), stages)
            cause = cause_of(
                _what(snapshot), kept_output.last_line(self._home, job.id, decisive, packed, sizes)
            )
        return (sizes if any(sizes) else ()), packed, cause

    def _note_failure(self, batch: ManagedBatch, cause: str, job_id: str) -> int:
        known = len(batch.failures.causes)
        number = batch.failures.number_of(cause)
        if number > known:
            try:
                batch.files.add_cause(cause)
            except OSError as error:
                log(f"batch {batch.id}: a cause of failures cannot be kept: {error.strerror}")
        batch.failures.note(number, job_id)
        return number

    def cannot_begin(self, batch: ManagedBatch, number: int, message: str) -> None:
        """Its input does not fit into the command: it has failed."""
        cause = self._note_failure(batch, message, f"{batch.id}.{number}")
        at, size = batch.files.add_entry(Entry(reason=message))
        record = batch.files.record(number)._replace(
            ended=time.time(), exit_status=OWN_FAILURE_STATUS, cause=cause, entry_at=at, entry_bytes=size
        )
        batch.fail_unbegun(number, record)
        self.note_end(not_running(batch.id, number), False)

    def note_skipped(self, batch: ManagedBatch, number: int) -> None:
        """That job is never started."""
        self.note_end(not_running(batch.id, number), False)
        self.settle(batch)

    # ---- of the whole

    def settle(self, batch: ManagedBatch) -> None:
        """After an end: the batch is given up, goes on, or is over."""
        spec = batch.spec.halt
        if batch.life.stop is None:
            reason = halt_reason(spec, batch.failed_count, batch.ended_count)
            if reason is not None:
                self.give_up(batch, BatchStop(reason, is_halt=True))
                if spec.when == "now":
                    self.halt(batch)
        if batch.is_over:
            self.end(batch)
        else:
            self._table.note_changed(batch.id)
            self.go_on(batch)

    def give_up(self, batch: ManagedBatch, stop: BatchStop) -> None:
        """Start no more of it."""
        batch.life.stop = stop
        if batch.life.state != "paused":
            batch.life.state = "stopping" if batch.under_way and not stop.is_halt else batch.life.state
        batch.skip_rest()
        self._journal.batch_changed(batch.id, batch.life)
        self._table.note_changed(batch.id)

    def end(self, batch: ManagedBatch, ending: Ending | None = None) -> None:
        """Nothing of it is under way any more."""
        if batch.id not in self._table.batches:
            return
        if ending is None:
            done = batch.ends.get(LETTER_OF["succeeded"], 0)
            ending = batch_ending(batch.life, batch.failed_count, batch.total, batch.total - done)
        snapshot = snapshot_of_batch(batch, None, self.executor().observe, ending)
        report = as_one(batch.id, snapshot.state, batch.stop_reports) if batch.stop_reports else None
        self._journal.job_ended(snapshot, report)
        self._table.remember(snapshot)
        self._table.remove_batch(batch)
        if batch.timer is not None:
            batch.timer.cancel()
        if batch.joblog is not None:
            os.close(batch.joblog)
        batch.files.close()
        asyncio.get_running_loop().run_in_executor(None, kept_output.delete_empty, batch.spare_folders)
        self._table.note_changed(batch.id)
        self.tell(snapshot)


def _what(snapshot: Job) -> str:
    """The first part of a cause."""
    if snapshot.state == "timed_out":
        return "timed out"
    if snapshot.state == "lost":
        return "lost"
    if snapshot.signal:
        return f"signal {snapshot.signal}"
    return f"exit {snapshot.exit_status}"


def _entry_of(job: ManagedJob, snapshot: Job, sizes: tuple[int, ...], *, is_packed: bool) -> Entry:
    given = job.batch_input
    has_succeeded = snapshot.state == "succeeded"
    dropped = (snapshot.stdout_dropped_bytes, *(stage.stderr_dropped_bytes for stage in snapshot.stages))
    several = len(snapshot.stages) > 1 and not has_succeeded
    return Entry(
        reason=snapshot.reason,
        stages=tuple((stage.exit_status, stage.signal) for stage in snapshot.stages) if several else (),
        sizes=sizes,
        is_packed=is_packed and bool(sizes),
        dropped=dropped if any(dropped) else (),
        attempts=() if given is None else given.attempts,
    )
