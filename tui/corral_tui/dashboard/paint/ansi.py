"""A child's colours: its SGR parameters (ECMA-48, section 8.3.117) as styles. Text with them is data, never markup."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from rich.color import Color
from rich.style import Style

from corral.model.text import sanitise, split_sgr
from corral_tui.text.numbers import cells

OutputLine = tuple[tuple[str, Style], ...]
"""One line of a child's output, as texts with their colours."""
TAB = 8

_ATTRIBUTES: dict[int, Style] = {
    1: Style(bold=True),
    2: Style(dim=True),
    3: Style(italic=True),
    4: Style(underline=True),
    7: Style(reverse=True),
    9: Style(strike=True),
    22: Style(bold=False, dim=False),
    23: Style(italic=False),
    24: Style(underline=False),
    27: Style(reverse=False),
    29: Style(strike=False),
    39: Style(color="default"),
    49: Style(bgcolor="default"),
}
"""Blinking and concealing are not shown: text that hides, or that shouts, is no help here."""


@lru_cache(maxsize=2048)
def coloured(line: str) -> OutputLine:
    """A line of a child's output, sanitised with its colours, as texts and styles. Each line begins without any."""
    pieces: list[tuple[str, Style]] = []
    style = Style.null()
    for run in split_sgr(line):
        if run.sgr is not None:
            style = _after(style, run.sgr)
        if run.text:
            pieces.append((run.text, style))
    return tuple(pieces)


@lru_cache(maxsize=2048)
def output_line(data: bytes) -> OutputLine:
    """One line of output as it was written, without its line feed, as texts and styles; tabs every 8 columns."""
    text = sanitise(data, colours=True).replace("\n", " ")
    return _without_tabs(coloured(text)) if "\t" in text else coloured(text)


def _without_tabs(pieces: OutputLine) -> OutputLine:
    """Blanks up to the next of the columns 8, 16, …, counted in cells."""
    expanded: list[tuple[str, Style]] = []
    column = 0
    for text, style in pieces:
        first, *rest = text.split("\t")
        column += cells(first)
        words = first
        for part in rest:
            blanks = TAB - column % TAB
            words += " " * blanks + part
            column += blanks + cells(part)
        expanded.append((words, style))
    return tuple(expanded)


def _after(style: Style, parameters: tuple[int, ...]) -> Style:
    values = iter(parameters)
    for value in values:
        if value == 0:
            style = Style.null()
        elif value in (38, 48):
            style += _extended(value, values)
        elif value in _ATTRIBUTES:
            style += _ATTRIBUTES[value]
        else:
            style += _basic(value)
    return style


def _basic(value: int) -> Style:
    for first, offset, is_background in ((30, 0, False), (90, 8, False), (40, 0, True), (100, 8, True)):
        if first <= value <= first + 7:
            colour = Color.from_ansi(value - first + offset)
            return Style(bgcolor=colour) if is_background else Style(color=colour)
    return Style.null()


def _extended(value: int, rest: Iterator[int]) -> Style:
    """38 or 48: then `5 N` of the 256, or `2 R G B`."""
    kind = next(rest, None)
    if kind == 5:
        number = next(rest, None)
        colour = Color.from_ansi(number) if number is not None and 0 <= number <= 255 else None
    elif kind == 2:
        parts = [next(rest, 0) for _ in range(3)]
        colour = Color.from_rgb(*parts) if all(0 <= part <= 255 for part in parts) else None
    else:
        colour = None
    if colour is None:
        return Style.null()
    return Style(color=colour) if value == 38 else Style(bgcolor=colour)
