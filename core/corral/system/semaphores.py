"""The semaphores of System V (semop(2)): what one stands at, and who changed it last (semctl(2))."""

from __future__ import annotations

import ctypes
import struct
from typing import NamedTuple

from corral.system.processmemory import read_memory

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
