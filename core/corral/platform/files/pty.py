"""A terminal for a job: a pseudo-terminal (pty(7)), of which we keep the master and the job gets the other side."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import struct
import termios
from typing import Any

from corral.model.errors import CannotStartError

READ_SIZE = 4096
"""A read of a master gives no more at a time (N_TTY_BUF_SIZE in drivers/tty/n_tty.c)."""
MOST_CELLS = 9999
_IUTF8 = 0o40000
"""Erasing takes a whole UTF-8 character (termios(3)); the module does not name it before Python 3.14."""
_SIZE = struct.Struct("4H")


def open_terminal(columns: int, rows: int) -> tuple[int, int]:
    """The master, which never blocks, and the job's side of a new terminal of that size. Raises OSError."""
    master, inner = os.openpty()
    try:
        os.set_blocking(master, False)
        set_size(master, columns, rows)
        settings = termios.tcgetattr(inner)
        if os.uname().sysname == "Linux":
            settings[0] |= _IUTF8
            termios.tcsetattr(inner, termios.TCSANOW, settings)
    except BaseException:
        os.close(master)
        os.close(inner)
        raise
    return master, inner


def make_controlling(inner: int) -> None:
    """Have `inner` as our controlling terminal, between setsid(2) and exec (tty_ioctl(4)). Raises CannotStartError."""
    try:
        fcntl.ioctl(inner, termios.TIOCSCTTY, 0)
    except OSError as error:
        raise CannotStartError(f"its terminal could not be given to it: {error.strerror}", 125) from None


def read_some(master: int) -> bytes | None:
    """What was printed, at most `READ_SIZE` bytes; None where there is nothing now, no bytes once the other side is gone.

    The kernel brings what is on its way before it says either (n_tty_read), so nothing printed before is missed.
    """
    try:
        return os.read(master, READ_SIZE)
    except BlockingIOError:
        return None
    except OSError as error:
        if error.errno == errno.EIO:
            return b""
        raise


def size_of(terminal: int) -> tuple[int, int]:
    """Columns and rows; zeros where nobody has told it. Raises OSError."""
    rows, columns, _, _ = _SIZE.unpack(fcntl.ioctl(terminal, termios.TIOCGWINSZ, bytes(_SIZE.size)))
    return columns, rows


def set_size(terminal: int, columns: int, rows: int) -> None:
    """Make it so large; what runs in it gets SIGWINCH if that is new. Either side will do. Raises OSError."""
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, _SIZE.pack(rows, columns, 0, 0))


def is_canonical(terminal: int) -> bool:
    """Whether its program reads whole lines (ICANON, termios(3)). Raises OSError."""
    return bool(_settings(terminal)[3] & termios.ICANON)


def reopen(terminal: int) -> int:
    """A descriptor of our own to write to that terminal, which never waits. The caller closes it.

    Whether writes wait belongs to the open file (fcntl(2), O_NONBLOCK), which we share with the shell that gave it to us.

    Raises OSError: it has no name here, or is another user's, as after su(1).
    """
    flags = os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC
    return os.open(os.ttyname(terminal), flags)


def write_within(terminal: int, data: bytes, seconds: float) -> bool:
    """Write all of it; False where the terminal takes nothing for so long. Raises OSError: it has gone (EIO)."""
    try:
        ours = reopen(terminal)
    except OSError:
        ours = os.dup(terminal)
    try:
        poller = select.poll()
        poller.register(ours, select.POLLOUT)
        while data:
            if not poller.poll(seconds * 1000):
                return False
            with contextlib.suppress(BlockingIOError):
                data = data[os.write(ours, data) :]
        return True
    finally:
        os.close(ours)


def end_of_input(terminal: int) -> bytes:
    """The key that means EOF there, ctrl+d unless `stty` said otherwise; none where that is turned off."""
    key = _settings(terminal)[6][termios.VEOF]
    assert isinstance(key, bytes)
    return key if key != b"\0" else b""


def _settings(terminal: int) -> list[Any]:
    try:
        return termios.tcgetattr(terminal)
    except termios.error as error:  # which is no OSError
        raise OSError(*error.args) from None
