"""What reached a terminal, byte for byte: which sequences, and whether anything is hidden or obeyed that should not be."""

from __future__ import annotations

import re

_STRINGS = rb"[\]PX^_][^\x07\x1b]{0,8192}(?:\x07|\x1b\\)"
_SEQUENCE = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|" + _STRINGS + rb"|[ -/]*[0-~]|)")
SGR = re.compile(rb"\x1b\[[0-9;:]*m")
MARK = b"31337"
"""Stands in every hostile sequence, and in none of ours."""
_OURS = re.compile(
    rb"\x1b\[(?:[0-9;:]*[mHJKABCDGdXLMPS]|\?[0-9;]*[hl]|\?[0-9]*\$p|[<>=][0-9;]*u|\?u|[0-9;]*[tnc]|[0-9 ]*q|\?[0-9;]*[nu])"
    rb"|\x1b\]22;[a-z]*(?:\x07|\x1b\\)|\x1b\]2;corral: [^\x00-\x1f\x7f]*\x07|\x1b[78=>]"
)
"""What the dashboard may send: colours, the cursor, modes, questions, the shape of the mouse, its own title."""
_UNWANTED = "\u061c\u200b\u200e\u200f\u2028\u2029\u2060\u2066\u2067\u2068\u2069\u202a\u202b\u202c\u202d\u202e\ufeff\u00ad"


def foreign(raw: bytes, allowed: re.Pattern[bytes]) -> list[bytes]:
    """Sequences beside the allowed ones, controls that act, characters that hide or turn text, bytes that are no UTF-8."""
    found = [
        sequence for sequence in _SEQUENCE.findall(raw) if MARK in sequence or not allowed.fullmatch(sequence)
    ]
    rest = _SEQUENCE.sub(b"", raw)
    found += re.findall(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]", rest)
    text = rest.decode("utf-8", "surrogateescape")
    found += [
        letter.encode("utf-8", "surrogatepass")
        for letter in text
        if letter in _UNWANTED
        or "\x80" <= letter <= "\x9f"
        or "\ud800" <= letter <= "\udfff"
        or "\U000e0000" <= letter <= "\U000e0fff"
    ]
    return found


def in_dashboard(raw: bytes) -> list[bytes]:
    return foreign(raw, _OURS)


def in_command(raw: bytes) -> list[bytes]:
    return foreign(raw, SGR)
