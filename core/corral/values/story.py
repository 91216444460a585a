"""What is kept of a job beyond its end: why it was stuck, and what it used over its whole life."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from corral.values.reports import Diagnosis

FIRST_CELL_SECONDS = 1.0
"""Width of a cell of a young job."""
MOST_CELLS = 128
"""Where a life has more, two become one of twice the width."""


class LifePast(Struct, frozen=True):
    """CPU and memory from the job's start on, oldest first, one value per `seconds`; at most `MOST_CELLS`.

    `cpu` is the mean of a cell in percent of one core, `memory` its peak in bytes. None: the job was paused, or nobody
    measured, as between two daemons. The last cell may not be over yet.
    """

    seconds: float = FIRST_CELL_SECONDS
    cpu: tuple[float | None, ...] = ()
    memory: tuple[int | None, ...] = ()


class Story(Struct, frozen=True):
    """Of one job, running or ended. `diagnosis` is as of `diagnosed`: the last of the times that it was stuck.

    Of a job that never was, it is what the job waited for when it was ended from outside; None where there is none.
    """

    id: str
    diagnosis: Diagnosis | None = None
    diagnosed: datetime | None = None
    life: LifePast = LifePast()
