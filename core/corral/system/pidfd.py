"""pidfds: a handle on one process that a reused pid cannot fool, readable once the process has ended."""

from __future__ import annotations

import errno
import os
import signal
import sys

HAS_PIDFD = sys.platform == "linux" and hasattr(os, "pidfd_open")


def is_supported() -> bool:
    """Whether the kernel has pidfd_open (Linux 5.3) and lets us call it: some sandboxes do not."""
    if not HAS_PIDFD:
        return False
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError:
        return False
    return True


def open_pidfd(pid: int) -> int | None:
    """A pidfd (close-on-exec by itself), or None where no such process exists."""
    try:
        return os.pidfd_open(pid)
    except OSError as error:
        if error.errno in (errno.ESRCH, errno.EINVAL):
            return None
        raise


def send_signal(pidfd: int, number: int) -> bool:
    """Send; False where the process has ended."""
    try:
        signal.pidfd_send_signal(pidfd, number)
    except ProcessLookupError:
        return False
    return True
