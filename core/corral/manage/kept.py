"""The figures of a running job that a next daemon could not find out."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from corral.manage.streams import HandedStream


class Stillness(Struct, frozen=True):
    """Nothing has moved since `last_moved` (monotonic seconds), as long as these are what they were."""

    last_moved: float
    cpu_ns: int
    output_bytes: int
    pids: tuple[int, ...]


class Kept(Struct, frozen=True):
    """Of one job. CPU seconds are those of orphans that came to the daemon and ended: nothing else remembers them."""

    peak_memory_bytes: int | None = None
    reaped_cpu_seconds: float = 0.0
    still: Stillness | None = None
    streams: tuple[HandedStream, ...] = ()
    """Its output files: how long they were, and what was lost of them."""
    truncated: datetime | None = None
