"""What can be told of a wait that cannot be read: its system call is hidden, or the system has no /proc.

What follows from all else is told, and why the rest is not known.
"""

from __future__ import annotations

import psutil

from corral.model.reports import WaitKind
from corral.platform.inspect.file_locks import awaited_by, read_locks
from corral.platform.inspect.open_files import FileKind, OpenFile, descriptors_of, modes, open_file
from corral.platform.inspect.ptrace_access import why_hidden

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


REASON = "this system does not tell what a process waits for (it has no /proc)"
MOST_NAMED = 2


def sleeping(pid: int) -> str:
    """What is known of a process that sleeps, to complete a sentence that begins with its name."""
    known = _connections(pid)
    unseen = "sleeps; what it waits for cannot be seen"
    return unseen if not known else f"{unseen}; it {' and '.join(known)}"


def _connections(pid: int) -> list[str]:
    try:
        found = psutil.Process(pid).net_connections(kind="inet")
    except (psutil.Error, OSError):
        return []
    listening = [one for one in found if one.status == psutil.CONN_LISTEN]
    connected = [one for one in found if one.raddr]
    words = [f"listens at {_address(one.laddr)}" for one in listening[:MOST_NAMED]]
    words += [
        f"is connected to {_address(one.raddr)} ({one.status.lower()})" for one in connected[:MOST_NAMED]
    ]
    more = len(listening) + len(connected) - len(words)
    return words + ([f"has {more} connections more"] if more else [])


def _address(address: tuple[str, int] | tuple[()]) -> str:
    if not address:
        return "an unknown address"
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
