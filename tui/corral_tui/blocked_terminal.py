"""Ending this process if its terminal blocks or has disappeared."""

from __future__ import annotations

import _thread
import contextlib
import os
import stat
import time
from collections.abc import Callable

SECONDS = 1.0
"""The process has so long to end by itself."""
PATIENCE = 1.0
"""Seconds without progress after which we give up writing to the terminal on exit."""


class LastResort:
    """Once armed, ends this process after `SECONDS`, calling `restore` before that in another thread."""

    def __init__(self, restore: Callable[[], None]) -> None:
        self._restore = restore
        self._is_armed = False
        self._is_over = False

    def arm(self, status: int) -> None:
        """Start the timer; the process will end with that exit status.

        May be called in a signal handler: unlike threading.Thread it takes no lock that the program may hold.
        """
        if not self._is_armed:
            self._is_armed = True
            # RuntimeError (EAGAIN): no more threads; the process has to end by itself.
            with contextlib.suppress(RuntimeError):
                _thread.start_new_thread(self._end, (status,))

    def stand_down(self) -> None:
        """Cancel: what follows may take its time."""
        self._is_over = True

    def _end(self, status: int) -> None:
        time.sleep(SECONDS)
        if self._is_over:
            return
        try:
            with contextlib.suppress(Exception):
                self._restore()
        finally:
            os._exit(status)


def silence(descriptor: int) -> None:
    """Redirect `descriptor` to /dev/null."""
    null = os.open(os.devnull, os.O_RDWR)
    if null != descriptor:
        os.dup2(null, descriptor)
        os.close(null)


def silence_terminal() -> None:
    """Redirect stdout and stderr to /dev/null where they are terminals, so that no last message fails or blocks."""
    for descriptor in (1, 2):
        if stat.S_ISCHR(os.fstat(descriptor).st_mode):
            silence(descriptor)
