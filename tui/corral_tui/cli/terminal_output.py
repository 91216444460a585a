"""Text for people: control characters made visible, so that a name or a path cannot move the cursor."""

from __future__ import annotations

import os
import sys
from typing import TextIO


def visible(text: str) -> str:
    """`text` as one line that a terminal shows as it stands."""
    if text.isprintable():
        return text
    # Its expressions take 3 ms to compile: not for text that is plain.
    from corral.values.text import one_line

    return one_line(text)


def is_terminal(stream: TextIO) -> bool:
    """Whether a person reads `stream` on a screen."""
    try:
        return stream.isatty()
    except ValueError:
        return False  # closed


def has_colour(stream: TextIO) -> bool:
    """Whether to use colour and bold: NO_COLOR, then FORCE_COLOR (`0`: no), then whether it is a terminal that can.

    Of both an empty value is as good as none (no-color.org, force-color.org).
    """
    if os.environ.get("NO_COLOR"):
        return False
    forced = os.environ.get("FORCE_COLOR")
    if forced:
        return forced.lower() not in ("0", "false")
    return os.environ.get("TERM", "dumb") not in ("dumb", "") and is_terminal(stream)


def width_of(stream: TextIO) -> int | None:
    """Columns of the terminal behind `stream`; None where it is none, and nothing is to be cut."""
    if not is_terminal(stream):
        return None
    chosen = os.environ.get("COLUMNS", "")
    if chosen.isascii() and chosen.isdigit() and int(chosen):
        return int(chosen)
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except OSError:
        return 80


def say(line: str = "") -> None:
    """One line on stdout, whatever it was made of."""
    put(visible(line))


def put(text: str) -> None:
    """Text of our own on stdout as it is, several lines perhaps."""
    sys.stdout.write(text + "\n")


def put_json(text: str) -> None:
    """JSON on stdout, with what a terminal would obey or hide written as escapes: the same value to whoever reads it."""
    if not text.isascii() or "\x7f" in text:
        import re

        text = re.sub(_NOT_FOR_TERMINALS, lambda found: json_escape(found[0]), text)
    put(text)


_NOT_FOR_TERMINALS = (
    "[\x7f-\x9f\u00ad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\U000e0000-\U000e007f]"
)


def json_escape(letter: str) -> str:
    """As `\\uXXXX`, beyond the first plane as two of them (RFC 8259, 7)."""
    units = letter.encode("utf-16-be")
    return "".join(f"\\u{units[place : place + 2].hex()}" for place in range(0, len(units), 2))


def note(line: str) -> None:
    """One line for the person, on stderr, after what stdout holds so far."""
    sys.stdout.flush()
    sys.stderr.write(visible(line) + "\n")
    sys.stderr.flush()


def print_json(value: object) -> None:
    """`value` as JSON on one line; indented where a person reads it."""
    import msgspec  # here: `ps` prints no msgspec value, and must not pay for its import

    encoded = msgspec.json.encode(value)
    if is_terminal(sys.stdout):
        encoded = msgspec.json.format(encoded, indent=2)
    put_json(encoded.decode())
