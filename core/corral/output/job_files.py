"""The files below `jobs/`, opened so that whatever a job has put in their place holds up nobody: a FIFO, a symlink, a device.

Every open of them, by the daemon or a client, is one of these. No symlink is followed, nothing is waited for, and what
is there is looked at: a regular file, in a folder that is one.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from contextlib import suppress

_NEVER_WAITING = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
"""For a file that is not there yet: nothing can stand in its place then."""
_PAUSES = (0.0, 0.0001, 0.001, 0.01, 0.05, 0.1)
"""Seconds between the tries for a file that somebody has a lease on; on a busy machine that lasts."""
_FOLDER = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_KINDS = (
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISLNK, "a symlink"),
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def open_own(path: str, flags: int, mode: int = 0o600) -> int:
    """Open one; `flags` as for open(2).

    Raises:
        PermissionError: something else stands in its place, or in place of its folder; the text names it.
        OSError: as open(2).
    """
    folder, name = _folder_of(path)
    try:
        descriptor = _opened(name, flags, mode, folder)
    except OSError as error:
        # ELOOP: a symlink; ENXIO: a FIFO without a reader, or a socket; EISDIR.
        raise _found_instead(path, name, folder) or OSError(error.errno, error.strerror, path) from None
    finally:
        os.close(folder)
    found = os.fstat(descriptor).st_mode
    if stat.S_ISREG(found):
        return descriptor
    os.close(descriptor)
    raise _strange(path, found)


def _opened(name: str, flags: int, mode: int, folder: int) -> int:
    for pause in (*_PAUSES, None):
        try:
            return os.open(name, flags | _NEVER_WAITING, mode, dir_fd=folder)
        except BlockingIOError:
            # The daemon has a lease on it for some microseconds (`tripwire.take_away`; fcntl(2), F_SETLEASE).
            if pause is None:
                raise
            time.sleep(pause)
    raise AssertionError


def make_own(path: str) -> int:
    """Open one to append to it, or make it: for a job, which is not to find O_NONBLOCK on its output. Raises as above."""
    with suppress(OSError):
        return os.open(path, _NEW, 0o600)
    descriptor = open_own(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.set_blocking(descriptor, True)
    return descriptor


def stat_own(path: str) -> os.stat_result:
    """What stat(2) says of one. Raises as `open_own`."""
    found = _looked_at(path)
    if not stat.S_ISREG(found.st_mode):
        raise _strange(path, found.st_mode)
    return found


def size_own(path: str) -> int:
    """0 where it is not there. Raises as `open_own`."""
    try:
        return stat_own(path).st_size
    except FileNotFoundError:
        return 0


def _looked_at(path: str) -> os.stat_result:
    try:
        folder, name = _folder_of(path)
    except OSError as error:
        if error.errno not in (errno.EMFILE, errno.ENFILE):
            raise
        return os.lstat(path)  # it takes no descriptor
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from None
    finally:
        os.close(folder)


def _folder_of(path: str) -> tuple[int, str]:
    """The folder of a file, not followed should it be a symlink by now, and the name in it."""
    where, name = os.path.split(path)
    try:
        return os.open(where, _FOLDER), name
    except NotADirectoryError:
        raise PermissionError(
            errno.EPERM, "something else stands in place of the job's folder, so it cannot be used", where
        ) from None


def _found_instead(path: str, name: str, folder: int) -> PermissionError | None:
    try:
        found = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
    except OSError:
        return None
    return None if stat.S_ISREG(found) else _strange(path, found)


def _strange(path: str, mode: int) -> PermissionError:
    kind = next((words for is_kind, words in _KINDS if is_kind(mode)), "something else")
    return PermissionError(
        errno.EPERM,
        f"{kind} stands in place of the file that was made for the output, so it cannot be used",
        path,
    )
