"""The past of a job's numbers, for sparks and charts."""

from __future__ import annotations

from msgspec import Struct

CELL_SECONDS = 5.0
KEPT_CELLS = 120


class Past(Struct, frozen=True, kw_only=True):
    """Oldest first, one value per `seconds`; None where nothing was measured, as while the job was paused."""

    seconds: float
    cpu: tuple[float | None, ...]
    memory: tuple[int | None, ...]
    output: tuple[float | None, ...]
    stages: dict[int, tuple[float | None, ...]] = {}
    """CPU per stage."""
