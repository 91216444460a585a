"""What stands behind the descriptors of other processes, by /proc/PID/fd; nothing is opened.

The link of a descriptor names the file, and its permission bits say how it was opened (proc_pid_fd(5)): readable by
its owner means opened for reading.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

from corral.platform.files.file_kind import kind_of
from corral.platform.host.procfs import HAS_PROCFS, read_file

FileKind = Literal[
    "pipe",
    "fifo",
    "socket",
    "terminal",
    "master",
    "epoll",
    "eventfd",
    "timerfd",
    "signalfd",
    "inotify",
    "pidfd",
    "file",
    "other",
]
_ANONYMOUS: dict[str, FileKind] = {
    "anon_inode:[eventpoll]": "epoll",
    "anon_inode:[eventfd]": "eventfd",
    "anon_inode:[timerfd]": "timerfd",
    "anon_inode:[signalfd]": "signalfd",
    "anon_inode:inotify": "inotify",
    "anon_inode:[fanotify]": "inotify",
    "anon_inode:[pidfd]": "pidfd",
}
_MASTERS = ("/dev/ptmx", "/dev/pts/ptmx")
_TERMINALS = ("/dev/pts/", "/dev/tty", "/dev/console")


class OpenFile(NamedTuple):
    """One descriptor of one process.

    `name` is the path, or what stands in the link. `inode` tells pipes and sockets apart; `device` goes with it for a
    FIFO or a file.
    """

    pid: int
    fd: int
    kind: FileKind
    name: str
    inode: int | None = None
    device: int | None = None

    @property
    def key(self) -> tuple[str, int | None, int | None]:
        """Equal for two descriptors of the same pipe, FIFO, socket or file."""
        return self.kind, self.device, self.inode


def open_file(pid: int, fd: int) -> OpenFile | None:
    """What is behind a descriptor. None where it is closed, the process gone, or neither may be looked at. 5 µs."""
    path = f"/proc/{pid}/fd/{fd}"
    try:
        link = os.readlink(path)
        kind, inode = _by_link(link)
        if kind is not None:
            return OpenFile(pid, fd, kind, link, inode)
    except OSError:
        return None
    found = kind_of(path)
    if found is None:
        return None
    if stat.S_ISFIFO(found.mode):
        return OpenFile(pid, fd, "fifo", link, found.inode, found.device)
    if stat.S_ISCHR(found.mode) and link in _MASTERS:
        return OpenFile(pid, fd, "master", link, found.inode, found.device)
    if stat.S_ISCHR(found.mode) and link.startswith(_TERMINALS):
        return OpenFile(pid, fd, "terminal", link, found.inode, found.device)
    is_file = stat.S_ISREG(found.mode)
    return OpenFile(pid, fd, "file" if is_file else "other", link, found.inode, found.device)


def absolute(pid: int, path: str, folder: int) -> str:
    """A path as a process has it, made absolute; as it stands where that may not be known.

    `folder` is the descriptor of the directory that it starts at; a negative one (AT_FDCWD) means the process's own.
    """
    if path.startswith("/"):
        return path
    try:
        start = os.readlink(f"/proc/{pid}/cwd" if folder < 0 else f"/proc/{pid}/fd/{folder}")
    except OSError:
        return path
    return os.path.normpath(os.path.join(start, path))


def _by_link(link: str) -> tuple[FileKind | None, int | None]:
    """What the link alone tells: pipes, sockets and the kernel's own files have no path."""
    for prefix, kind in (("pipe:[", "pipe"), ("socket:[", "socket")):
        if link.startswith(prefix):
            return kind, int(link[len(prefix) : -1])  # type: ignore[return-value]
    return (_ANONYMOUS.get(link, "other"), None) if link.startswith("anon_inode:") else (None, None)


class End(NamedTuple):
    """One process that has a pipe, a FIFO or a socket open, and for what."""

    pid: int
    fd: int
    reads: bool
    writes: bool


def ends_of(link: str, pids: Iterable[int]) -> list[End]:
    """Which of `pids` have the thing open that is called `link` in /proc/PID/fd. About 1.5 µs a descriptor."""
    return [End(pid, fd, *modes(pid, fd)) for pid in pids for fd, name in descriptors_of(pid) if name == link]


def descriptors_of(pid: int) -> Iterator[tuple[int, str]]:
    """Number and link of each descriptor; none where the process is gone or may not be looked at."""
    if not HAS_PROCFS:
        return
    try:
        with os.scandir(f"/proc/{pid}/fd") as entries:
            for entry in entries:
                try:
                    link = os.readlink(entry.path)
                except OSError:
                    continue  # closed meanwhile
                yield int(entry.name), link
    except OSError:
        return


def feeds(pid: int, other: int) -> bool:
    """Whether `pid` has the writing end of a pipe that `other` can read. Some 5 µs a pipe."""
    fed = {link for fd, link in descriptors_of(pid) if link.startswith("pipe:[") and modes(pid, fd)[1]}
    return any(link in fed and modes(other, fd)[0] for fd, link in descriptors_of(other)) if fed else False


def modes(pid: int, fd: int) -> tuple[bool, bool]:
    """Whether a descriptor is open for reading, and for writing; neither where it is closed."""
    try:
        mode = os.lstat(f"/proc/{pid}/fd/{fd}").st_mode
    except OSError:
        return False, False
    return bool(mode & stat.S_IRUSR), bool(mode & stat.S_IWUSR)


def appended_up_to(pid: int, fd: int, inode: int) -> int:
    """Where the last write ended that appended to the file of this inode through a descriptor, whoever shares that.

    The kernel keeps it as the descriptor's position (proc_pid_fdinfo(5)) also when the file gets shorter then. 0 where
    there is no such descriptor, or nobody tells (`ino` since Linux 5.14).
    """
    text = read_file(f"/proc/{pid}/fdinfo/{fd}") or b""
    values = dict(line.split(b":", 1) for line in text.splitlines() if b":" in line)
    if int(values.get(b"flags", b"0"), 8) & os.O_APPEND and int(values.get(b"ino", b"0")) == inode:
        return int(values[b"pos"])
    return 0
