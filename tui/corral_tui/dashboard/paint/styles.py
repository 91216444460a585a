"""What each role looks like: the one place where meaning becomes colour. Reverse and bold carry it without colour."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.strip import Strip
from textual.widget import Widget

from corral_tui.text.charset import Role


class _ThemeColour(NamedTuple):
    """A colour of the theme, and what is done to it."""

    variable: str
    text: str = ""
    share: float = 1.0
    """How much of it is laid over the background."""


_LOOKS: dict[Role, _ThemeColour] = {
    "plain": _ThemeColour("foreground"),
    "bold": _ThemeColour("foreground", "bold"),
    "muted": _ThemeColour("text-muted"),
    "success": _ThemeColour("success"),
    "accent": _ThemeColour("accent"),
    "warning": _ThemeColour("warning"),
    "alert": _ThemeColour("warning", "bold reverse"),
    "alert-edge": _ThemeColour("warning"),
    "error": _ThemeColour("error", "bold"),
    "error-alert": _ThemeColour("error", "bold reverse"),
    "title": _ThemeColour("foreground", "bold"),
    "rule": _ThemeColour("foreground", share=0.35),
    "rule-selected": _ThemeColour("primary", "bold"),
    "rule-stuck": _ThemeColour("warning"),
    "marked": _ThemeColour("accent", "bold"),
    "key": _ThemeColour("primary", "bold"),
    "spark": _ThemeColour("secondary"),
}
_CURSOR = _ThemeColour("primary", share=0.25)
"""The background of a selected row."""


class Coloured(Widget):
    """A widget that paints roles."""

    _colours: Colours | None = None

    @property
    def colours(self) -> Colours:
        if self._colours is None:
            self._colours = Colours(self)
        return self._colours

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._colours = None


class Colours:
    """The roles as styles of the app's theme, on the background of one widget. Create a new one when its styles change.

    Textual's own way, a component class for each role, makes eighteen nodes a widget and matches all rules with each:
    1,500 of them for an opened job, half of the time that it took to open.
    """

    def __init__(self, widget: Widget) -> None:
        self._variables = widget.app.theme_variables
        self._background = widget.background_colors[1]
        self._styles: dict[Role, Style] = {role: self._style(look) for role, look in _LOOKS.items()}
        over = (self._background + self._colour(_CURSOR)).rich_color
        cursor = Style(color=self._styles["plain"].color, bgcolor=over)
        self._styles["cursor"] = Style(reverse=True) if widget.app.no_color else cursor

    def _style(self, look: _ThemeColour) -> Style:
        colour = (self._background + self._colour(look)).rich_color
        return Style.parse(look.text) + Style(color=colour, bgcolor=self._background.rich_color)

    def _colour(self, look: _ThemeColour) -> Color:
        """A variable of a theme is a colour, or `auto` for what can be read on the background; a percentage may follow."""
        name, _, percent = self._variables[look.variable].partition(" ")
        share = look.share * (float(percent.rstrip("%")) / 100 if percent else 1.0)
        if name == "auto":
            return self._background.get_contrast_text(share)
        colour = Color.parse(name)
        return colour if share == 1 else colour.multiply_alpha(share)

    def __getitem__(self, role: Role) -> Style:
        return self._styles[role]

    @property
    def plain(self) -> Style:
        return self._styles["plain"]


def strip_of(
    line: Sequence[tuple[str, Role | Style]], width: int, colours: Colours, over: Style | None = None
) -> Strip:
    """`line` in exactly `width` cells; `over` is laid over every piece, such as reverse for the cursor."""
    above = over or Style.null()
    segments = [
        Segment(words, (colours[look] if isinstance(look, str) else colours.plain + look) + above)
        for words, look in line
        if words
    ]
    return Strip(segments).adjust_cell_length(width, colours.plain + above)
