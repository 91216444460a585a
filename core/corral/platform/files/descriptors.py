"""Descriptors that the daemon keeps for long, out of the way of those that a spawn needs; and files without a name."""

from __future__ import annotations

import fcntl
import os
import resource
from typing import IO

_PLENTY = 256
"""Below this number descriptors stay where they are: enough low ones remain for the pipes of a spawn."""


def move_high(descriptor: int, above: int = 1024) -> int:
    """The descriptor to keep in place of `descriptor`, which is closed if it had to move.

    While a child is spawned the daemon has its client's soft NOFILE, and Popen then needs descriptors below that
    limit. So once the low ones get scarce, kept ones move to `above` and up.
    """
    if descriptor < _PLENTY or descriptor >= above:
        return descriptor
    try:
        moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, above)
    except OSError:
        # EINVAL, EMFILE: the hard limit leaves no room up there; better low than lost.
        return descriptor
    os.close(descriptor)
    return moved


def is_scarce(descriptor: int, share: float) -> bool:
    """Whether more than this share of the descriptors that we may have is in use, as the number of a new one tells."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return limit != resource.RLIM_INFINITY and descriptor > share * limit


class Reserve:
    """Descriptors held so that they can be let go of when there are no others: what ends jobs must not fail for one."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._held: list[int] = []
        self.take()

    def take(self) -> None:
        """Hold as many again; fewer where there are no more."""
        try:
            while len(self._held) < self._count:
                self._held.append(move_high(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)))
        except OSError:
            return  # EMFILE, ENFILE: taken again after the next need

    def release(self) -> None:
        """Let go of all. Only what runs before anything else in this thread is sure to get them."""
        while self._held:
            os.close(self._held.pop())


def unnamed_file(title: str) -> IO[bytes]:
    """Empty, to write and read. Gone with the last descriptor of it. Raises OSError."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create(title, os.MFD_CLOEXEC), "w+b")
    import tempfile

    return tempfile.TemporaryFile()
