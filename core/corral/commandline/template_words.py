"""Words with parts that stand for an input, such as `{}`. Only what was typed does; what came from an expansion may look alike.

A word holds marks where its text alone would not tell: then every second of the pieces between marks stands for an input.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

MARK = "\0"
"""No argument, variable or path can contain it."""


def split_word(word: str, replaced: re.Pattern[str]) -> list[str]:
    """Text, what stands for an input, text, and so on; it begins and ends with text."""
    if MARK in word:
        return word.split(MARK)
    pieces: list[str] = []
    at = 0
    for found in replaced.finditer(word):
        pieces += [word[at : found.start()], found[0]]
        at = found.end()
    return [*pieces, word[at:]]


def join_word(pieces: Sequence[str], replaced: re.Pattern[str]) -> str:
    """The inverse of `split_word`; without marks where it can do without."""
    plain = "".join(pieces)
    if split_word(plain, replaced) == list(pieces):
        return plain
    return MARK.join(pieces if len(pieces) > 1 else (*pieces, "", ""))
