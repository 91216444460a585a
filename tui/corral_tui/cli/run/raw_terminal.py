"""Our terminal in raw mode while it is attached to a job, restored exactly afterwards."""

from __future__ import annotations

import contextlib
import os
import sys
import termios
from types import TracebackType
from typing import Any, Self

from corral.model.spec import DEFAULT_TERMINAL_SIZE
from corral.output.terminal_modes import TerminalModes, entering, leaving
from corral.platform.files.pty import size_of, write_within
from corral_tui.blocked_terminal import PATIENCE, silence_terminal

INPUT, OUTPUT = 0, 1
_RESET = (
    b"\x1b[<99u\x1b[>4m"  # keys in short form again: kitty's protocol, xterm's modifyOtherKeys
    b"\x1b7\x1b[r\x1b8"  # no scrolling region; resetting it moves the cursor
    b"\x1b(B\x0f\x1b[4l\x1b>"  # ASCII, no insert mode, the keypad sends digits
    b"\x1b[0 q\x1b[0m"  # default cursor shape, no colours
)


def is_interactive() -> bool:
    """Whether stdin and stdout are terminals."""
    return os.isatty(INPUT) and os.isatty(OUTPUT)


def own_size() -> tuple[int, int]:
    """Columns and rows of our terminal; 80 by 24 if there is none or it reports no size."""
    for descriptor in (OUTPUT, INPUT, 2):
        with contextlib.suppress(OSError):
            columns, rows = size_of(descriptor)
            if columns and rows:
                return columns, rows
    return DEFAULT_TERMINAL_SIZE


class RawTerminal:
    """While entered, keys arrive as they are typed, and output is passed through unchanged.

    `modes` tracks the terminal modes that a program sets, so that they can be reset. Leaving also works if the
    terminal has disappeared meanwhile.
    """

    def __init__(self, changed: tuple[int, ...]) -> None:
        self.modes = TerminalModes(changed)
        self._last = b"\n"
        """The last byte printed, so that what is printed after us starts on a new line."""
        self._before: list[Any] = []

    def __enter__(self) -> Self:
        sys.stdout.flush()
        self._before = termios.tcgetattr(INPUT)
        self.make_raw()
        clear = b"\x1b[H\x1b[2J" if self.modes.is_full_screen else b""
        write_within(OUTPUT, entering(self.modes.changed) + clear, PATIENCE)
        return self

    def note(self, data: bytes) -> bytes:
        """Track `data`, which is about to be printed, and return what to print."""
        self._last = data[-1:] or self._last
        return self.modes.feed(data)

    def make_raw(self) -> None:
        """As cfmakeraw(3); also called after SIGCONT, since the shell has restored its own settings."""
        settings = [*self._before[:6], list(self._before[6])]
        settings[0] &= ~(
            termios.IGNBRK
            | termios.BRKINT
            | termios.PARMRK
            | termios.ISTRIP
            | termios.INLCR
            | termios.IGNCR
            | termios.ICRNL
            | termios.IXON
        )
        settings[1] &= ~termios.OPOST
        settings[2] = (settings[2] & ~(termios.CSIZE | termios.PARENB)) | termios.CS8
        settings[3] &= ~(termios.ECHO | termios.ECHONL | termios.ICANON | termios.ISIG | termios.IEXTEN)
        settings[6][termios.VMIN], settings[6][termios.VTIME] = 1, 0
        termios.tcsetattr(INPUT, termios.TCSANOW, settings)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # EIO, ENOTTY: hung up, nobody sees it. Unread keys were meant for the job, not for the shell.
        with contextlib.suppress(OSError):
            is_within_line = self._last != b"\n" and not self.modes.is_full_screen
            last_words = _RESET + leaving(self.modes.changed) + (b"\r\n" if is_within_line else b"")
            if not write_within(OUTPUT, last_words, PATIENCE):
                silence_terminal()
        with contextlib.suppress(termios.error):
            # Not TCSAFLUSH, which waits until the terminal has taken all pending output.
            termios.tcsetattr(INPUT, termios.TCSANOW, self._before)
            termios.tcflush(INPUT, termios.TCIFLUSH)
