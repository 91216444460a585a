"""Opening the files of redirections without ever blocking the one thread, and without emptying anything early."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable

from corral.system import shortage
from corral.values.errors import CannotStartError
from corral.values.spec import Redirection

_FLAGS = {
    "read": os.O_RDONLY,
    "write": os.O_WRONLY | os.O_CREAT,
    "append": os.O_WRONLY | os.O_CREAT | os.O_APPEND,
}


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


def open_redirection(redirection: Redirection, path: str, umask: int) -> int:
    """Open without O_TRUNC: a pipeline that cannot start empties no file. `empty` does it later.

    Raises:
        CannotStartError: 125, with what is wrong with which file.
    """
    try:
        return _open(path, _FLAGS[redirection.mode] | os.O_CLOEXEC, 0o666 & ~umask)
    except OSError as error:
        verb = "read" if redirection.mode == "read" else "write to"
        raise CannotStartError(f"cannot {verb} {redirection.path}: {shortage.in_words(error)}", 125) from None


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


class PatientOpening:
    """An open that may block for ever, in a thread of its own; it never spawns.

    RuntimeError where no thread is to be had.

    Args:
        done: called in that thread with the descriptor or the error; hand it over to the loop there.
    """

    def __init__(
        self,
        redirection: Redirection,
        path: str,
        umask: int,
        done: Callable[[int | CannotStartError], None],
    ) -> None:
        self.path = path
        self._arguments = (redirection, path, umask)
        self._done = done
        threading.Thread(target=self._open, name=f"open {path}", daemon=True).start()

    def _open(self) -> None:
        try:
            self._done(open_redirection(*self._arguments))
        except CannotStartError as error:
            self._done(error)

    def give_up(self) -> None:
        """Let the thread go: opening a FIFO for reading and writing never blocks on Linux and serves both ends."""
        try:
            os.close(os.open(self.path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC))
        except OSError:
            return  # removed meanwhile, or a device: the thread stays until the system lets it go
