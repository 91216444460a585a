"""Resets the personality and the internal signals that a process inherits, for which Python has no name."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys

_RT_SIGACTION = {"x86_64": 13, "aarch64": 134}
"""By number, since sigaction(3) refuses these two."""
_INTERNAL_SIGNALS = (32, 33)
"""Of the C library (nptl(7)). Its posix_spawn(3) leaves the first ignored in what it starts."""
_SIG_IGN = 1
_DEFAULT_CORE_FILTER = b"0x33"
"""core(5)."""


def reset_internal_signals() -> None:
    """Where one is ignored, its default again: what we start would ignore it, too."""
    call = _RT_SIGACTION.get(os.uname().machine) if sys.platform == "linux" else None
    if call is None:
        return
    libc = ctypes.CDLL(None)
    size = ctypes.c_size_t(8)  # of a set of signals
    for number in _INTERNAL_SIGNALS:
        action = (ctypes.c_ulong * 4)()  # handler, flags, restorer, mask
        if libc.syscall(call, number, None, action, size) == 0 and action[0] == _SIG_IGN:
            libc.syscall(call, number, (ctypes.c_ulong * 4)(), None, size)


def reset_personality() -> None:
    """Take off setarch(8), and a filter on what goes into core dumps."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).personality(0)
    with contextlib.suppress(OSError), open("/proc/self/coredump_filter", "wb") as file:
        file.write(_DEFAULT_CORE_FILTER)
