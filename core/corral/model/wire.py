"""Converts text with undecodable bytes for JSON and back.

Python decodes argv, environment and paths by the locale and keeps what it cannot decode as lone surrogates (PEP 383), which
JSON cannot carry. On the wire and in the journal such text is what its bytes are as UTF-8, whatever the locale of the client
that sent it: U+DC80…U+DCFF stand as U+10FE80…U+10FEFF, private code points that no real name has.
"""

from __future__ import annotations

import os
import sys

_TO_WIRE = {0xDC00 + byte: 0x10FE00 + byte for byte in range(0x80, 0x100)}
_FROM_WIRE = {there: here for here, there in _TO_WIRE.items()}


def to_wire(text: str) -> str:
    """`text` as this process has it from the system (argv, environment, a path), without lone surrogates."""
    return text if text.isascii() else typed_to_wire(_as_utf8(text))


def from_wire(text: str) -> str:
    """The inverse of `to_wire`: fit for `os.fsencode`."""
    return text if text.isascii() else native(text.translate(_FROM_WIRE))


def typed_to_wire(text: str) -> str:
    """`text` that was not decoded with the locale, such as input typed into the dashboard; without lone surrogates."""
    return text if text.isascii() else text.translate(_TO_WIRE)


def native(text: str) -> str:
    """Text decoded as UTF-8 (`surrogateescape`) as this process has it from the system: `os.fsencode` gives the same bytes."""
    return text if _is_utf8() else os.fsdecode(text.encode("utf-8", "surrogateescape"))


def _as_utf8(text: str) -> str:
    if _is_utf8():
        return text
    try:
        return os.fsencode(text).decode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        # Made by the program itself: this locale has no such character, so it did not come from the system.
        return text


def _is_utf8() -> bool:
    return sys.getfilesystemencoding() == "utf-8"
