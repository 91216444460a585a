"""CPU time of other processes, and how long their threads were scheduled."""

from __future__ import annotations

import sys
import time

from corral.platform.host.procfs import read_file

_HAS_CLOCK = sys.platform == "linux"


def cpu_nanoseconds(pid: int) -> int | None:
    """CPU time that all threads of `pid` have used, its reaped children not included; None where it is gone.

    The clock id of another process is `(~pid << 3) | 2`: CPUCLOCK_SCHED of the whole thread group
    (include/linux/posix-timers_types.h). Reading it takes no permission on Linux. 0.4 µs. Other systems have no such
    clock; there psutil is asked, 50 µs.
    """
    if not _HAS_CLOCK:
        return _by_psutil(pid)
    try:
        return time.clock_gettime_ns((~pid << 3) | 2)
    except OSError:
        return None


def _by_psutil(pid: int) -> int | None:
    import psutil

    try:
        times = psutil.Process(pid).cpu_times()
    except (psutil.Error, OSError):
        return None
    return int((times.user + times.system) * 1e9)


def scheduled_nanoseconds(pid: int, tid: int) -> int | None:
    """Time that a thread was on a core or ready and waiting for one, since it began; what is left of its life it slept.

    None where it is gone, or the kernel does not count (CONFIG_SCHED_INFO). 5 µs.
    """
    text = read_file(f"/proc/{pid}/task/{tid}/schedstat")
    fields = text.split() if text else []
    return int(fields[0]) + int(fields[1]) if len(fields) >= 2 else None
