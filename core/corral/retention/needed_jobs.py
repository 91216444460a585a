"""The ended jobs that somebody still needs: what is cleaned by rules spares them."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable, Iterator

from corral.jobs.job_table import JobTable
from corral.model.batch import BatchJobId

LIVES = "processes of it are alive"
IS_READ = "a job that has not ended reads its output"
IS_AWAITED = "a queued job waits for it"
IS_WAITED_FOR = "a client waits for it"
IS_SHOWN = "a dashboard shows it"


class NeededJobs:
    """Knows why an ended job is still needed."""

    def __init__(self, table: JobTable) -> None:
        self._table = table
        self._held: Counter[int] = Counter()

    @contextlib.contextmanager
    def holding(self, job_ids: Iterable[int]) -> Iterator[None]:
        """Spare these jobs meanwhile: a client is to be told of them."""
        held = list(job_ids)
        self._held.update(held)
        try:
            yield
        finally:
            self._held.subtract(held)
            self._held += Counter()

    def all(self, *, shown: bool) -> dict[int, str]:
        """All of them with the reason; with `shown`, those on a screen too."""
        table = self._table
        reasons: dict[int, str] = dict.fromkeys(table.on_screen, IS_SHOWN) if shown else {}
        reasons.update(dict.fromkeys(self._held, IS_WAITED_FOR))
        ended = (job.id for job in table.started.values() if job.life.is_ended)
        reasons.update((each.batch if isinstance(each, BatchJobId) else each, LIVES) for each in ended)
        reasons.update((int(key), IS_AWAITED) for key in table.waiters.keys if self._is_awaited(key))
        reasons.update((int(key), IS_READ) for key in table.readers.keys if self._is_read(key))
        return reasons

    def includes(self, job_id: int, *, shown: bool) -> bool:
        """The same for one of them."""
        return (
            job_id in self._table.started
            or job_id in self._table.queued
            or any(isinstance(each, BatchJobId) and each.batch == job_id for each in self._table.started)
            or job_id in self._held
            or (shown and job_id in self._table.on_screen)
            or self._is_awaited(str(job_id))
            or self._is_read(str(job_id))
        )

    def _is_awaited(self, job: str) -> bool:
        return any(each in self._table.queued for each in self._table.waiters.of(job))

    def _is_read(self, job: str) -> bool:
        return any(map(self._table.is_unended, self._table.readers.of(job)))
