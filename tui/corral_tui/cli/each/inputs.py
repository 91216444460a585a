"""The inputs of a batch: from words behind `:::`, files and stdin, combined and paired, cut into columns, several at a time."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from corral.model.batch import BatchInput
from corral.model.errors import UsageError
from corral.model.units import quote_words
from corral.model.wire import to_wire
from corral_tui.cli.each.record_file import RecordFile

SEPARATOR, LINK = ":::", ":::+"
_OF_FILES = ("::::", "::::+")
"""What stands before names of files for GNU parallel."""
_BLANKS = " \t\n\r\f\v"

Records = Iterable[str | int]
"""Texts of one source in wire form; or the descriptor that has to be readable before there are more."""
Row = tuple[str, ...]
"""One record of each source."""


class GivenSource(NamedTuple):
    """Words between two `:::`."""

    words: tuple[str, ...]
    is_linked: bool = False
    """Each belongs to one of the source before."""


class InputOptions(NamedTuple):
    """What the command line says about inputs."""

    given: tuple[GivenSource, ...] = ()
    files: tuple[str, ...] = ()
    """`-` is stdin. Where neither these nor words are given it is read, too."""
    is_null: bool = False
    """NUL separates records of files, not the newline."""
    column_separator: str | None = None
    """A regular expression."""
    max_args: int = 1
    """How many combinations make one input. 0: one, and nothing of it is put into the command."""


def split_words(words: Sequence[str]) -> tuple[list[str], tuple[GivenSource, ...]]:
    """What stands before the first `:::`, and the sources after it. Raises UsageError."""
    starts = [place for place, word in enumerate(words) if word in (SEPARATOR, LINK)]
    command = list(words[: starts[0]] if starts else words)
    for word in command:
        if word in _OF_FILES:
            raise UsageError(f"{word}: --arg-file FILE reads inputs from a file")
    spans = itertools.pairwise([*starts, len(words)])
    return command, tuple(
        GivenSource(tuple(words[start + 1 : end]), words[start] == LINK) for start, end in spans
    )


def open_inputs(options: InputOptions) -> Iterator[BatchInput | int]:
    """All inputs, made as they are asked for; where there is no more yet, the descriptor to wait for.

    Files are opened now. Raises UsageError, also later: for a file that cannot be read to its end.
    """
    separator = b"\0" if options.is_null else b"\n"
    paths = options.files or (() if options.given else ("-",))
    groups: list[list[Records]] = [[RecordFile(path, separator)] for path in paths]
    for source in options.given:
        records = [to_wire(word) for word in source.words]
        if source.is_linked and groups:
            groups[-1].append(records)
        else:
            groups.append([records])
    split = None if options.column_separator is None else column_splitter(options.column_separator)
    return batch_inputs(rows(groups), split, max(1, options.max_args))


def rows(groups: Sequence[Sequence[Records]]) -> Iterator[Row | int]:
    """Every combination of one row of each group. The records of a group are paired, up to the end of the shortest.

    Of an empty source beside others that are not, an empty text is the only record, as for GNU parallel.
    """
    if len(groups) == 1 and len(groups[0]) == 1:
        yield from ((record,) if isinstance(record, str) else record for record in groups[0][0])
        return
    sources = [[_NeverEmpty(records) for records in group] for group in groups]
    for row in _combined(sources):
        if isinstance(row, int):
            yield row
        elif all(records.was_empty for group in sources for records in group):
            return
        else:
            yield row


class _NeverEmpty:
    def __init__(self, records: Records) -> None:
        self._records = records
        self.was_empty = True

    def __iter__(self) -> Iterator[str | int]:
        for record in self._records:
            self.was_empty = self.was_empty and isinstance(record, int)
            yield record
        if self.was_empty:
            yield ""


def _combined(groups: Sequence[Sequence[_NeverEmpty]]) -> Iterator[Row | int]:
    """The first group is never in memory as a whole, however long it is."""
    first, *others = groups
    kept: list[list[Row]] | None = None
    for row in _paired(first):
        if isinstance(row, int):
            yield row
            continue
        if kept is None:
            kept = [[] for _ in others]
            for group, rows_of_group in zip(others, kept, strict=True):
                for other in _paired(group):
                    if isinstance(other, int):
                        yield other
                    else:
                        rows_of_group.append(other)
        for combination in itertools.product(*kept):
            yield tuple(itertools.chain(row, *combination))


def _paired(group: Sequence[_NeverEmpty]) -> Iterator[Row | int]:
    sources = [iter(records) for records in group]
    while True:
        row: list[str] = []
        for source in sources:
            for record in source:
                if isinstance(record, str):
                    row.append(record)
                    break
                yield record
            else:
                return
        yield tuple(row)


def batch_inputs(
    found: Iterable[Row | int], split: Callable[[str], list[str]] | None, at_a_time: int
) -> Iterator[BatchInput | int]:
    """One input of so many rows; the last may have fewer."""
    held: list[str] = []
    count = 0
    for row in found:
        if isinstance(row, int):
            yield row
            continue
        held += row
        count += 1
        if count == at_a_time:
            yield _input_of(held, split)
            held, count = [], 0
    if count:
        yield _input_of(held, split)


def _input_of(records: Sequence[str], split: Callable[[str], list[str]] | None) -> BatchInput:
    if split is not None:
        columns = itertools.chain.from_iterable(map(split, records))
        return BatchInput(" ".join(records), tuple(columns))
    # Quoted, so that no two inputs have one text: "a b" and c, a and "b c".
    text = records[0] if len(records) == 1 else " ".join(quote_words(records))
    return BatchInput(text, tuple(records))


def column_splitter(separator: str) -> Callable[[str], list[str]]:
    """Cuts a text into columns, without blanks around them. As in Perl, what matches no letter cuts only between two, and
    groups of the expression are columns, too. Raises UsageError."""
    try:
        pattern = re.compile(separator)
    except re.error as error:
        raise UsageError(f"--colsep {separator}: not a regular expression: {error}") from None

    def split(text: str) -> list[str]:
        columns, at = [], 0
        for found in pattern.finditer(text):
            start, end = found.span()
            if start == end and start in (at, len(text)):
                continue
            columns += [text[at:start], *(group or "" for group in found.groups())]
            at = end
        return [column.strip(_BLANKS) for column in (*columns, text[at:])]

    return split
