"""Our two themes: in them amber means "look here" and nothing else does. Textual's own stay to be chosen."""

from __future__ import annotations

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
