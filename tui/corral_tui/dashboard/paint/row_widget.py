"""A widget that shows rows of pieces and repaints only the cells that changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rich.style import Style
from textual.geometry import Region
from textual.strip import Strip

from corral_tui.dashboard.paint.lines import Span, Spans, padded, width_of
from corral_tui.dashboard.paint.styles import Coloured, strip_of
from corral_tui.text.charset import Role
from corral_tui.text.numbers import cells


class Row(NamedTuple):
    """One line of the screen. `base` gives the whole of it a background."""

    pieces: tuple[Span, ...] = ()
    base: Role | None = None


EMPTY = Row()


def padded_row(line: Spans, width: int, ellipsis: str = "", base: Role | None = None) -> Row:
    """`line` in exactly `width` cells."""
    return Row(tuple(padded(line, width, ellipsis)), base)


class Painted(Coloured):
    """Rows, drawn from the top. Rows beyond the widget's height are not drawn."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._rows: list[Row] = []
        self._strips: dict[Row, Strip] = {}
        self._is_dimmed = False

    @property
    def rows(self) -> Sequence[Row]:
        """What is shown."""
        return self._rows

    def show(self, rows: Sequence[Row], *, is_dimmed: bool = False) -> None:
        """Show these rows; asks for a repaint of those cells that differ from what is shown."""
        before, self._rows = self._rows, list(rows)
        if is_dimmed != self._is_dimmed:
            self._is_dimmed = is_dimmed
            self._strips.clear()
            self.refresh()
            return
        width = self.size.width
        for y in range(min(max(len(before), len(rows)), self.size.height)):
            old = before[y] if y < len(before) else EMPTY
            new = rows[y] if y < len(rows) else EMPTY
            if old is not new and old != new:
                self.refresh(changed(old, new, y, width))

    def render_line(self, y: int) -> Strip:
        if y >= len(self._rows):
            return self._strip(EMPTY)
        return self._strip(self._rows[y])

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._strips.clear()

    def _strip(self, shown: Row) -> Strip:
        strip = self._strips.get(shown)
        if strip is None or strip.cell_length != self.size.width:
            if len(self._strips) > 4 * max(self.size.height, 25):
                self._strips.clear()
            strip = self._strips[shown] = self._painted(shown)
        return strip

    def _painted(self, shown: Row) -> Strip:
        under = Style(bgcolor=self.colours[shown.base].bgcolor) if shown.base else Style.null()
        over = Style(dim=True) if self._is_dimmed else Style.null()
        return strip_of(shown.pieces, self.size.width, self.colours, under + over)


def changed(old: Row, new: Row, y: int, width: int) -> Region:
    """The cells in which two rows differ, to the grain of a piece."""
    if old.base != new.base:
        return Region(0, y, width, 1)
    start = 0
    for before, after in zip(old.pieces, new.pieces, strict=False):
        if before != after:
            break
        start += cells(before[0])
    return Region(start, y, max(min(width, _end(old, new, start, width)) - start, 1), 1)


def _end(old: Row, new: Row, start: int, width: int) -> int:
    """The column from which both are the same. Rows may be longer than the screen is wide."""
    length = width_of(new.pieces)
    if length != width_of(old.pieces):
        return width
    same = 0
    for before, after in zip(reversed(old.pieces), reversed(new.pieces), strict=False):
        if before != after:
            break
        same += cells(before[0])
    return max(length - same, start + 1)
