"""Holes at the head of a file: its oldest bytes go back to the file system, the others keep their offsets.

fallocate(2) with FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE (Linux 2.6.38; ext4, XFS, Btrfs, tmpfs, ZFS, NFS 4.2). It
needs no room, a full disk included, and nothing of who writes to the file. A hole reads as NULs.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from collections.abc import Callable
from functools import cache

BLOCK = 4096
"""Whole blocks are given back; what is punched of a block in part is only set to zero."""

_KEEP_SIZE = 0x01
_PUNCH_HOLE = 0x02
# uapi/linux/falloc.h

_REFUSALS = frozenset(
    {
        errno.EOPNOTSUPP,
        errno.ENOSYS,
        errno.EPERM,
        errno.ENODEV,
        errno.EINVAL,
        errno.EFBIG,
        errno.EBADF,
        errno.ETXTBSY,
    }
)


def is_refusal(error: OSError) -> bool:
    """Whether the call was refused before it did anything, and will be again: the file system, the file's attributes."""
    return error.errno in _REFUSALS


def punch(descriptor: int, start: int, end: int) -> None:
    """Give back the bytes from `start` to before `end` of a file open for writing. Its size stays.

    It takes the inode's lock, as write(2) does: behind a write of a gigabyte it waited 2.5 s. Does nothing for an
    empty range. ctypes lets go of the interpreter meanwhile.

    Raises:
        OSError: EOPNOTSUPP where the system or this file system cannot; EPERM for a file that may only grow
            (chattr(1) +a); as fallocate(2) says. Of what is no refusal a part may have been done.
    """
    if end <= start:
        return
    call = _fallocate()
    if call is None:
        raise OSError(errno.EOPNOTSUPP, "this system cannot drop the head of a file")
    if call(descriptor, _PUNCH_HOLE | _KEEP_SIZE, start, end - start) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def reserve(descriptor: int, start: int, length: int) -> bool:
    """Have blocks there for so many bytes, such as beyond the end of the file, and leave its size as it is. Whether that succeeded.

    Waits as `punch` does.
    """
    call = _fallocate()
    return call is not None and call(descriptor, _KEEP_SIZE, start, length) == 0


@cache
def _fallocate() -> Callable[[int, int, int, int], int] | None:
    """The C library's function; None where there is none."""
    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(None, use_errno=True)
    # Where off_t has 32 bits only fallocate64 takes 64; musl has but the one, which does.
    function = getattr(library, "fallocate64", None) or getattr(library, "fallocate", None)
    if function is None:
        return None
    function.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    function.restype = ctypes.c_int

    def call(descriptor: int, mode: int, start: int, length: int) -> int:
        return int(function(descriptor, mode, start, length))

    return call
