"""The part of the screen that has changed, as text for the terminal: those cells alone, and a colour only where it is another one.

Textual begins each line that has changed at the left edge of its widget, and sets and takes back the colours of each
piece. Fifty clocks that tick were 33 KB a second; over a slow line that is what a person waits for.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from rich.color import ColorSystem
from rich.console import Console, RenderableType
from rich.control import Control
from rich.style import Style
from textual._compositor import ChopsUpdate
from textual.strip import Strip

_RESET = "\x1b[0m"


class ChangedCells(ChopsUpdate):
    """A part of the screen to be repainted."""

    def render_segments(self, console: Console) -> str:
        pen = _Pen(console._color_system or ColorSystem.TRUECOLOR)
        for y, x1, x2 in self.spans:
            for end, (x, strip) in zip(self.chop_ends[y], self.chops[y].items(), strict=False):
                if strip is not None and x < x2 and end > x1:
                    first, last = max(x, x1), min(end, x2)
                    pen.move_to(first, y)
                    for text, style, _ in strip.crop(first - x, last - x):
                        pen.write(text, style)
        return pen.lifted()


def smaller(renderable: RenderableType | None) -> RenderableType | None:
    """The same to be displayed, with as few bytes as there are changes."""
    if type(renderable) is ChopsUpdate:
        return ChangedCells(renderable.chops, renderable.spans, renderable.chop_ends)
    return renderable


class _Escapes(NamedTuple):
    """The escape sequences before and after a text of one style."""

    before: str
    after: str


@lru_cache(maxsize=512)
def _escapes_of(style: Style, system: ColorSystem) -> _Escapes:
    before, _, after = Strip.render_style(style, "x", color_system=system).partition("x")
    return _Escapes(before, after)


class _Pen:
    """Writes text; keeps its style from one piece to the next."""

    def __init__(self, system: ColorSystem) -> None:
        self._system = system
        self._written: list[str] = []
        self._style: Style | None = None

    def move_to(self, x: int, y: int) -> None:
        self._written.append(Control.move_to(x, y).segment.text)

    def write(self, text: str, style: Style | None) -> None:
        if style != self._style:
            self._put_down()
            if style is not None and text:
                before, after = _escapes_of(style, self._system)
                if after not in ("", _RESET):  # a link, which has an end of its own
                    self._written.append(before + text + after)
                    return
                self._written.append(before)
                self._style = style if before else None
        self._written.append(text)

    def _put_down(self) -> None:
        if self._style is not None:
            self._written.append(_RESET)
            self._style = None

    def lifted(self) -> str:
        """All that was written, with no style left over."""
        self._put_down()
        return "".join(self._written)
