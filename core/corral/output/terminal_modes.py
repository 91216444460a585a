"""The modes in which a program has left its terminal: what another terminal needs to take its place. Pure.

Only the private modes of DEC and xterm that change what a person sees or what keys and the mouse send
(`CSI ? N h` and `CSI ? N l`, "XTerm Control Sequences").
"""

from __future__ import annotations

import re
from collections.abc import Iterable

ON_AT_FIRST = frozenset({7, 25})
"""Wrapping at the edge, the cursor."""
ALTERNATE_SCREENS = frozenset({47, 1047, 1049})
KNOWN = (
    ON_AT_FIRST | ALTERNATE_SCREENS | {1, 5, 6, 9, 66, 1000, 1002, 1003, 1004, 1005, 1006, 1015, 1016, 2004}
)
_LONGEST = 64
_SEQUENCE = re.compile(rb"\x1b(?:\[\?([0-9;]{1,48})([hl])|\[!p|c)")
_UNFINISHED = re.compile(rb"\x1b(?:\[(?:\?[0-9;]{0,48}|!)?)?\Z")


class TerminalModes:
    """Follows a program's output. `changed` are the modes that are not as a fresh terminal has them."""

    def __init__(self, changed: Iterable[int] = ()) -> None:
        self._changed = set(changed) & KNOWN
        self._held = b""

    @property
    def changed(self) -> tuple[int, ...]:
        return tuple(sorted(self._changed))

    @property
    def is_full_screen(self) -> bool:
        """Whether it draws on the alternate screen, as editors and pagers do."""
        return bool(self._changed & ALTERNATE_SCREENS)

    def feed(self, data: bytes) -> bytes:
        """Take note of a piece of output, and return it. A sequence may go on in the next piece."""
        if not self._held and b"\x1b" not in data:
            return data
        text = self._held + data
        for found in _SEQUENCE.finditer(text):
            if found[1] is None:
                self._changed.clear()  # DECSTR and RIS set all of them back
                continue
            for number in found[1].split(b";"):
                self._set(int(number or b"0"), is_on=found[2] == b"h")
        unfinished = _UNFINISHED.search(text, max(0, len(text) - _LONGEST))
        self._held = text[unfinished.start() :] if unfinished else b""
        return data

    def flush(self) -> bytes:
        """Nothing is ever held back of what was given."""
        return b""

    def _set(self, mode: int, *, is_on: bool) -> None:
        if mode not in KNOWN:
            return
        if is_on != (mode in ON_AT_FIRST):
            self._changed.add(mode)
        else:
            self._changed.discard(mode)


def entering(changed: Iterable[int]) -> bytes:
    """What puts a fresh terminal into these modes, the alternate screen first."""
    return _sequences(sorted(changed, key=lambda mode: mode not in ALTERNATE_SCREENS), "lh")


def leaving(changed: Iterable[int]) -> bytes:
    """What takes a terminal out of them, the alternate screen last."""
    return _sequences(sorted(changed, key=lambda mode: mode in ALTERNATE_SCREENS), "hl")


def _sequences(modes: Iterable[int], letters: str) -> bytes:
    return b"".join(b"\x1b[?%d%c" % (mode, ord(letters[mode not in ON_AT_FIRST])) for mode in modes)
