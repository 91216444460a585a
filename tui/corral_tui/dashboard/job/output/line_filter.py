"""Only the lines with certain letters, of files of any size: looked for in slices, from the first line to the last.

Keeps the numbers of the lines that were found. What is looked at is the text that is seen: decoded, without sequences.
"""

from __future__ import annotations

import codecs
import re
import time
from array import array
from bisect import bisect_left, bisect_right

from corral.output.reader import LineIndex, OutputFile
from corral_tui.dashboard.job.output.rows import OutputRows, RawRow

LOOK_SECONDS = 0.010
"""Of looking at one go, so that no key waits for it."""
MOST_FOUND = 1 << 20
"""Lines of one file; of more the newest are shown."""
_CHUNK = 128 << 10
_SEQUENCE = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b\n]*(?:\x07|\x1b\\)|\x1b[ -/]*[0-Z\\^-~]")
_LONGEST_SEQUENCE = 256


def is_exact(words: str) -> bool:
    """Whether upper and lower case are told apart: as soon as one letter is upper case."""
    return words != words.lower()


def pattern_of(words: str) -> re.Pattern[str]:
    """Finds `words` in a line, as they were typed."""
    return re.compile(re.escape(words), 0 if is_exact(words) else re.IGNORECASE)


class LineSearch:
    """The numbers of the lines of one growing file that hold `words`."""

    def __init__(self, file: OutputFile, index: LineIndex, words: str) -> None:
        self._file = file
        self._index = index
        self._is_exact = is_exact(words)
        self._words = words if self._is_exact else words.lower()
        self._reset()

    def _reset(self) -> None:
        self.lines = array("Q")
        self.found = 0
        self._generation = self._index.generation
        self._begin_at(self._index.first_line, self._index.first_offset)

    def _begin_at(self, line: int, offset: int) -> None:
        self.line, self.position = line, offset
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""
        self._carried = ""
        """The end of the unfinished line that was looked at last: a word may go on in what comes."""

    @property
    def is_complete(self) -> bool:
        """Whether all lines that are known were looked at."""
        return self.position >= self._index.indexed_bytes

    def look(self, until: float) -> bool:
        """Go on looking until that moment of `time.perf_counter`; whether anything changed. Raises OSError."""
        before = (len(self.lines), self.position, self._generation)
        index = self._index
        if index.generation != self._generation:
            self._reset()
        del self.lines[: bisect_left(self.lines, index.first_line)]
        if self.position < index.first_offset:
            self._begin_at(index.first_line, index.first_offset)
        while not self.is_complete:
            chunk = self._file.read(self.position, min(_CHUNK, index.indexed_bytes - self.position))
            if chunk.dropped or not chunk.data:
                break  # the index learns of it, and then we do
            self._take(self._decoder.decode(chunk.data))
            self.position = chunk.end
            if time.perf_counter() >= until:
                break
        return before != (len(self.lines), self.position, self._generation)

    def _take(self, text: str) -> None:
        text = self._carried + self._plain(text)
        if not self._is_exact:
            text = text.lower()
        counted, place = 0, text.find(self._words)
        line = self.line
        while place >= 0:
            line += text.count("\n", counted, place)
            counted = place
            if not self.lines or self.lines[-1] != line:
                self._add(line)
            end = text.find("\n", place)
            place = text.find(self._words, end) if end >= 0 else -1
        self.line = line + text.count("\n", counted)
        rest = text[text.rfind("\n") + 1 :]
        self._carried = rest[-(len(self._words) - 1) :] if len(self._words) > 1 else ""

    def _add(self, line: int) -> None:
        self.lines.append(line)
        self.found += 1
        if len(self.lines) > MOST_FOUND:
            del self.lines[: MOST_FOUND // 2]

    def _plain(self, text: str) -> str:
        """Without sequences; one that has not ended yet is kept for the next time."""
        text = self._held + text
        self._held = ""
        last = text.rfind("\x1b", -_LONGEST_SEQUENCE)
        if last >= 0 and not _SEQUENCE.match(text, last) and "\n" not in text[last:]:
            text, self._held = text[:last], text[last:]
        return _SEQUENCE.sub("", text) if "\x1b" in text else text


class FilteredRows:
    """The rows of an output that contain a pattern. Another pattern or stream gets a new one."""

    def __init__(self, rows: OutputRows, words: str) -> None:
        self.words = words
        self.pattern = pattern_of(words)
        self._rows = rows
        self.streams = rows.streams
        self._searches = {
            number: LineSearch(rows.files[number], rows.indexes[number], words) for number in rows.shown_files
        }
        self._starts: list[int] = []
        self.row_count = 0

    @property
    def is_complete(self) -> bool:
        return self._rows.is_complete and all(each.is_complete for each in self._searches.values())

    @property
    def looked_at(self) -> float:
        """Which part of what there is was looked at, from 0 to 1."""
        total = sum(self._rows.size(number) for number in self._searches)
        return min(sum(each.position for each in self._searches.values()) / total, 1.0) if total else 1.0

    @property
    def found(self) -> int:
        """How many lines hold them, those included that are too many to be shown."""
        return max(sum(each.found for each in self._searches.values()), self.row_count)

    def update(self, *, has_grown: bool) -> bool:
        """Look on for a while; whether the rows may have changed. Raises OSError."""
        until = time.perf_counter() + LOOK_SECONDS
        looked = [each.look(until) for each in self._searches.values()]
        if not has_grown and not any(looked):
            return False
        self._starts, self.row_count = [], 0
        for run in self._rows.runs:
            self._starts.append(self.row_count)
            if run.note is None:
                lines = self._searches[run.file].lines
                self.row_count += bisect_left(lines, run.first + run.length) - bisect_left(lines, run.first)
        return True

    def rows(self, first: int, count: int) -> list[RawRow]:
        """Up to `count` rows from row `first` on."""
        return [
            row
            for number in range(first, first + count)
            for row in self._rows.rows(self.plain_row(number), 1)
        ]

    def plain_row(self, number: int) -> int:
        """Which of all rows this one is."""
        place = max(bisect_right(self._starts, number) - 1, 0)
        if not self._starts:
            return 0
        run = self._rows.runs[place]
        if run.note is not None:
            return self._rows.starts[place]
        lines = self._searches[run.file].lines
        here = bisect_left(lines, run.first) + number - self._starts[place]
        return self._rows.starts[place] + (lines[here] - run.first if here < len(lines) else 0)

    def row_from(self, plain_row: int) -> int:
        """The first of these rows that is not before that one of all rows."""
        place = bisect_right(self._rows.starts, plain_row) - 1
        if not 0 <= place < len(self._starts):
            return 0
        run = self._rows.runs[place]
        if run.note is not None:
            return self._starts[place]
        lines, line = self._searches[run.file].lines, run.first + plain_row - self._rows.starts[place]
        return self._starts[place] + bisect_left(lines, line) - bisect_left(lines, run.first)
