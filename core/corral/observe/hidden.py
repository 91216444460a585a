"""What can be told of a wait whose system call may not be read: what follows from all else, and why the rest is not known."""

from __future__ import annotations

from corral.system.filelocks import awaited_by, read_locks
from corral.system.openfiles import FileKind, OpenFile, descriptors_of, modes, open_file
from corral.system.permission import why_hidden
from corral.values.reports import WaitKind

MOST_DESCRIPTORS = 256
_MEANT: dict[WaitKind, tuple[FileKind, ...]] = {
    "pipe_read": ("pipe", "fifo"),
    "pipe_write": ("pipe", "fifo"),
    "tty_input": ("terminal",),
    "socket_read": ("socket",),
    "socket_write": ("socket",),
    "socket_connect": ("socket",),
}


def only_file(pid: int, kind: WaitKind) -> OpenFile | None:
    """The one file that a wait of that kind can be for, since the process has no other one of that kind open.

    None where it has several, or where its descriptors may not be looked at.
    """
    meant = _MEANT.get(kind)
    if meant is None:
        return None
    found: dict[object, OpenFile] = {}
    for count, (fd, _) in enumerate(descriptors_of(pid)):
        if count >= MOST_DESCRIPTORS:
            return None
        file = open_file(pid, fd)
        if file is None or file.kind not in meant:
            continue
        reads, writes = modes(pid, fd)
        if (writes if kind == "pipe_write" else reads) or file.kind == "socket":
            found.setdefault(file.key, file)
    return next(iter(found.values())) if len(found) == 1 else None


def lock_awaited(pid: int) -> str | None:
    """The kind of lock that it waits for, by /proc/locks, which shows everybody's."""
    lock = awaited_by(pid, read_locks())
    return None if lock is None else lock.kind


def reason(pid: int, wchan: str | None) -> str:
    """Why less is known of a wait than there is to know; `wchan` is what is known."""
    where = f"; it sleeps in the kernel function {wchan}" if wchan else ""
    return f"{why_hidden(pid)}{where}"
