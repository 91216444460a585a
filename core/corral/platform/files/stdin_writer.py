"""Bytes into the stdin of a job or onto its terminal, which takes them when its program reads."""

from __future__ import annotations

import errno
import os
import re
import select
import time
from collections.abc import Callable, Iterator

from corral.model.errors import NotSoError
from corral.platform.files.pty import end_of_input, is_canonical

LONGEST_LINE = 4095
"""Of a line that is longer a terminal in canonical mode drops the rest, silently (termios(3), N_TTY_BUF_SIZE)."""
_PIECE = 2048
"""Of a line at a time, so that a little that was typed before leaves room for it."""
_LINE_END = re.compile(rb"[\r\n](?=[^\r\n]*\Z)")
LOOK_SECONDS = 0.5
PAUSE_SECONDS = 0.05


class Sender:
    """Sends to one descriptor, whoever else has its description, and is never stuck in a write.

    On a terminal whose program reads lines, a longer one than `LONGEST_LINE` is handed over in pieces: the key that means
    EOF ends no line, it hands over what there is of it, and whoever reads up to a line feed gets the whole.

    Args:
        goes_on: asked every `LOOK_SECONDS`, or sooner, while nothing is taken, with the seconds since something was; False gives up.
    """

    def __init__(self, descriptor: int, goes_on: Callable[[float], bool]) -> None:
        self._descriptor = descriptor
        self._goes_on = goes_on
        self._is_terminal = os.isatty(descriptor)
        self._line = 0
        """Bytes of the unfinished line that were not handed over."""
        self.taken = 0

    def send(self, data: bytes) -> bool:
        """All of `data`; False where it was given up, `taken` bytes having been sent in all.

        Raises:
            NotSoError: a line is too long for the terminal, which knows no key for EOF.
            OSError: EPIPE, EIO: nobody will read it.
        """
        pieces = self._pieces(data) if self._is_terminal else [data]
        return all(map(self._write, pieces))

    def hand_over(self) -> bool:
        """What there is of a line without an end, to whoever reads; False where it was given up."""
        if not self._line or not is_canonical(self._descriptor):
            return True
        self._line = 0
        return self._write(end_of_input(self._descriptor), counts=False)

    def _pieces(self, data: bytes) -> Iterator[bytes]:
        """The mode is looked at before each: a program may change it at any time."""
        while data:
            if not is_canonical(self._descriptor):
                self._line, size = 0, _PIECE
            elif end_of_input(self._descriptor):
                if self._line >= _PIECE and not self.hand_over():
                    return
                size = _PIECE - self._line
            else:
                size = LONGEST_LINE - self._line
                if not size:
                    raise NotSoError(f"its terminal takes no line of more than {LONGEST_LINE} bytes")
            ended = _LINE_END.search(data, 0, size)
            piece = data[: size if ended is None else ended.end()]
            self._line = 0 if ended is not None else self._line + len(piece)
            yield piece
            data = data[len(piece) :]

    def _write(self, data: bytes, *, counts: bool = True) -> bool:
        view = memoryview(data)
        since = time.monotonic()
        while view:
            written = self._write_some(view)
            if written:
                view = view[written:]
                self.taken += written if counts else 0
                since = time.monotonic()
            elif not self._goes_on(time.monotonic() - since):
                return False
        return True

    def _write_some(self, data: memoryview) -> int:
        """What is taken within a while. Raises OSError."""
        poller = select.poll()
        poller.register(self._descriptor, select.POLLOUT)
        ready = poller.poll(LOOK_SECONDS * 1000)
        if not ready:
            return 0
        if ready[0][1] & select.POLLHUP:
            # A write to a terminal that is full says EAGAIN for ever, also once nobody has its other side any more.
            raise OSError(errno.EIO, "its terminal was hung up")
        try:
            # A blocking pipe takes so much without waiting when poll(2) says so (pipe(7)).
            return os.write(self._descriptor, data[: select.PIPE_BUF])
        except BlockingIOError:
            # A terminal's poll says that there is room for bytes for which there is no memory (tty_buffer.c).
            time.sleep(PAUSE_SECONDS)
            return 0
