"""Who holds a lock on a file of a certain name, also where that file was removed meanwhile.

/proc/locks (proc_locks(5)) tells who took each flock(2); the link in /proc/PID/fd tells the path of the file as it is now,
with ` (deleted)` behind it once nothing leads to it any more.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import NamedTuple

from corral.system.procfs import read_all, read_file

_DELETED = " (deleted)"


class Holder(NamedTuple):
    """A process of ours that holds an exclusive flock(2) on the file at `path`."""

    pid: int
    path: str
    is_deleted: bool
    """Nothing leads to that file any more; `path` is where it was."""

    @property
    def folder(self) -> str:
        return os.path.dirname(self.path)


def holders(name: str) -> list[Holder]:
    """All of them, for files called `name`; none where the kernel does not tell."""
    return [holder for pid in _takers() for holder in _held_by(pid, name)]


def _takers() -> list[int]:
    """Who took an exclusive lock by flock(2) and lives. One of another pid namespace has no number here, and reads 0."""
    lines = (read_all("/proc/locks") or b"").decode("ascii", "replace").splitlines()
    fields = (line.split() for line in lines)
    pids = {
        int(one[4])
        for one in fields
        if one[1:2] == ["FLOCK"] and one[3:4] == ["WRITE"] and one[4].isdecimal()
    }
    return sorted(pid for pid in pids if pid > 0 and _is_ours(pid))


def _is_ours(pid: int) -> bool:
    try:
        return os.stat(f"/proc/{pid}").st_uid == os.geteuid()
    except OSError:
        return False


def _held_by(pid: int, name: str) -> Iterator[Holder]:
    folder = f"/proc/{pid}/fd"
    try:
        descriptors = os.listdir(folder)
    except OSError:
        return  # ended meanwhile, or not ours to look into
    for descriptor in descriptors:
        try:
            link = os.readlink(f"{folder}/{descriptor}")
        except OSError:
            continue
        path = link.removesuffix(_DELETED)
        if os.path.basename(path) == name and b"FLOCK" in (
            read_file(f"/proc/{pid}/fdinfo/{descriptor}") or b""
        ):
            yield Holder(pid, path, path != link)
