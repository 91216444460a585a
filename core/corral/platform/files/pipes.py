"""Pipes seen from outside, and how large they may be. Linux tells; elsewhere the answers are None."""

from __future__ import annotations

import array
import ctypes
import errno
import fcntl
import os
import select
import stat
import sys
import termios
from contextlib import ExitStack

from corral.platform.host.procfs import HAS_PROCFS, PAGE_SIZE, read_file

DEFAULT_CAPACITY = 65536
"""Bytes of a fresh pipe since Linux 2.6.11 (pipe(7))."""
LARGE_CAPACITY = 1 << 20
_LINK_PREFIX = "pipe:["
_SPLICE_F_NONBLOCK = 2


def pipe_of(pid: int, fd: int) -> int | None:
    """The inode of the pipe that is descriptor `fd` of `pid`; None for anything else, FIFOs included. 3 µs.

    Both ends of a pipe have the same inode, so it tells which processes share one.
    """
    if not HAS_PROCFS:
        return None
    try:
        link = os.readlink(f"/proc/{pid}/fd/{fd}")
    except OSError:
        return None
    return int(link[len(_LINK_PREFIX) : -1]) if link.startswith(_LINK_PREFIX) else None


def inode_of(fd: int) -> int:
    """The inode of our own descriptor, to compare with `pipe_of`. OSError where it is closed."""
    return os.fstat(fd).st_ino


def fill_and_capacity(pid: int, fd: int) -> tuple[int, int] | None:
    """Bytes that stand in the pipe that is descriptor `fd` of `pid`, and bytes that it can hold; None if no pipe.

    Either end may be named. The pipe is opened for *writing*, whichever end `fd` is, and closed at once (10 µs).
    For that moment it has one writer more, which can only make a reader see its EOF a few µs later: closing the last
    writer wakes it (pipe_release in fs/pipe.c). One reader more would do harm: a writer whose reader has just
    gone would write into nothing and succeed, where it should have died of SIGPIPE; its exit status would change.
    O_PATH opens neither end, but then FIONREAD fails with EBADF.
    """
    if pipe_of(pid, fd) is None:
        # Whatever else it is must not be opened: a terminal, a tape or a FIFO would notice.
        return None
    try:
        ours = os.open(f"/proc/{pid}/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except OSError:
        return None
    try:
        return _measure(ours)
    finally:
        os.close(ours)


def peek_bytes(pid: int, fd: int, limit: int) -> bytes | None:
    """The oldest bytes that stand in the pipe that is descriptor `fd` of `pid`, at most `limit`; None if no pipe.

    tee(2) copies them into a pipe of our own and takes none out. For these microseconds the pipe has one reader more,
    so it is done on request only, never to watch, and not where it has none: a write would then succeed that has to fail.

    Raises:
        BrokenPipeError: nobody has its reading end any more.
        OSError: no descriptor is left, or the kernel refuses.
    """
    if pipe_of(pid, fd) is None:
        return None
    try:
        _check_reader(pid, fd)
        theirs = os.open(f"/proc/{pid}/fd/{fd}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, ProcessLookupError):
        return None
    with ExitStack() as cleanup:
        cleanup.callback(os.close, theirs)
        reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        cleanup.callback(os.close, reader)
        cleanup.callback(os.close, writer)
        # tee fills ours page by page, as theirs is: it has to have as many.
        set_capacity(writer, capacity_of(theirs) or DEFAULT_CAPACITY)
        try:
            count = _tee(theirs, writer, limit)
        except BlockingIOError:
            return b""
        return _read_all(reader, count)


def _check_reader(pid: int, fd: int) -> None:
    """Raise BrokenPipeError where nobody can read the pipe: its writing end polls POLLERR then (pipe_poll in fs/pipe.c)."""
    ours = os.open(f"/proc/{pid}/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    try:
        poller = select.poll()
        poller.register(ours, select.POLLOUT)
        if any(event & select.POLLERR for _, event in poller.poll(0)):
            raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
    finally:
        os.close(ours)


def _read_all(reader: int, count: int) -> bytes:
    """What tee(2) put there; a pipe gives at most what stands in it at a time."""
    pieces = []
    while count > 0:
        piece = os.read(reader, count)
        pieces.append(piece)
        count -= len(piece)
    return b"".join(pieces)


def _tee(source: int, sink: int, limit: int) -> int:
    """tee(2), which the os module does not have. Raises OSError."""
    library = ctypes.CDLL(None, use_errno=True)
    library.tee.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_size_t, ctypes.c_uint)
    library.tee.restype = ctypes.c_ssize_t
    copied = int(library.tee(source, sink, limit, _SPLICE_F_NONBLOCK))
    if copied < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return copied


def bytes_in(fd: int) -> int:
    """Bytes that stand in our own pipe, by either end. Raises OSError."""
    waiting = array.array("i", [0])
    fcntl.ioctl(fd, termios.FIONREAD, waiting)
    return waiting[0]


def capacity_of(fd: int) -> int | None:
    """Bytes that our own pipe can hold; None where the system does not tell."""
    try:
        return fcntl.fcntl(fd, fcntl.F_GETPIPE_SZ) if sys.platform == "linux" else None
    except OSError:
        return None


def set_capacity(fd: int, size: int) -> int | None:
    """Let our own pipe hold `size` bytes, rounded up to a power of two of pages; the size it got, None if refused.

    EPERM: over pipe-max-size, or the user's pipes over pipe-user-pages-soft. EBUSY: more stands in it than that.
    """
    if sys.platform != "linux":
        return None
    try:
        return fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, size)
    except OSError as error:
        if error.errno in (errno.EPERM, errno.EBUSY, errno.ENOMEM):
            return None
        raise


class PipeBudget:
    """How large the next pipe may be, so that all pipes together stay far from the user's total.

    A user over pipe-user-pages-soft (pipe(7)) gets pipes of two pages in *every* program, so Corral takes no more
    than a quarter of it.
    """

    def __init__(self, soft_limit_bytes: int | None = None, largest_bytes: int | None = None) -> None:
        """The limits are read from /proc/sys/fs unless given. A soft limit of 0 is none."""
        soft = _soft_limit() if soft_limit_bytes is None else soft_limit_bytes
        largest = _largest() if largest_bytes is None else largest_bytes
        self._allowed = soft // 4 if soft else sys.maxsize
        self._large = min(LARGE_CAPACITY, largest)
        self._held = 0

    @property
    def held_bytes(self) -> int:
        """The capacities of all pipes taken and not yet given back."""
        return self._held

    def size_for_next(self) -> int | None:
        """Bytes to give the next pipe; None: leave it at its default."""
        if self._large <= DEFAULT_CAPACITY or self._held + self._large > self._allowed:
            return None
        return self._large

    def took(self, size: int) -> None:
        """A pipe of that capacity is in use, of the default one included."""
        self._held += size

    def gave_back(self, size: int) -> None:
        """A pipe of that capacity is gone."""
        self._held = max(0, self._held - size)


def _measure(fd: int) -> tuple[int, int] | None:
    if sys.platform != "linux" or not stat.S_ISFIFO(os.fstat(fd).st_mode):
        return None
    waiting = array.array("i", [0])
    try:
        fcntl.ioctl(fd, termios.FIONREAD, waiting)
        return waiting[0], fcntl.fcntl(fd, fcntl.F_GETPIPE_SZ)
    except OSError:
        return None


def _soft_limit() -> int:
    return _read_number("/proc/sys/fs/pipe-user-pages-soft") * PAGE_SIZE


def _largest() -> int:
    return _read_number("/proc/sys/fs/pipe-max-size")


def _read_number(path: str) -> int:
    """0 where the file is not there: for a soft limit that is none, for a size nothing larger than the default."""
    content = read_file(path) if HAS_PROCFS else None
    return int(content) if content else 0
