"""Where the Python programs of a stuck job stand, looked at before it is ended: afterwards nobody can tell."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from corral.manage.stories import Spied

if TYPE_CHECKING:
    from corral.manage.jobs import ManagedJob
    from corral.manage.spying import Spy


class LastStacks:
    """Looks once each time that a job has become stuck."""

    def __init__(self, spy: Spy) -> None:
        self._spy = spy
        self._looks: dict[int, asyncio.Task[None]] = {}

    def are_known(self, job: ManagedJob) -> bool:
        """Whether all is known that can be; else a look has begun, which ends within `spying.SECONDS`."""
        spied, found = job.story.spied, job.diagnosis
        if found is None or (spied is not None and spied.stuck_since == job.health_since):
            return True
        if job.id not in self._looks:
            if not self._spy.can_tell(found, job.run.members):
                return True
            self._looks[job.id] = asyncio.create_task(self._look(job))
        return False

    async def _look(self, job: ManagedJob) -> None:
        found, since = job.diagnosis, job.health_since
        try:
            if found is not None:
                found = await self._spy.add_stacks(found, frozenset(job.run.members), None)
        finally:
            # Whatever has become of the look, the job is not to wait for another one.
            del self._looks[job.id]
            if found is not None:
                job.story.spied = Spied(since, found)
                job.story.seen = None
