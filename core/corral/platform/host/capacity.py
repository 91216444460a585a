"""How much this process may use of the machine: CPUs, and processes at a time."""

from __future__ import annotations

import math
import os
import resource

from corral.platform.host.procfs import entries, read_file, thread_count

MOST_JOBS = (1 << 16) - 1
_DESCRIPTORS_OF_JOB, _DESCRIPTORS_OF_STAGE = 4, 4
"""That a daemon may have open for one that runs: twice what it usually has, since other jobs need some, too."""
_ROOT = "/sys/fs/cgroup"


def available_cpus(control_group: str | None = None, root: str = _ROOT) -> int:
    """The CPUs of this process's affinity, or its control groups' quota rounded up, whichever is less; at least 1.

    Args:
        control_group: the content of /proc/self/cgroup (cgroups(7)).
        root: where all mount the control groups.
    """
    if control_group is None:
        control_group = (read_file("/proc/self/cgroup") or b"").decode("utf-8", "replace")
    return max(1, math.ceil(min(_cpus_of_affinity(), _quota(control_group, root))))


def _cpus_of_affinity() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _quota(control_group: str, root: str) -> float:
    """In CPUs: the smallest of a control group and of those around it."""
    least = math.inf
    for line in control_group.splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0":
            least = min(least, *(_second(folder) for folder in _folders(root, path)))
        elif "cpu" in controllers.split(","):
            least = min(least, *(_first(folder) for folder in _folders(f"{root}/cpu", path)))
    return least


def _folders(root: str, path: str) -> list[str]:
    """That of the control group, and those around it. Where a container has a view of its own some are not there."""
    parts = [part for part in path.split("/") if part]
    return ["/".join([root, *parts[:count]]) for count in range(len(parts), -1, -1)]


def _second(folder: str) -> float:
    """By version 2: `MAX PERIOD`, where MAX may be `max`."""
    found = (read_file(f"{folder}/cpu.max") or b"").split()
    return _share(*found) if len(found) == 2 else math.inf


def _first(folder: str) -> float:
    """By version 1, where -1 is no quota."""
    quota, period = (read_file(f"{folder}/cpu.cfs_{name}_us") for name in ("quota", "period"))
    return _share(quota or b"", period or b"")


def _share(quota: bytes, period: bytes) -> float:
    try:
        return int(quota) / int(period) if int(quota) > 0 else math.inf
    except (ValueError, ZeroDivisionError):
        return math.inf


def most_jobs(stages: int) -> int:
    """How many jobs of so many stages the limits of this process on processes and descriptors allow; at least 1."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    files = math.inf if hard == resource.RLIM_INFINITY else hard
    by_descriptors = files / (_DESCRIPTORS_OF_JOB + _DESCRIPTORS_OF_STAGE * stages)
    return int(max(1, min(MOST_JOBS, by_descriptors, _processes_left() / stages)))


def _processes_left() -> float:
    soft = resource.getrlimit(resource.RLIMIT_NPROC)[0]
    if soft == resource.RLIM_INFINITY or os.geteuid() == 0:
        return math.inf  # root is not bound by it (setrlimit(2))
    return soft - sum(thread_count(int(entry.name)) for entry in entries() if _is_ours(entry))


def _is_ours(process: os.DirEntry[str]) -> bool:
    try:
        return process.stat().st_uid == os.getuid()
    except FileNotFoundError:
        return False  # ended meanwhile
