"""Bytes for people: as text where they are text, else as a hex dump."""

from __future__ import annotations

from collections.abc import Iterator

from corral.values.text import make_visible

ROW = 16
_FEW = 0.05
"""Up to this share of bytes that are neither text nor white space it still counts as text."""
_WHITE = frozenset(b"\t\n\r\f\b\x1b")


def is_text(data: bytes) -> bool:
    """Whether it reads as UTF-8 with few control characters; a character cut at either end counts as whole."""
    if b"\0" in data:
        return False
    decoded = data.decode("utf-8", "replace")
    odd = sum(1 for char in decoded if (char < " " and ord(char) not in _WHITE) or char == "\ufffd")
    return odd <= 2 or odd <= _FEW * len(decoded)


def hex_rows(data: bytes, offset: int = 0) -> Iterator[str]:
    """Rows of 16 bytes: offset, hexadecimal, and what of it is printable ASCII."""
    for start in range(0, len(data), ROW):
        row = data[start : start + ROW]
        left, right = row[:8].hex(" "), row[8:].hex(" ")
        shown = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        yield f"{offset + start:08x}  {left:<23}  {right:<23}  |{shown}|"


def for_people(data: bytes, *, as_hex: bool = False) -> list[str]:
    """Lines of text with control characters made visible, or of a hex dump."""
    if as_hex or not is_text(data):
        return list(hex_rows(data))
    lines = make_visible(data, colours=False).decode().split("\n")
    return lines[:-1] if lines[-1] == "" else lines
