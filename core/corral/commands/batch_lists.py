"""The jobs of a batch, page by page."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import islice

from msgspec import Struct

from corral.batch.batch_files import FAILED_LETTERS, LETTER_OF, RETRYING, BatchFiles
from corral.jobs.batches.batches import Batches
from corral.jobs.job_table import JobTable
from corral.jobs.snapshots import Snapshots
from corral.model.job import Job

Page = tuple[int, int]
"""Which part, and after which number."""
_FAILED = FAILED_LETTERS
_REST = LETTER_OF["succeeded"] + LETTER_OF["stopped"]
MOST_A_PAGE = 1000


class BatchLists(Struct, eq=False):
    """Lists the jobs of batches."""

    _table: JobTable
    _snapshots: Snapshots
    _batches: Batches

    def page(
        self, batch_id: int, parts: Sequence[str], limit: int, after: Page | None
    ) -> tuple[list[Job], Page | None]:
        """Some jobs, those of the parts in turn, and where the next page begins. Raises NotSoError."""
        files, found = self._batches.files(batch_id), list[Job]()
        part, number = after or (0, 0)
        limit = min(limit, MOST_A_PAGE)
        try:
            while part < len(parts):
                room = limit - len(found)
                numbers = self._numbers(batch_id, files, parts[part], number, room)
                found += self._jobs(batch_id, numbers)
                if len(numbers) == room:
                    return found, (part, numbers[-1]) if numbers else (part, number)
                part, number = part + 1, 0
        finally:
            files.close()
        return found, None

    def _numbers(self, batch_id: int, files: BatchFiles, part: str, after: int, most: int) -> list[int]:
        if part == "unended":
            batch = self._table.batches.get(batch_id)
            if batch is None:
                return []
            waiting = {number for _, number in batch.retries if files.state(number) == RETRYING}
            under_way = sorted(batch.under_way.keys() | waiting)
            return [number for number in under_way if number > after][:most]
        letters = _FAILED if part == "failed" else _REST
        return list(islice(files.numbers_in(letters, after), most))

    def _jobs(self, batch_id: int, numbers: Sequence[int]) -> list[Job]:
        now = time.monotonic()
        batch = self._table.batches.get(batch_id)
        under_way = batch.under_way if batch is not None else {}
        stored = iter(
            self._batches.stored_jobs(batch_id, [each for each in numbers if each not in under_way])
        )
        return [
            self._snapshots.fresh(under_way[number].job.id, now) if number in under_way else next(stored)
            for number in numbers
        ]
