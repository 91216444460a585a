"""Lines for `show` and `why`: with weight and colour on a terminal, bare text everywhere else."""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from corral_tui.cli.terminal_output import has_colour, say, visible

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


GAP = "  "


def lay_out(
    header: Sequence[str], rows: Sequence[Sequence[str]], right: frozenset[int], width: int | None
) -> Iterator[str]:
    """Lines without trailing blanks. `right` are the columns of numbers; `width` None cuts nothing."""
    table = [header, *rows]
    widths = [max(map(cells, column)) for column in zip(*table, strict=True)]
    last = len(header) - 1
    room = None if width is None else max(width - sum(widths[:last]) - len(GAP) * last, 0)
    for row in table:
        fields = [_padded(field, widths[number], number in right) for number, field in enumerate(row[:last])]
        fields.append(row[last] if room is None else cut(row[last], room))
        line = GAP.join(fields).rstrip()
        yield line if width is None else cut(line, width)


def cells(text: str) -> int:
    """How many cells of a terminal `text` takes. Without rich, which would cost `ps` more than all its own work."""
    return len(text) if text.isascii() else sum(map(_cells_of, text))


def cut(text: str, width: int) -> str:
    """`text` in at most `width` cells, an ellipsis at its end where something was cut."""
    if cells(text) <= width:
        return text
    taken: list[str] = []
    room = width - 1
    for letter in text:
        room -= _cells_of(letter)
        if room < 0:
            break
        taken.append(letter)
    return "".join(taken) + "…" if width > 0 else ""


def _cells_of(letter: str) -> int:
    if unicodedata.combining(letter) or unicodedata.category(letter) == "Cf":
        return 0
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1


def _padded(field: str, width: int, is_right: bool) -> str:
    blanks = " " * (width - cells(field))
    return blanks + field if is_right else field + blanks
