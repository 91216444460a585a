"""How long a thread was scheduled, by /proc/PID/task/TID/schedstat (Documentation/scheduler/sched-stats.rst)."""

from __future__ import annotations

from corral.system.procfs import read_file


def scheduled_nanoseconds(pid: int, tid: int) -> int | None:
    """Time that a thread was on a core or ready and waiting for one, since it began; what is left of its life it slept.

    None where it is gone, or the kernel does not count (CONFIG_SCHED_INFO). 5 µs.
    """
    text = read_file(f"/proc/{pid}/task/{tid}/schedstat")
    fields = text.split() if text else []
    return int(fields[0]) + int(fields[1]) if len(fields) >= 2 else None
