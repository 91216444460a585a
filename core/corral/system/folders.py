"""Folders of output files: what they take of the disk, and their end. Blocking: not for an event loop."""

from __future__ import annotations

import os
import shutil
import stat
from typing import NamedTuple

_BLOCK = 512
"""What st_blocks counts, whatever the file system's own blocks are (stat(2))."""


class FolderUsage(NamedTuple):
    """`size`: bytes of disk of the files in a folder; `touched`: when one was last written, seconds since the epoch."""

    size: int
    touched: float


def usage_of(path: str) -> FolderUsage | None:
    """What a folder holds, without what is in folders within it; None where there is none.

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
    except (FileNotFoundError, NotADirectoryError):
        return None
    return FolderUsage(size, touched)


def delete_folder(path: str) -> str | None:
    """Delete a folder and all in it; why that failed, or None. One that is not there is no failure.

    A symbolic link in its place is refused, and links within are deleted, never followed (shutil.rmtree).
    """
    try:
        shutil.rmtree(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        return f"cannot delete {path}: {error.strerror or error}"
    return None
