"""Running a batch again: all of it, or what did not succeed, as a new batch with inputs of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence

from msgspec import Struct, structs

from corral.batch.batch_files import LETTER_OF, BatchFiles
from corral.commands.batch_stops import BatchStops
from corral.commands.stop import StopCommands
from corral.jobs.batches.batches import COPIED_A_PASS, Batches
from corral.jobs.job_table import JobTable
from corral.model.batch import BatchJobId
from corral.model.errors import NotSoError
from corral.model.spec import JobSpec, Origin, Surroundings

_BY = "to restart it"


class BatchRestarts(Struct, eq=False):
    """Starts batches, and jobs of batches, again."""

    _table: JobTable
    _batches: Batches
    _stops: StopCommands
    _batch_stops: BatchStops
    accept: Callable[[Sequence[JobSpec], Surroundings], Awaitable[list[int]]]

    async def restart(self, batch_id: int, origin: Origin, *, failed: bool) -> int:
        """A new batch with the inputs of that one, or those that did not succeed; the new id. What runs of it is stopped first.

        Raises:
            NotSoError: something of it survives, or there is nothing to repeat; nothing was started then.
        """
        spec, surroundings = self._batches.origin(batch_id)
        if batch_id in self._table.batches:
            await self._end(batch_id)
        files = self._batches.files(batch_id)
        try:
            numbers = list(_not_succeeded(files)) if failed else range(1, files.total + 1)
            if failed and not numbers:
                raise NotSoError(f"all jobs of batch {batch_id} have succeeded")
            job = structs.replace(spec.job, after=(), restarted_from=str(batch_id), origin=origin)
            new = await self._batches.accept(
                structs.replace(spec, job=job, resume=False, joblog=None), surroundings
            )
            await self._copy(files, numbers, new)
        finally:
            files.close()
        return new

    async def _end(self, batch_id: int) -> None:
        jobs = self._batch_stops.begin(batch_id, _BY)
        report = await self._batch_stops.report(batch_id, jobs, wait=True)
        if report.survivors:
            names = ", ".join(f"{survivor.pid} {survivor.name}" for survivor in report.survivors)
            raise NotSoError(f"batch {batch_id} was not restarted: {names} is still there")

    async def _copy(self, files: BatchFiles, numbers: Sequence[int], new: int) -> None:
        for start in range(0, len(numbers), COPIED_A_PASS):
            inputs = [files.input(number) for number in numbers[start : start + COPIED_A_PASS]]
            is_last = start + COPIED_A_PASS >= len(numbers)
            self._batches.feed(new, start, inputs, is_last=is_last)
            await asyncio.sleep(0)
        if not numbers:
            self._batches.feed(new, 0, (), is_last=True)

    async def restart_job(self, job_id: BatchJobId, origin: Origin) -> int:
        """A job of a batch, as a job outside of it; the new id. Raises NotSoError."""
        if job_id in self._table.started:
            self._stops.request(job_id, by=_BY)
            await self._stops.report_on_held(self._table.started[job_id], wait=True)
        spec, surroundings = self._batches.origin_of_job(job_id)
        again = structs.replace(spec, restarted_from=str(job_id), origin=origin)
        return (await self.accept([again], surroundings))[0]


def _not_succeeded(files: BatchFiles) -> Iterator[int]:
    succeeded = LETTER_OF["succeeded"]
    others = b"".join(letter for letter in LETTER_OF.values() if letter != succeeded) + b"\0srk"
    return files.numbers_in(others)
