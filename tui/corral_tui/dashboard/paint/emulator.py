"""What a terminal shows after a program has drawn on it: pyte's screen, behind a parser that nothing can break.

pyte 0.8 has the screen: cells, margins, colours, wide letters. Its own parser raises at sequences with more parameters
than it expects, takes `CSI > 4 m` for underlining, prints parts of what it does not know, and keeps an endless title for
ever. So sequences are read here, as ECMA-48 (section 5.4) and "XTerm Control Sequences" write them; each that the screen
has is done, and all others are left out as a whole.

Bounded: a sequence that does not end is not kept, nor a stack of cursors, nor a tower of accents. What goes over all
cells of a large screen at a few bytes a time is done row by row instead: pyte takes half a second for one DECALN.
"""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import pyte
from pyte import modes
from rich.color import Color
from rich.style import Style
from wcwidth import wcwidth

from corral.output.terminal_modes import ALTERNATE_SCREENS
from corral_tui.dashboard.paint.ansi import OutputLine

Size = tuple[int, int]

MOST_COLUMNS, MOST_ROWS = 500, 200
_MOST_COUNT = 9999
_MOST_SAVED = 8
_MOST_ACCENTS = 4
_CELL_LETTERS = 8

_TOKEN = re.compile(
    r"""(?P<text>[^\x00-\x1f\x7f-\x9f]+)
    |\x1b\[(?P<prefix>[<=>?]?)(?P<numbers>[0-9;:]{0,256})(?P<between>[ -/]{0,8})(?P<final>[@-~])
    |\x1b(?P<string>[\]PX^_])
    |\x1b(?P<set>[ -/]{1,8})(?P<name>[0-~])
    |\x1b(?P<escape>[0-OQ-WYZ\\`-~])
    |(?P<control>[\x00-\x1a\x1c-\x1f\x7f-\x9f])""",
    re.VERBOSE,
)
_UNFINISHED = re.compile(r"\x1b(?:\[[<=>?]?[0-9;:]{0,256}[ -/]{0,8}|[ -/]{0,8})?\Z")
_END_OF_STRING = re.compile(r"[\x07\x18\x1a\x9c]|\x1b\\|(?=\x1b[^\\])")
"""BEL, CAN, SUB, ST, or the beginning of another sequence."""
_SHOWN_MODES = {6: modes.DECOM, 7: modes.DECAWM, 25: modes.DECTCEM}
"""The private modes that change what is seen. Not DECCOLM: nobody resizes our screen but its owner."""


class Emulator:
    """The screen of a terminal of so many columns and rows, drawn by what is fed to it."""

    def __init__(self, size: Size) -> None:
        self._size = _bounded(size)
        self._screen = pyte.Screen(*self._size)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""
        self._is_in_string = False
        self._is_reversed = False
        """DECSCNM: the whole screen."""
        self._last = ""
        """The letter that REP repeats."""
        self._rows: dict[int, OutputLine] = {}
        self._by_final = self._sequences()
        self._by_escape: dict[str, Callable[[], None]] = {
            "7": self._save,
            "8": self._screen.restore_cursor,
            "D": self._screen.index,
            "E": self._next_line,
            "H": self._screen.set_tab_stop,
            "M": self._screen.reverse_index,
            "c": self._reset,
        }
        self._by_control: dict[str, Callable[[], None]] = {
            "\b": self._screen.backspace,
            "\t": self._screen.tab,
            "\n": self._screen.linefeed,
            "\x0b": self._screen.linefeed,
            "\x0c": self._screen.linefeed,
            "\r": self._screen.carriage_return,
            "\x0e": self._screen.shift_out,
            "\x0f": self._screen.shift_in,
        }

    # ---- what it shows ----

    @property
    def size(self) -> Size:
        """Columns and rows, as far as they are bounded."""
        return self._size

    @property
    def height(self) -> int:
        return self._size[1]

    @property
    def cursor(self) -> tuple[int, int] | None:
        """Column and row from 0; None where the program hides it."""
        at = self._screen.cursor
        return None if at.hidden else (min(at.x, self._size[0] - 1), at.y)

    @property
    def used_rows(self) -> int:
        """Up to and with the last row on which anything stands."""
        for y in range(self._size[1] - 1, -1, -1):
            if self.row(y):
                return y + 1
        return 0

    def row(self, y: int) -> OutputLine:
        """The texts of a row with their looks, without blanks at its end. Colours are the program's own."""
        if self._screen.dirty:
            for each in self._screen.dirty:
                self._rows.pop(each, None)
            self._screen.dirty.clear()
        if y not in self._rows:
            self._rows[y] = self._drawn(y)
        return self._rows[y]

    def row_with_cursor(self, y: int) -> OutputLine:
        """The same, the cell of the cursor reversed where it is seen and stands in that row."""
        cursor = self.cursor
        return self.row(y) if cursor is None or cursor[1] != y else self._drawn(y, cursor[0])

    def _drawn(self, y: int, cursor: int = -1) -> OutputLine:
        line = self._screen.buffer[y]
        pieces: list[tuple[str, Style]] = []
        text, look = "", _look(*line.default[1:])
        for x in range(self._size[0]):
            cell = line[x]
            is_turned = self._is_reversed != (x == cursor)
            style = _look(*cell[1:7], cell.reverse != is_turned, cell.blink)
            if style is not look and text:
                pieces.append((text, look))
                text = ""
            text, look = text + cell.data, style
        pieces.append((text, look))
        while pieces and not (pieces[-1][0].strip() or pieces[-1][1].bgcolor or pieces[-1][1].reverse):
            pieces.pop()
        if pieces and not (pieces[-1][1].bgcolor or pieces[-1][1].reverse):
            pieces[-1] = (pieces[-1][0].rstrip(), pieces[-1][1])
        return tuple(pieces)

    # ---- what draws on it ----

    def resize(self, size: Size) -> None:
        """Its terminal has this size now; the program is about to draw again."""
        size = _bounded(size)
        if size != self._size:
            self._size = size
            self._screen.resize(size[1], size[0])
            self._rows.clear()

    def restart(self) -> None:
        """An empty screen, whatever was in the middle of coming."""
        self._reset()
        self._decoder.reset()
        self._held, self._is_in_string, self._last = "", False, ""

    def feed(self, data: bytes) -> None:
        """Draw what was printed. A sequence, or a letter, may go on in the next piece."""
        text = self._held + self._decoder.decode(data)
        self._held = ""
        at, end = 0, len(text)
        while at < end:
            if self._is_in_string:
                at = self._skip_string(text, at)
                continue
            found = _TOKEN.match(text, at)
            if found is not None:
                at = found.end()
                self._do(found)
            elif _UNFINISHED.match(text, at):
                self._held = text[at:]
                return
            else:
                at += 1  # an ESC of no sequence

    def _skip_string(self, text: str, at: int) -> int:
        found = _END_OF_STRING.search(text, at)
        if found is None:
            self._held = "\x1b" if text.endswith("\x1b") else ""
            return len(text)
        self._is_in_string = False
        return found.end()

    def _do(self, found: re.Match[str]) -> None:
        if found["text"]:
            self._draw(found["text"])
        elif found["final"]:
            self._do_sequence(found)
        elif found["control"]:
            self._by_control.get(found["control"], _nothing)()
        elif found["escape"]:
            self._by_escape.get(found["escape"], _nothing)()
        elif found["string"]:
            self._is_in_string = True
        elif found["set"] in ("(", ")"):
            # DEC's line drawing, or letters as they are: other sets are for programs that know no UTF-8.
            self._screen.define_charset("0" if found["name"] == "0" else "B", found["set"])
        elif (found["set"], found["name"]) == ("#", "8"):
            self._align()

    def _draw(self, text: str) -> None:
        if not text.isascii():
            text = _drawable(text)
            if not text:
                return
        self._last = text[-1]
        self._screen.draw(text)
        if not text.isascii():
            self._bound_cell()

    def _bound_cell(self) -> None:
        """Accents gather in one cell, however they come."""
        at = self._screen.cursor
        line, x = self._screen.buffer[at.y], max(at.x - 1, 0)
        if len(line[x].data) > _CELL_LETTERS:
            line[x] = line[x]._replace(data=line[x].data[:_CELL_LETTERS])

    # ---- sequences ----

    def _do_sequence(self, found: re.Match[str]) -> None:
        final, prefix = found["final"], found["prefix"]
        if found["between"]:
            if (found["between"], final) == ("!", "p"):
                self._reset()  # DECSTR
            return
        if final == "m" and not prefix:
            self._screen.select_graphic_rendition(*_looks(found["numbers"]))
        elif final in "hl":
            self._set_modes(_numbers(found["numbers"]), is_private=prefix == "?", is_on=final == "h")
        elif not prefix:
            self._by_final.get(final, _nothing)(*_numbers(found["numbers"]))

    def _sequences(self) -> dict[str, Callable[..., None]]:
        """By their final letter; each takes whatever numbers come."""
        screen = self._screen

        def counted(does: Callable[[int], Any]) -> Callable[..., None]:
            def do(*numbers: int) -> None:
                does(max(numbers[0] if numbers else 1, 1))

            return do

        def chosen(does: Callable[[int], Any], *known: int) -> Callable[..., None]:
            def do(*numbers: int) -> None:
                choice = numbers[0] if numbers else 0
                if choice in known:
                    does(choice)

            return do

        counts: dict[str, Callable[[int], Any]] = {
            "@": screen.insert_characters, "A": screen.cursor_up, "B": screen.cursor_down,
            "C": screen.cursor_forward, "D": screen.cursor_back, "E": screen.cursor_down1,
            "F": screen.cursor_up1, "G": screen.cursor_to_column, "I": self._tab_forward,
            "L": self._move_rows_at_cursor, "M": lambda count: self._move_rows_at_cursor(-count),
            "P": screen.delete_characters, "S": lambda count: self._move_rows(self._margins[0], -count),
            "T": lambda count: self._move_rows(self._margins[0], count), "X": screen.erase_characters,
            "Z": self._tab_back, "`": screen.cursor_to_column, "a": screen.cursor_forward,
            "b": self._repeat, "d": screen.cursor_to_line, "e": screen.cursor_down,
        }  # fmt: skip
        return {
            **{final: counted(does) for final, does in counts.items()},
            "J": chosen(self._erase, 0, 1, 2, 3),
            "K": chosen(screen.erase_in_line, 0, 1, 2),
            "g": chosen(screen.clear_tab_stop, 0, 3),
            "H": lambda *numbers: screen.cursor_position(*numbers[:2]),
            "f": lambda *numbers: screen.cursor_position(*numbers[:2]),
            "r": lambda *numbers: screen.set_margins(*numbers[:2]),
            "s": lambda *_: self._save(),
            "u": lambda *_: screen.restore_cursor(),
        }

    def _set_modes(self, numbers: list[int], *, is_private: bool, is_on: bool) -> None:
        turn = self._screen.set_mode if is_on else self._screen.reset_mode
        for number in numbers:
            if is_private and number in ALTERNATE_SCREENS:
                # One screen is enough: the other one is nobody's interest while this one is shown.
                self._clear()
            elif is_private and number == modes.DECSCNM >> 5:
                self._is_reversed = is_on
                self._rows.clear()
            elif is_private and number in _SHOWN_MODES:
                turn(number, private=True)
            elif not is_private and number in (modes.IRM, modes.LNM):
                turn(number)

    def _clear(self) -> None:
        self._erase(2)
        self._screen.cursor_position()

    def _reset(self) -> None:
        self._is_reversed = False
        self._rows.clear()
        self._screen.reset()

    def _erase(self, which: int) -> None:
        """ED; what was erased has the background that is set."""
        at = self._screen.cursor
        blank = pyte.screens.Char(" ", bg=at.attrs.bg)
        if which in (0, 1):
            self._screen.erase_in_line(which)
        below, above = range(at.y + 1, self._size[1]), range(at.y)
        for y in {0: below, 1: above}.get(which, range(self._size[1])):
            self._fill(y, blank)

    def _align(self) -> None:
        """DECALN."""
        for y in range(self._size[1]):
            self._fill(y, pyte.screens.Char("E"))

    def _fill(self, y: int, cell: pyte.screens.Char) -> None:
        """The same in all cells of a row."""
        self._screen.buffer[y] = pyte.screens.StaticDefaultDict(cell)
        self._screen.dirty.add(y)

    def _save(self) -> None:
        self._screen.save_cursor()
        del self._screen.savepoints[:-_MOST_SAVED]

    def _next_line(self) -> None:
        self._screen.carriage_return()
        self._screen.index()

    def _repeat(self, count: int) -> None:
        """REP, which ncurses uses for rows of one letter where terminfo has it, as for xterm."""
        if self._last:
            self._screen.draw(self._last * min(count, self._size[0]))

    def _tab_forward(self, count: int) -> None:
        at = self._screen.cursor
        after = sorted(stop for stop in self._screen.tabstops if stop > at.x)
        at.x = min(after[count - 1] if count <= len(after) else self._size[0] - 1, self._size[0] - 1)

    def _tab_back(self, count: int) -> None:
        at = self._screen.cursor
        before = sorted(stop for stop in self._screen.tabstops if stop < at.x)
        at.x = before[-count] if count <= len(before) else 0

    @property
    def _margins(self) -> tuple[int, int]:
        """The first and the last row of what scrolls."""
        return self._screen.margins or (0, self._size[1] - 1)

    def _move_rows_at_cursor(self, by: int) -> None:
        at, (top, bottom) = self._screen.cursor, self._margins
        if top <= at.y <= bottom:
            self._move_rows(at.y, by)
            at.x = 0

    def _move_rows(self, first: int, by: int) -> None:
        """Down, or up where `by` is below 0: those from `first` to the bottom of what scrolls; empty ones come."""
        rows = range(first, self._margins[1] + 1)
        buffer = self._screen.buffer
        moved = {y + by: buffer.pop(y) for y in rows if y in buffer}
        buffer.update({y: line for y, line in moved.items() if y in rows})
        self._screen.dirty.update(rows)


def _nothing(*_: int) -> None:
    """What is done for a sequence that the screen does not have."""


def _bounded(size: Size) -> Size:
    return min(max(size[0], 1), MOST_COLUMNS), min(max(size[1], 1), MOST_ROWS)


def _numbers(text: str) -> list[int]:
    """`1;5` as numbers, missing ones as 0; of `4:3` the first."""
    if not text:
        return []
    return [min(int(part.partition(":")[0] or "0"), _MOST_COUNT) for part in text.split(";")[:32]]


def _looks(text: str) -> list[int]:
    """The parameters of SGR with `:` as with `;`, and without the colours of underlines, which pyte would misread."""
    numbers: list[int] = []
    for part in text.split(";")[:64]:
        if ":" not in part:
            numbers.append(min(int(part or "0"), _MOST_COUNT))
            continue
        head, *rest = (min(int(each or "0"), _MOST_COUNT) for each in part.split(":"))
        if head in (38, 48):
            # 38:2::r:g:b has a colour space between, 38:2:r:g:b has none.
            numbers += [head, *(rest if len(rest) <= 4 else [rest[0], *rest[2:5]])]
        elif head == 4:
            numbers.append(4 if rest and rest[0] else 24)
    if 58 in numbers:
        at = numbers.index(58)
        del numbers[at : at + (5 if numbers[at + 1 : at + 2] == [2] else 3)]
    return numbers


def _drawable(text: str) -> str:
    """Without letters that have no width, but for a few accents on each: pyte drops all that follows others.

    What is no letter to us, such as a glyph of the private use area, is a dot of the same width.
    """
    kept: list[str] = []
    accents = 0
    for letter in text:
        width = wcwidth(letter)
        if width > 0:
            accents = 0
            letter = letter if letter.isprintable() else "·" * width
        elif unicodedata.combining(letter) and accents < _MOST_ACCENTS:
            accents += 1
        else:
            continue
        kept.append(letter)
    return "".join(kept)


@lru_cache(maxsize=1024)
def _look(
    fg: str,
    bg: str,
    bold: bool,
    italics: bool,
    underscore: bool,
    strikethrough: bool,
    reverse: bool,
    blink: bool,
) -> Style:
    """A cell's look; each only once, so that two can be compared by identity. Blinking is not shown."""
    return Style(
        color=_colour(fg),
        bgcolor=_colour(bg),
        bold=bold or None,
        italic=italics or None,
        underline=underscore or None,
        strike=strikethrough or None,
        reverse=reverse or None,
    )


def _colour(name: str) -> Color | None:
    if name == "default":
        return None
    if len(name) == 6 and all(letter in "0123456789abcdef" for letter in name):
        return Color.from_rgb(*bytes.fromhex(name))
    bright = 8 if name.startswith("b") and name[1:].startswith(("right", "fight")) else 0
    base = name[6:] if bright else name
    return Color.from_ansi(_ANSI.index(base) + bright) if base in _ANSI else None


_ANSI = ("black", "red", "green", "brown", "blue", "magenta", "cyan", "white")
"""pyte's names, in the order of their numbers; `brown` is what others call yellow, `bfightmagenta` a slip of its."""
