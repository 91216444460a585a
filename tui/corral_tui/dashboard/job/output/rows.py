"""The rows of an output pane: lines of several growing files, in the order in which they were seen to come.

Keeps runs of lines (file, first line, count), not lines: a file of any size costs a few numbers. What was there
before the pane was opened has no order between the files; it comes file by file, stderr first.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Literal, NamedTuple

from corral.output.reader import LineIndex, OutputFile

Streams = Literal["stdout", "both", "stderr"]
STREAMS: tuple[Streams, ...] = ("stderr", "both", "stdout")

QUIET_SECONDS = 60.0
"""A pause as long as this, seen while the pane was open, gets a row of its own."""
MOST_RUNS = 4000
SLICE = 8 << 20
"""Bytes indexed at one go: a few milliseconds."""


RawRow = tuple[bytes, str | None]
"""A line of output, or empty bytes and a note."""


class Run(NamedTuple):
    """`length` lines of file number `file` from line `first` on; or a note of one row."""

    file: int
    first: int
    length: int
    note: str | None = None


class OutputRows:
    """The rows of one job's output. `paths[0]` is its stdout, the others are its stages' stderr."""

    def __init__(self, paths: Sequence[str], streams: Streams, now: float) -> None:
        self.files = [OutputFile(path) for path in paths]
        self.indexes = [LineIndex(file) for file in self.files]
        self._generations = [0] * len(paths)
        self._taken = [0] * len(paths)
        """Up to which line each file's lines are in a run."""
        self.streams: Streams = streams
        self._last_growth = now
        self._is_first_look = True
        self.runs: list[Run] = []
        self.starts: list[int] = []
        self.row_count = 0

    def close(self) -> None:
        for file in self.files:
            file.close()

    @property
    def shown_files(self) -> list[int]:
        """stderr before stdout: what was there at first is shown in this order."""
        stderr = list(range(1, len(self.files)))
        return {"stdout": [0], "stderr": stderr, "both": [*stderr, 0]}[self.streams]

    @property
    def is_complete(self) -> bool:
        """Whether all that is in the files now is in the rows."""
        return all(self.indexes[number].is_complete for number in self.shown_files)

    @property
    def line_count(self) -> int:
        return sum(run.length for run in self.runs if run.note is None)

    def size(self, number: int) -> int:
        return self.files[number].size()

    def show(self, streams: Streams) -> None:
        """Show other streams, from their first row."""
        self.streams = streams
        self._reset()

    def _reset(self) -> None:
        self.runs, self.starts, self.row_count = [], [], 0
        self._taken = [index.first_line for index in self.indexes]
        self._is_first_look = True

    def update(self, now: float) -> int | None:
        """Look for new lines. The first row that is not as it was, or None where nothing changed.

        Raises OSError where a file cannot be read.
        """
        changed: int | None = None
        grown = [number for number in self.shown_files if self.indexes[number].extend(SLICE)]
        generations = [index.generation for index in self.indexes]
        if generations != self._generations:
            # The order of what comes again is not known any more.
            self._generations = generations
            self._reset()
            changed = 0
        for number in self.shown_files:
            index = self.indexes[number]
            if number in grown or self._taken[number] < index.line_count:
                row = self._take(number, index, now)
                changed = row if changed is None else min(changed, row)
        if self.is_complete:
            self._is_first_look = False
        if changed is not None:
            self._last_growth = now
        return changed

    def _take(self, number: int, index: LineIndex, now: float) -> int:
        first_changed = self._forget_dropped(number, index)
        fresh = index.line_count - self._taken[number]
        grown = self._row_of_last(number)
        if fresh > 0:
            self._note_pause(now)
            self._append(Run(number, self._taken[number], fresh))
            self._taken[number] = index.line_count
        return min(first_changed, grown)

    def _row_of_last(self, number: int) -> int:
        """The row of the file's last line, which may have been unfinished and have grown."""
        for place in range(len(self.runs) - 1, -1, -1):
            run = self.runs[place]
            if run.file == number and run.note is None:
                return self.starts[place] + run.length - 1
        return self.row_count

    def _note_pause(self, now: float) -> None:
        if not self._is_first_look and self.runs and now - self._last_growth >= QUIET_SECONDS:
            self._append(Run(-1, 0, 1, note=f"{now - self._last_growth:.0f}"))

    def _append(self, run: Run) -> None:
        last = self.runs[-1] if self.runs else None
        if last is not None and run.note is None and _goes_on(last, run):
            self.runs[-1] = last._replace(length=last.length + run.length)
            self.row_count += run.length
            return
        self.runs.append(run)
        self.starts.append(self.row_count)
        self.row_count += run.length
        if len(self.runs) > MOST_RUNS:
            self._fold_oldest()

    def _fold_oldest(self) -> None:
        """The older half file by file again: what was mixed long ago is told apart, and nothing is lost."""
        half = MOST_RUNS // 2
        folded: list[Run] = []
        for number in self.shown_files:
            runs = [run for run in self.runs[:half] if run.note is None and run.file == number]
            if runs:
                folded.append(Run(number, runs[0].first, sum(run.length for run in runs)))
        self._put([*folded, *self.runs[half:]])

    def _put(self, runs: list[Run]) -> None:
        self.runs, self.starts, self.row_count = runs, [], 0
        for run in runs:
            self.starts.append(self.row_count)
            self.row_count += run.length

    def _forget_dropped(self, number: int, index: LineIndex) -> int:
        """Lines at the head of a capped file go. Returns the first row that moved."""
        first = index.first_line
        self._taken[number] = max(self._taken[number], first)
        if not any(run.file == number and run.note is None and run.first < first for run in self.runs):
            return self.row_count
        kept: list[Run] = []
        for run in self.runs:
            if run.file != number or run.note is not None or run.first >= first:
                kept.append(run)
            elif run.first + run.length > first:
                kept.append(Run(number, first, run.first + run.length - first))
        self._put(kept)
        return 0

    def rows(self, first: int, count: int) -> list[RawRow]:
        """Up to `count` rows from row `first` on: a line of output, or empty bytes and a note."""
        found: list[RawRow] = []
        place = max(bisect_right(self.starts, first) - 1, 0)
        while place < len(self.runs) and len(found) < count:
            run = self.runs[place]
            skipped = max(first - self.starts[place], 0)
            wanted = min(run.length - skipped, count - len(found))
            if run.note is not None:
                found.append((b"", run.note))
            else:
                lines = self.indexes[run.file].lines(run.first + skipped, wanted)
                found += [(line, None) for line in lines]
                found += [(b"", None)] * (wanted - len(lines))
            place += 1
        return found


def _goes_on(last: Run, run: Run) -> bool:
    return last.note is None and last.file == run.file and last.first + last.length == run.first
