"""File systems as a process sees them, and which program serves one (proc_pid_mountinfo(5), fuse(4)).

Everything is read from the kernel's tables: a process that touches a file system that does not answer waits with it.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple

from corral.platform.host.procfs import read_all, read_file
from corral.platform.inspect.open_files import absolute, descriptors_of
from corral.platform.inspect.process_memory import read_path
from corral.platform.inspect.syscalls import signed

_ESCAPED = re.compile(r"\\([0-7]{3})")
_LOWEST_ADDRESS = 1 << 22
"""Where the oldest layout of programs begins; no process has so many descriptors open."""
_HIGHEST_INT = 0x80000000


class Mount(NamedTuple):
    """`kind` is `ext4`, `fuse.sshfs`; `source` what it shows; `device` the minor number, which FUSE names its lines by."""

    point: str
    kind: str
    source: str
    device: int

    @property
    def is_fuse(self) -> bool:
        return self.kind.partition(".")[0] in ("fuse", "fuseblk")


def mounts_of(pid: int) -> list[Mount]:
    """The table of a process, later mounts last; empty where it may not be read."""
    return _all_parsed(read_all(f"/proc/{pid}/mountinfo") or b"")


@lru_cache(maxsize=8)
def _all_parsed(table: bytes) -> list[Mount]:
    """Many processes that hang have the same one, of a thousand lines where there are containers."""
    lines = table.decode("utf-8", "surrogateescape").splitlines()
    return [mount for line in lines if (mount := _parsed(line)) is not None]


def _parsed(line: str) -> Mount | None:
    fields, _, rest = line.partition(" - ")
    first, last = fields.split(" "), rest.split(" ")
    if len(first) < 5 or len(last) < 2:
        return None
    minor = first[2].partition(":")[2]
    return Mount(_plain(first[4]), last[0], _plain(last[1]), int(minor) if minor.isdecimal() else -1)


def _plain(text: str) -> str:
    return _ESCAPED.sub(lambda found: chr(int(found[1], 8)), text)


def mount_at(path: str, mounts: Iterable[Mount]) -> Mount | None:
    """The one that an absolute path without symlinks lies on."""
    above = [one for one in mounts if path == one.point or path.startswith(one.point.rstrip("/") + "/")]
    return max(reversed(above), key=lambda one: len(one.point), default=None)


def mount_in_call(pid: int, arguments: tuple[int, ...], *, is_fuse: bool = False) -> Mount | None:
    """The file system that a blocked call is about: by its descriptor, its path, or where it is the only one that can be.

    Most calls that touch files begin with a descriptor, a path, or a directory and a path.
    """
    mounts = mounts_of(pid)
    wanted = [one for one in mounts if one.is_fuse or not is_fuse]
    for path in _paths(pid, arguments):
        found = mount_at(path, mounts)
        if found in wanted:
            return found
    return wanted[0] if is_fuse and len(wanted) == 1 else None


def _paths(pid: int, arguments: tuple[int, ...]) -> Iterator[str]:
    first, second = (*arguments, 0, 0)[:2]
    if _is_address(first):
        if path := read_path(pid, first):
            yield absolute(pid, path, -1)
        return
    descriptor = signed(first)
    if descriptor >= 0:
        with contextlib.suppress(OSError):
            yield os.readlink(f"/proc/{pid}/fd/{descriptor}")
    elif _is_address(second) and (path := read_path(pid, second)):
        yield absolute(pid, path, descriptor)


def _is_address(register: int) -> bool:
    """Not a descriptor, nor AT_FDCWD, of which only the lower half counts."""
    return _LOWEST_ADDRESS <= register < _HIGHEST_INT or 1 << 32 <= register < 1 << 63


def servers_of(mount: Mount, having_fuse: Iterable[int]) -> list[int]:
    """Of the processes that have /dev/fuse open those that serve it: the kernel tells which of its lines is whose.

    `fuse_connection` is in fdinfo since Linux 6.17; before, a process that has the mount point among its arguments is taken.
    """
    pids = list(having_fuse)
    lines = {pid: _lines(pid) for pid in pids}
    told = [pid for pid in pids if mount.device in lines[pid]]
    if told or any(lines.values()):
        return told
    return [
        pid
        for pid in pids
        if os.fsencode(mount.point) in (read_file(f"/proc/{pid}/cmdline") or b"").split(b"\0")
    ]


def _lines(pid: int) -> set[int]:
    found = set()
    for fd, link in descriptors_of(pid):
        if link == "/dev/fuse":
            text = read_file(f"/proc/{pid}/fdinfo/{fd}") or b""
            found |= {
                int(line.split()[1]) for line in text.splitlines() if line.startswith(b"fuse_connection:")
            }
    return found
