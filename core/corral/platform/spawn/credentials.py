"""Credentials of a process beside its user, and its namespaces: groups, capabilities, no_new_privs, OOM score.

All of it goes on through fork and exec, so a job would have the daemon's. Only Linux tells; elsewhere nothing is known.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import IO

from corral.model.spec import Standing

SETGID, SETPCAP, SYS_NICE, SYS_RESOURCE = 6, 8, 23, 24
"""Bits of capabilities (linux/capability.h)."""
_OOM_SCORE = "/proc/self/oom_score_adj"
_STEP = 50
NAMESPACES = {
    "mnt": "mount namespace",
    "net": "network namespace",
    "user": "user namespace",
    "pid": "pid namespace",
    "ipc": "IPC namespace",
    "uts": "host name (UTS namespace)",
    "time": "time namespace",
    "cgroup": "cgroup namespace",
    "root": "root directory",
}


def status_of_this() -> dict[str, str]:
    """The lines of this process's /proc/PID/status (proc(5)); none where there is none."""
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as lines:
            return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
    except OSError:
        return {}


def standing(status: Mapping[str, str]) -> Standing | None:
    """That of this process, whose status this is; None where the system does not tell, or before Linux 4.10."""
    try:
        with open(_OOM_SCORE, "rb") as file:
            score = int(file.read())
        return Standing(
            group=int(status["Gid"].split()[1]),
            groups=tuple(sorted(map(int, status["Groups"].split()))),
            inheritable=int(status["CapInh"], 16),
            bounding=int(status["CapBnd"], 16),
            ambient=int(status["CapAmb"], 16),
            no_new_privs=status["NoNewPrivs"] == "1",
            oom_score_adj=score,
        )
    except (OSError, KeyError, ValueError):
        return None


def powers(status: Mapping[str, str]) -> int:
    """Its effective capabilities; where nobody tells, those that its user would have."""
    return int(status.get("CapEff", "ffffffffffffffff" if os.geteuid() == 0 else "0"), 16)


def namespaces() -> dict[str, str]:
    """Where this process looks from: its namespaces by name (namespaces(7)), and its root. None where the system has none."""
    found = {}
    for name in NAMESPACES:
        try:
            if name == "root":
                root = os.stat("/")
                found[name] = f"{root.st_dev}:{root.st_ino}"
            else:
                found[name] = os.readlink(f"/proc/self/ns/{name}")
        except OSError:
            continue
    return found


@contextmanager
def applied(score: int | None) -> Iterator[None]:
    """Have that oom_score_adj during a spawn: a child has its parent's (proc(5)).

    A process that may not lower it that far gets the lowest that is allowed: the desktop's sessions have 200, those of ssh none, and
    no user can do anything about it.
    """
    if score is None:
        yield
        return
    with open(_OOM_SCORE, "r+b", buffering=0) as file:
        before = int(file.read())
        _write(file, score, before)
        try:
            yield
        finally:
            file.write(b"%d" % before)


def be_ordinary() -> None:
    """Be no more in danger of being ended for want of memory than any other process. As far as the kernel lets us."""
    with contextlib.suppress(OSError), open(_OOM_SCORE, "r+b", buffering=0) as file:
        before = int(file.read())
        if before > 0:
            _write(file, 0, before)


def _write(file: IO[bytes], score: int, before: int) -> None:
    for each in range(score, before, _STEP) if score < before else (score,):
        try:
            file.write(b"%d" % each)
        except PermissionError:
            continue
        return
