"""Stopping jobs, their leftovers, and single stages, as clients ask for it; and the reports on that."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime

from msgspec import Struct, structs

from corral.jobs.executor import Executor
from corral.jobs.job_table import JobTable
from corral.jobs.managed_job import ManagedJob
from corral.jobs.snapshots import Snapshots
from corral.jobs.transitions import Apply
from corral.journal.journal import Journal
from corral.lifecycle.clock import moment
from corral.lifecycle.outcome import NEVER_STARTED
from corral.lifecycle.state import BeginStop, Effect, StopCause, StopRequested
from corral.model import validators
from corral.model.errors import UsageError
from corral.model.job import State
from corral.model.reports import StopReport
from corral.model.units import parse_signal, signal_name


class StopCommands(Struct, eq=False):
    """Asks for stops and reports on them; the sequence itself is run by the executor."""

    _table: JobTable
    _journal: Journal
    _snapshots: Snapshots
    _executor: Executor
    _apply: Apply
    withdraw: Callable[[Sequence[int]], None]
    """Takes jobs out of the queue."""
    hold_starts: Callable[[], AbstractContextManager[None]]

    def request(
        self,
        job_id: int,
        *,
        by: str,
        signal: str | None = None,
        grace: float | None = None,
        cause: StopCause = "user",
        left: Mapping[int, int] | None = None,
    ) -> bool:
        """Ask for the end of a job, or of the leftovers of an ended one. Returns at once: whether there was anything.

        `left`, where many are asked for: what `left_of_ended` has found.
        """
        if job_id in self._table.queued:
            self.withdraw([job_id])
            return True
        job = self._table.started.get(job_id)
        if job is None or job.life.is_ended:
            count = left.get(job_id) if left is not None else None
            if not (self.left_of_ended([job_id])[job_id] if count is None else count):
                return False
            job = job or self._executor.leftovers.take_on(job_id)
        name = None if signal is None else signal_name(parse_signal(signal))
        validators.OWN_SECONDS("grace", grace)
        if grace == 0 and job.life.state == "stopping":
            self._executor.skip_grace(job)
        self._apply(
            job, StopRequested(**moment(), cause=cause, reason=f"stopped {by}", signal=name, grace=grace)
        )
        return True

    def left_of_ended(self, job_ids: Sequence[int]) -> dict[int, int]:
        """One look for those of these jobs that have ended: how many processes of each are alive, none of most."""
        known = {
            job_id: self._table.started.get(job_id) for job_id in job_ids if job_id not in self._table.queued
        }
        ended = {job_id: job for job_id, job in known.items() if job is None or job.life.is_ended}
        found = self._executor.alive([job for job in ended.values() if job is not None]) if ended else {}
        return {job_id: found.get(job_id, 0) for job_id in ended}

    async def stop_stage(
        self, job_id: int, number: int, signal: str | None, grace: float | None, *, wait: bool
    ) -> StopReport:
        """Run the stop sequence on one stage's processes only. Asked a second time it skips the grace."""
        job = self._snapshots.running_job(job_id, "stopped")
        if not 1 <= number <= len(job.stages):
            raise UsageError(f"job {job_id} has no stage {number}; it has {len(job.stages)}")
        name = signal_name(parse_signal(signal or job.spec.stop_signal))
        validators.OWN_SECONDS("grace", grace)
        if self._executor.stop_of(job, number) is not None:
            self._executor.skip_grace(job, number)
        stop = self._executor.stop(job, name, job.spec.stop_grace if grace is None else grace, number)
        if wait:
            await self._executor.outcome(job, number)
        return stop.report()

    def begin(self, job: ManagedJob, effect: BeginStop) -> None:
        """Begin the stop sequence, which the job's life asks for."""
        self._executor.note_stop(job, effect.cause)
        self._executor.stop(job, effect.signal, effect.grace)

    def kill(self, job: ManagedJob, _: Effect) -> None:
        """End what was started of it, without a grace."""
        self._executor.stop(job, "KILL", 0.0)

    # ---- reports

    async def report(self, job_id: int, *, wait: bool) -> StopReport:
        """The report on a stop that was asked for: now, or once nothing is left or nothing more helps."""
        job = self._table.started.get(job_id)
        stop = self._executor.stop_of(job) if job is not None else None
        if job is None or stop is None:
            return self._stored_report(job_id)
        if not wait:
            return stop.report()
        await self._executor.outcome(job)
        if stop.is_done and job.report is not None:
            return self._with_children_named(job_id, job.report)
        return stop.report()

    async def report_on_held(self, job: ManagedJob, *, wait: bool) -> StopReport:
        """The same of a job in hand. Where it has ended meanwhile the journal, which may not have that yet, is not asked."""
        if not job.life.is_ended or self._executor.stop_of(job) is not None:
            return await self.report(job.id, wait=wait)
        state, ending = job.life.state, job.life.ending
        if job.report is not None:
            return self._with_children_named(job.id, structs.replace(job.report, state=state))
        never_started = ending is not None and ending.reason == NEVER_STARTED
        return self._report_without_stop(job.id, state, never_started=never_started)

    def report_withdrawn(self, job_id: int) -> StopReport:
        """The same of a job that was taken out of the queue."""
        return self._report_without_stop(job_id, "stopped", never_started=True)

    def _stored_report(self, job_id: int) -> StopReport:
        snapshot = self._snapshots.of(job_id)
        report = self._journal.stop_report(job_id) if snapshot.is_ended else None
        if report is None:
            return self._report_without_stop(
                job_id, snapshot.state, never_started=snapshot.reason == NEVER_STARTED
            )
        doubt = self._executor.in_doubt(job_id)
        return structs.replace(report, state=snapshot.state, in_doubt=doubt)

    def _report_without_stop(self, job_id: int, state: State, *, never_started: bool) -> StopReport:
        return StopReport(
            id=str(job_id),
            state=state,
            seconds=0.0,
            in_doubt=() if never_started else self._executor.in_doubt(job_id),
            note=NEVER_STARTED if never_started else "already ended",
            looked_at=datetime.now(UTC),
        )

    def _with_children_named(self, job_id: int, report: StopReport) -> StopReport:
        """Name the jobs that were started from within: they are not of its tree and go on."""
        within = [str(each) for each in self._table.children.of(str(job_id)) if self._table.is_unended(each)]
        if not within:
            return report
        note = f"jobs started from within it go on: {', '.join(within)}; corral stop {' '.join(within)} ends them"
        return structs.replace(report, note=note if report.note is None else f"{report.note}; {note}")
