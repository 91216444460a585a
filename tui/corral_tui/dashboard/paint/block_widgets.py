"""Widgets that paint lines of pieces: a block that takes the height it needs, and a view that scrolls."""

from __future__ import annotations

from collections.abc import Callable

from rich.style import Style
from textual.geometry import Region, Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from corral_tui.dashboard.paint.lines import Line, width_of
from corral_tui.dashboard.paint.styles import Coloured, strip_of

Build = Callable[[int], list[Line]]
"""Makes the lines for a width."""


class Block(Coloured):
    """As many rows as its builder makes for its width. Repainted when told to by `redraw`."""

    DEFAULT_CSS = """
    Block { height: auto; width: 1fr; }
    """

    def __init__(self, build: Build, *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id, classes=classes)
        self._build = build
        self._lines: list[Line] = []
        self._built_for = -1

    @property
    def lines(self) -> list[Line]:
        """What it shows now."""
        return self._lines

    def redraw(self) -> None:
        """What the builder looks at has changed."""
        width, height = self._built_for, len(self._lines)
        self._built_for = -1
        if width < 0:
            self.refresh(layout=True)
            return
        self._lines_for(width)
        self.refresh(layout=len(self._lines) != height)

    def _lines_for(self, width: int) -> list[Line]:
        if width != self._built_for:
            self._lines, self._built_for = self._build(max(width, 1)), width
        return self._lines

    def get_content_width(self, container: Size, viewport: Size) -> int:
        return max(map(width_of, self._build(viewport.width)), default=0)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        return len(self._lines_for(width))

    def render_line(self, y: int) -> Strip:
        lines = self._lines_for(self.size.width)
        return strip_of(lines[y] if y < len(lines) else [], self.size.width, self.colours, self.overlay())

    def overlay(self) -> Style | None:
        """A style to be laid over everything, such as that of a focused button."""
        return None


class FocusBlock(Block, can_focus=True):
    """One that is reversed while it has the focus."""

    def overlay(self) -> Style | None:
        return Style(reverse=True) if self.has_focus else None

    def on_focus(self) -> None:
        self.refresh()

    def on_blur(self) -> None:
        self.refresh()


class ScrolledLines(ScrollView, Coloured, can_focus=True):
    """Lines that may be more than fit: scrolled by keys and the wheel, with a selected line if `cursor` is set."""

    DEFAULT_CSS = """
    ScrolledLines { scrollbar-size-vertical: 1; scrollbar-background: $background; overflow-x: hidden; background: $background; }
    """

    def __init__(self, build: Build, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._build = build
        self._lines: list[Line] = []
        self.cursor: int | None = None

    @property
    def lines(self) -> list[Line]:
        """What it shows now, whether scrolled into view or not."""
        return self._lines

    def redraw(self) -> None:
        """What the builder looks at has changed."""
        width, height = self.outer_size
        if width <= 0:
            return
        self._lines = self._build(width)
        if len(self._lines) > height:
            # The scrollbar, which comes a frame later, takes a column.
            width -= 1
            self._lines = self._build(width)
        self.virtual_size = Size(width, len(self._lines))
        self.refresh()

    def select(self, line: int | None) -> None:
        """Put the cursor on a line and scroll it into view."""
        self.cursor = line
        if line is not None:
            self.scroll_to_region(Region(0, line, 1, 1), animate=False, force=True)
        self.refresh()

    def on_resize(self) -> None:
        self.redraw()

    def render_line(self, y: int) -> Strip:
        number = y + self.scroll_offset.y
        line = self._lines[number] if number < len(self._lines) else []
        over = Style(reverse=True) if number == self.cursor and line else None
        return strip_of(line, self.size.width, self.colours, over)
