"""What a process watches, and what the kernel's own descriptors stand for, by /proc/PID/fdinfo (proc_pid_fdinfo(5))."""

from __future__ import annotations

import os
import select
import signal
from typing import NamedTuple

from corral.platform.host.procfs import read_file

_INPUT = select.EPOLLIN | select.EPOLLPRI | select.EPOLLRDNORM if hasattr(select, "EPOLLIN") else 0
_OUTPUT = select.EPOLLOUT | select.EPOLLWRNORM if hasattr(select, "EPOLLOUT") else 0
_EDGE = select.EPOLLET if hasattr(select, "EPOLLET") else 0


class PolledDescriptor(NamedTuple):
    """One descriptor, and whether it is watched for input, for room to write, or both."""

    fd: int
    reads: bool
    writes: bool

    @classmethod
    def of(cls, fd: int, events: int) -> PolledDescriptor:
        """By the bits of poll(2), which those of epoll(7) are too."""
        reads = bool(events & _INPUT)
        # Edge-triggered, both are asked for once and for all, whether there is room or not (epoll(7)).
        is_standing = reads and bool(events & _EDGE)
        return cls(fd, reads, bool(events & _OUTPUT) and not is_standing)


def watched_by_epoll(pid: int, fd: int, most: int) -> list[PolledDescriptor] | None:
    """What the epoll set behind `fd` watches; None where that cannot be read or there are more than `most`.

    What was asked for once (EPOLLONESHOT) and has come is left out.
    """
    text = read_file(f"/proc/{pid}/fdinfo/{fd}")
    if text is None or text.count(b"tfd:") > most:
        return None
    found = []
    for line in text.splitlines():
        fields = line.split()
        if len(fields) >= 4 and fields[0] == b"tfd:":
            found.append(PolledDescriptor.of(int(fields[1]), int(fields[3], 16)))
    return [one for one in found if one.reads or one.writes]


def process_of_pidfd(pid: int, fd: int) -> int | None:
    """The process that a pidfd is for, -1 where that has ended; None for what is no pidfd."""
    text = _field(pid, fd, b"Pid:")
    return None if text is None else int(text)


def terminal_of_master(pid: int, fd: int) -> str | None:
    """The terminal whose other side is the pseudoterminal master behind `fd` (pts(4))."""
    text = _field(pid, fd, b"tty-index:")
    return None if text is None else f"/dev/pts/{int(text)}"


def is_armed(pid: int, fd: int) -> bool:
    """Whether a timerfd will fire."""
    text = _field(pid, fd, b"it_value:")
    return text is not None and text.strip(b"() ").split(b", ") != [b"0", b"0"]


def hears_of_children(pid: int, fd: int) -> bool:
    """Whether a signalfd takes SIGCHLD."""
    text = _field(pid, fd, b"sigmask:")
    return text is not None and has_signal(int(text, 16), signal.SIGCHLD)


def _field(pid: int, fd: int, name: bytes) -> bytes | None:
    for line in (read_file(f"/proc/{pid}/fdinfo/{fd}") or b"").splitlines():
        if line.startswith(name):
            return line[len(name) :].strip()
    return None


def has_signal(mask: int, number: int) -> bool:
    """Whether a signal is in a mask as the kernel writes it."""
    return bool(mask >> (number - 1) & 1)


def catches_end_of_child(pid: int) -> bool:
    """Whether it has a handler for SIGCHLD that may run now (SigCgt and SigBlk of /proc/PID/status)."""
    masks = {}
    for line in (read_file(f"/proc/{pid}/status") or b"").splitlines():
        key, _, value = line.partition(b":")
        if key in (b"SigCgt", b"SigBlk"):
            masks[key] = has_signal(int(value, 16), signal.SIGCHLD)
    return masks == {b"SigCgt": True, b"SigBlk": False}


def children_of(pid: int) -> list[int]:
    """The children of all its threads; none where the kernel keeps no such list (CONFIG_PROC_CHILDREN)."""
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return []
    lists = (read_file(f"/proc/{pid}/task/{thread}/children") or b"" for thread in threads[:64])
    return [int(child) for text in lists for child in text.split()]
