"""The line on the terminal that says how far a batch is, never between the lines of its output."""

from __future__ import annotations

import os
import sys
import time

from corral_tui.cli.output.copy_output import Outlet
from corral_tui.text.numbers import cut_end
from corral_tui.text.terminal_output import is_terminal, visible, width_of

_ERASE = b"\r\x1b[K"
_SECONDS = 0.2
"""Between two changes of the line."""


class ProgressLine:
    """What stands in the last line of the terminal, where stdout and stderr may end, too."""

    def __init__(self, *, is_wanted: bool) -> None:
        self._is_wanted = is_wanted and is_terminal(sys.stderr) and os.environ.get("TERM", "dumb") != "dumb"
        self._shown = ""
        self._is_within_line = False
        self._due_at = 0.0

    def before(self, data: bytes) -> bytes:
        """The bytes to write in place of `data`, so that the line disappears first."""
        if not data:
            return data
        self._is_within_line = not data.endswith(b"\n")
        return self.erased() + data

    def erased(self) -> bytes:
        """What makes the line disappear."""
        shown, self._shown = self._shown, ""
        return _ERASE if shown else b""

    @property
    def is_due(self) -> bool:
        return self._is_wanted and not self._is_within_line and time.monotonic() >= self._due_at

    def drawn(self, text: str) -> bytes:
        """What draws the line anew; nothing if it stands there."""
        self._due_at = time.monotonic() + _SECONDS
        text = cut_end(text, (width_of(sys.stderr) or 80) - 1)
        if text == self._shown:
            return b""
        self._shown = text
        return _ERASE + text.encode()


class SharedOutlet(Outlet):
    """An outlet whose terminal may show the line."""

    def __init__(self, descriptor: int, progress: ProgressLine) -> None:
        super().__init__(descriptor)
        self._progress = progress

    def put(self, data: bytes) -> None:
        super().put(self._progress.before(data) if self.is_terminal else data)

    def say(self, text: str) -> None:
        """A line of our own."""
        self.put(f"corral: {visible(text)}\n".encode(errors="replace"))

    def draw(self, text: str) -> None:
        super().put(self._progress.drawn(text))

    def erase(self) -> None:
        super().put(self._progress.erased())
