"""Lines and tables for the terminal: bold and coloured on a terminal, plain text elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from corral_tui.text.terminal_output import has_colour, say, visible

if TYPE_CHECKING:
    from rich.console import Console

HEADING = "bold"
ALERT = "bold yellow"
FAILURE = "bold red"
MUTED = "dim"


class StyledLine(NamedTuple):
    """A line with a rich style, which is never needed to understand it."""

    text: str = ""
    style: str = ""


def styled_console(width: int | None = None) -> Console:
    """rich's console for stdout. Colour is decided by `has_colour`, since rich reads NO_COLOR and the like differently."""
    from rich.console import Console

    return Console(
        file=sys.stdout,
        width=width,
        color_system="standard" if has_colour(sys.stdout) else None,
        force_terminal=True,
        highlight=False,
        markup=False,
        emoji=False,
    )


def print_lines(lines: Iterable[StyledLine]) -> None:
    """Print on stdout. Loads rich, which takes 60 ms, only for colour."""
    if not has_colour(sys.stdout):
        for line in lines:
            say(line.text)
        return
    from rich.text import Text

    console = styled_console()
    for line in lines:
        console.print(Text(visible(line.text), style=line.style, end=""), soft_wrap=True)
