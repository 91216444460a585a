"""Removing ended jobs for good, and hiding them from the dashboards' lists."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from msgspec import Struct, structs

from corral.commands.batch_stops import BatchStops
from corral.commands.stop import StopCommands
from corral.jobs.executor import Executor
from corral.jobs.job_table import JobTable
from corral.jobs.snapshots import Snapshots
from corral.journal.commits import Commits
from corral.journal.journal import Journal
from corral.journal.upkeep import Upkeep
from corral.model.batch import BatchJobId
from corral.model.errors import UnknownJobError
from corral.retention.deletion import Deletion


class RemoveCommands(Struct, eq=False):
    """Removes and hides jobs. `wake`: starts what may start."""

    _table: JobTable
    _journal: Journal
    _commits: Commits
    _upkeep: Upkeep
    _snapshots: Snapshots
    _executor: Executor
    _stops: StopCommands
    _batch_stops: BatchStops
    _deletion: Deletion
    wake: Callable[[], None]

    async def remove(self, job_ids: Sequence[int], *, force: bool) -> tuple[list[str], list[str]]:
        """Delete ended jobs and their output; (what was done, what was not). With `force` running ones are stopped first."""
        errors, going = list[str](), list[int]()
        within = [job_id for job_id in job_ids if isinstance(job_id, BatchJobId)]
        errors += [f"job {job_id} goes with its batch: corral rm {job_id.batch}" for job_id in within]
        job_ids = [job_id for job_id in job_ids if job_id not in within]
        running = [job_id for job_id in job_ids if not self._snapshots.of(job_id).is_ended]
        if force:
            await asyncio.gather(*map(self._stopped, running))
        for job_id in dict.fromkeys(job_ids):
            problem = self._why_not_removable(job_id, force=force)
            if problem is None:
                going.append(job_id)
            else:
                errors.append(problem)
        # No output goes whose row cannot go after it, so that the answer tells of both.
        await self._commits.unlocked()
        gone, problems = await self._deletion.delete(going)
        await self._commits.done()
        await self._upkeep.empty_log()
        return [f"job {job_id} removed" for job_id in gone], errors + problems

    async def _stopped(self, job_id: int) -> None:
        if self._batch_stops.is_batch(job_id):
            jobs = self._batch_stops.begin(job_id, "to remove it")
            await self._batch_stops.report(job_id, jobs, wait=True)
        else:
            self._stops.request(job_id, by="to remove it")
            await self._stops.report(job_id, wait=True)

    def _why_not_removable(self, job_id: int, *, force: bool) -> str | None:
        try:
            snapshot = self._snapshots.of(job_id)
        except UnknownJobError as error:
            return str(error)  # another client removed it while ours was being stopped
        if not snapshot.is_ended:
            hint = "something of it survives" if force else "corral rm --force stops it first"
            return f"job {job_id} is {snapshot.state}; {hint}"
        if self._batch_stops.left_alive(job_id):
            return f"processes of jobs of batch {job_id} are still alive; corral stop {job_id} ends them"
        job = self._table.started.get(job_id)
        if job is not None and self._executor.alive([job]).get(job_id):
            return f"processes of job {job_id} are still alive; corral stop {job_id} ends them"
        return None

    def hide(self, job_ids: Sequence[int], hidden: bool) -> tuple[list[str], list[str]]:
        """Take ended jobs off the dashboards' lists, or put them back; (what was done, what was not)."""
        done, errors = [], []
        for job_id in job_ids:
            snapshot = self._snapshots.of(job_id)
            if not snapshot.is_ended:
                errors.append(f"job {job_id} runs; corral stop {job_id} ends it")
                continue
            if job_id in self._table.ended:
                self._table.ended[job_id] = structs.replace(snapshot, hidden=hidden)
            if job_id in self._table.started:
                self._table.started[job_id].hidden = hidden
            self._journal.set_hidden([job_id], hidden)
            self._table.note_changed(job_id)
            done.append(f"job {job_id} is off the list" if hidden else f"job {job_id} is on the list")
        self.wake()
        return done, errors
