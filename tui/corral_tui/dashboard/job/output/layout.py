"""Lines of output as rows of the screen: wrapped or cut, and where one is among them. Measures only what is near.

How many rows all lines take is never known: a place is a line and a row within it, and the scrollbar counts lines.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import NamedTuple

from rich.style import Style
from textual.strip import Strip

from corral_tui.dashboard.paint.ansi import OutputLine

KEPT_LINES = 1000
HIT = Style(reverse=True)


class Top(NamedTuple):
    """The first row to be seen: row `sub` of line `line`."""

    line: int
    sub: int = 0


def wrapped_line(pieces: OutputLine, width: int) -> list[OutputLine]:
    """A line as rows of at most `width` cells, broken where a terminal breaks it. No letter is cut in two."""
    rows: list[list[tuple[str, Style]]] = [[]]
    room = width = max(width, 1)
    for text, style in pieces:
        begin = 0
        for start, size in _letters(text, room or width, width):
            if size > room:
                if begin < start:
                    rows[-1].append((text[begin:start], style))
                begin = start
                if room < width:
                    rows.append([])
                room = width
            room -= size
        if begin < len(text):
            rows[-1].append((text[begin:], style))
    return [tuple(row) for row in rows]


def _letters(text: str, room: int, width: int) -> Iterator[tuple[int, int]]:
    """Where each letter begins and its cells; of plain ones, so many at once as fit."""
    if text.isascii():
        start, size = 0, min(room, len(text))
        while start < len(text):
            yield start, size
            start += size
            size = min(width, len(text) - start)
        return
    from rich.cells import split_graphemes

    for start, _, size in split_graphemes(text)[0]:
        yield start, size


def with_hits(pieces: OutputLine, words: re.Pattern[str]) -> OutputLine:
    """`pieces` with all that matches `words` reversed."""
    text = "".join(piece for piece, _ in pieces)
    edges = [edge for found in words.finditer(text) for edge in found.span()]
    if not edges:
        return pieces
    marked: list[tuple[str, Style]] = []
    start = 0
    for piece, style in pieces:
        cuts = [start, *(edge for edge in edges if start < edge < start + len(piece)), start + len(piece)]
        for first, last in pairwise(cuts):
            is_hit = sum(edge <= first for edge in edges) % 2 == 1
            marked.append((text[first:last], style + HIT if is_hit else style))
        start += len(piece)
    return tuple(marked)


class Layout:
    """The rows of lines that are made by `fetch(first, count)`; the latest ones are cached."""

    def __init__(self, fetch: Callable[[int, int], list[list[Strip]]]) -> None:
        self._fetch = fetch
        self._known: dict[int, list[Strip]] = {}
        self.line_count = 0

    def forget(self, first: int = 0) -> None:
        """The lines from `first` on are not as they were."""
        if first <= 0 or len(self._known) > KEPT_LINES:
            self._known.clear()
        for line in [each for each in self._known if each >= first]:
            del self._known[line]

    def rows_of(self, line: int, ahead: int = 1) -> list[Strip]:
        """The rows of one line; where it is not known, `ahead` lines are fetched at once."""
        if line not in self._known:
            found = self._fetch(line, max(min(ahead, self.line_count - line), 1))
            self._known.update(zip(range(line, line + len(found)), found, strict=True))
        return self._known[line]

    def seen(self, top: Top, height: int) -> list[Strip]:
        """At most `height` rows from `top` on."""
        rows: list[Strip] = []
        for line in range(top.line, self.line_count):
            rows += self.rows_of(line, height - len(rows))[top.sub if line == top.line else 0 :]
            if len(rows) >= height:
                break
        return rows[:height]

    def last_top(self, height: int) -> Top:
        """From where the last row is seen on the last of `height` rows."""
        first = max(self.line_count - height, 0)
        if self.line_count:
            self.rows_of(first, height)
        return self.moved(Top(self.line_count), -height)

    def moved(self, top: Top, by: int) -> Top:
        """The place so many rows further down, or up where `by` is below 0; between the first row and behind the last."""
        line, sub = top.line, top.sub + by
        while sub < 0 < line:
            line -= 1
            sub += len(self.rows_of(line))
        while line < self.line_count and sub >= (count := len(self.rows_of(line, abs(by) + 1))):
            line, sub = line + 1, sub - count
        return Top(line, max(sub, 0)) if line < self.line_count else Top(self.line_count)

    def count_up_to(self, most: int) -> int:
        """How many rows all lines take, or `most`, where that is less."""
        rows = 0
        for line in range(self.line_count):
            rows += len(self.rows_of(line, most))
            if rows >= most:
                return most
        return rows
