"""The lock on `daemon.lock` that a daemon holds as long as it runs."""

from __future__ import annotations

import fcntl
import os

from corral.home.identity import displaced_daemon
from corral.model.home import Home


def take_lock(home: Home) -> int | None:
    """The lock; None if another daemon has it."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(home.daemon_lock, flags, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def take_first_lock(home: Home) -> int | None:
    """The lock, for a daemon that starts. None also if a running daemon has lost its lock file or home.

    That one has the jobs, and is about to take this lock itself.
    """
    descriptor = take_lock(home)
    if descriptor is not None and displaced_daemon(home) is not None:
        os.close(descriptor)
        return None
    return descriptor
