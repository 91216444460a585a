"""What kind of file something is, asked without waiting for a file system that does not answer.

stat(2) of a file on a dead network file system, or of one whose program hangs (FUSE), waits as whoever reads it does. With
AT_STATX_DONT_SYNC, statx(2) tells what the kernel knows already.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

_AT_FDCWD = -100
_AT_NO_AUTOMOUNT = 0x800
_AT_STATX_DONT_SYNC = 0x4000
_STATX_TYPE, _STATX_INO = 0x1, 0x100
_SIZE = 256
"""Bytes of a struct statx (linux/stat.h)."""
_MODE, _INODE, _DEVICE = 28, 32, 136


class Kind(NamedTuple):
    """`mode` has the type of the file, as in `os.stat_result.st_mode`."""

    mode: int
    inode: int
    device: int


def kind_of(path: str) -> Kind | None:
    """What `path` leads to; None where it leads nowhere, or may not be looked at."""
    ask = _statx()
    if ask is not None:
        return ask(path)
    try:
        found = os.stat(path)
    except OSError:
        return None
    return Kind(found.st_mode, found.st_ino, found.st_dev)


@lru_cache(maxsize=1)
def _statx() -> Callable[[str], Kind | None] | None:
    """None where the C library has no statx (glibc has since 2.28)."""
    import ctypes

    try:
        call = ctypes.CDLL(None).statx
    except AttributeError:
        return None

    def ask(path: str) -> Kind | None:
        buffer = ctypes.create_string_buffer(_SIZE)
        flags, wanted = _AT_NO_AUTOMOUNT | _AT_STATX_DONT_SYNC, _STATX_TYPE | _STATX_INO
        if call(_AT_FDCWD, os.fsencode(path), flags, ctypes.c_uint(wanted), buffer) != 0:
            return None
        (mode,) = struct.unpack_from("=H", buffer, _MODE)
        (inode,) = struct.unpack_from("=Q", buffer, _INODE)
        return Kind(mode, inode, os.makedev(*struct.unpack_from("=II", buffer, _DEVICE)))

    return ask
