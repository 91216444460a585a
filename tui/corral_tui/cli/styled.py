"""Lines for `show` and `why`: with weight and colour on a terminal, bare text everywhere else."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import NamedTuple

from corral_tui.cli.plain import has_colour, say, visible

HEADING = "bold"
ALERT = "bold yellow"
FAILURE = "bold red"
MUTED = "dim"


class Line(NamedTuple):
    """One line; `style` is rich's, and never needed to understand it."""

    text: str = ""
    style: str = ""


def print_lines(lines: Iterable[Line]) -> None:
    """Print on stdout. rich is loaded only where there is colour to show: it takes 60 ms."""
    if not has_colour(sys.stdout):
        for line in lines:
            say(line.text)
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(
        file=sys.stdout, force_terminal=True, highlight=False, markup=False, emoji=False, soft_wrap=True
    )
    for line in lines:
        console.print(Text(visible(line.text), style=line.style, end=""))
