"""The identity of a process: its pid *and* its start time. A bare pid may have been reused."""

from __future__ import annotations

from typing import NamedTuple

from corral.platform.host.procfs import read_stat


class ProcessIdentity(NamedTuple):
    """`started` is field 22 of /proc/PID/stat: clock ticks since boot (proc(5)). On macOS, microseconds since 1970."""

    pid: int
    started: int


def identify(pid: int) -> ProcessIdentity | None:
    """The identity of the process that has this pid now; None where there is none. A zombie still has one."""
    stat = read_stat(pid)
    return None if stat is None else ProcessIdentity(pid, stat.started)


def is_alive(identity: ProcessIdentity) -> bool:
    """Whether that very process still runs. A zombie does not: `kill(pid, 0)` on it succeeds, so it is no test."""
    stat = read_stat(identity.pid)
    return stat is not None and stat.started == identity.started and not stat.has_ended
