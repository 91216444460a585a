"""Giving large pieces of memory back to the system when they are no longer used."""

from __future__ import annotations

import ctypes
import gc
import sys

_M_MMAP_THRESHOLD = -3
_THRESHOLD = 128 << 10


def return_freed_memory() -> None:
    """Let the C library map each large piece apart, so that freeing it gives it back to the system.

    By itself glibc raises the size from which it does so with every large piece that was freed, up to 32 MB (mallopt(3)):
    a daemon that once held long answers for many clients would keep their memory for ever. Other libraries have no
    such call, and no such threshold.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _THRESHOLD)


def collect_garbage() -> None:
    """Look for garbage now, and give back what the C library keeps of it (malloc_trim(3))."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)
