"""Stopping any number of jobs: one scan for all of them, other clients are served in between, a report on each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

from msgspec import structs

from corral.commands.stop import StopCommands
from corral.jobs.job_table import JobTable
from corral.jobs.managed_job import ManagedJob
from corral.jobs.snapshots import Snapshots
from corral.journal.commits import Commits
from corral.model.errors import UnknownJobError
from corral.model.reports import StopReport
from corral.platform.host.daemon_log import log_fault
from corral.protocol.requests import StopJobs, Stops

STOPS_A_PASS = 50
"""A queued job of 32 stages takes half a millisecond."""
REPORTS_A_PASS = 200


class StopRequests:
    """Carries out requests to stop jobs."""

    def __init__(
        self, table: JobTable, commits: Commits, snapshots: Snapshots, commands: StopCommands
    ) -> None:
        self._table = table
        self._commits = commits
        self._snapshots = snapshots
        self._commands = commands

    async def stop(self, ids: Sequence[int], request: StopJobs, unknown: Sequence[str]) -> Stops:
        """Stop these jobs, each as a whole, and report on each in the order given."""
        left = self._commands.left_of_ended(ids)

        def ask(job_id: int) -> bool:
            job = self._table.managed.get(job_id)
            goes_on = job is not None and (job.life.state == "stopping" or job.life.sweeping)
            if goes_on and request.asked_before and request.grace != 0:
                return True
            return self._commands.request(
                job_id, by=request.by, signal=request.signal, grace=request.grace, left=left
            )

        in_hand = {job_id: self._table.managed.get(job_id) for job_id in ids}
        had_ended = {job_id for job_id, has_asked in (await _asked(in_hand, ask)).items() if not has_asked}
        # The next daemon has to know it, and so have those that ask the journal from now on.
        self._commits.soon()
        stops = await self._reports(in_hand, is_waited_for=request.wait)
        reports = tuple(
            structs.replace(report, note="already ended")
            if int(report.id) in had_ended and not request.asked_before
            else report
            for report in stops.reports
        )
        return structs.replace(stops, reports=reports, unknown=(*unknown, *stops.unknown))

    async def stop_everything(self, by: str) -> Stops:
        """Stop every job and all leftovers, and report on each. No other is accepted once this is asked for."""
        in_hand: dict[int, ManagedJob | None] = dict(self._table.managed)
        left = self._commands.left_of_ended(list(in_hand))

        def ask(job_id: int) -> bool:
            try:
                return self._commands.request(job_id, by=by, cause="shutdown", left=left)
            except Exception as error:  # noqa: BLE001  (one that cannot be asked must not spare the others)
                log_fault(f"the stop of job {job_id}", error)
                return False

        await _asked(in_hand, ask)
        return await self._reports(in_hand, is_waited_for=True)

    async def _reports(self, in_hand: Mapping[int, ManagedJob | None], *, is_waited_for: bool) -> Stops:
        reports, titles, unknown = [], {}, []
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
    """What `ask` says of each. Queued ones first: the end of one that runs would let one of them start."""
    asked = {}
    queued_first = sorted(in_hand, key=lambda job_id: not _is_queued(in_hand[job_id]))
    for count, job_id in enumerate(queued_first, 1):
        asked[job_id] = ask(job_id)
        if count % STOPS_A_PASS == 0:
            await asyncio.sleep(0)
    return asked


def _is_queued(job: ManagedJob | None) -> bool:
    return job is not None and job.life.state == "queued"
