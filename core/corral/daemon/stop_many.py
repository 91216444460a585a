"""Stopping any number of jobs: one scan for all of them, other clients are served in between, a report on each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct, structs

from corral.commands.batch_stops import BatchStops
from corral.commands.stop import StopCommands
from corral.jobs.job_table import JobTable
from corral.jobs.managed_job import ManagedJob
from corral.jobs.snapshots import Snapshots
from corral.journal.commits import Commits
from corral.model.batch import BatchJobId
from corral.model.errors import UnknownJobError
from corral.model.reports import StopReport
from corral.platform.host.daemon_log import log_fault
from corral.protocol.requests import StopJobs, Stops

STOPS_A_PASS = 200
"""Ten milliseconds. After each pass the sequences look at all processes."""
WITHDRAWN_A_PASS = 1000
"""Queued jobs: as long."""
REPORTS_A_PASS = 200


class StopRequests(Struct, eq=False):
    """Carries out requests to stop jobs."""

    _table: JobTable
    _commits: Commits
    _snapshots: Snapshots
    _commands: StopCommands
    _batches: BatchStops

    async def stop(self, ids: Sequence[int], request: StopJobs, unknown: Sequence[str]) -> Stops:
        """Stop these jobs, each as a whole, and report on each in the order given."""
        in_batches = await self._stop_of_batches(ids, request)
        ids = [job_id for job_id in ids if job_id not in in_batches]
        begun = [job_id for job_id in ids if job_id not in self._table.queued]
        left = self._commands.left_of_ended(begun)

        def ask(job_id: int) -> bool:
            job = self._table.started.get(job_id)
            goes_on = job is not None and (job.life.state == "stopping" or job.life.sweeping)
            if goes_on and request.asked_before and request.grace != 0:
                return True
            return self._commands.request(
                job_id, by=request.by, signal=request.signal, grace=request.grace, left=left
            )

        in_hand = {job_id: self._table.started.get(job_id) for job_id in begun}
        with self._commands.hold_starts():
            asked = await _asked(in_hand, ask)
            withdrawn = await self._withdraw(ids)
        had_ended = {str(job_id) for job_id, has_asked in asked.items() if not has_asked}
        # The next daemon has to know it, and so have those that ask the journal from now on.
        self._commits.soon()
        stops = await self._reports(in_hand, withdrawn, is_waited_for=request.wait)
        told = {
            report.id: structs.replace(report, note="already ended")
            if report.id in had_ended and not request.asked_before
            else report
            for report in (*stops.reports, *in_batches.values())
        }
        reports = tuple(told[str(job_id)] for job_id in (*in_batches, *ids) if str(job_id) in told)
        titles = stops.titles | {str(batch): self._snapshots.of(batch).title for batch in in_batches}
        return structs.replace(stops, reports=reports, unknown=(*unknown, *stops.unknown), titles=titles)

    async def _stop_of_batches(self, ids: Sequence[int], request: StopJobs) -> dict[int, StopReport]:
        """Stop those of these that are batches, or have not started in one."""
        begun: dict[int, list[ManagedJob]] = {}
        reports: dict[int, StopReport] = {}
        for job_id in ids:
            if isinstance(job_id, BatchJobId):
                if (skipped := self._batches.skip(job_id)) is not None:
                    reports[job_id] = skipped
            elif self._batches.is_batch(job_id):
                begun[job_id] = self._batches.begin(
                    job_id,
                    request.by,
                    signal=request.signal,
                    grace=request.grace,
                    asked_before=request.asked_before,
                )
        self._commits.soon()
        for batch_id, jobs in begun.items():
            reports[batch_id] = await self._batches.report(batch_id, jobs, wait=request.wait)
        return reports

    async def stop_everything(self, by: str) -> Stops:
        """Stop every job and all leftovers, and report on each. No other is accepted once this is asked for."""
        batches = {
            batch: self._batches.begin(batch, by, cause="shutdown") for batch in list(self._table.batches)
        }
        in_hand: dict[int, ManagedJob | None] = {
            job_id: job for job_id, job in self._table.started.items() if not isinstance(job.id, BatchJobId)
        }
        left = self._commands.left_of_ended(list(in_hand))

        def ask(job_id: int) -> bool:
            try:
                return self._commands.request(job_id, by=by, cause="shutdown", left=left)
            except Exception as error:  # noqa: BLE001  (one that cannot be asked must not spare the others)
                log_fault(f"the stop of job {job_id}", error)
                return False

        with self._commands.hold_starts():
            await _asked(in_hand, ask)
            withdrawn = await self._withdraw(list(self._table.queued))
        told = [await self._batches.report(batch, jobs, wait=True) for batch, jobs in batches.items()]
        stops = await self._reports(in_hand, withdrawn, is_waited_for=True)
        titles = {report.id: self._snapshots.of(int(report.id)).title for report in told}
        return structs.replace(stops, reports=(*told, *stops.reports), titles=stops.titles | titles)

    async def _withdraw(self, ids: Sequence[int]) -> dict[int, str]:
        """Take those of these jobs that are queued out of the queue; their titles. The newest first: the older may be
        waited for."""
        withdrawn: dict[int, str] = {}
        newest_first = sorted(ids, reverse=True)
        for start in range(0, len(newest_first), WITHDRAWN_A_PASS):
            some = newest_first[start : start + WITHDRAWN_A_PASS]
            queued = {job: entry.title for job in some if (entry := self._table.queued.get(job)) is not None}
            if queued:
                self._commands.withdraw(list(queued))
                self._commits.soon()
                await asyncio.sleep(0)
            withdrawn |= queued
        return withdrawn

    async def _reports(
        self, in_hand: Mapping[int, ManagedJob | None], withdrawn: Mapping[int, str], *, is_waited_for: bool
    ) -> Stops:
        reports = [self._commands.report_withdrawn(job_id) for job_id in withdrawn]
        titles, unknown = {str(job_id): title for job_id, title in withdrawn.items()}, []
        for count, (job_id, job) in enumerate(in_hand.items(), 1):
            try:
                reports.append(await self._report(job_id, job, wait=is_waited_for))
                titles[str(job_id)] = job.title if job is not None else self._snapshots.of(job_id).title
            except UnknownJobError as error:
                unknown.append(str(error))  # another client has removed it meanwhile
            if count % REPORTS_A_PASS == 0:
                await asyncio.sleep(0)
        return Stops(tuple(reports), tuple(unknown), titles)

    async def _report(self, job_id: int, job: ManagedJob | None, *, wait: bool) -> StopReport:
        if job is None:
            return await self._commands.report(job_id, wait=wait)
        return await self._commands.report_on_held(job, wait=wait)


async def _asked(in_hand: Mapping[int, ManagedJob | None], ask: Callable[[int], bool]) -> dict[int, bool]:
    """What `ask` says of each."""
    asked = {}
    for count, job_id in enumerate(in_hand, 1):
        asked[job_id] = ask(job_id)
        if count % STOPS_A_PASS == 0:
            await asyncio.sleep(0)
    return asked
