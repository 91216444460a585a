"""CPU and memory of a job over its whole life."""

from __future__ import annotations

from msgspec import Struct

FIRST_CELL_SECONDS = 1.0
"""Width of a cell of a young job."""
MOST_CELLS = 128
"""Where a life has more, two become one of twice the width."""


class LifePast(Struct, frozen=True):
    """From the job's start on, oldest first, one value per `seconds`; at most `MOST_CELLS`.

    `cpu` is the mean of a cell in percent of one core, `memory` its peak in bytes. None: the job was paused, or nobody
    measured, as between two daemons. The last cell may not be over yet.
    """

    seconds: float = FIRST_CELL_SECONDS
    """Width of a cell."""
    cpu: tuple[float | None, ...] = ()
    """Percent of one core, the mean of each cell."""
    memory: tuple[int | None, ...] = ()
    """Bytes, the peak of each cell."""
