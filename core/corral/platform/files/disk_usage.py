"""Room on a file system, what folders of output files take of it, and their end.

All but `free_bytes` and `is_full` may block for long: not for an event loop.
"""

from __future__ import annotations

import os
import stat
from typing import NamedTuple

_LEAST = 32 << 10
"""A few blocks that nobody gets: file systems keep some back, and who writes whole blocks leaves what is less than one."""


def free_bytes(path: str) -> int | None:
    """What can still be written where `path` is, as far as its file system tells; a quota is not seen. None: unknown."""
    try:
        found = os.statvfs(path)
    except OSError:
        return None
    # What is reserved for root (mke2fs(8), -m) is there for root. Some file systems have no size at all.
    free = found.f_bavail if os.geteuid() else found.f_bfree
    return free * found.f_frsize if found.f_blocks else None


def is_full(path: str) -> bool:
    """Whether nothing more can be written where `path` is, as far as is known."""
    free = free_bytes(path)
    return free is not None and free < _LEAST


_BLOCK = 512
"""What st_blocks counts, whatever the file system's own blocks are (stat(2))."""


class FolderUsage(NamedTuple):
    """`size`: bytes of disk of the files in a folder; `touched`: when one was last written, seconds since the epoch."""

    size: int
    touched: float


def usage_of(path: str) -> FolderUsage | None:
    """What a folder holds, and what is in folders within it; None where there is none.

    Allocated blocks, not lengths: the head of a capped file is a hole, and a punched hole takes no block
    (fallocate(2)). A file that goes meanwhile counts nothing.

    Raises:
        OSError: it cannot be read.
    """
    try:
        # A symlink in its place is not followed: it may lead to a file system that never answers.
        found = os.lstat(path)
        if not stat.S_ISDIR(found.st_mode):
            return None
        size, touched = 0, found.st_mtime
        with os.scandir(path) as entries:
            for entry in entries:
                try:
                    of_file = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                size += of_file.st_blocks * _BLOCK
                touched = max(touched, of_file.st_mtime)
                within = usage_of(entry.path) if stat.S_ISDIR(of_file.st_mode) else None
                if within is not None:
                    size, touched = size + within.size, max(touched, within.touched)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return FolderUsage(size, touched)


def delete_folder(path: str) -> str | None:
    """Delete a folder and all in it; why that failed, or None. One that is not there is no failure.

    A symbolic link in its place is refused, and links within are deleted, never followed (shutil.rmtree).
    """
    import shutil  # here: `ps` reads the journal, which asks for free space, and must not pay for shutil (3 ms)

    try:
        shutil.rmtree(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        return f"cannot delete {path}: {error.strerror or error}"
    return None
