"""Settings of this process by prctl(2), Linux only: its end with its parent, and orphans that become its children.

A stand-in runs this too (`corral.platform.spawn.stand_in`), so it imports nothing but the standard library.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36


def end_with_parent(number: int) -> bool:
    """Have the kernel send us that signal when the thread that started us ends; False where it does not know how.

    Where the parent has gone before we asked, the signal comes at once.
    """
    parent = os.getppid()
    if not _ask_for(int(number)):
        return False
    if os.getppid() != parent:
        signal.raise_signal(number)
    return True


def outlive_parent() -> None:
    """Take that back. Else it would go on through execve(2)."""
    _ask_for(0)


def _ask_for(number: int) -> bool:
    if not sys.platform.startswith("linux"):
        return False
    return bool(ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0) == 0)


def become_subreaper() -> bool:
    """Whether orphans will come to this process from now on."""
    if sys.platform != "linux":
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    return bool(libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0)
