"""Which run of the machine this is, and which numbering of its processes: what makes a pid of the past worth nothing."""

from __future__ import annotations

import os
import sys
import time
from typing import Literal, NamedTuple

from corral.platform.host.procfs import CLOCK_TICKS, read_file
from corral.platform.process.identity import ProcessIdentity

_BOOT_ID = "/proc/sys/kernel/random/boot_id"
_PID_NAMESPACE = "/proc/self/ns/pid"
_TOLERANCE = 300.0
"""Seconds by which a time of boot may move: macOS recomputes kern.boottime whenever its clock is set."""

Difference = Literal["boot", "namespace"]


class Boot(NamedTuple):
    """`id` is the kernel's boot_id (random(4)), which a container shares with its host; elsewhere the time of boot.

    `pid_namespace` is the inode of /proc/self/ns/pid (namespaces(7)), 0 where there is none. Both empty: not known.
    """

    id: str = ""
    pid_namespace: int = 0

    @property
    def text(self) -> str:
        return f"{self.id} {self.pid_namespace}"

    def difference(self, now: Boot) -> Difference | None:
        """Why pids noted under this one mean nothing under `now`; None where they do, or where nobody knows."""
        if self.id and now.id and not _same_time(self.id, now.id):
            return "boot"
        if self.pid_namespace and now.pid_namespace and self.pid_namespace != now.pid_namespace:
            return "namespace"
        return None


def parse(text: str | None) -> Boot:
    """What `Boot.text` gave; one that is not known where it says nothing usable."""
    fields = (text or "").split()
    if len(fields) != 2 or not fields[1].isdecimal():
        return Boot()
    return Boot(fields[0], int(fields[1]))


def current() -> Boot:
    """That of this process."""
    if sys.platform != "linux":
        import psutil

        return Boot(f"{psutil.boot_time():.0f}")
    boot_id = (read_file(_BOOT_ID) or b"").decode("ascii", "replace").strip()
    try:
        namespace = os.stat(_PID_NAMESPACE).st_ino
    except OSError:
        # A /proc that is not mounted, or not ours to look at.
        namespace = 0
    return Boot(boot_id, namespace)


def age(identity: ProcessIdentity) -> float:
    """Seconds since that process was started. By the clock that its start is noted in: setting the time moves neither.

    On Linux ticks since boot, time asleep included (CLOCK_BOOTTIME; both shifted alike in a time namespace).
    """
    return max(0.0, clock() - started(identity))


def started(identity: ProcessIdentity) -> float:
    """When that process was started, by `clock`: the beginning of the tick in which it was."""
    return identity.started / (CLOCK_TICKS if sys.platform == "linux" else 1_000_000)


def clock() -> float:
    """Now, in seconds, by the clock that the start of a process is noted in."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if sys.platform == "linux" else time.time()


def _same_time(before: str, now: str) -> bool:
    if before == now:
        return True
    return before.isdecimal() and now.isdecimal() and abs(int(before) - int(now)) <= _TOLERANCE
