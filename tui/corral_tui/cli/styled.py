"""Lines for `show` and `why`: with weight and colour on a terminal, bare text everywhere else."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from corral_tui.cli.plain import has_colour, say, visible

if TYPE_CHECKING:
    from rich.console import Console

HEADING = "bold"
ALERT = "bold yellow"
FAILURE = "bold red"
MUTED = "dim"


class Line(NamedTuple):
    """One line; `style` is rich's, and never needed to understand it."""

    text: str = ""
    style: str = ""


def styled_console(width: int | None = None) -> Console:
    """rich's, for stdout. It would read NO_COLOR, FORCE_COLOR and TERM too, and otherwise than `has_colour` does."""
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


def print_lines(lines: Iterable[Line]) -> None:
    """Print on stdout. rich is loaded only where there is colour to show: it takes 60 ms."""
    if not has_colour(sys.stdout):
        for line in lines:
            say(line.text)
        return
    from rich.text import Text

    console = styled_console()
    for line in lines:
        console.print(Text(visible(line.text), style=line.style, end=""), soft_wrap=True)
