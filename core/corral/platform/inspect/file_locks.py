"""File locks: who waits for which, and who holds it, from /proc/locks (proc_locks(5)).

A waiting line has `->` and the number of the lock that it waits for. The pid of a flock(2) lock is that of the process
that took it, which may have ended while a child that inherited the descriptor keeps it; an open file description lock
has no pid at all (-1). Both are found by the `lock:` lines of /proc/PID/fdinfo. The link in /proc/PID/fd tells the path
of a locked file as it is now, with ` (deleted)` behind it once nothing leads to it any more.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from corral.platform.host.procfs import read_all, read_file, read_stat
from corral.platform.inspect.open_files import End, descriptors_of, ends_of

_PENDING = 0x40000000
_GENERATIONS = 8

_KINDS = {
    "FLOCK": "flock",
    "POSIX": "fcntl",
    "OFDLCK": "fcntl, open file description",
    "LEASE": "lease",
    "ACCESS": "mandatory",
}


class HeldLock(NamedTuple):
    """One lock, and who waits for it. `file` is `major:minor:inode` as the kernel writes it."""

    kind: str
    access: str
    """`READ` or `WRITE`."""
    pid: int
    file: str
    waiters: tuple[int, ...] = ()
    first: int = 0
    last: int | None = None
    """The bytes that it covers; None: to the end of the file, however long it grows."""

    def covers(self, first: int, last: int) -> bool:
        """Whether it takes in any byte of these."""
        return self.first <= last and (self.last is None or self.last >= first)


def parse_locks(text: str) -> list[HeldLock]:
    """The locks of /proc/locks. Lines of a form that is not known are left out."""
    held: dict[str, HeldLock] = {}
    for line in text.splitlines():
        fields = line.split()
        if len(fields) < 6:
            continue
        number, rest = fields[0], fields[1:]
        waits = rest[0] == "->"
        kind, _, access, pid, file, *extent = rest[1:] if waits else rest
        if not pid.lstrip("-").isdigit():
            continue
        if not waits:
            first, last = (_position(extent[0]) or 0, _position(extent[1])) if len(extent) > 1 else (0, None)
            held[number] = HeldLock(_KINDS.get(kind, kind.lower()), access, int(pid), file, (), first, last)
        elif number in held:
            lock = held[number]
            held[number] = lock._replace(waiters=(*lock.waiters, int(pid)))
    return list(held.values())


def _position(text: str) -> int | None:
    return int(text) if text.isdecimal() else None


def locks_on(path: str) -> list[HeldLock]:
    """The locks on one file; empty where there is none, or the kernel does not tell."""
    try:
        found = os.stat(path)
    except OSError:
        return []
    device, inode = found.st_dev, str(found.st_ino)
    name = f"{os.major(device):02x}:{os.minor(device):02x}:{inode}"
    same = [lock for lock in read_locks() if lock.file.rpartition(":")[2] == inode]
    # Some file systems (btrfs, overlayfs) show another device to stat(2) than to the kernel's list.
    return [lock for lock in same if lock.file == name] or same


def read_locks() -> list[HeldLock]:
    """Every lock of the machine; empty where the kernel does not tell."""
    text = read_all("/proc/locks")
    return parse_locks(text.decode("ascii", "replace")) if text else []


def in_the_way(pid: int, inode: int | None, device: int | None, locks: Iterable[HeldLock]) -> HeldLock | None:
    """Somebody else's lock on a file that keeps `pid` from what it wants of it, as far as that can be told without its call.

    One to write keeps everybody off. One to read keeps off who wants to write; of sqlite a lock of its own on one certain
    byte tells that it does (PENDING_BYTE in os.h of its source).
    """
    same = [lock for lock in locks if lock.file.rpartition(":")[2] == str(inode)]
    if device is not None:
        name = f"{os.major(device):02x}:{os.minor(device):02x}:{inode}"
        same = [lock for lock in same if lock.file == name] or same
    writes = any(
        lock.pid == pid and lock.access == "WRITE" and lock.covers(_PENDING, _PENDING) for lock in same
    )
    others = [lock for lock in same if lock.pid != pid and (lock.access == "WRITE" or writes)]
    return min(others, key=lambda lock: lock.access != "WRITE", default=None)


def has_by_inheritance(pid: int, fd: int, link: str, lock: HeldLock) -> bool:
    """Whether a descriptor came from who holds the lock, and so tells no wish for it: `flock FILE make` passes it on.

    flock(2) is then held on it as well. A record lock is not (fork(2)), but an ancestor has the file open by the same number.
    """
    if lock.kind != "fcntl":
        return _is_held_on(pid, fd, lock.file)
    for _ in range(_GENERATIONS):
        stat = read_stat(pid)
        if stat is None or stat.ppid <= 1:
            return False
        pid = stat.ppid
        if pid == lock.pid:
            return any(end.fd == fd for end in ends_of(link, [pid]))
    return False


def awaited_by(pid: int, locks: Iterable[HeldLock]) -> HeldLock | None:
    """The lock that a process waits for."""
    return next((lock for lock in locks if pid in lock.waiters), None)


def holders_by_descriptor(lock: HeldLock, ends: Iterable[End]) -> list[int]:
    """The processes with a descriptor on which that lock is held: the truth for flock(2), whose taker may have ended."""
    return list(dict.fromkeys(end.pid for end in ends if _is_held_on(end.pid, end.fd, lock.file)))


def _is_held_on(pid: int, fd: int, file: str) -> bool:
    text = read_file(f"/proc/{pid}/fdinfo/{fd}")
    if not text or b"lock:" not in text:
        return False
    return any(
        file in line.split()
        for line in text.decode("ascii", "replace").splitlines()
        if line.startswith("lock:")
    )


_DELETED = " (deleted)"


class FlockHolder(NamedTuple):
    """A process of ours that holds an exclusive flock(2) on the file at `path`."""

    pid: int
    path: str
    is_deleted: bool
    """Nothing leads to that file any more; `path` is where it was."""

    @property
    def folder(self) -> str:
        return os.path.dirname(self.path)


def flock_holders(name: str) -> list[FlockHolder]:
    """All of them, for files called `name`; none where the kernel does not tell."""
    # A process of another pid namespace has no number here, and reads 0.
    takers = {
        lock.pid for lock in read_locks() if (lock.kind, lock.access) == ("flock", "WRITE") and lock.pid > 0
    }
    return [holder for pid in sorted(takers) if _is_ours(pid) for holder in _held_by(pid, name)]


def _is_ours(pid: int) -> bool:
    try:
        return os.stat(f"/proc/{pid}").st_uid == os.geteuid()
    except OSError:
        return False


def _held_by(pid: int, name: str) -> Iterator[FlockHolder]:
    for descriptor, link in descriptors_of(pid):
        path = link.removesuffix(_DELETED)
        if os.path.basename(path) == name and b"FLOCK" in (
            read_file(f"/proc/{pid}/fdinfo/{descriptor}") or b""
        ):
            yield FlockHolder(pid, path, path != link)
