"""The sparks' history: per job that was on the screen, one cell per five seconds, kept by the dashboard itself."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Literal

from corral.model.history import RecentHistory
from corral.model.job import STARTED_STATES, Job
from corral_tui.text.charset import CPU_FLOOR, MEMORY_FLOOR, OUTPUT_FLOOR, SPARK_CELL_SECONDS

KEPT_CELLS = 64
"""Cells, the widest spark that is drawn."""

Measured = Literal["cpu", "memory", "output"]
FLOORS: dict[Measured, float] = {"cpu": CPU_FLOOR, "memory": MEMORY_FLOOR, "output": OUTPUT_FLOOR}
"""What is drawn, and the least that a spark's full height stands for."""


class SparkHistory:
    """The cells of one job, oldest first; None where nothing was measured, as while it was paused."""

    def __init__(self, cell: int = -1) -> None:
        self.cells: dict[Measured, deque[float | None]] = {
            measured: deque(maxlen=KEPT_CELLS) for measured in FLOORS
        }
        self.cell = cell
        """The number of the newest cell: seconds since the epoch by the length of a cell."""
        self.count = 1
        """How many samples its newest cell is the mean of."""


class SparkHistories:
    """The histories of the jobs that are, or were, on the screen."""

    def __init__(self) -> None:
        self._jobs: dict[str, SparkHistory] = {}

    def of(self, job_id: str, measured: Measured) -> Sequence[float | None]:
        history = self._jobs.get(job_id)
        return () if history is None else tuple(history.cells[measured])

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
        history = self._jobs[job_id] = SparkHistory(_cell_of(now))
        for measured, kept in history.cells.items():
            values: tuple[float | None, ...] = getattr(recent, measured)
            kept.extend(values[::-1][::step][::-1])

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
        values: dict[Measured, float | None] = {
            "cpu": None if is_paused else job.cpu_percent,
            "memory": job.memory_bytes,
            "output": None if is_paused else job.output_bytes_per_second,
        }
        is_new = newest != history.cell
        missed = min(newest - history.cell - 1, KEPT_CELLS) if history.cell >= 0 else 0
        history.cell, history.count = newest, 1 if is_new else history.count + 1
        for measured, kept in history.cells.items():
            if is_new:
                kept.extend([*[None] * missed, values[measured]])
            else:
                _average(kept, values[measured], history.count)


def _average(kept: deque[float | None], value: float | None, count: int) -> None:
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
