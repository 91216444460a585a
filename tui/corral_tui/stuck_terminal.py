"""The end of a program whose terminal holds it up, or has gone."""

from __future__ import annotations

import _thread
import contextlib
import os
import stat
import time
from collections.abc import Callable

SECONDS = 1.0
"""For so long it may end by itself."""
PATIENCE = 1.0
"""Seconds for which a terminal that is being left may take nothing, before it is given up."""


class LastResort:
    """Once armed, this process has ended soon after `SECONDS`; `restore` is called before, in another thread."""

    def __init__(self, restore: Callable[[], None]) -> None:
        self._restore = restore
        self._is_armed = False
        self._is_over = False

    def arm(self, status: int) -> None:
        """End then with that exit status.

        May be called by the handler of a signal: it takes no lock that the program may hold, as threading.Thread would.
        """
        if not self._is_armed:
            self._is_armed = True
            with contextlib.suppress(
                RuntimeError
            ):  # EAGAIN: there can be no more threads; it has to end by itself
                _thread.start_new_thread(self._end, (status,))

    def stand_down(self) -> None:
        """What goes on from here may take its time."""
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
    """From now on what is printed there goes nowhere, and what would be read there has ended."""
    null = os.open(os.devnull, os.O_RDWR)
    if null != descriptor:
        os.dup2(null, descriptor)
        os.close(null)


def silence_terminal() -> None:
    """Our terminal has gone (EIO), or takes nothing: no last word may fail for it, or wait. Files and pipes go on."""
    for descriptor in (1, 2):
        if stat.S_ISCHR(os.fstat(descriptor).st_mode):
            silence(descriptor)
