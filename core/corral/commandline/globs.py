"""Patterns of file names as in POSIX sh (2.13): `*`, `?`, `[ab]`, `[!ab]`. Pure: only compiles them.

A pattern is a text and its mask: a string of the same length, with `MASK` for each literal character.

No library does: fnmatch has no quotes inside brackets and no classes; wcmatch 12 takes 5 s to match `*a*a*a*a*[b]` against a
name of 120 letters.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_CLASS = r"\[:[a-z]+:\]"
_GLOB = re.compile(rf"[*?]|\[!?+(?:{_CLASS}|[^/])(?:{_CLASS}|[^]/])*\]")
"""A `]` right after the opening bracket is a member; a slash never is. An unclosed `[` is literal."""
_MEMBER = re.compile(rf"({_CLASS})|(.)-(.)|.", re.DOTALL)
_CLASSES = {
    "[:alnum:]": "0-9A-Za-z",
    "[:alpha:]": "A-Za-z",
    "[:blank:]": r"\t ",
    "[:cntrl:]": r"\x00-\x1f\x7f",
    "[:digit:]": "0-9",
    "[:graph:]": "!-~",
    "[:lower:]": "a-z",
    "[:print:]": " -~",
    "[:punct:]": r"!-/:-@\[-`{-~",
    "[:space:]": r"\t-\r ",
    "[:upper:]": "A-Z",
    "[:xdigit:]": "0-9A-Fa-f",
}
"""ASCII only, as in the C locale."""


class FileName(NamedTuple):
    """One component of a path: a name, or a pattern."""

    text: str
    pattern: re.Pattern[str] | None
    """Matches the whole name; None if `text` is the name itself."""

    @property
    def takes_hidden(self) -> bool:
        return self.text.startswith(".")


def globs(mask: str) -> list[tuple[int, int]]:
    """The span of each glob. A slash in a mask is always a slash."""
    return [found.span() for found in _GLOB.finditer(mask)]


def file_names(text: str, mask: str) -> list[FileName]:
    """The components of a path; a trailing slash makes an empty last one."""
    names: list[FileName] = []
    start = 0
    for part in mask.split("/"):
        end = start + len(part)
        names.append(FileName(text[start:end], _compiled(text[start:end], part)))
        start = end + 1
    return names


def _compiled(text: str, mask: str) -> re.Pattern[str] | None:
    chunks: list[str] = [""]
    place = 0
    for found in _GLOB.finditer(mask):
        chunks[-1] += re.escape(text[place : found.start()])
        place = found.end()
        if found[0] == "*":
            chunks.append("")
        else:
            chunks[-1] += "." if found[0] == "?" else _one_of(text[found.start() + 1 : place - 1], found[0])
    if not place:
        return None
    chunks[-1] += re.escape(text[place:])
    return re.compile(_joined(chunks), re.DOTALL)


def _joined(chunks: list[str]) -> str:
    """Between two stars the first match is as good as any, so an atomic group prevents backtracking."""
    first, *rest = chunks
    if not rest:
        return first
    *middle, last = rest
    return first + "".join(f"(?>.*?{chunk})" for chunk in middle) + ".*" + last


def _one_of(members: str, written: str) -> str:
    """The regular expression for `[…]`; `written` is its mask with the brackets."""
    mask = written[1:-1]
    start = 1 if mask.startswith("!") else 0
    pieces: list[str] = []
    for found in _MEMBER.finditer(mask, start):
        name, low, high = found[1], members[found.start()], members[found.end() - 1]
        if name:
            pieces.append(_CLASSES.get(name, ""))
        elif found[2] is None:
            pieces.append(re.escape(low))
        elif low <= high:
            pieces.append(f"{re.escape(low)}-{re.escape(high)}")
    if not any(pieces):
        return "." if start else "(?!)"
    return f"[{'^' if start else ''}{''.join(pieces)}]"
