"""pidfds: a handle on one process that a reused pid cannot fool, readable once the process has ended."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import struct
import sys
from functools import cache

from corral.platform.files.descriptors import is_scarce, move_high

HAS_PIDFD = sys.platform == "linux" and hasattr(os, "pidfd_open")


@cache
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
    """A pidfd (close-on-exec by itself), or None where no such process exists. Raises OSError else, such as EMFILE."""
    try:
        return os.pidfd_open(pid)
    except OSError as error:
        if error.errno in (errno.ESRCH, errno.EINVAL):
            return None
        raise


def open_pidfd_if_possible(pid: int) -> int | None:
    """A pidfd to wait on, or None where there is none to be had: then the process is polled."""
    if not is_supported():
        return None
    try:
        return open_pidfd(pid)
    except OSError:
        return None


def open_pidfd_to_keep(pid: int, most: float = 1.0) -> int | None:
    """The same for long, out of the way of those that a spawn needs. None also where more than this share of all
    descriptors that we may have is in use."""
    pidfd = open_pidfd_if_possible(pid)
    if pidfd is None:
        return None
    pidfd = move_high(pidfd)
    if not is_scarce(pidfd, most):
        return pidfd
    os.close(pidfd)
    return None


def send_signal(pidfd: int, number: int) -> bool:
    """Send; False where the process has ended."""
    try:
        signal.pidfd_send_signal(pidfd, number)
    except ProcessLookupError:
        return False
    return True


_PIDFD_GET_INFO = 0xC040FF0B
"""_IOWR(0xFF, 11, struct pidfd_info) with the struct of 64 bytes of its first version (linux/pidfd.h)."""
_PIDFD_INFO_EXIT = 1 << 3
_INFO_SIZE = 64


def wait_status_of_reaped(pidfd: int) -> int | None:
    """The wait status of a process that somebody else has reaped; None where the kernel does not tell.

    PIDFD_INFO_EXIT, Linux 6.15: known for as long as the pidfd is open, once the process has been reaped.
    """
    if sys.platform != "linux":
        return None
    info = bytearray(_INFO_SIZE)
    struct.pack_into("=Q", info, 0, _PIDFD_INFO_EXIT)
    try:
        fcntl.ioctl(pidfd, _PIDFD_GET_INFO, info)
    except OSError:
        # ENOTTY before 6.13; ESRCH before 6.15; EINVAL where the struct is another.
        return None
    mask, exit_code = struct.unpack_from("=Q", info, 0)[0], struct.unpack_from("=i", info, 60)[0]
    return int(exit_code) if mask & _PIDFD_INFO_EXIT else None
