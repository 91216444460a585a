"""The bytes that stand in a pipe, for a person: as text or as a hex dump, and how many of how many. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from corral.model.job import Job, Pipe
from corral.model.reports import PeekedPipe
from corral.model.text import hex_rows, is_text, make_visible
from corral_tui.dashboard.job.pipeline_text import bar_role, fill_words, rate_words
from corral_tui.dashboard.paint.lines import Line, clean, cut, plain, wrapped
from corral_tui.dashboard.paint.pipeline_line import fill_of
from corral_tui.text import numbers
from corral_tui.text.charset import Charset, bar

HEX_WIDTHS = ((16, 79), (8, 46), (4, 30))
"""Bytes in a row of a hex dump, and the cells that it takes."""


class Peek(NamedTuple):
    """A look into one pipe. `as_hex` None: as text where it is text."""

    pipe: int
    found: PeekedPipe | None = None
    as_hex: bool | None = None

    @property
    def content(self) -> bytes:
        return (self.found.content if self.found is not None else None) or b""

    @property
    def is_hex(self) -> bool:
        """How it is shown now."""
        return self.as_hex if self.as_hex is not None else not is_text(self.content)


def peek_head(peek: Peek, job: Job, pipe: Pipe | None, width: int, charset: Charset) -> list[Line]:
    """Which pipe it is and how it does; how much of what stands in it is shown, and the keys."""
    line: Line = [(f" pipe {peek.pipe}", "rule-selected"), ("  ", "plain")]
    line += [(f"{_ends_of(peek.pipe, job, charset)}  ", "plain")]
    if pipe is not None and not job.is_ended:
        room = 16 if width >= 80 else 6
        line += [(bar(fill_of(pipe), room, charset), bar_role(pipe)), (f" {fill_words(pipe)}  ", "plain")]
        line.append((rate_words(pipe, charset), "muted"))
    how: Line = [(f" {_how_much(peek)}", "bold")]
    keys = [("t", "text" if peek.is_hex else "hex"), ("enter", "closes")]
    if len(job.pipes) > 1:
        keys.insert(1, ("h l" if charset.name == "ascii" else "←→", "other pipe"))
    for key, words in keys:
        how += [("   ", "plain"), (key, "key"), (f" {words}", "muted")]
    return [cut(line, width, charset.ellipsis), cut(how, width, charset.ellipsis)]


def _ends_of(number: int, job: Job, charset: Charset) -> str:
    names = {stage.number: clean(stage.name) for stage in job.stages}
    return f"{names.get(number, '?')} {charset.flows_to} {names.get(number + 1, '?')}"


def _how_much(peek: Peek) -> str:
    """`the oldest 4.0K of 1.0M bytes, as text`."""
    if peek.found is None:
        return "looking"
    if peek.found.content is None:
        return "cannot be looked into"
    shown = len(peek.content)
    # More may have come between the two looks of the daemon at the pipe, or less be left.
    whole = max(peek.found.fill_bytes or 0, shown)
    if not whole:
        return "empty"
    amount = (
        f"all {numbers.size(whole)}"
        if shown >= whole
        else f"the oldest {numbers.size(shown)} of {numbers.size(whole)}"
    )
    return f"{amount} bytes, {'as hex' if peek.is_hex else 'as text'}"


def peek_lines(peek: Peek, width: int, charset: Charset) -> list[Line]:
    """The bytes; or why there are none."""
    if peek.found is None:
        return []
    if peek.found.content is None:
        return wrapped(
            clean(peek.found.note or "the kernel does not let Corral read it"), width, role="warning"
        )
    if not peek.content:
        return wrapped("It is empty now: all that was written has been read.", width, role="muted")
    if peek.is_hex:
        per_row = next((count for count, cells in HEX_WIDTHS if cells <= width), HEX_WIDTHS[-1][0])
        return [_hex_line(row) for row in hex_rows(peek.content, row=per_row)]
    return [line for row in _text_rows(peek.content) for line in _folded(row, max(width - 1, 1))]


def _hex_line(row: str) -> Line:
    offset, rest = row.split("  ", 1)
    return [(f" {offset}  ", "muted"), (rest, "plain")]


def _text_rows(data: bytes) -> list[str]:
    rows = make_visible(data, colours=False).decode().split("\n")
    return rows[:-1] if rows[-1] == "" else rows


def _folded(row: str, width: int) -> Iterator[Line]:
    """A row of text on as many lines as it needs: nothing of it is cut off."""
    words = clean(row.expandtabs(8))
    while True:
        part = words if numbers.cells(words) <= width else numbers.cut_end(words, width, "") or words[:1]
        yield plain(f" {part}")
        words = words[len(part) :]
        if not words:
            return


def peek_as_text(peek: Peek, job: Job) -> str:
    """What `y` copies."""
    rows = list(hex_rows(peek.content)) if peek.is_hex else _text_rows(peek.content)
    return "\n".join([f"job {job.id}, pipe {peek.pipe}: {_how_much(peek)}", "", *rows]) + "\n"
