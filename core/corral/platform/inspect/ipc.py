"""Interprocess communication seen from outside: System V semaphores (semop(2)), and memory that processes share."""

from __future__ import annotations

import ctypes
import struct
from typing import NamedTuple

from corral.platform.host.procfs import read_all
from corral.platform.inspect.process_memory import read_memory

_GETPID, _GETVAL = 11, 12
"""linux/sem.h."""


class SemaphoreState(NamedTuple):
    """`last_pid` did the last semop(2) that went through; 0 where there was none."""

    value: int
    last_pid: int


def semaphore_awaited(pid: int, arguments: tuple[int, ...]) -> tuple[int, int] | None:
    """The set and the number in it of the first operation of a blocked semop(2)."""
    raw = read_memory(pid, arguments[1], 6)
    if raw is None or len(raw) < 6:
        return None
    place, _, _ = struct.unpack("=Hhh", raw)
    return arguments[0] & 0x7FFFFFFF, place


def semaphore_state(number: int, place: int) -> SemaphoreState | None:
    """None where there is no such one, or it may not be read."""
    try:
        semctl = ctypes.CDLL(None).semctl
    except AttributeError:
        return None
    value, last = semctl(number, place, _GETVAL), semctl(number, place, _GETPID)
    return None if value < 0 or last < 0 else SemaphoreState(value, last)


class SharedMemory(NamedTuple):
    """`device` is `major:minor` in hexadecimal digits. `path` is None for memory without a name."""

    device: str
    inode: int
    path: str | None = None


def shared_memory(pid: int, address: int) -> SharedMemory | None:
    """The shared mapping at `address`; None where that is private memory, or may not be looked at."""
    for line in (read_all(f"/proc/{pid}/maps") or b"").splitlines():
        fields = line.split(maxsplit=5)
        first, _, last = fields[0].partition(b"-")
        if int(first, 16) <= address < int(last, 16):
            return _shared(fields)
    return None


def _shared(fields: list[bytes]) -> SharedMemory | None:
    if fields[1][3:4] != b"s":
        return None
    path = fields[5].decode("utf-8", "replace") if len(fields) > 5 else None
    # Memory that was never given a name is a deleted /dev/zero (mm/shmem.c).
    has_name = path is not None and not path.startswith("/dev/zero")
    return SharedMemory(fields[3].decode(), int(fields[4]), path if has_name else None)


def shares(pid: int, memory: SharedMemory) -> bool:
    """Whether `pid` has it mapped, too."""
    wanted = f" {memory.device} {memory.inode} ".encode()
    text = read_all(f"/proc/{pid}/maps") or b""
    return wanted in text or wanted.rstrip() + b"\n" in text
