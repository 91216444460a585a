"""What was given, in the words of an error: never more of it than fits in a line."""

from __future__ import annotations

import reprlib

LONGEST_SHOWN = 80

_short = reprlib.Repr()
_short.maxstring = _short.maxother = LONGEST_SHOWN - 20


def shown(value: object) -> str:
    """`value` as Python writes it, shortened where that is long; its type where it cannot be written."""
    try:
        text = _short.repr(value)
    except ValueError:  # an int of more digits than Python writes (sys.set_int_max_str_digits)
        text = f"<{type(value).__name__}>"
    return cut(text)


def cut(text: str) -> str:
    """The beginning of a text that is long."""
    return text if len(text) <= LONGEST_SHOWN else text[: LONGEST_SHOWN - 1] + "…"
