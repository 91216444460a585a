"""The history of a job in numbers, for sparks and charts: the last minutes, and its whole life."""

from __future__ import annotations

from msgspec import Struct

CELL_SECONDS = 5.0
KEPT_CELLS = 120
FIRST_CELL_SECONDS = 1.0
"""Width of a cell of a young job's `LifePast`."""
MOST_CELLS = 128
"""Where it has more, two become one of twice the width."""


class RecentHistory(Struct, frozen=True, kw_only=True):
    """Oldest first, one value per `seconds`; None where nothing was measured, as while the job was paused."""

    seconds: float
    cpu: tuple[float | None, ...]
    memory: tuple[int | None, ...]
    output: tuple[float | None, ...]
    stages: dict[int, tuple[float | None, ...]] = {}
    """CPU per stage."""


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
