"""The jobs of a batch, page by page."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing

from msgspec import Struct

from corral.batch.batch_files import RETRYING, BatchFiles
from corral.batch.ended_batches import Page, numbers_of, page_of
from corral.jobs.batches.batches import Batches
from corral.jobs.job_table import JobTable
from corral.jobs.snapshots import Snapshots
from corral.model.job import Job

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
        limit = min(limit, MOST_A_PAGE)
        with closing(self._batches.files(batch_id)) as files:
            numbers, following = page_of(
                parts, limit, after, lambda *asked: self._numbers(batch_id, files, *asked)
            )
        return self._jobs(batch_id, numbers), following

    def _numbers(self, batch_id: int, files: BatchFiles, part: str, after: int, most: int) -> list[int]:
        if part == "unended":
            batch = self._table.batches.get(batch_id)
            if batch is None:
                return []
            waiting = {number for _, number in batch.retries if files.state(number) == RETRYING}
            under_way = sorted(batch.under_way.keys() | waiting)
            return [number for number in under_way if number > after][:most]
        return numbers_of(files, part, after, most)

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
