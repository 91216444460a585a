"""Reading output files while they grow: by pread, without a lock, never more than asked for.

A size cap drops the head of a file: that part is noted first, as the length of an empty file beside it
(`stdout.dropped`), then holes are punched, which read as NULs. Every read here is followed by a look at the note:
what lies before the first kept byte is discarded and counted, so there is no race with the process that punches. The holes
themselves tell less: a writer may leave some of its own, and lseek(2) with SEEK_DATA waits on ext4 and tmpfs until a
write(2) under way is over (2.4 s behind one of a gigabyte). Offsets and sizes are bytes from the file's first byte
ever written, or since a writer last made the file shorter, which is noticed by a `Cursor`.
"""

from __future__ import annotations

import os
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from typing import NamedTuple, Self

from corral.model.home import dropped_note
from corral.model.text import skip_control_string_end
from corral.output.job_files import open_own, stat_own
from corral.output.truncation import Fingerprint, Truncation, step_from

READ_SIZE = 1 << 20
LINE_LIMIT = 16 << 10
"""A line is shown up to so many bytes."""
CUT = "…".encode()
"""Stands at the end of a line that was cut, or at the start of one whose last state is shown."""

_SCAN_SIZE = 64 << 10
_CHECKPOINTS = 8192


class Chunk(NamedTuple):
    """Bytes of a file: `data` stands at `offset`; `dropped` bytes before it had been asked for and are no more.

    `after_truncation`: a writer has made the file shorter since the last read, and these bytes do not go on from those.
    """

    offset: int
    data: bytes
    dropped: int = 0
    after_truncation: bool = False

    @property
    def end(self) -> int:
        return self.offset + len(self.data)

    def until(self, end: int) -> Chunk:
        """The part of it before offset `end`; a read that had to begin later than asked for may reach beyond."""
        if self.end <= end:
            return self
        # Of what was dropped only; else there was nothing to be read before `end` (a file that has become shorter).
        beyond = min(self.dropped, max(0, self.offset - end))
        kept = self.data[: max(0, end - self.offset)]
        return Chunk(self.offset - beyond, kept, self.dropped - beyond, self.after_truncation)


def dropped_bytes(path: str) -> int | None:
    """How many bytes of an output file's head were dropped, as noted; None where nothing ever was. Raises OSError."""
    try:
        return stat_own(dropped_note(path)).st_size
    except FileNotFoundError:
        return None


class OutputFile:
    """One output file, opened at the first read that finds it. All methods raise OSError as open(2) and pread(2) do."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._descriptor: int | None = None
        self._dropped = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def _open(self) -> int | None:
        """The descriptor; None while there is no file, as for a job that is still queued."""
        if self._descriptor is None:
            try:
                self._descriptor = open_own(self.path, os.O_RDONLY)
            except FileNotFoundError:
                return None
        return self._descriptor

    def size(self) -> int:
        descriptor = self._open()
        return 0 if descriptor is None else os.fstat(descriptor).st_size

    def state(self) -> tuple[int, int]:
        """Its size, and when it was changed last (nanoseconds)."""
        descriptor = self._open()
        if descriptor is None:
            return 0, 0
        found = os.fstat(descriptor)
        return found.st_size, found.st_mtime_ns

    def pread(self, offset: int, limit: int) -> bytes:
        """Bytes as they stand there, dropped or not."""
        descriptor = self._open()
        return b"" if descriptor is None else os.pread(descriptor, limit, offset)

    def first_kept(self) -> int:
        """The offset of the first byte that was not dropped."""
        dropped = dropped_bytes(self.path)
        if dropped is None:
            # Not noted, or removed with its job while we read.
            dropped = self._dropped
        self._dropped = dropped
        # Noted beyond the end: its writer has made the file shorter since, and what it writes now is new.
        return dropped if dropped and dropped <= self.size() else 0

    def read(self, offset: int, limit: int = READ_SIZE) -> Chunk:
        """At most `limit` bytes from `offset` on; no data at the end of the file."""
        descriptor = self._open()
        if descriptor is None:
            return Chunk(offset, b"")
        start = max(offset, self.first_kept())
        # pread allocates all that it is asked for, so ask for no more than there is.
        there = os.fstat(descriptor).st_size - start
        data = os.pread(descriptor, max(0, min(limit, there)), start)
        kept = max(start, self.first_kept())
        return Chunk(kept, data[kept - start :], kept - offset)

    def tail(self, limit: int) -> Chunk:
        """The last `limit` bytes, fewer where there are not as many."""
        return self.read(max(0, self.size() - limit), limit)

    def chunks(self, offset: int = 0, end: int | None = None, limit: int = READ_SIZE) -> Iterator[Chunk]:
        """The file from `offset` to `end` (else to its size now) in pieces of at most `limit` bytes."""
        end = self.size() if end is None else end
        while offset < end:
            chunk = self.read(offset, min(limit, end - offset)).until(end)
            if chunk.data or chunk.dropped:
                yield chunk
            if not chunk.data and chunk.offset == offset:
                return
            offset = chunk.end

    def start_of_last_lines(self, count: int) -> int:
        """Where the last `count` lines begin; an unfinished line counts as one."""
        end = self.size()
        return self.lines_back(0, end, count)[0] if count > 0 else end

    def lines_back(self, first: int, end: int, count: int) -> tuple[int, int]:
        """Where the last `count` lines before `end` begin, none before `first`, and how many there are. Reads backwards,
        block by block.
        """
        first, position, found = max(first, self.first_kept()), end, 0
        while position > first:
            start = max(first, position - _SCAN_SIZE)
            block = self.read(start, position - start)
            if block.dropped:
                return block.offset, count
            data = block.data
            # The line feed at the very end closes the last line, it does not begin another.
            place = len(data) - 1 if position == end and data.endswith(b"\n") else len(data)
            while (place := data.rfind(b"\n", 0, place)) >= 0:
                found += 1
                if found == count:
                    return start + place + 1, found
            position = start
        return first, found + (end > first)

    def last_lines(self, count: int, limit: int = READ_SIZE) -> Chunk:
        """The last `count` lines, of them at most the last `limit` bytes."""
        start = self.start_of_last_lines(count)
        return self.read(max(start, self.size() - limit), limit)


class TruncationDetector:
    """Remembers an output file that was read up to some offset, to find out whether a writer has made it shorter since."""

    def __init__(self, file: OutputFile) -> None:
        self._file = file
        self._trace = Fingerprint()
        self._unchanged: tuple[int, int] | None = None
        """The state of the file in which it was found to be whole."""

    def truncation(self) -> Truncation | None:
        """Whether a writer has made it shorter since."""
        state = self._file.state()
        if state == self._unchanged:
            return None
        while True:
            first_kept = self._file.first_kept()
            found = self._trace.look(self._file.pread, self._file.size(), first_kept)
            # What is dropped while we look reads as NULs, and it is noted before.
            if found is None or first_kept == self._file.first_kept():
                break
        if found is None:
            self._unchanged = state
        else:
            self._trace.forget(found)
        return found

    def note(self, end: int) -> None:
        """It was read up to `end`."""
        if end > self._trace.end:
            self._trace.advance(self._file.pread, end, self._file.first_kept())
            self._unchanged = None

    def note_read(self, chunk: Chunk) -> None:
        """These bytes were read; it may have been made shorter since."""

        def as_read(offset: int, count: int) -> bytes:
            before = max(0, min(count, chunk.offset - offset))
            start = max(0, offset - chunk.offset)
            return self._file.pread(offset, before) + chunk.data[start : start + count - before]

        if not chunk.data:
            return
        self._unchanged = None
        first_kept, end = self._file.first_kept(), max(chunk.offset, self._trace.end)
        while end < chunk.end:
            # Not only its end: so a truncation to somewhere within it is known to a few bytes.
            end = min(chunk.end, end + step_from(end))
            self._trace.advance(as_read, end, first_kept)


class Cursor:
    """How far somebody has read an output file. Made shorter by a writer, it is read on where what is new begins."""

    def __init__(self, file: OutputFile, offset: int = 0) -> None:
        self.file = file
        self.offset = offset
        self._memory = TruncationDetector(file)
        self._memory.note(offset)

    def read(self, limit: int = READ_SIZE, end: int | None = None) -> Chunk:
        """At most the next `limit` bytes, and nothing beyond offset `end`."""
        chunk = self.file.read(self.offset, limit)
        # Asked afterwards: what is seen to be whole now was so when it was read.
        found = self._memory.truncation()
        if found is not None:
            self._memory.note(found.least)
            chunk = self.file.read(found.least, limit)._replace(after_truncation=True)
        if end is not None:
            chunk = chunk.until(end)
        self.offset = chunk.end
        self._memory.note_read(chunk)
        return chunk


class PollInterval:
    """How long to wait between two looks: 20 ms, after a second without output 50 ms. Times are a monotonic clock's."""

    FAST = 0.02
    SLOW = 0.05
    PATIENCE = 1.0

    def __init__(self, now: float) -> None:
        self._last_output = now

    def delay(self, now: float, *, had_output: bool) -> float:
        """Seconds until the next look, given what the last one found."""
        if had_output:
            self._last_output = now
        return self.FAST if now - self._last_output < self.PATIENCE else self.SLOW


class LineIndex:
    """Where the lines of a growing file begin. Keeps offsets, not lines: about 128 KiB for a file of any size.

    Lines are numbered from 0 and keep their number when the head is dropped; those from `first_line` to before
    `line_count` can be read. `generation` grows when the file was made shorter and all numbers start again.
    """

    def __init__(self, file: OutputFile) -> None:
        self._file = file
        self._memory = TruncationDetector(file)
        self.generation = 0
        self._restart()

    def _restart(self) -> None:
        self._position = 0
        self._line_feeds = 0
        """Ends of lines before `_position`, dropped ones included."""
        self._last_start = 0
        """Where the line that is unfinished at `_position` begins."""
        self._lines = array("Q", [0])
        self._offsets = array("Q", [0])
        self._spacing = _SCAN_SIZE

    @property
    def first_line(self) -> int:
        return self._lines[0]

    @property
    def first_offset(self) -> int:
        """Where `first_line` begins."""
        return self._offsets[0]

    @property
    def line_count(self) -> int:
        """One more than the number of the last line that was found, be it finished or not."""
        return self._line_feeds + (self._position > self._last_start)

    @property
    def indexed_bytes(self) -> int:
        return self._position

    @property
    def is_complete(self) -> bool:
        """Whether everything that is in the file now has been indexed."""
        return self._position >= self._file.size()

    def extend(self, limit: int = 8 << 20) -> bool:
        """Index at most `limit` bytes more; whether anything changed."""
        before = (self.generation, self._position, self.first_line)
        if self._memory.truncation() is not None:
            self.generation += 1
            self._restart()
        self._forget_dropped()
        end = min(self._file.size(), self._position + limit)
        for chunk in self._file.chunks(self._position, end):
            self._add(chunk)
        self._memory.note(self._position)
        return before != (self.generation, self._position, self.first_line)

    def _add(self, chunk: Chunk) -> None:
        if chunk.dropped:
            self._restart_at(chunk.offset)
        data, place = chunk.data, 0
        while place < len(data):
            end = min(len(data), place + _SCAN_SIZE)
            first = data.find(b"\n", place, end)
            if first >= 0:
                self._note_line(self._line_feeds + 1, chunk.offset + first + 1)
                self._line_feeds += data.count(b"\n", first, end)
                self._last_start = chunk.offset + data.rfind(b"\n", place, end) + 1
            place = end
        self._position = chunk.end

    def _note_line(self, line: int, offset: int) -> None:
        if offset - self._offsets[-1] < self._spacing:
            return
        self._lines.append(line)
        self._offsets.append(offset)
        if len(self._lines) > _CHECKPOINTS:
            self._thin_out()

    def _thin_out(self) -> None:
        """Twice the spacing. By distance, not every other one: what ends a very long line must stay."""
        self._spacing *= 2
        lines, offsets = self._lines[:1], self._offsets[:1]
        for line, offset in zip(self._lines, self._offsets, strict=True):
            if offset - offsets[-1] >= self._spacing:
                lines.append(line)
                offsets.append(offset)
        self._lines, self._offsets = lines, offsets

    def _restart_at(self, offset: int) -> None:
        """All that was indexed is dropped, and more: nobody knows how many lines more."""
        self._lines = array("Q", [self._line_feeds])
        self._offsets = array("Q", [offset])
        self._position = self._last_start = offset

    def _forget_dropped(self) -> None:
        """Begin at the first kept byte. Its line's number follows from that of the next known line."""
        while (kept := self._file.first_kept()) > self._offsets[0]:
            if kept >= self._position:
                self._restart_at(kept)
                return
            place = bisect_left(self._offsets, kept)
            is_known = place < len(self._offsets)
            line, offset = (
                (self._lines[place], self._offsets[place]) if is_known else (self._line_feeds, self._position)
            )
            chunks = list(self._line_feeds_in(kept, offset))
            if any(dropped for _, dropped in chunks):
                continue  # dropped between two reads: the sum would lack some
            self._lines = array("Q", [line - sum(feeds for feeds, _ in chunks)]) + self._lines[place:]
            self._offsets = array("Q", [kept]) + self._offsets[place:]
            self._last_start = max(self._last_start, kept)

    def _line_feeds_in(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        for chunk in self._file.chunks(start, end):
            yield chunk.data.count(b"\n"), chunk.dropped

    def lines(self, first: int, count: int) -> list[bytes]:
        """Up to `count` lines from number `first` on (or from `first_line`, where that is more), without line feeds.

        Of a line longer than 16 KiB the beginning, then `…`; or, of one with carriage returns, `…` and its end.
        """
        self._forget_dropped()
        first = max(first, self.first_line)
        last = min(first + count, self.line_count)
        found: list[bytes] = []
        if first >= last:
            return found
        offset = self._offset_of(first)
        for line in range(first, last):
            chunk = self._file.read(offset, LINE_LIMIT + 1)
            if chunk.dropped:
                return self.lines(first, count)
            head = chunk.data
            length = head.find(b"\n")
            if length < 0 and len(head) <= LINE_LIMIT:
                length = len(head)
            if length >= 0:
                end = offset + length
                found.append(head[:length])
            else:
                end = self._end_of(line, offset)
                found.append(self._cut(head[:LINE_LIMIT], end))
            offset = end + 1
        return found

    def _cut(self, head: bytes, end: int) -> bytes:
        """A progress bar says what is so at its end; other lines are read from their beginning."""
        if b"\r" not in head:
            return _whole_characters(head) + CUT
        start = end - LINE_LIMIT
        return CUT + skip_control_string_end(self._file.read(start, LINE_LIMIT).data)

    def _offset_of(self, line: int) -> int:
        place = bisect_right(self._lines, line) - 1
        offset = self._offsets[place]
        return self._skip(offset, line - self._lines[place])

    def _skip(self, offset: int, count: int) -> int:
        """Where the line begins that comes `count` lines after the one at `offset`."""
        if count == 0:
            return offset
        for chunk in self._file.chunks(offset, self._position, _SCAN_SIZE):
            feeds = chunk.data.count(b"\n")
            if feeds >= count:
                return chunk.end - len(chunk.data.split(b"\n", count)[-1])
            count -= feeds
        return self._position

    def _next_feed(self, offset: int) -> int:
        for chunk in self._file.chunks(offset, self._position, _SCAN_SIZE):
            place = chunk.data.find(b"\n")
            if place >= 0:
                return chunk.offset + place
        return self._position

    def _end_of(self, line: int, offset: int) -> int:
        """The offset of the line feed of `line`, without reading it all where the next line's beginning is known."""
        if line == self._line_feeds:
            return self._position
        place = bisect_right(self._lines, line)
        if place < len(self._lines) and self._lines[place] == line + 1:
            return self._offsets[place] - 1
        return self._next_feed(offset)


def _whole_characters(data: bytes) -> bytes:
    """`data` without its last UTF-8 character, if that may be cut in two."""
    end = len(data)
    while end and data[end - 1] & 0xC0 == 0x80:
        end -= 1
    return data[: end - 1] if end and data[end - 1] >= 0xC0 else data[:end] or data
