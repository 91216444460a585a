"""Reading the memory of a process that is blocked: the path it opens, the descriptors it polls, the owner of a lock.

/proc/PID/mem needs the same right as ptrace(2): one's own descendants under the usual ptrace_scope of 1, else root.
"""

from __future__ import annotations

import os
import struct
import sys

from corral.platform.inspect.fdinfo import PolledDescriptor

_LONGEST_PATH = 4096
_FUTEX_TID_MASK = 0x3FFFFFFF


def read_memory(pid: int, address: int, size: int) -> bytes | None:
    """`size` bytes at `address`, fewer at the end of a mapping; None where that may not be read."""
    if not address:
        return None
    try:
        descriptor = os.open(f"/proc/{pid}/mem", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return os.pread(descriptor, size, address)
    except (OSError, OverflowError):
        # EIO: nothing is mapped there any more.
        return None
    finally:
        os.close(descriptor)


def read_path(pid: int, address: int) -> str | None:
    """The string that ends in NUL at `address`."""
    raw = b""
    while len(raw) < _LONGEST_PATH:
        # A string may end just before a page that is not mapped.
        piece = read_memory(pid, address + len(raw), 256 - (address + len(raw)) % 256)
        if not piece:
            break
        raw += piece
        if b"\0" in piece:
            return os.fsdecode(raw[: raw.index(b"\0")])
    return None


def read_pollfds(pid: int, address: int, count: int) -> list[PolledDescriptor] | None:
    """The descriptors of an array of `struct pollfd` (poll(2)), each once, and without those that are watched for nothing.

    Negative ones are left out, and of 0 events only the end is told: that is waited for where there is nothing else.
    """
    raw = read_memory(pid, address, 8 * count)
    if raw is None or len(raw) < 8 * count:
        return None
    wanted: dict[int, int] = {}
    for fd, events, _ in struct.iter_unpack("=iHH", raw):
        if fd >= 0:
            wanted[fd] = wanted.get(fd, 0) | events
    watched = [PolledDescriptor.of(fd, events) for fd, events in wanted.items()]
    return [one for one in watched if one.reads or one.writes] or watched


def read_fd_set(pid: int, address: int, count: int) -> list[int] | None:
    """The descriptors below `count` in an `fd_set` (select(2)); none for a null pointer."""
    if not address:
        return []
    size = (count + 7) // 8
    raw = read_memory(pid, address, size)
    if raw is None or len(raw) < size:
        return None
    return [fd for fd in range(count) if raw[fd // 8] >> fd % 8 & 1]


def owner_of_mutex(pid: int, address: int) -> int | None:
    """The thread that holds the glibc mutex whose lock word is at `address`; None for what is no such mutex.

    `struct __pthread_mutex_s` begins with the lock word, a count and the thread id of the owner (sysdeps/nptl).
    """
    raw = read_memory(pid, address, 12)
    if raw is None or len(raw) < 12:
        return None
    word, _, owner = struct.unpack("=iii", raw)
    # 1 is locked, 2 locked with waiters.
    # 1 is locked, 2 locked with waiters; of a robust one the word is the owner and a bit for waiters (futex(2)).
    is_held = word in (1, 2) or word & _FUTEX_TID_MASK == owner
    return owner if is_held and owner > 0 else None


def read_mask(pid: int, address: int) -> int | None:
    """A set of signals (sigset_t of the kernel, 64 bits)."""
    raw = read_memory(pid, address, 8)
    return int.from_bytes(raw, sys.byteorder) if raw is not None and len(raw) == 8 else None
