"""Whether the freezer of its control group holds a process: `docker pause` does so, and systemd (cgroups(7))."""

from __future__ import annotations

from corral.system.procfs import read_file

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
