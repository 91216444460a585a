"""System calls by number, as /proc/PID/syscall shows them (proc(5)).

The numbers are those of arch/x86/entry/syscalls/syscall_64.tbl and, for aarch64, include/uapi/asm-generic/unistd.h. Only
calls that can block are listed.
"""

from __future__ import annotations

import os
import sys
from typing import Literal, NamedTuple

_X86_64 = {
    0: "read", 1: "write", 2: "open", 7: "poll", 16: "ioctl", 17: "pread64", 18: "pwrite64", 19: "readv",
    20: "writev", 23: "select", 34: "pause", 35: "nanosleep", 40: "sendfile", 42: "connect", 43: "accept",
    44: "sendto", 45: "recvfrom", 46: "sendmsg", 47: "recvmsg", 56: "clone", 57: "fork", 58: "vfork",
    59: "execve", 61: "wait4", 65: "semop", 69: "msgsnd", 70: "msgrcv", 72: "fcntl", 73: "flock",
    74: "fsync", 75: "fdatasync", 128: "rt_sigtimedwait", 130: "rt_sigsuspend", 162: "sync", 202: "futex",
    208: "io_getevents", 219: "restart_syscall", 220: "semtimedop", 230: "clock_nanosleep", 232: "epoll_wait",
    243: "mq_timedreceive", 247: "waitid", 257: "openat", 270: "pselect6", 271: "ppoll", 275: "splice",
    276: "tee", 278: "vmsplice", 281: "epoll_pwait", 288: "accept4", 295: "preadv", 296: "pwritev",
    299: "recvmmsg", 307: "sendmmsg", 326: "copy_file_range", 327: "preadv2", 328: "pwritev2",
    426: "io_uring_enter", 435: "clone3", 437: "openat2", 441: "epoll_pwait2", 449: "futex_waitv",
}  # fmt: skip
_AARCH64 = {
    4: "io_getevents", 22: "epoll_pwait", 25: "fcntl", 29: "ioctl", 32: "flock", 56: "openat", 63: "read",
    64: "write", 65: "readv", 66: "writev", 67: "pread64", 68: "pwrite64", 69: "preadv", 70: "pwritev",
    71: "sendfile", 72: "pselect6", 73: "ppoll", 75: "vmsplice", 76: "splice", 77: "tee", 81: "sync",
    82: "fsync", 83: "fdatasync", 95: "waitid", 98: "futex", 101: "nanosleep", 115: "clock_nanosleep",
    128: "restart_syscall", 133: "rt_sigsuspend", 137: "rt_sigtimedwait", 183: "mq_timedreceive",
    188: "msgrcv", 189: "msgsnd", 192: "semtimedop", 193: "semop", 202: "accept", 203: "connect",
    206: "sendto", 207: "recvfrom", 211: "sendmsg", 212: "recvmsg", 220: "clone", 221: "execve",
    242: "accept4", 243: "recvmmsg", 260: "wait4", 269: "sendmmsg", 285: "copy_file_range", 286: "preadv2",
    287: "pwritev2", 426: "io_uring_enter", 435: "clone3", 437: "openat2", 441: "epoll_pwait2",
    449: "futex_waitv",
}  # fmt: skip
_TABLES = {"x86_64": _X86_64, "aarch64": _AARCH64, "arm64": _AARCH64}
_TABLE = _TABLES.get(os.uname().machine, {}) if sys.platform == "linux" else {}


class Call(NamedTuple):
    """A system call that a process is blocked in. `arguments` are the six registers, unsigned."""

    number: int
    arguments: tuple[int, ...]
    stack_pointer: int

    @property
    def name(self) -> str | None:
        """Its name; None for an unlisted number, another architecture, or a 32-bit process, whose numbers differ.

        The file does not say which table a number belongs to, but the stack of a 32-bit process lies below 4 GiB.
        """
        return None if self.stack_pointer < 1 << 32 else _TABLE.get(self.number)


def parse_syscall(text: bytes) -> Call | Literal["running"] | None:
    """The content of /proc/PID/syscall.

    `running` stands there for a process that is not blocked. `-1 SP PC` is one blocked outside any call, as in a page
    fault; it yields None, as does text of any other form.
    """
    fields = text.split()
    if fields == [b"running"]:
        return "running"
    if len(fields) != 9:
        return None
    try:
        values = tuple(int(field, 16) for field in fields[1:])
        return Call(int(fields[0]), values[:6], values[6])
    except ValueError:
        return None


def signed(register: int, bits: int = 32) -> int:
    """A register read as a C int of that many bits: a timeout of -1 or a pid."""
    low = register & ((1 << bits) - 1)
    return low - (1 << bits) if low >> (bits - 1) else low
