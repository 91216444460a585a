"""The stacks of the Python programs of a stuck job, captured before it is stopped: afterwards nobody can."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import NamedTuple

from msgspec import structs

from corral.jobs.managed_job import ManagedJob
from corral.model.reports import Diagnosis
from corral.monitor.stack_capture import StackCapture
from corral.processes.local_run import run_of


class _Captured(NamedTuple):
    """A diagnosis with stacks, of a job that has been stuck since then."""

    stuck_since: datetime | None
    diagnosis: Diagnosis


class LastStacks:
    """Captures the stacks once each time that a job has become stuck."""

    def __init__(self, stacks: StackCapture) -> None:
        self._stacks = stacks
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._captured: dict[int, _Captured] = {}

    def are_known(self, job: ManagedJob) -> bool:
        """Whether all is known that can be; else a capture has begun, which ends within `stack_capture.SECONDS`."""
        if job.diagnosis is None or self._captured_now(job) is not None:
            return True
        if job.id not in self._tasks:
            if not self._stacks.can_capture(job.diagnosis, run_of(job).members):
                return True
            self._tasks[job.id] = asyncio.create_task(self._capture(job))
        return False

    def add_to(self, job: ManagedJob, found: Diagnosis) -> Diagnosis:
        """The same with the captured stacks, if the job has been stuck without a break since."""
        captured = self._captured_now(job)
        if captured is None:
            return found
        pids = {wait.pid for wait in found.waits}
        return structs.replace(
            found,
            stacks=tuple(stack for stack in captured.stacks if stack.pid in pids),
            not_looked_at=tuple(dict.fromkeys((*found.not_looked_at, *captured.not_looked_at))),
        )

    def forget(self, job: ManagedJob) -> None:
        """It has ended."""
        self._captured.pop(job.id, None)

    def _captured_now(self, job: ManagedJob) -> Diagnosis | None:
        captured = self._captured.get(job.id)
        if captured is None or captured.stuck_since != job.history.health_since:
            return None
        return captured.diagnosis

    async def _capture(self, job: ManagedJob) -> None:
        found, since = job.diagnosis, job.history.health_since
        try:
            if found is not None:
                found = await self._stacks.add_stacks(found, frozenset(run_of(job).members), None)
        finally:
            # Whatever has become of it, the job is not to wait for another one.
            del self._tasks[job.id]
            if found is not None and not job.life.is_ended:
                self._captured[job.id] = _Captured(since, found)
                job.noted_diagnosis = None
