"""Tables of text in columns, and how wide text is. Loads neither rich nor typing, either of which takes longer than all of `ps`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import repeat

GAP = "  "


def lay_out(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    right: frozenset[int],
    width: int | None,
    at_least: Sequence[int] = (),
) -> Iterator[str]:
    """A table as lines without trailing blanks, columns two spaces apart; the last column is cut to the width.

    `right` are the right-aligned columns; with `width` None nothing is cut. `at_least`: how wide the columns are in any case.
    """
    table = [header, *rows]
    widths = list(map(max, column_widths(table), at_least or repeat(0)))
    last = len(header) - 1
    room = None if width is None else max(width - sum(widths[:last]) - len(GAP) * last, 0)
    for row in table:
        fields = [_padded(field, widths[number], number in right) for number, field in enumerate(row[:last])]
        fields.append(row[last] if room is None else cut(row[last], room))
        line = GAP.join(fields).rstrip()
        yield line if width is None else cut(line, width)


def column_widths(rows: Iterable[Sequence[str]]) -> list[int]:
    return [max(map(cells, column)) for column in zip(*rows, strict=True)]


def cells(text: str) -> int:
    """The width of `text` in terminal cells. Without rich, whose import takes longer than all of `ps`."""
    return len(text) if text.isascii() else sum(map(_cells_of, text))


def cut(text: str, width: int) -> str:
    """`text` in at most `width` cells, with an ellipsis if it was cut."""
    if cells(text) <= width:
        return text
    taken: list[str] = []
    room = width - 1
    for letter in text:
        room -= _cells_of(letter)
        if room < 0:
            break
        taken.append(letter)
    return "".join(taken) + "…" if width > 0 else ""


def _cells_of(letter: str) -> int:
    import unicodedata  # here: most text is ASCII, and to load it takes a while

    if unicodedata.combining(letter) or unicodedata.category(letter) == "Cf":
        return 0
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1


def _padded(field: str, width: int, is_right: bool) -> str:
    blanks = " " * (width - cells(field))
    return blanks + field if is_right else field + blanks
