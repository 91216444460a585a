"""Our own terminal, handed to a job for a while and put back exactly as it was."""

from __future__ import annotations

import contextlib
import os
import sys
import termios
from types import TracebackType
from typing import Any, Self

from corral.observe.terminalmodes import TerminalModes, entering, leaving
from corral.system.terminal import size_of, write_within
from corral.values.spec import DEFAULT_TERMINAL_SIZE
from corral_tui.stuck_terminal import PATIENCE, silence_terminal

INPUT, OUTPUT = 0, 1
_PLAIN = (
    b"\x1b[<99u\x1b[>4m"  # keys in short form again: kitty's protocol, xterm's modifyOtherKeys
    b"\x1b7\x1b[r\x1b8"  # the whole screen scrolls; setting that moves the cursor
    b"\x1b(B\x0f\x1b[4l\x1b>"  # ASCII, no insert mode, the keypad sends digits
    b"\x1b[0 q\x1b[0m"  # the cursor's own shape, no colours
)


def is_there() -> bool:
    """Whether a person can type to us and see what we print."""
    return os.isatty(INPUT) and os.isatty(OUTPUT)


def own_size() -> tuple[int, int]:
    """Columns and rows of our terminal; 80 by 24 where there is none, or where it does not say."""
    for descriptor in (OUTPUT, INPUT, 2):
        with contextlib.suppress(OSError):
            columns, rows = size_of(descriptor)
            if columns and rows:
                return columns, rows
    return DEFAULT_TERMINAL_SIZE


class RawTerminal:
    """While entered, every key comes as it is typed, and what is printed is obeyed.

    `modes` follows what is printed, so that the modes which a program has changed can be set back. Leaving also works
    where the terminal has gone meanwhile.
    """

    def __init__(self, changed: tuple[int, ...]) -> None:
        self.modes = TerminalModes(changed)
        self._last = b"\n"
        """The last thing printed: what comes after us is to begin on a line of its own."""
        self._before: list[Any] = []

    def __enter__(self) -> Self:
        sys.stdout.flush()
        self._before = termios.tcgetattr(INPUT)
        self.make_raw()
        clear = b"\x1b[H\x1b[2J" if self.modes.is_full_screen else b""
        write_within(OUTPUT, entering(self.modes.changed) + clear, PATIENCE)
        return self

    def note(self, data: bytes) -> bytes:
        """This is about to be printed."""
        self._last = data[-1:] or self._last
        return self.modes.feed(data)

    def make_raw(self) -> None:
        """As cfmakeraw(3) does; also after a stop, where the shell has set its own again."""
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
        # EIO, ENOTTY: it was hung up, and nobody sees it any more. What was typed ahead is for the job, not for the shell.
        with contextlib.suppress(OSError):
            is_within_line = self._last != b"\n" and not self.modes.is_full_screen
            last_words = _PLAIN + leaving(self.modes.changed) + (b"\r\n" if is_within_line else b"")
            if not write_within(OUTPUT, last_words, PATIENCE):
                silence_terminal()
        with contextlib.suppress(termios.error):
            # Not TCSAFLUSH, which waits for the terminal to take all that is on its way.
            termios.tcsetattr(INPUT, termios.TCSANOW, self._before)
            termios.tcflush(INPUT, termios.TCIFLUSH)
