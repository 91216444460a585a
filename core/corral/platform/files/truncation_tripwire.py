"""The kernel's own memory of a truncation: a block that is reserved far beyond the end of a file, and that it gives back then.

fallocate(2) with FALLOC_FL_KEEP_SIZE reserves it, the file stays as long as it is, and what makes the file shorter, or
empties it, frees all blocks beyond its new end (ext4, tmpfs, XFS, Btrfs). st_blocks tells, without waiting for anybody
and however long ago it was. 4 µs to set; 4 KiB of the disk, for as long as it stands.
"""

from __future__ import annotations

import fcntl
import os
import signal
from functools import cache

from corral.platform.files import hole_punching

_PLACE = 1 << 42
_SIZE = 4096
_MOST_SECTORS = 128
"""What a file system rounds up beyond that, such as to the huge pages of a tmpfs, is too much for this."""
_SECTOR = 512
"""The unit of st_blocks (stat(3type))."""


def set_up(descriptor: int) -> bool:
    """Set it in a file that is open for writing, or keep it; whether that succeeded. Waits for a write(2) under way."""
    return hole_punching.reserve(descriptor, _PLACE, _SIZE)


def take_away(descriptor: int) -> bool:
    """Give the block back; whether that succeeded. Raises OSError.

    ext4 punches no hole beyond the end, so the file is set to the length that it has. Nobody may write meanwhile: a
    lease (fcntl(2), F_SETLEASE) is to be had only where nobody else has it open, and keeps others waiting who come now.
    """
    fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)  # to be told of these: SIGIO would end us
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_WRLCK)
    except OSError:
        return False
    try:
        found = os.fstat(descriptor)
        os.ftruncate(descriptor, found.st_size)
        # That counts as a write: the time of the last one tells which of its streams a job wrote last.
        os.utime(descriptor, ns=(found.st_atime_ns, found.st_mtime_ns))
    finally:
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return True


def was_touched(found: os.stat_result, sectors: int) -> bool:
    """Whether a file in which it was set, and takes so many sectors, has been made shorter since.

    Then it has blocks for what stands in it, and not for more. A file system that counts some for itself hides that; a
    file with holes has fewer, and tells nothing.
    """
    data = -(-found.st_size // _SECTOR)
    return data <= found.st_blocks < data + sectors


@cache
def sectors_in(folder: str) -> int:
    """How many sectors it takes there, by a try on a file of no name; 0 where it does not tell what it should."""
    if not hasattr(os, "O_TMPFILE"):
        return 0
    try:
        descriptor = os.open(folder, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    except OSError:
        return 0
    try:
        return _sectors_of(descriptor)
    except OSError:
        return 0
    finally:
        os.close(descriptor)


def _sectors_of(descriptor: int) -> int:
    if not set_up(descriptor):
        return 0
    sectors = os.fstat(descriptor).st_blocks
    if not 0 < sectors <= _MOST_SECTORS:
        return 0
    for size in (1, _SIZE):
        os.write(descriptor, bytes(size))
        if was_touched(os.fstat(descriptor), sectors):
            return 0
    os.truncate(descriptor, 0)
    is_seen = was_touched(os.fstat(descriptor), sectors)
    os.lseek(descriptor, 0, os.SEEK_SET)
    os.write(descriptor, bytes(1))
    return sectors if is_seen and was_touched(os.fstat(descriptor), sectors) else 0
