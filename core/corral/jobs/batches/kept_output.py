"""What a job of a batch has printed, once it has ended: of most it is little, and goes into the batch's own file."""

from __future__ import annotations

import fcntl
import os
import signal
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import NamedTuple

from corral.model.home import Home, dropped_note
from corral.model.wire import to_wire
from corral.output.job_files import open_own

MOST_PACKED = 4096
"""Bytes of all streams of a job together."""
_LAST_BYTES = 4096


class Taken(NamedTuple):
    """What became of the output files of a job that has ended."""

    sizes: tuple[int, ...]
    """Of stdout and of each stage's stderr, in bytes."""
    content: bytes | None
    """All that they held, where that is little: none of them is left."""
    is_free: bool
    """Or they are there and empty, for another job to use."""


class _Stream(NamedTuple):
    size: int
    content: bytes | None = b""
    is_read: bool = False


def take_in(home: Home, job_id: int, stages: int) -> Taken:
    """Take in what is in its files, where that is little. What a job has left running may write on: then they stay."""
    paths = home.outputs(job_id, stages)
    found = [_stream(path) for path in paths]
    sizes = tuple(each.size for each in found)
    contents = [each.content for each in found if each.content is not None]
    if sum(sizes) > MOST_PACKED or len(contents) < len(found):
        for path, each in zip(paths, found, strict=True):
            if each.content == b"":
                _unlink(path)
        return Taken(sizes, None, is_free=False)
    is_read = any(each.is_read for each in found)
    if is_read:  # by a client, which is not to see what another job prints
        drop(home, job_id, stages)
    else:
        for path, size in zip(paths, sizes, strict=True):
            if size:
                _empty(path)
        _unlink(home.order(job_id))
    return Taken(sizes, b"".join(contents), is_free=not is_read)


def drop(home: Home, job_id: int, stages: int) -> None:
    """Delete what an attempt has printed that is followed by another one."""
    for path in home.outputs(job_id, stages):
        _unlink(path)
        _unlink(dropped_note(path))
    _unlink(home.order(job_id))
    _remove_folder(home.job(job_id))


def give(folder: str, home: Home, job_id: int) -> None:
    """Let a job have a folder with empty files of another one. To make and to delete one takes ext4 milliseconds."""
    try:
        os.rename(folder, home.job(job_id))
    except OSError:  # it has one, from an attempt that nobody could clear away
        delete_empty([folder])


def delete_empty(folders: Iterable[str]) -> None:
    """Delete such folders."""
    for folder in folders:
        with suppress(OSError):
            for name in os.listdir(folder):
                if not os.path.getsize(f"{folder}/{name}"):
                    _unlink(f"{folder}/{name}")
        _remove_folder(folder)


def _remove_folder(path: str) -> None:
    with suppress(OSError):  # ENOTEMPTY: somebody has put something there
        os.rmdir(path)


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


def _stream(path: str) -> _Stream:
    """No content where that is much, or another process may still write to it."""
    try:
        descriptor = open_own(path, os.O_RDONLY)
    except OSError:
        return _Stream(0)
    try:
        size = os.fstat(descriptor).st_size
        if size > MOST_PACKED or not _lease(descriptor, fcntl.F_RDLCK):
            return _Stream(size, None)
        return _Stream(size, os.pread(descriptor, MOST_PACKED, 0), not _lease(descriptor, fcntl.F_WRLCK))
    finally:
        os.close(descriptor)


def _lease(descriptor: int, kind: int) -> bool:
    """Whether it is to be had: one for reading where nobody has the file open to write to it, one for writing where nobody
    has it open at all (fcntl(2), F_SETLEASE)."""
    if not hasattr(fcntl, "F_SETLEASE"):
        return True
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)  # to be told of others: SIGIO would end us
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, kind)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except BlockingIOError:
        return False
    except OSError:
        return True  # EINVAL: this file system has no leases
    return True


def _empty(path: str) -> None:
    descriptor = open_own(path, os.O_WRONLY)
    try:
        os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def _unlink(path: str) -> None:
    with suppress(OSError):
        os.unlink(path)
