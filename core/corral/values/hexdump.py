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


def hex_rows(data: bytes, offset: int = 0, row: int = ROW) -> Iterator[str]:
    """Rows of `row` bytes, 16 at most: offset, hexadecimal, and what of it is printable ASCII."""
    for start in range(0, len(data), row):
        piece = data[start : start + row]
        written = f"{piece[:8].hex(' '):<{3 * min(row, 8) - 1}}"
        if row > 8:
            written += f"  {piece[8:].hex(' '):<{3 * (row - 8) - 1}}"
        shown = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in piece)
        yield f"{offset + start:08x}  {written}  |{shown}|"


def for_people(data: bytes, *, as_hex: bool = False) -> list[str]:
    """Lines of text with control characters made visible, or of a hex dump."""
    if as_hex or not is_text(data):
        return list(hex_rows(data))
    lines = make_visible(data, colours=False).decode().split("\n")
    return lines[:-1] if lines[-1] == "" else lines
