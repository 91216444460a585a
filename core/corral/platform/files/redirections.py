"""Opening the files of redirections without emptying anything early."""

from __future__ import annotations

import os
import stat
from typing import Protocol

from corral.model.errors import CannotStartError
from corral.platform.files.path_destination import TERMINAL, Destination
from corral.platform.host import resource_errors


class RedirectionLike(Protocol):
    """The part of `corral.model.spec.Redirection` that is needed here: a stand-in has no other modules."""

    @property
    def mode(self) -> str: ...

    @property
    def path(self) -> str | None: ...


_FLAGS = {
    "read": os.O_RDONLY,
    "write": os.O_WRONLY | os.O_CREAT,
    "append": os.O_WRONLY | os.O_CREAT | os.O_APPEND,
}


def check_own(path: str, mode: str, found: Destination, *, has_terminal: bool) -> None:
    """Whether a stage has what a path means that leads to a descriptor of its own, or to its terminal.

    Raises:
        CannotStartError: 125; every stage has the descriptors 0, 1 and 2.
    """
    verb = "read" if mode == "read" else "write to"
    if found.kind == TERMINAL:
        if not has_terminal:
            raise CannotStartError(
                f"cannot {verb} {path}: the job has no terminal; corral run --pty gives it one"
            )
    elif found.number > 2:
        raise CannotStartError(f"cannot {verb} {path}: the stage has no descriptor {found.number}")


def may_block(path: str) -> bool:
    """Whether opening it could wait for somebody: a FIFO waits for its other end (fifo(7)), a device for anything."""
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return False
    except OSError:
        # EACCES, ELOOP, EIO, ENOMEM: nobody knows what it is, and the opening will say what is wrong.
        return True
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)) and path != os.devnull


def open_redirection(redirection: RedirectionLike, path: str, umask: int) -> int:
    """Open without O_TRUNC: a pipeline that cannot start empties no file. `empty` does it later.

    Raises:
        CannotStartError: 125, with what is wrong with which file.
    """
    try:
        # The first terminal that a session leader opens would become its controlling one (open(2), O_NOCTTY).
        flags = _FLAGS[redirection.mode] | os.O_CLOEXEC | os.O_NOCTTY
        return _open(path, flags, 0o666 & ~umask)
    except OSError as error:
        verb = "read" if redirection.mode == "read" else "write to"
        raise CannotStartError(
            f"cannot {verb} {redirection.path}: {resource_errors.explanation(error)}", 125
        ) from None


def _open(path: str, flags: int, mode: int) -> int:
    """Open; a new file gets `mode` whatever the umask of this process, which is shared by all its threads."""
    if not flags & os.O_CREAT:
        return os.open(path, flags)
    while True:
        try:
            descriptor = os.open(path, flags | os.O_EXCL, 0o600)
        except FileExistsError:
            try:
                return os.open(path, flags & ~os.O_CREAT)
            except FileNotFoundError:
                if os.path.islink(path):
                    # O_EXCL does not follow a dangling link (open(2)); without it the target is made.
                    return os.open(path, flags, mode)
                continue  # removed between the two
        try:
            os.fchmod(descriptor, mode)
        except OSError:
            os.close(descriptor)
            raise
        return descriptor


def empty(descriptor: int) -> None:
    """Truncate a regular file that was opened for `>`."""
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.ftruncate(descriptor, 0)
