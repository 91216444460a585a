"""What a job of a batch has printed, once it has ended: of most it is little, and goes into the batch's own file."""

from __future__ import annotations

import fcntl
import os
import signal
from collections.abc import Sequence
from contextlib import suppress

from corral.model.home import Home, dropped_note
from corral.model.wire import to_wire
from corral.output.job_files import open_own

MOST_PACKED = 4096
"""Bytes of all streams of a job together."""
_LAST_BYTES = 4096


def take_in(home: Home, job_id: int, stages: int) -> tuple[tuple[int, ...], bytes | None]:
    """The sizes of its streams, and their content where that is little: then no file of them is left, else None.

    A file that another process has open stays: what a job has left running may write on.
    """
    paths = home.outputs(job_id, stages)
    found = [_taken(path) for path in paths]
    sizes = tuple(size for size, _ in found)
    contents = [content for _, content in found]
    if sum(sizes) > MOST_PACKED or None in contents:
        for path, (size, content) in zip(paths, found, strict=True):
            if not size and content is not None:
                _unlink(path)
        return sizes, None
    for path in (*paths, home.order(job_id)):
        _unlink(path)
    with suppress(OSError):  # ENOTEMPTY: somebody has put something there
        os.rmdir(home.job(job_id))
    return sizes, b"".join(content or b"" for content in contents)


def drop(home: Home, job_id: int, stages: int) -> None:
    """Delete what an attempt has printed that is followed by another one."""
    for path in home.outputs(job_id, stages):
        _unlink(path)
        _unlink(dropped_note(path))
    _unlink(home.order(job_id))
    with suppress(OSError):
        os.rmdir(home.job(job_id))


def last_line(home: Home, job_id: int, stage: int, packed: bytes | None, sizes: Sequence[int]) -> str:
    """The last line that is not blank of the stderr of a stage."""
    if packed is not None:
        at = sum(sizes[:stage])
        tail = packed[at : at + sizes[stage]]
    else:
        try:
            descriptor = open_own(home.stderr(job_id, stage), os.O_RDONLY)
        except OSError:
            return ""
        try:
            size = os.fstat(descriptor).st_size
            tail = os.pread(descriptor, _LAST_BYTES, max(0, size - _LAST_BYTES))
        finally:
            os.close(descriptor)
    lines = tail.strip().splitlines()
    return to_wire(os.fsdecode(lines[-1])) if lines else ""


def _taken(path: str) -> tuple[int, bytes | None]:
    """How long a file is, and its content; None where that is much, or another process has it open."""
    try:
        descriptor = open_own(path, os.O_RDONLY)
    except OSError:
        return 0, b""
    try:
        size = os.fstat(descriptor).st_size
        if size > MOST_PACKED or not _is_ours_alone(descriptor):
            return size, None
        return size, os.pread(descriptor, MOST_PACKED, 0)
    finally:
        os.close(descriptor)


def _is_ours_alone(descriptor: int) -> bool:
    """A lease for writing is to be had only where nobody else has the file open (fcntl(2), F_SETLEASE)."""
    if not hasattr(fcntl, "F_SETLEASE"):
        return True
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)  # to be told of others: SIGIO would end us
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except BlockingIOError:
        return False
    except OSError:
        return True  # EINVAL: this file system has no leases
    return True


def _unlink(path: str) -> None:
    with suppress(OSError):
        os.unlink(path)
