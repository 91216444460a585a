"""Where a path leads, found out without opening it: a file, a descriptor of whoever opens it, or a file system that may hang.

The names that mean something else to each process are followed here, since the daemon is not the process that is meant:
to it, /dev/stdout is daemon.log.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection

FILE, DESCRIPTOR, TERMINAL, OWN, HANGS = "file", "descriptor", "terminal", "own", "hangs"
_STREAMS = {"/dev/stdin": 0, "/dev/stdout": 1, "/dev/stderr": 2}
_SELVES = ("/proc/self", "/proc/thread-self")
_TERMINAL = "/dev/tty"
HANGING_FILE_REFUSED = (
    "it is an open file on a file system that may hang, so it is not passed on; name the file, or pipe it in"
)
_MOST_LINKS = 40
"""Of one path (path_resolution(7))."""


class Destination:
    """What a path leads to.

    `kind`: `file`, anything that every process finds there; `descriptor`, that of the opening process with this `number`;
    `terminal`, its controlling terminal; `own`, something else that it finds below /proc/self; `hangs`, a file system
    that may never answer, mounted at `place`.
    """

    __slots__ = ("kind", "number", "place")

    def __init__(self, kind: str, number: int = -1, place: str = "") -> None:
        self.kind, self.number, self.place = kind, number, place


def destination(path: str, may_hang: Collection[str] = ()) -> Destination:
    """Follow an absolute path as the kernel would; symlinks are read on no file system that is mounted at `may_hang`."""
    named = _named(path)
    if named is not None:
        return named
    here, links = "/", 0
    to_go = path.split("/")[::-1]
    while to_go:
        name = to_go.pop()
        if name in ("", "."):
            continue
        if name == "..":
            here = os.path.dirname(here)
            continue
        there = f"{here}/{name}" if here != "/" else f"/{name}"
        if there in may_hang:
            return Destination(HANGS, place=there)
        if there in _SELVES:
            return _of_process([part for part in reversed(to_go) if part not in ("", ".")])
        target = _link(there)
        if target is None:
            here = there
            continue
        links += 1
        if links > _MOST_LINKS:
            break  # ELOOP, which whoever opens it is told
        to_go += target.split("/")[::-1]
        if target.startswith("/"):
            here = "/"
    return Destination(TERMINAL if here == _TERMINAL else FILE)


def hang_check(may_hang: Collection[str]) -> Callable[[str], None]:
    """A check that raises MayHangError for paths that lead to such a file system."""

    def check(path: str) -> None:
        found = destination(path, may_hang)
        if found.kind == HANGS:
            raise MayHangError(found.place)

    return check


def file_that_may_hang(descriptor: int, may_hang: Collection[str]) -> str | None:
    """The path of an open file on such a file system; None for a file elsewhere, a pipe, a device.

    Nobody must hold it open for long whose children are to start: FUSE sends a request at each close(2) of it, that at an
    exec included, and waits for the answer, unkillable.
    """
    if not may_hang:
        return None
    try:
        os.lseek(descriptor, 0, os.SEEK_CUR)
        path = os.readlink(f"/proc/self/fd/{descriptor}")
    except OSError:
        return None
    return path if destination(path, may_hang).kind == HANGS else None


class MayHangError(Exception):
    """Looking at a path could wait for ever."""


def _named(path: str) -> Destination | None:
    """By its name alone, as bash does it: these links are missing in some containers."""
    if path in _STREAMS:
        return Destination(DESCRIPTOR, _STREAMS[path])
    if path.startswith("/dev/fd/"):
        return _of_process(["fd", path[len("/dev/fd/") :]])
    return Destination(TERMINAL) if path == _TERMINAL else None


def _of_process(rest: list[str]) -> Destination:
    if len(rest) == 2 and rest[0] == "fd" and rest[1].isdecimal() and rest[1].isascii():
        return Destination(DESCRIPTOR, int(rest[1]))
    return Destination(OWN)


def _link(path: str) -> str | None:
    try:
        return os.readlink(path)
    except OSError:
        return None  # EINVAL: no symlink; ENOENT and all else: whoever opens it is told
