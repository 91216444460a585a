"""How much room a file system has left for us (statvfs(3))."""

from __future__ import annotations

import os

_LEAST = 32 << 10
"""A few blocks that nobody gets: file systems keep some back, and who writes whole blocks leaves what is less than one."""


def free_bytes(path: str) -> int | None:
    """What can still be written where `path` is, as far as its file system tells; a quota is not seen. None: unknown."""
    try:
        found = os.statvfs(path)
    except OSError:
        return None
    # What is reserved for root (mke2fs(8), -m) is there for root. Some file systems have no size at all.
    free = found.f_bavail if os.geteuid() else found.f_bfree
    return free * found.f_frsize if found.f_blocks else None


def is_full(path: str) -> bool:
    """Whether nothing more can be written where `path` is, as far as is known."""
    free = free_bytes(path)
    return free is not None and free < _LEAST
