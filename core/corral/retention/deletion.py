"""Deleting ended jobs: their output first and then their rows, some at a time.

The output goes first, so that a crash between the two leaves a row, which the next run deletes again, and never a folder
that no row names. The files are deleted by a thread, which touches nothing of the engine's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence

from msgspec import Struct

from corral.jobs.job_table import JobTable
from corral.journal.commits import Commits
from corral.journal.journal import Journal
from corral.model.home import Home
from corral.platform.files.disk_usage import delete_folder

BATCH = 100
"""Jobs whose rows go in one commit: 5 ms."""

Deleted = tuple[list[int], list[str]]
"""The jobs that are gone, and a line for each that could not be deleted."""


class Deletion(Struct, eq=False):
    """Deletes jobs."""

    _home: Home
    _table: JobTable
    _journal: Journal
    _commits: Commits
    fail_waiters: Callable[[], None]
    """Ends the jobs that wait for one that did not succeed, while that can still be named."""
    let_go: Callable[[int], None]
    """Looks after the leftovers of a job no more."""
    under_way: set[int] = set()
    """Jobs whose output is being deleted, or whose rows a full disk still keeps: nothing may refer to them."""
    _batches: set[asyncio.Future[Deleted]] = set()

    async def delete(
        self, job_ids: Sequence[int], *, spare: Callable[[int], bool] = lambda _: False
    ) -> Deleted:
        """Delete jobs that have ended, but for those that `spare` names when their turn comes.

        One that is cancelled stops between two batches.
        """
        gone, errors = list[int](), list[str]()
        for start in range(0, len(job_ids), BATCH):
            # The client may leave meanwhile: what is half deleted is deleted all the same.
            batch = asyncio.ensure_future(self._delete_batch(job_ids[start : start + BATCH], spare))
            self._batches.add(batch)
            batch.add_done_callback(self._batches.discard)
            done, problems = await asyncio.shield(batch)
            gone += done
            errors += problems
        return gone, errors

    async def _delete_batch(self, job_ids: Sequence[int], spare: Callable[[int], bool]) -> Deleted:
        batch = [job_id for job_id in job_ids if not spare(job_id)]
        self.fail_waiters()
        self.under_way.update(batch)
        problems = await asyncio.to_thread(_delete_all, [self._home.job(job_id) for job_id in batch])
        gone = [job_id for job_id, problem in zip(batch, problems, strict=True) if problem is None]
        self._journal.remove(gone)
        for job_id in gone:
            self.let_go(job_id)
        self._table.note_removed(gone)
        if self._commits.soon():
            self.under_way.difference_update(batch)
        return gone, [problem for problem in problems if problem is not None]

    async def end(self) -> None:
        """Wait for what is half deleted."""
        if self._batches:
            await asyncio.wait(list(self._batches))


def _delete_all(paths: Collection[str]) -> list[str | None]:
    """Of 60,000 files the loop waits for none."""
    return [delete_folder(path) for path in paths]
