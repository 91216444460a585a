"""Printing text and JSON, with control characters made visible, so that no name or path can move the cursor."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # typing, which has it, takes longer to load than the rest of `ps`
if TYPE_CHECKING:
    from typing import TextIO


def visible(text: str) -> str:
    """`text` as one line that a terminal shows literally."""
    if text.isprintable():
        return text
    # Its expressions take 3 ms to compile: not for text that is plain.
    from corral.model.text import one_line

    return one_line(text)


def is_terminal(stream: TextIO) -> bool:
    """Whether `stream` is a terminal."""
    try:
        return stream.isatty()
    except ValueError:
        return False  # closed


def has_colour(stream: TextIO) -> bool:
    """Whether to use colour and bold: NO_COLOR, then FORCE_COLOR (`0`: no), then whether it is a terminal that can.

    An empty value of either counts as unset (no-color.org, force-color.org).
    """
    if os.environ.get("NO_COLOR"):
        return False
    forced = os.environ.get("FORCE_COLOR")
    if forced:
        return forced.lower() not in ("0", "false")
    return os.environ.get("TERM", "dumb") not in ("dumb", "") and is_terminal(stream)


def width_of(stream: TextIO) -> int | None:
    """Columns of the terminal behind `stream`; None if it is no terminal, and nothing is to be cut."""
    if not is_terminal(stream):
        return None
    chosen = os.environ.get("COLUMNS", "")
    if chosen.isascii() and chosen.isdigit() and int(chosen):
        return int(chosen)
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except OSError:
        return 80


def say(*lines: str) -> None:
    """Print lines on stdout, with control characters made visible."""
    for line in lines:
        put(visible(line))


def put(text: str) -> None:
    """Print our own text on stdout unchanged; it may have several lines."""
    sys.stdout.write(text + "\n")


def put_json(text: str) -> None:
    """Print JSON on stdout; characters that a terminal would interpret or hide are escaped, which keeps the value."""
    put(safe_json(text))


def safe_json(text: str) -> str:
    """JSON with those escaped."""
    if not text.isascii() or "\x7f" in text:
        import re

        text = re.sub(_NOT_FOR_TERMINALS, lambda found: json_escape(found[0]), text)
    return text


_NOT_FOR_TERMINALS = (
    "[\x7f-\x9f\u00ad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\U000e0000-\U000e007f]"
)


def json_escape(letter: str) -> str:
    """`letter` as `\\uXXXX`, or two of these beyond the first plane (RFC 8259, 7)."""
    units = letter.encode("utf-16-be")
    return "".join(f"\\u{units[place : place + 2].hex()}" for place in range(0, len(units), 2))


def note(line: str) -> None:
    """Print one line on stderr, after what was printed on stdout."""
    sys.stdout.flush()
    sys.stderr.write(visible(line) + "\n")
    sys.stderr.flush()


def print_json(value: object) -> None:
    """Print `value` as JSON: on one line, or indented on a terminal."""
    import msgspec  # here: `ps` prints no msgspec value, and must not pay for its import

    encoded = msgspec.json.encode(value)
    if is_terminal(sys.stdout):
        encoded = msgspec.json.format(encoded, indent=2)
    put_json(encoded.decode())
