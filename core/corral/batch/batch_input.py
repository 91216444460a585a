"""What one job of a batch is given."""

from __future__ import annotations

from typing import NamedTuple


class Input(NamedTuple):
    """An input, in wire form."""

    text: str
    """All of it."""
    columns: tuple[str, ...]
    """Its parts, `{1}` and on; of an input without parts just `text`."""
