"""Text with undecodable bytes, made fit for JSON and back.

Python keeps such bytes of argv, environment and paths as lone surrogates (PEP 383), which JSON cannot carry. On the
wire and in the journal U+DC80…U+DCFF stand as U+10FE80…U+10FEFF, private code points that no real name has.
"""

from __future__ import annotations

_TO_WIRE = {0xDC00 + byte: 0x10FE00 + byte for byte in range(0x80, 0x100)}
_FROM_WIRE = {there: here for here, there in _TO_WIRE.items()}


def to_wire(text: str) -> str:
    """`text` without lone surrogates."""
    return text if text.isascii() else text.translate(_TO_WIRE)


def from_wire(text: str) -> str:
    """The inverse of `to_wire`: fit for `os.fsencode`."""
    return text if text.isascii() else text.translate(_FROM_WIRE)
