"""Lines made of pieces: what dialogs and panes show. Text and roles only; `block_widgets.py` paints them.

Text from a child goes through `clean` once; after that it is data and never markup.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.style import Style

from corral_tui.text.charset import Charset, Role
from corral_tui.text.numbers import cells, cut_end

Span = tuple[str, Role | Style]
"""A text and what it means or, for a child's own colours, what it looks like."""
Line = list[Span]
Spans = Sequence[Span]
"""A line that is only read."""


def clean(text: str) -> str:
    """`text` on one line, its control characters as spaces or `·`: fit for a cell of the screen."""
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else _stand_in(letter) for letter in text)


def _stand_in(letter: str) -> str:
    return " " if letter in "\t\n\r\x0b\x0c" else "·"


def plain(text: str, role: Role = "plain") -> Line:
    return [(text, role)]


def text(line: Iterable[Span]) -> str:
    return "".join(piece for piece, _ in line)


def width_of(line: Iterable[Span]) -> int:
    return sum(cells(piece) for piece, _ in line)


def cut(line: Sequence[Span], width: int, ellipsis: str = "…") -> Line:
    """`line` in at most `width` cells."""
    if width_of(line) <= width:
        return list(line)
    short: Line = []
    room = width
    for piece, role in line:
        needed = cells(piece)
        if needed >= room:
            short.append((cut_end(piece + ellipsis, room, ellipsis) if needed > room else piece, role))
            return _marked_cut(short, width, ellipsis)
        short.append((piece, role))
        room -= needed
    return short


def _marked_cut(line: Line, width: int, ellipsis: str) -> Line:
    """The last piece ends exactly at the edge: its last cell says that there was more."""
    last, role = line[-1]
    if last.endswith(ellipsis) or not last:
        return line
    return [*line[:-1], (cut_end(last + ellipsis, cells(last), ellipsis), role)]


def padded(line: Sequence[Span], width: int, ellipsis: str = "…") -> Line:
    """`line` in exactly `width` cells."""
    fitting = cut(line, width, ellipsis)
    missing = width - width_of(fitting)
    return [*fitting, (" " * missing, "plain")] if missing > 0 else fitting


def spread(left: Sequence[Span], right: Sequence[Span], width: int, ellipsis: str = "…") -> Line:
    """`left` at the left edge and `right` at the right one; where both do not fit, `left` is cut."""
    taken = width_of(right)
    if taken + 2 > width:
        return cut(left, width, ellipsis)
    if not taken:
        return padded(left, width, ellipsis)
    return [*padded(left, width - taken - 1, ellipsis), (" ", "plain"), *right]


def rule(title: Sequence[Span], right: Sequence[Span], width: int, glyph: str, role: Role = "rule") -> Line:
    """`━ title ━━━━━━━━ right ━` in exactly `width` cells; `right` goes first when it is narrow."""
    head: Line = [(glyph + " ", role), *title, (" ", role)] if title else [(glyph, role)]
    tail: Line = [(" ", role), *right, (" " + glyph, role)] if right else []
    if width_of(head) + width_of(tail) + 2 > width:
        tail = []
    head = cut(head, max(width - width_of(tail), 0))
    return [*head, (glyph * (width - width_of(head) - width_of(tail)), role), *tail]


def wrapped(
    words: str,
    width: int,
    indent: str = " ",
    hanging: str | None = None,
    role: Role = "plain",
    lead: Spans = (),
) -> list[Line]:
    """`words` on as many lines as they need: the first behind `lead` and `indent`, the others behind `hanging`, or as deep."""
    hanging = " " * width_of(lead) + indent if hanging is None else hanging
    lines: list[Line] = []
    current, start = "", text(lead) + indent
    for word in _short_words(words, max(width - cells(hanging), 1)):
        grown = f"{current} {word}" if current else word
        if current and cells(start) + cells(grown) > width:
            lines.append([(start + current, role)])
            current, start = word, hanging
        else:
            current = grown
    if current or not lines:
        lines.append([(start + current, role)])
    if lead:
        lines[0] = [*lead, (lines[0][0][0][len(text(lead)) :], role)]
    return lines


def _short_words(words: str, width: int) -> Iterable[str]:
    """The words, one that is too long for a line in parts."""
    for word in words.split():
        while cells(word) > width:
            part = cut_end(word, width, "") or word[:1]
            yield part
            word = word[len(part) :]
        if word:
            yield word


def hints(keys: Sequence[tuple[str, str]], width: int) -> Line:
    """A line of keys and what they do; those that do not fit are left out, the last ones first."""
    line: Line = []
    for key, words in keys:
        gap = "   " if line else " "
        piece: Line = [(gap, "plain"), (key, "key"), (f" {words}" if words else "", "muted")]
        if width_of(line) + width_of(piece) > width:
            break
        line += piece
    return line


def shown_bar(fraction: float, width: int, charset: Charset) -> str:
    """A bar of `width` cells with its edges, of which `fraction` is full and the rest shaded."""
    inner = max(width - 2, 0)
    taken = round(min(max(fraction, 0.0), 1.0) * inner)
    before, after = charset.bar_edges
    return before + charset.bar_full * taken + charset.bar_rest * (inner - taken) + after
