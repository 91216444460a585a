"""The machine that the jobs run on, as one value."""

from __future__ import annotations

from msgspec import Struct


class Machine(Struct, frozen=True, kw_only=True):
    """The machine as the daemon last saw it. Percent of all cores together, so 100 is a machine without idle time.

    The pasts are oldest first, one value a sample: CPU in percent, memory as the percentage of the total in use.
    """

    cpu_percent: float
    cores: int
    memory_used_bytes: int
    memory_total_bytes: int
    cpu_past: tuple[float, ...] = ()
    memory_past: tuple[float, ...] = ()
