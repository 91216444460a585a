"""The detach key: how the user writes it, and the bytes a terminal sends for it."""

from __future__ import annotations

import re
from typing import NamedTuple

from corral.model.errors import UsageError

DEFAULT_KEY = "ctrl+]"
"""As in telnet: unlike ctrl+p, ctrl+b and ctrl+a, no common shell, editor or multiplexer uses it."""
_WRITTEN = re.compile(r"(?:ctrl[+-]|c-|\^)(.)", re.IGNORECASE)
_LOCKS = 64 | 128
"""Caps lock and num lock in the modifiers of a key (kitty's keyboard protocol)."""
_CONTROL = 4


class DetachKey(NamedTuple):
    """A control key: its byte, and the letter pressed with ctrl."""

    byte: bytes
    letter: str

    @property
    def name(self) -> str:
        return f"ctrl+{self.letter}"

    def find(self, data: bytes) -> tuple[int, int] | None:
        """Start and end of the key in `data`, or None.

        A program in the terminal may have switched keys to a long form: `CSI 93;5u` (kitty) or `CSI 27;5;93~` (xterm's
        modifyOtherKeys), with the code of the letter, and 1 plus the modifiers.
        """
        start = data.find(self.byte)
        plain = None if start < 0 else (start, start + 1)
        if b"\x1b[" not in data:
            return plain
        code = ord(self.letter)
        pattern = rb"\x1b\[(?:%d(?::\d*)*;(\d+)(?::1)?(?:;\d+)?u|27;(\d+);%d~)" % (code, code)
        for found in re.finditer(pattern, data):
            modifiers = int(found[1] or found[2]) - 1
            if modifiers & ~_LOCKS == _CONTROL and (plain is None or found.start() < plain[0]):
                return found.span()
        return plain


def parse_key(written: str) -> DetachKey:
    """`ctrl+p`, `^p`, `C-p`, `ctrl+]`, or the control character itself.

    Raises UsageError if a terminal does not send that key as one control character.
    """
    text = written.strip(" ")
    if len(text) == 1 and ord(text) < 32:
        return _key(chr(ord(text) + 64).lower())
    found = _WRITTEN.fullmatch(text)
    letter = found[1].lower() if found else ""
    # ctrl+[ is escape, with which every arrow key begins; m, j and i are enter, line feed and tab.
    if not letter or letter in "[mji" or not (letter.isascii() and (letter.isalpha() or letter in "@]\\^_")):
        raise UsageError(f"detach key {written!r}: write ctrl and one key, such as ctrl+p, ^p or ctrl+]")
    return _key(letter)


def _key(letter: str) -> DetachKey:
    if letter in "[mji":
        raise UsageError(
            f"detach key ctrl+{letter}: it is escape, enter or tab; write another key, such as ctrl+p, ^p or ctrl+]"
        )
    return DetachKey(bytes([ord(letter.upper()) & 0x1F]), letter)
