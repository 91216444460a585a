"""What suspends a process: a signal, or the freezer of its control group."""

from __future__ import annotations

import os

from corral.platform.host.procfs import read_file

_FIRST = "/sys/fs/cgroup/freezer{}/freezer.state"
_SECOND = ("/sys/fs/cgroup{}/cgroup.events", "/sys/fs/cgroup/unified{}/cgroup.events")


def is_frozen(pid: int) -> bool:
    """By version 1 of the control groups or by version 2, where these are mounted where all put them."""
    for line in (read_file(f"/proc/{pid}/cgroup") or b"").decode("utf-8", "replace").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        path = path.rstrip("/")
        if "freezer" in controllers.split(",") and _has(_FIRST.format(path), b"FROZEN"):
            return True
        if number == "0" and any(_has(place.format(path), b"frozen 1") for place in _SECOND):
            return True
    return False


def _has(file: str, line: bytes) -> bool:
    return line in (read_file(file) or b"").splitlines()


def stopped_by(pid: int) -> int | None:
    """The number of the signal that suspended `pid` (state T); None for what is no child of ours, or runs again.

    waitid(2) with WNOWAIT leaves the child as it is, to be asked again.
    """
    try:
        found = os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOHANG | os.WNOWAIT)
    except (ChildProcessError, AttributeError):
        # macOS has waitid, but no WNOWAIT for a stop before Python 3.13.
        return None
    return found.si_status if found is not None else None
