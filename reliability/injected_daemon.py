"""A daemon whose system calls fail on demand: `python injected_daemon.py HOME CONTROL`.

What is to fail stands in CONTROL, a small file that both sides map into memory, so that asking costs no system call
of the kind that fails. Only calls that Python code makes are counted; a stack says where one was struck.
"""

from __future__ import annotations

import builtins
import errno
import fcntl
import mmap
import os
import selectors
import socket
import sqlite3
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

_HEAD = struct.Struct("<6q")
_TEXT_AT = 128
SIZE = 16384
NO_MEMORY, NO_THREAD = -1, -2
"""In place of an errno: MemoryError, and what `Thread.start` raises where pthread_create(3) fails."""


class Target(NamedTuple):
    """A call that can be made to fail, and how the system lets it fail."""

    name: str
    owner: Any
    attribute: str
    failures: tuple[int, ...]


class _Connection(sqlite3.Connection):
    """Every statement of the journal passes here."""

    def execute(self, *arguments: Any) -> sqlite3.Cursor:
        return super().execute(*arguments)

    def executemany(self, *arguments: Any) -> sqlite3.Cursor:
        return super().executemany(*arguments)


_NO_DESCRIPTOR = (errno.EMFILE, errno.ENFILE)
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EIO)
SQLITE_FAILURES = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_CANTOPEN)
TARGETS = (
    Target("os.open", os, "open", (*_NO_DESCRIPTOR, *_FULL, errno.ENOMEM)),
    Target("open", builtins, "open", (*_NO_DESCRIPTOR, errno.ENOSPC, errno.ENOMEM)),
    Target("os.pipe", os, "pipe", _NO_DESCRIPTOR),
    Target("os.dup", os, "dup", _NO_DESCRIPTOR),
    Target("os.mkdir", os, "mkdir", (*_FULL, errno.ENOMEM)),
    Target("os.listdir", os, "listdir", (*_NO_DESCRIPTOR, errno.ENOMEM)),
    Target("os.read", os, "read", (errno.ENOMEM,)),
    Target("os.fstat", os, "fstat", (errno.EIO, errno.ENOMEM)),
    Target("os.stat", os, "stat", (errno.EIO, errno.ENOMEM)),
    Target("os.lseek", os, "lseek", (errno.EIO,)),
    Target("os.ftruncate", os, "ftruncate", (errno.EIO,)),
    Target("os.fchmod", os, "fchmod", (errno.EIO, errno.ENOSPC)),
    Target("os.rename", os, "rename", (errno.ENOSPC, errno.EIO)),
    Target("os.sendfile", os, "sendfile", (errno.EIO, errno.ENOMEM)),
    Target("os.readlink", os, "readlink", (errno.ENOMEM,)),
    Target("os.pidfd_open", os, "pidfd_open", (*_NO_DESCRIPTOR, errno.ENOMEM)),
    Target("fcntl", fcntl, "fcntl", (errno.EMFILE, errno.EPERM, errno.ENOMEM)),
    Target("fork", subprocess, "_fork_exec", (errno.EAGAIN, errno.ENOMEM, NO_MEMORY)),
    Target("thread", threading.Thread, "start", (NO_THREAD,)),
    Target("accept", socket.socket, "accept", (*_NO_DESCRIPTOR, errno.ENOMEM, errno.ENOBUFS)),
    Target("recvmsg", socket.socket, "recvmsg", (errno.ENOMEM, errno.ENOBUFS)),
    Target("epoll", selectors.EpollSelector, "register", (errno.ENOSPC, errno.ENOMEM)),
    Target("sqlite", _Connection, "execute", SQLITE_FAILURES),
    Target("sqlite.many", _Connection, "executemany", SQLITE_FAILURES),
)


class Control:
    """The page of memory in which both sides say what is to fail, and what has."""

    def __init__(self, path: str, *, make: bool = False) -> None:
        flags = os.O_RDWR | (os.O_CREAT if make else 0)
        descriptor = os.open(path, flags, 0o600)
        if make:
            os.ftruncate(descriptor, SIZE)
        self._memory = mmap.mmap(descriptor, SIZE)
        os.close(descriptor)

    def arm(self, target: int, nth: int, failure: int, *, stays: bool) -> None:
        """Let the `nth` call of that target from now on fail, and with `stays` each later one too."""
        self._memory[_TEXT_AT:SIZE] = bytes(SIZE - _TEXT_AT)
        _HEAD.pack_into(self._memory, 0, target + 1, nth, int(stays), failure, 0, 0)

    def disarm(self) -> tuple[int, int, list[str]]:
        """Calls counted, calls failed, and where: innermost functions of Corral."""
        _, _, _, _, calls, fired = _HEAD.unpack_from(self._memory, 0)
        text = bytes(self._memory[_TEXT_AT:SIZE]).split(b"\0")[0].decode("utf-8", "replace")
        _HEAD.pack_into(self._memory, 0, 0, 0, 0, 0, 0, 0)
        return calls, fired, text.splitlines()

    def failure_for(self, target: int) -> int | None:
        """Counts a call; how it is to fail, or None."""
        armed, nth, stays, failure, calls, fired = _HEAD.unpack_from(self._memory, 0)
        if armed != target + 1:
            return None
        calls += 1
        strikes = calls == nth or (stays and calls > nth)
        _HEAD.pack_into(self._memory, 0, armed, nth, stays, failure, calls, fired + strikes)
        return failure if strikes else None

    def note_place(self, place: str) -> None:
        known = bytes(self._memory[_TEXT_AT:SIZE]).split(b"\0")[0]
        line = place.encode() + b"\n"
        if line not in known and len(known) + len(line) < SIZE - _TEXT_AT - 1:
            self._memory[_TEXT_AT : _TEXT_AT + len(known) + len(line)] = known + line


def _place() -> str:
    """The innermost functions of Corral on the stack, outermost first."""
    places = []
    frame = sys._getframe(2)
    while frame is not None:
        # Not with `traceback`, which looks at the source files, and so makes calls that are to fail.
        code = frame.f_code
        if f"{os.sep}corral{os.sep}" in code.co_filename:
            places.append(f"{os.path.basename(code.co_filename)[:-3]}.{code.co_name}")
        frame = frame.f_back
    return " > ".join(reversed(places[:3])) or "outside"


def error_of(target: Target, failure: int) -> BaseException:
    """What the call raises."""
    if failure == NO_MEMORY:
        return MemoryError()
    if failure == NO_THREAD:
        return RuntimeError("can't start new thread")
    if target.name.startswith("sqlite"):
        error = sqlite3.OperationalError(f"injected failure {failure}")
        error.sqlite_errorcode = failure
        return error
    return OSError(failure, os.strerror(failure))


def inject(control: Control) -> None:
    """Put every target's stand-in in place."""
    connect = sqlite3.connect
    sqlite3.connect = lambda *args, **named: connect(*args, factory=_Connection, **named)  # type: ignore[assignment,misc]
    for number, target in enumerate(TARGETS):
        setattr(target.owner, target.attribute, _failing(control, number, target))


def _failing(control: Control, number: int, target: Target) -> Callable[..., Any]:
    original = getattr(target.owner, target.attribute)

    def call(*arguments: Any, **named: Any) -> Any:
        # Popen reads its own pipe, which does not fail for want of anything (pipe(7)).
        is_exempt = target.attribute == "read" and sys._getframe(1).f_globals is vars(subprocess)
        failure = None if is_exempt else control.failure_for(number)
        if failure is not None:
            control.note_place(_place())
            raise error_of(target, failure)
        return original(*arguments, **named)

    return call


def main(arguments: list[str]) -> int:
    control = Control(arguments[1])
    from corral.daemon.main import run_foreground
    from corral.model.home import Home

    inject(control)
    return run_foreground(Home(arguments[0]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
