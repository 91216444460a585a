"""Restarting: a job that replaces another one stands in the queue until that one is gone.

So the request is in the journal before anything is stopped, has its id at once, and is carried out by whichever daemon
is there when nothing of the old job is left.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator, Sequence

from msgspec import Struct, field, structs

from corral.commands.stop import StopCommands
from corral.jobs.job_table import JobTable
from corral.jobs.managed_job import ManagedJob
from corral.jobs.queued_job import Links
from corral.jobs.snapshots import Snapshots
from corral.jobs.transitions import Apply
from corral.lifecycle.clock import moment
from corral.lifecycle.outcome import OUT_OF_SIGHT
from corral.lifecycle.scheduler import Dependency
from corral.lifecycle.state import DependencyFailed
from corral.model.errors import NotSoError, UnknownJobError
from corral.model.home import Home
from corral.model.spec import DescriptorInput, JobInput, JobSpec, Origin, Surroundings

_BY = "to restart it"
_CLOCK_TOLERANCE = 1.0
"""Seconds: between the client's clock, and what it computed from it, and ours."""

Accept = Callable[[Sequence[JobSpec], Surroundings], Awaitable[list[int]]]


class Restarts(Struct, eq=False):
    """Replaces jobs by new runs of the same specification. `accept`: takes jobs on, as in `Acceptance`. `take`: takes one out of the queue."""

    _home: Home
    _table: JobTable
    _snapshots: Snapshots
    _stops: StopCommands
    _apply: Apply
    accept: Accept
    take: Callable[[int], ManagedJob | None]
    _accepting: asyncio.Lock = field(default_factory=asyncio.Lock)
    """While a replacement is being accepted: the next restart of the same job is to find it."""

    async def restart(self, job_id: int, origin: Origin, asked_at: float | None = None) -> int:
        """Run the job again with the same specification and surroundings; the new id. A running one is stopped first.

        Where that was asked before, and the new run waits already, that one is meant; with `asked_at` also one that was
        accepted since then.

        Raises:
            NotSoError: it cannot be run again, or something of it survives; nothing was started then.
        """
        async with self._accepting:
            replacement = self._replacement_of(job_id) or self._restarted_since(job_id, asked_at)
            if replacement is None:
                replacement = await self._accept_replacement(job_id, origin)
        if not self._table.is_unended(job_id) or replacement == job_id:
            return replacement
        self._stop(job_id)
        report = await self._stops.report(job_id, wait=True)
        if report.survivors:
            self.give_up(job_id, "still there")
            names = ", ".join(f"{survivor.pid} {survivor.name}" for survivor in report.survivors)
            raise NotSoError(f"job {job_id} was not restarted: {names} is still there")
        return replacement

    def _replacement_of(self, job_id: int) -> int | None:
        """The job that waits to replace this one; the job itself, where it waits to replace another one."""
        queued = self._table.queued.get(job_id)
        if queued is not None and any(map(self._is_unended, queued.links.instead_of)):
            return job_id
        if not self._table.is_unended(job_id):
            return None
        return next(iter(self._table.queued_replacements_of(job_id)), None)

    def _restarted_since(self, job_id: int, asked_at: float | None) -> int | None:
        if asked_at is None:
            return None
        since, origin = asked_at - _CLOCK_TOLERANCE, str(job_id)
        restarts = [
            each for each in self._table.restarts.of(origin) if self._table.created(each).timestamp() >= since
        ]
        restarts += [
            int(each.id)
            for each in self._table.ended.values()
            if each.restarted_from == origin and each.created.timestamp() >= since
        ]
        return max(restarts, default=None)

    async def _accept_replacement(self, job_id: int, origin: Origin) -> int:
        spec, surroundings = self._snapshots.origin_of(job_id)
        self._check(job_id, spec)
        again = structs.replace(
            spec,
            after=(),
            restarted_from=str(job_id),
            # Also what the job itself was to replace: that may not be gone, and was why it never started.
            instead_of=tuple(filter(self._is_unended, (str(job_id), *spec.instead_of))),
            origin=origin,
        )
        return (await self.accept([again], surroundings))[0]

    def _check(self, job_id: int, spec: JobSpec) -> None:
        if isinstance(spec.stdin, DescriptorInput):
            raise NotSoError(
                f"job {job_id} read the stdin of the command that started it, which is gone;"
                " start it with --stdin FILE to be able to restart it"
            )
        if isinstance(spec.stdin, JobInput) and not os.path.lexists(self._home.stdout(spec.stdin.job)):
            raise NotSoError(
                f"job {job_id} read the output of job {spec.stdin.job}, which was removed; start it with --stdin FILE"
            )

    def _stop(self, job_id: int) -> None:
        if self._snapshots.state_of(job_id) != "stopping":
            self._stops.request(job_id, by=_BY)

    def _is_unended(self, reference: str) -> bool:
        return self._table.is_unended(int(reference))

    # ---- what the engine asks

    def dependencies(self, links: Links) -> Iterator[Dependency]:
        """The jobs that have to be gone before one of those links starts."""
        for reference in links.instead_of:
            number = int(reference)
            if self._table.is_unended(number):
                yield Dependency(number, self._table.name_of(number), by_end=True)
            elif self._may_live_elsewhere(number):
                yield Dependency(number, None, succeeded=False)

    def _may_live_elsewhere(self, job_id: int) -> bool:
        try:
            return self._snapshots.of(job_id).reason == OUT_OF_SIGHT
        except UnknownJobError:
            return False

    def resume(self) -> None:
        """Stop what is to be replaced, where the daemon before had noted no more than the replacement."""
        for reference in list(self._table.replacements.keys):
            old = int(reference)
            if self._table.is_unended(old) and self._table.queued_replacements_of(old):
                self._stop(old)

    def give_up(self, job_id: int, why: str) -> None:
        """Something of the job survives: what was to replace it never starts."""
        message = f"job {job_id}, which it replaces, is {why}"
        for each in self._table.queued_replacements_of(job_id):
            if (job := self.take(each)) is not None:
                self._apply(job, DependencyFailed(**moment(), message=message))
