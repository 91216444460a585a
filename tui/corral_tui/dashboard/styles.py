"""What each role looks like: the one place where meaning becomes colour. Reverse and bold carry it without colour."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip
from textual.widget import Widget

from corral_tui.dashboard.marks import Role

_RULES: dict[Role, str] = {
    "plain": "color: $foreground;",
    "bold": "color: $foreground; text-style: bold;",
    "muted": "color: $text-muted;",
    "success": "color: $success;",
    "accent": "color: $accent;",
    "warning": "color: $warning;",
    "alert": "color: $warning; text-style: bold reverse;",
    "alert-edge": "color: $warning;",
    "error": "color: $error; text-style: bold;",
    "error-alert": "color: $error; text-style: bold reverse;",
    "title": "color: $foreground; text-style: bold;",
    "rule": "color: $foreground 35%;",
    "rule-selected": "color: $primary; text-style: bold;",
    "rule-stuck": "color: $warning;",
    "cursor": "background: $primary 25%;",
    "marked": "color: $accent; text-style: bold;",
    "key": "color: $primary; text-style: bold;",
    "spark": "color: $secondary;",
}

PREFIX = "corral--"
COMPONENTS: set[str] = {PREFIX + role for role in get_args(Role)}
"""The `COMPONENT_CLASSES` of a widget that draws with roles."""


def component_css(widget: str) -> str:
    """The style rules of the roles, for a widget of that CSS name."""
    return "\n".join(f"{widget} .{PREFIX}{role} {{ {rule} }}" for role, rule in _RULES.items())


class Palette:
    """The roles of one widget as styles of its theme. To be made anew when its styles change."""

    def __init__(self, widget: Widget) -> None:
        self._styles: dict[Role, Style] = {
            role: widget.get_component_rich_style(PREFIX + role) for role in _RULES
        }
        if widget.app.no_color:
            self._styles["cursor"] = Style(reverse=True)

    def __getitem__(self, role: Role) -> Style:
        return self._styles[role]

    @property
    def plain(self) -> Style:
        return self._styles["plain"]


def strip_of(
    line: Sequence[tuple[str, Role | Style]], width: int, palette: Palette, over: Style | None = None
) -> Strip:
    """`line` in exactly `width` cells; `over` is laid over every piece, such as reverse for the cursor."""
    above = over or Style.null()
    segments = [
        Segment(words, (palette[look] if isinstance(look, str) else palette.plain + look) + above)
        for words, look in line
        if words
    ]
    return Strip(segments).adjust_cell_length(width, palette.plain + above)
