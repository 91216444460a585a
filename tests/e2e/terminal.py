"""A program on a terminal of its own: keys go in, the painted screen comes out as lines of text."""

from __future__ import annotations

import codecs
import fcntl
import os
import pty
import re
import select
import struct
import termios
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import pyte

import forkserver
from until import until

_UNKNOWN_TO_PYTE = re.compile(
    r"\x1b\[[<=>?][0-9;]*\$?[a-zA-Z]|\x1b\[[0-9;]*\$[a-zA-Z]|\x1bP.*?\x1b\\", re.DOTALL
)
"""Private sequences, which it would print in part: modes, keyboard protocols, questions to the terminal."""
_OPEN_SEQUENCE = re.compile(r"\x1b(?:\[[^a-zA-Z~]*|P[^\x1b]*\x1b?)?$")


class Terminal:
    """A program on a pty of `columns` times `rows`. Leaving the block kills the program if it still runs."""

    def __init__(
        self,
        argv: Sequence[str],
        *,
        environment: Mapping[str, str],
        columns: int = 160,
        rows: int = 50,
        cwd: str | os.PathLike[str] | None = None,
    ) -> None:
        self._master, self._slave = pty.openpty()
        self.resize(columns, rows)
        self.settings = self.settings_now()
        self._screen = pyte.Screen(columns, rows)
        self._stream = pyte.Stream(self._screen)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._pending = ""
        self.written = ""
        """Everything that was written to the terminal so far."""
        self.raw = b""
        """The same, byte for byte."""
        self.process = forkserver.on_terminal(
            argv, stdin=self._slave, stdout=self._slave, stderr=self._slave, env=dict(environment), cwd=cwd
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._slave)
        os.close(self._master)

    def release(self) -> int:
        """Hang up: the master, for the caller to close. The program has to be waited for by itself then."""
        os.close(self._slave)
        return self._master

    def stall(self) -> None:
        """Fill it to the brim, as one that reads nothing: no byte more can be written to it, until it is looked at."""
        with open(os.ttyname(self._slave), "wb", 0, opener=_open_impatiently) as other:
            until(lambda: other.write(b"." * 4096) is None, "the terminal to be full")

    def resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self._slave, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))

    def settings_now(self) -> list[Any]:
        """What `stty` would show: echo, line mode and all the rest."""
        return termios.tcgetattr(self._slave)

    def press(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def lines(self) -> list[str]:
        """The screen as it is painted now."""
        self._take_what_is_there()
        return [line.rstrip() for line in self._screen.display]

    def text(self) -> str:
        return "\n".join(self.lines())

    def wait_for(self, words: str, *, seconds: float = 30.0) -> str:
        """The screen once it shows `words`."""

        def shown() -> str:
            text = self.text()
            return text if words in text else ""

        try:
            return until(shown, f"{words!r} on the screen", seconds=seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}; it shows:\n{self.text()}") from None

    def wait_for_end(self, *, seconds: float = 30.0) -> int:
        """The exit status of the program, `-n` for signal n; what it wrote until then is taken in."""

        def ended() -> bool:
            self._take_what_is_there()  # a full terminal would block it
            return self.process.poll() is not None

        until(ended, "the program to end", seconds=seconds)
        self._take_what_is_there()
        assert self.process.returncode is not None
        return self.process.returncode

    def _take_what_is_there(self) -> None:
        while select.select([self._master], [], [], 0)[0]:
            data = os.read(self._master, 1 << 16)
            self.raw += data
            text = self._decoder.decode(data)
            self.written += text
            self._feed(text)

    def _feed(self, text: str) -> None:
        text = self._pending + text
        begun = _OPEN_SEQUENCE.search(text)
        self._pending = text[begun.start() :] if begun else ""
        self._stream.feed(_UNKNOWN_TO_PYTE.sub(_known, text[: begun.start()] if begun else text))


def _open_impatiently(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOCTTY | os.O_NONBLOCK)


def _known(found: re.Match[str]) -> str:
    """What pyte has of it: the cursor, wrapping. It knows one screen only; here the other one is always empty."""
    if found[0] in ("\x1b[?1049h", "\x1b[?1049l"):
        return "\x1b[H\x1b[2J"
    return found[0] if found[0] in ("\x1b[?25l", "\x1b[?25h", "\x1b[?7l", "\x1b[?7h") else ""
