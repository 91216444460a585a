"""Signals as something to poll for, so that none interrupts a copy in the middle of a write."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable
from types import FrameType
from typing import Any, Self


class Interrupts:
    """While entered, INT and TERM (or `numbers`) are recorded and wake `fileno`. Ignored signals stay ignored."""

    def __init__(self, numbers: Iterable[int] = (signal.SIGINT, signal.SIGTERM)) -> None:
        self._numbers = tuple(numbers)
        self._noted: list[int] = []
        self._before: dict[int, Any] = {}
        self._wake_before = -1
        self._reader, self._writer = -1, -1

    def __enter__(self) -> Self:
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(self._writer, False)
        self._wake_before = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        for number in self._numbers:
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wake_before)
        os.close(self._reader)
        os.close(self._writer)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._noted.append(number)

    def fileno(self) -> int:
        """Readable when a signal has arrived."""
        return self._reader

    @property
    def count(self) -> int:
        """How many signals have arrived that `take` has not returned. Clears `fileno`."""
        self._clear()
        return len(self._noted)

    def take(self) -> list[int]:
        """The signals since the last call. Clears `fileno`."""
        self._clear()
        noted, self._noted = self._noted, []
        return noted

    def _clear(self) -> None:
        try:
            while os.read(self._reader, 4096):
                pass
        except BlockingIOError:
            return
