"""Claims of readers: what a copier of an output file has not copied yet is locked, so that it is not dropped meanwhile.

The lock is on the note beside the file (`stdout.dropped`), which no job knows, from the position on. It belongs to the
open file description (fcntl(2), F_OFD_SETLK, Linux 3.15), so it goes with its holder, however that ends. A claim asks
for patience and may be overruled; its holder learns from the note what it missed.
"""

from __future__ import annotations

import fcntl
import os
import struct

from corral.model.home import dropped_note
from corral.output.job_files import open_own

_FLOCK = "hhqqi4x"
"""struct flock: l_type, l_whence, l_start, l_len, l_pid."""


class ReaderClaim:
    """One claim on one output file. Where the system has no such locks, nothing is claimed."""

    def __init__(self, path: str) -> None:
        self._note = dropped_note(path)
        self._descriptor: int | None = None

    def hold_from(self, position: int) -> None:
        """All from `position` on is still wanted, and nothing before it. Raises OSError."""
        if not hasattr(fcntl, "F_OFD_SETLK"):
            return
        if self._descriptor is None:
            self._descriptor = open_own(self._note, os.O_RDWR | os.O_CREAT)
        if position:
            self._lock(fcntl.F_UNLCK, 0, position)
        self._lock(fcntl.F_RDLCK, position, 0)

    def _lock(self, kind: int, start: int, length: int) -> None:
        assert self._descriptor is not None
        fcntl.fcntl(
            self._descriptor, fcntl.F_OFD_SETLK, struct.pack(_FLOCK, kind, os.SEEK_SET, start, length, 0)
        )

    def close(self) -> None:
        """Claim nothing any more."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


def first_claimed(path: str) -> int | None:
    """From which offset on somebody still wants an output file; None where nobody claims any of it. Raises OSError."""
    if not hasattr(fcntl, "F_OFD_GETLK"):
        return None
    try:
        descriptor = open_own(dropped_note(path), os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        wanted = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        kind, _, start, _, _ = struct.unpack(_FLOCK, fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, wanted))
    finally:
        os.close(descriptor)
    return None if kind == fcntl.F_UNLCK else int(start)
