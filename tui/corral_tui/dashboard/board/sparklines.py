"""The sparks' history: per job that was on the screen, one cell per five seconds, kept by the dashboard itself."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from corral.model.history import RecentHistory
from corral.model.job import STARTED_STATES, Job
from corral_tui.text.charset import SPARK_CELL_SECONDS

KEPT_CELLS = 64
"""Cells, the widest spark that is drawn."""

Cells = deque[float | None]


def _cells() -> Cells:
    return deque(maxlen=KEPT_CELLS)


@dataclass(slots=True)
class SparkHistory:
    """The cells of one job, oldest first; None where nothing was measured, as while it was paused."""

    cpu: Cells = field(default_factory=_cells)
    memory: Cells = field(default_factory=_cells)
    output: Cells = field(default_factory=_cells)
    cell: int = -1
    """The number of the newest cell: seconds since the epoch by the length of a cell."""
    count: int = 0
    """How many samples its newest cell is the mean of."""


class SparkHistories:
    """The histories of the jobs that are, or were, on the screen."""

    def __init__(self) -> None:
        self._jobs: dict[str, SparkHistory] = {}

    def of(self, job_id: str) -> SparkHistory | None:
        return self._jobs.get(job_id)

    def missing(self, jobs: Iterable[Job], now: datetime) -> tuple[str, ...]:
        """Those of `jobs` whose history is to be asked for: never seen, or not seen for a while."""
        newest = _cell_of(now)
        return tuple(job.id for job in jobs if job.started is not None and self._is_missing(job, newest))

    def _is_missing(self, job: Job, newest: int) -> bool:
        history = self._jobs.get(job.id)
        if history is None:
            return True
        return not job.is_ended and newest - history.cell > 1

    def fill(self, job_id: str, recent: RecentHistory, now: datetime) -> None:
        """Take what the daemon remembers of a job."""
        step = max(round(SPARK_CELL_SECONDS / recent.seconds), 1) if recent.seconds > 0 else 1
        kept = SparkHistory(cell=_cell_of(now), count=1)
        kept.cpu.extend(recent.cpu[::-1][::step][::-1])
        kept.memory.extend(recent.memory[::-1][::step][::-1])
        kept.output.extend(recent.output[::-1][::step][::-1])
        self._jobs[job_id] = kept

    def note(self, jobs: Iterable[Job], now: datetime) -> None:
        """Take the present values of the jobs on the screen."""
        newest = _cell_of(now)
        for job in jobs:
            if job.state in STARTED_STATES:
                self._note_one(job, newest)

    def keep_only(self, job_ids: Iterable[str]) -> None:
        """Forget the jobs that are gone from the daemon."""
        known = set(job_ids)
        for job_id in [each for each in self._jobs if each not in known]:
            del self._jobs[job_id]

    def _note_one(self, job: Job, newest: int) -> None:
        history = self._jobs.setdefault(job.id, SparkHistory())
        is_paused = job.state == "paused"
        values = (
            (history.cpu, None if is_paused else job.cpu_percent),
            (history.memory, job.memory_bytes),
            (history.output, None if is_paused else job.output_bytes_per_second),
        )
        if newest != history.cell:
            _skip(history, min(newest - history.cell - 1, KEPT_CELLS) if history.cell >= 0 else 0)
            history.cell, history.count = newest, 1
            for kept, value in values:
                kept.append(value)
            return
        history.count += 1
        for kept, value in values:
            _average(kept, value, history.count)


def _skip(history: SparkHistory, missed: int) -> None:
    for kept in (history.cpu, history.memory, history.output):
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
