"""The sparks' past: per job that was on the screen, one cell per five seconds, kept by the dashboard itself."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from corral.model.history import Past
from corral.model.job import STARTED_STATES, Job
from corral_tui.text.charset import SPARK_CELL_SECONDS

KEPT_CELLS = 64
"""Cells, the widest spark that is drawn."""

Cells = deque[float | None]


def _cells() -> Cells:
    return deque(maxlen=KEPT_CELLS)


@dataclass(slots=True)
class JobPast:
    """The cells of one job, oldest first; None where nothing was measured, as while it was paused."""

    cpu: Cells = field(default_factory=_cells)
    memory: Cells = field(default_factory=_cells)
    output: Cells = field(default_factory=_cells)
    cell: int = -1
    """The number of the newest cell: seconds since the epoch by the length of a cell."""
    count: int = 0
    """How many samples its newest cell is the mean of."""


class History:
    """The past of the jobs that are, or were, on the screen."""

    def __init__(self) -> None:
        self._pasts: dict[str, JobPast] = {}

    def of(self, job_id: str) -> JobPast | None:
        return self._pasts.get(job_id)

    def missing(self, jobs: Iterable[Job], now: datetime) -> tuple[str, ...]:
        """Those of `jobs` whose past is to be asked for: never seen, or not seen for a while."""
        newest = _cell_of(now)
        return tuple(job.id for job in jobs if job.started is not None and self._is_missing(job, newest))

    def _is_missing(self, job: Job, newest: int) -> bool:
        past = self._pasts.get(job.id)
        if past is None:
            return True
        return not job.is_ended and newest - past.cell > 1

    def fill(self, job_id: str, past: Past, now: datetime) -> None:
        """Take what the daemon remembers of a job."""
        step = max(round(SPARK_CELL_SECONDS / past.seconds), 1) if past.seconds > 0 else 1
        kept = JobPast(cell=_cell_of(now), count=1)
        kept.cpu.extend(past.cpu[::-1][::step][::-1])
        kept.memory.extend(past.memory[::-1][::step][::-1])
        kept.output.extend(past.output[::-1][::step][::-1])
        self._pasts[job_id] = kept

    def note(self, jobs: Iterable[Job], now: datetime) -> None:
        """Take the present values of the jobs on the screen."""
        newest = _cell_of(now)
        for job in jobs:
            if job.state in STARTED_STATES:
                self._note_one(job, newest)

    def keep_only(self, job_ids: Iterable[str]) -> None:
        """Forget the jobs that are gone from the daemon."""
        known = set(job_ids)
        for job_id in [each for each in self._pasts if each not in known]:
            del self._pasts[job_id]

    def _note_one(self, job: Job, newest: int) -> None:
        past = self._pasts.setdefault(job.id, JobPast())
        is_paused = job.state == "paused"
        values = (
            (past.cpu, None if is_paused else job.cpu_percent),
            (past.memory, job.memory_bytes),
            (past.output, None if is_paused else job.output_bytes_per_second),
        )
        if newest != past.cell:
            _skip(past, min(newest - past.cell - 1, KEPT_CELLS) if past.cell >= 0 else 0)
            past.cell, past.count = newest, 1
            for kept, value in values:
                kept.append(value)
            return
        past.count += 1
        for kept, value in values:
            _average(kept, value, past.count)


def _skip(past: JobPast, missed: int) -> None:
    for kept in (past.cpu, past.memory, past.output):
        kept.extend([None] * max(missed, 0))


def _average(kept: Cells, value: float | None, count: int) -> None:
    if value is None:
        return
    newest = kept[-1] if kept else None
    mean = value if newest is None else newest + (value - newest) / count
    if kept:
        kept[-1] = mean
    else:
        kept.append(mean)


def _cell_of(now: datetime) -> int:
    return int(now.timestamp() // SPARK_CELL_SECONDS)
