"""What is painted, on its way to a terminal that may stop reading, or go away, at any moment."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import threading
from collections.abc import Callable

from corral.platform.files.pty import reopen

MOST_BEHIND = 64 << 10
"""Bytes on their way: with more of them nothing is painted until the terminal has caught up."""
_AT_ONCE = 16 << 10


class TerminalWriter:
    """Writes in a thread of its own, so that nobody else waits for the terminal.

    The same thread notices at once when the terminal has gone, also where no SIGHUP comes (it is not our controlling
    terminal, setsid(2)) and nothing is written: poll(2) says POLLHUP unasked.
    """

    def __init__(
        self, output: int, keys: int, *, on_gone: Callable[[], None], on_caught_up: Callable[[], None]
    ) -> None:
        self._output = output
        with contextlib.suppress(OSError):
            self._output = reopen(output)
        self._keys = keys
        self._on_gone = on_gone
        self._on_caught_up = on_caught_up
        self._changed = threading.Condition()
        self._queue = bytearray()
        self._written = 0
        self._has_skipped = False
        self._is_gone = False
        self._woken, self._waker = os.pipe()
        os.set_blocking(self._waker, False)
        threading.Thread(target=self._run, name="corral-terminal", daemon=True).start()

    def skips(self) -> bool:
        """Whether the terminal is so far behind that a frame is better left out; `on_caught_up` is called when it is not."""
        with self._changed:
            is_behind = len(self._queue) > MOST_BEHIND
            self._has_skipped |= is_behind
            return is_behind

    def put(self, data: bytes) -> None:
        """Write that when its turn comes."""
        with self._changed:
            if self._is_gone:
                return
            self._queue += data
        # EAGAIN: it has been woken often enough.
        with contextlib.suppress(BlockingIOError):
            os.write(self._waker, b"\0")

    def settle(self, patience: float) -> bool:
        """Wait until all is written; False where the terminal has gone, or took nothing for `patience` seconds."""
        with self._changed:
            while self._queue and not self._is_gone:
                before = self._written
                if not self._changed.wait_for(lambda: self._is_gone or self._written != before, patience):  # noqa: B023
                    return False
            return not self._is_gone

    def _run(self) -> None:
        poller = select.poll()
        poller.register(self._woken, select.POLLIN)
        poller.register(self._keys, 0)
        try:
            while True:
                poller.register(self._output, select.POLLOUT if self._queue else 0)
                ready = dict(poller.poll())
                if ready.pop(self._woken, 0):
                    os.read(self._woken, 4096)
                if any(events & (select.POLLHUP | select.POLLERR) for events in ready.values()):
                    raise OSError(errno.EIO, "the terminal was hung up")
                self._write_some()
        except OSError:
            with self._changed:
                self._is_gone = True
                self._changed.notify_all()
            self._on_gone()

    def _write_some(self) -> None:
        with self._changed:
            piece = bytes(self._queue[:_AT_ONCE])
        try:
            written = os.write(self._output, piece) if piece else 0
        except BlockingIOError:
            return
        with self._changed:
            del self._queue[:written]
            self._written += written
            has_caught_up = self._has_skipped and not self._queue
            self._has_skipped = self._has_skipped and not has_caught_up
            self._changed.notify_all()
        if has_caught_up:
            self._on_caught_up()
