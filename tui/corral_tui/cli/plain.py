"""Text for people: control characters made visible, so that a name or a path cannot move the cursor."""

from __future__ import annotations

import os
import sys
from typing import TextIO


def visible(text: str) -> str:
    """`text` as one line that a terminal shows as it stands."""
    if text.isprintable():
        return text
    from corral.values.text import (
        one_line,
    )  # Its expressions take 3 ms to compile: not for text that is plain.

    return one_line(text)


def is_terminal(stream: TextIO) -> bool:
    """Whether a person reads `stream` on a screen."""
    try:
        return stream.isatty()
    except ValueError:
        return False  # closed


def has_colour(stream: TextIO) -> bool:
    """Whether to use colour and bold: FORCE_COLOR, then NO_COLOR, then whether it is a terminal that can."""
    if os.environ.get("FORCE_COLOR"):
        return True
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return is_terminal(stream)


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
    """One line on stdout."""
    sys.stdout.write(line + "\n")


def note(line: str) -> None:
    """One line for the person, on stderr, after what stdout holds so far."""
    sys.stdout.flush()
    sys.stderr.write(line + "\n")
    sys.stderr.flush()
