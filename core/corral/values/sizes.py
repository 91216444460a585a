"""Sizes: how people write a number of bytes."""

from __future__ import annotations

import re

from corral.values.errors import UsageError

_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?|\.[0-9]+)\s*([KMGT]?)(i?B)?", re.IGNORECASE)
_POWERS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}
_LARGEST = 1 << 62
"""Below the largest off_t, with room for a sum of two."""


def parse_size(text: str) -> int:
    """Bytes of `4096`, `64K`, `1.5G`; `K`, `KiB` are 1,024 and `kB` is 1,000, as the GNU tools have it.

    Raises:
        UsageError: for anything else, and beyond 4 EiB.
    """
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise UsageError(f"not a size: {text!r}: write it like 4096, 64K, 100M or 1.5G")
    number, unit, suffix = found.groups()
    base: int = 1000 if unit and (suffix or "").upper() == "B" else 1024
    size = int(float(number) * base ** _POWERS[unit.upper()])
    if size > _LARGEST:
        raise UsageError(f"size too large: {text!r}: at most 4194304T")
    return size


def format_size(size: int) -> str:
    """A size as it can be written, shortest form: `64K`, `1G`, else the bytes."""
    for unit, power in reversed(_POWERS.items()):
        if power and size and size % 1024**power == 0:
            return f"{size // 1024**power}{unit}"
    return str(size)
