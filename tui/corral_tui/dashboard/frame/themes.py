"""Our two themes: in them amber means "look here" and nothing else does. Textual's own stay to be chosen."""

from __future__ import annotations

from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.filter import LineFilter
from textual.theme import Theme

DARK = Theme(
    name="corral-dark",
    dark=True,
    primary="#7AB0FF",
    secondary="#5FA8A3",
    accent="#B9A1F7",
    success="#62C27C",
    warning="#F4B63F",
    error="#F47272",
    foreground="#DADEE5",
    background="#14171C",
    surface="#1B1F26",
    panel="#252B35",
)
LIGHT = Theme(
    name="corral-light",
    dark=False,
    primary="#1C5DBE",
    secondary="#23736F",
    accent="#6A45C0",
    success="#1B7A3A",
    warning="#A15F00",
    error="#BF2626",
    foreground="#1C2027",
    background="#FBFBFA",
    surface="#F1F1EE",
    panel="#E4E4E0",
)
THEMES = (DARK, LIGHT)


class WithoutColours(LineFilter):
    """Bold, reverse and underline alone, for NO_COLOR (https://no-color.org): Textual's own filter sends greys."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        return [Segment(text, style and _plain(style), control) for text, style, control in segments]


def _plain(style: Style) -> Style:
    return style.without_color if style.color or style.bgcolor else style
