"""The key that detaches: as it is written, and as terminals send it."""

from __future__ import annotations

import pytest

from corral.model.errors import UsageError
from corral_tui.cli.run.detach_key import DEFAULT_KEY, parse_key


@pytest.mark.parametrize(
    ("written", "byte"),
    [
        ("ctrl+]", b"\x1d"),
        ("^]", b"\x1d"),
        ("ctrl+p", b"\x10"),
        ("Ctrl-P", b"\x10"),
        ("C-p", b"\x10"),
        ("^\\", b"\x1c"),
        ("\x1d", b"\x1d"),
        (r"ctrl+@", b"\0"),
    ],
)
def test_forms(written: str, byte: bytes) -> None:
    assert parse_key(written).byte == byte


@pytest.mark.parametrize(
    "written", ["", "p", "f1", "ctrl+", "ctrl+1", "ctrl+[", "^M", "ctrl+i", "\r", "ctrl+ä"]
)
def test_what_is_no_key_is_refused(written: str) -> None:
    with pytest.raises(UsageError, match="detach key"):
        parse_key(written)


@pytest.mark.parametrize(
    ("typed", "span"),
    [
        (b"abc", None),
        (b"ab\x1dc", (2, 3)),
        (b"a\x1b[93;5uc", (1, 8)),
        (b"\x1b[93::93;69:1u", (0, 14)),  # caps lock is on
        (b"\x1b[27;5;93~", (0, 10)),
        (b"\x1b[93;5:3u", None),  # let go, not pressed
        (b"\x1b[93;6u", None),  # shift, too
        (b"\x1b[93u", None),
        (b"\x1b[A", None),
    ],
)
def test_as_it_is_sent(typed: bytes, span: tuple[int, int] | None) -> None:
    assert parse_key(DEFAULT_KEY).find(typed) == span
