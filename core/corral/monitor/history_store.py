"""What the journal keeps of the history of jobs: for the next daemon while they run, and beyond their end."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from corral.jobs.job_table import JobTable
from corral.jobs.managed_job import ManagedJob
from corral.journal.history_rows import HistoryRow, shortened
from corral.journal.journal import Journal
from corral.lifecycle.state import StopCause
from corral.measure.history import History, Lifetime, decode, encode
from corral.measure.stuck_rule import MOVES_FOR, Progress
from corral.model.history import LifePast
from corral.model.job import Job
from corral.model.reports import Story
from corral.monitor.last_stacks import LastStacks
from corral.processes.usage_meter import cpu_seconds_of

KEEP_TICKS = 10
"""Ticks between two times that this is written, for jobs of which it has changed."""
KEEP_SECONDS = 10.0
"""A running job's lifetime is written at most so often, and at most once a cell of it."""
WORTH_KEEPING_SECONDS = 3.0
"""Of a shorter life the mean and the peak tell all that a chart would."""
_WORTH_KEEPING = 1.02
"""How much a peak has to grow to be written again."""


class HistoryStore(Struct, eq=False):
    """Writes histories to the journal, and reads them again."""

    _table: JobTable
    _journal: Journal
    _last_stacks: LastStacks
    _snapshot: Callable[[int], Job]
    """Of any job. Raises UnknownJobError."""

    # ---- of running jobs, now and then

    def keep_all(self, *, is_last: bool = False) -> None:
        """Note what has changed, to be committed with the rest. `is_last`: this daemon looks no more."""
        now = time.monotonic()
        for job in self._table.started.values():
            progress = job.history.progress
            if progress is None or job.life.is_ended or (not is_last and _is_kept(job, progress)):
                continue
            self._keep_now_and_then(job, is_last=is_last)
            self._keep_usage(job, progress, now)

    def _keep_usage(self, job: ManagedJob, progress: Progress, now: float) -> None:
        """What a next daemon could not find out. It reads this as a `History`."""
        history, kept = job.history, job.persisted
        rests = progress.still_for(now) >= MOVES_FOR and job.life.state == "running"
        kept.rests_since = progress.last_moved if rests and progress.pids is not None else None
        peak, before = history.peak_memory_bytes, kept.peak_memory_bytes
        if before is None or (peak or 0) >= before * _WORTH_KEEPING:
            kept.peak_memory_bytes = peak
        row = encode(
            {
                "peak_memory_bytes": kept.peak_memory_bytes,
                "reaped_cpu_seconds": round(history.reaped_cpu_seconds, 3),
                "still": None if kept.rests_since is None else progress,
                "streams": [
                    replace(stream, pieces=[], has_tripwire=stream.has_tripwire is True)
                    for stream in history.streams
                ],
                "truncated": history.truncated,
            }
        )
        if row != kept.usage:
            kept.usage = row
            self._journal.keep_usage(job.id, row)

    def _keep_now_and_then(self, job: ManagedJob, *, is_last: bool = False) -> None:
        """The rest, where there is enough to tell that is new; with `is_last`, where there is anything."""
        kept, lifetime = job.persisted, job.history.lifetime
        if not kept.lacks_diagnosis:
            if lifetime is None or not lifetime.has_moved_since(kept.until):
                return
            if not is_last and lifetime.looked_at - kept.until < max(KEEP_SECONDS, lifetime.seconds):
                return
        self.keep(job)

    def keep(self, job: ManagedJob) -> None:
        """Note the lifetime and the last diagnosis as they are now, to be committed with the rest."""
        history, kept, began = job.history, job.persisted, job.life.started_now
        lifetime, age = history.lifetime, None
        if lifetime is not None and began is not None:
            kept.until = lifetime.looked_at
            age = None if job.life.is_ended else max(0.0, kept.until - began)
        values = LifePast() if lifetime is None else lifetime.values()
        self._journal.keep_history(job.id, HistoryRow(values, history.stuck, history.stuck_at, age))
        kept.lacks_diagnosis = False

    # ---- what happens to a job

    def note_stuck(self, job: ManagedJob) -> None:
        """It is stuck, and has been diagnosed so."""
        if job.diagnosis is None or job.diagnosis is job.noted_diagnosis:
            return
        job.noted_diagnosis, job.history.stuck_at = job.diagnosis, datetime.now(UTC)
        diagnosis = shortened(self._last_stacks.add_to(job, job.diagnosis))
        if diagnosis != job.history.stuck:
            job.history.stuck, job.persisted.lacks_diagnosis = diagnosis, True

    def note_stop(self, job: ManagedJob, cause: StopCause) -> None:
        """It is about to be stopped: what it waits for now is what it was stuck with, or waited for, to the last.

        That somebody has stopped what just slept explains nothing; that a time limit did may.
        """
        if job.life.is_ended or job.diagnosis is None:
            return
        is_stuck = job.history.health == "stuck"
        explains = job.history.stuck is None and (job.is_benign is not True or cause == "timeout")
        if is_stuck or explains:
            self.note_stuck(job)
            job.history.stuck_at = datetime.now(UTC)
        if is_stuck:
            self.keep(job)

    def finish(self, job: ManagedJob) -> None:
        """It has ended."""
        lifetime, ended = job.history.lifetime, job.life.ended_now
        if lifetime is not None and ended is not None:
            lifetime.note(ended, cpu_seconds_of(job), job.history.memory_bytes)
        if job.history.stuck is not None or (job.life.elapsed(0.0) or 0.0) >= WORTH_KEEPING_SECONDS:
            self.keep(job)
        self._last_stacks.forget(job)

    # ---- reading

    def recall(self, job: ManagedJob) -> Progress | None:
        """Go on from what the daemon before has kept. The last observation, where nothing had moved since for a while."""
        self._recall_lifetime(job)
        raw = self._journal.usage(job.id)
        try:
            kept = History() if raw is None else decode(raw, History)
        except msgspec.DecodeError:
            # A damaged row: nothing but these figures is lost.
            return None
        history = job.history
        history.peak_memory_bytes, history.reaped_cpu_seconds = (
            kept.peak_memory_bytes,
            kept.reaped_cpu_seconds,
        )
        history.streams, history.truncated = kept.streams, kept.truncated
        still = kept.progress
        return None if still is None or still.last_moved > time.monotonic() else still

    def _recall_lifetime(self, job: ManagedJob) -> None:
        row, began = self._journal.history_row(job.id), job.life.started_now
        if began is None:
            return
        if row is None or row.age is None:
            job.history.lifetime = Lifetime(began)
            return
        job.history.stuck, job.history.stuck_at = row.diagnosis, row.diagnosed
        job.history.lifetime = Lifetime.recalled(began, row.life, row.age)

    def history(self, job_id: int) -> Story:
        """What is kept of a job, running or ended. Raises UnknownJobError."""
        job = self._table.live(job_id)
        if job is None:
            return self._journal.history(self._snapshot(job_id))
        history = job.history
        life = LifePast() if history.lifetime is None else history.lifetime.values(time.monotonic())
        return Story(str(job_id), history.stuck, history.stuck_at, life)


def _is_kept(job: ManagedJob, progress: Progress) -> bool:
    """Whether it has rested since this was written, so that there can be nothing new."""
    kept, lifetime = job.persisted, job.history.lifetime
    if kept.rests_since != progress.last_moved or kept.lacks_diagnosis:
        return False
    return lifetime is None or not lifetime.has_moved_since(kept.until)
