"""The order in which the streams of a job were written, as far as their sizes tell: noted while it runs, kept beside its output.

`order` holds a record for each run of one stream that another stream ended: its number (0 is stdout, then stderr by
stage) and where it ended. What is beyond the last records came last. A job of which only one stream prints has none.
"""

from __future__ import annotations

import contextlib
import os
import struct
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from corral.output.job_files import open_own
from corral.output.reader import READ_SIZE, Chunk, Cursor, OutputFile

MOST_RUNS = 1 << 16
"""640 KiB. Of a job with more the older half is told apart stream by stream."""
_RECORD = struct.Struct("<HQ")
_LONGEST_LINE = 64 << 10
"""A line is kept whole if it is no longer than that."""


class StreamRun(NamedTuple):
    """Up to offset `end` of stream `number`."""

    number: int
    end: int


def note_growth(
    path: str,
    newest: int | None,
    before: Sequence[int],
    sizes: Sequence[int],
    written_at: Callable[[int], int],
) -> int | None:
    """The streams had the sizes `before`, and have these now: note it at `path`. The number of the newest one.

    `newest` was the newest before; None: nobody knows. `written_at` tells when each was written to last, which orders
    those that have grown in the same moment. What cannot be noted (ENOSPC) is not known, and no more.
    """
    if any(new < old for new, old in zip(sizes, before, strict=True)):
        forget(path)
        return None
    grown = [number for number, old in enumerate(before) if sizes[number] > old]
    if len(grown) > 1:
        grown.sort(key=written_at)
    ends = list(before)
    runs: list[StreamRun] = []
    for number in grown:
        others = range(len(ends)) if newest is None else [newest]
        runs += [StreamRun(other, ends[other]) for other in others if other != number and ends[other]]
        ends[number], newest = sizes[number], number
    if runs:
        with contextlib.suppress(OSError):
            _append(path, runs)
    return newest


def forget(path: str) -> None:
    """A stream was made shorter: what was noted of it is no longer true."""
    with contextlib.suppress(OSError):
        os.unlink(path)


def read_order(path: str) -> list[StreamRun]:
    """What was noted; nothing where nothing was, and where something else stands there. Raises no error."""
    try:
        descriptor = open_own(path, os.O_RDONLY)
    except OSError:
        return []
    try:
        return _read(descriptor)
    except OSError:
        return []
    finally:
        os.close(descriptor)


def _read(descriptor: int) -> list[StreamRun]:
    data = os.pread(descriptor, (MOST_RUNS + 1024) * _RECORD.size, 0)
    whole = len(data) - len(data) % _RECORD.size
    return [StreamRun(*record) for record in _RECORD.iter_unpack(data[:whole])]


def _append(path: str, runs: Sequence[StreamRun]) -> None:
    descriptor = open_own(path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
    try:
        size = os.fstat(descriptor).st_size
        if size % _RECORD.size:  # a record that had no room
            os.ftruncate(descriptor, size - size % _RECORD.size)
        if size >= MOST_RUNS * _RECORD.size:
            runs = [*_folded(_read(descriptor)), *runs]
            os.ftruncate(descriptor, 0)
        os.write(descriptor, b"".join(_RECORD.pack(*run) for run in runs))
    finally:
        os.close(descriptor)


def _folded(runs: list[StreamRun]) -> list[StreamRun]:
    half = len(runs) // 2
    ends = dict(runs[:half])
    return [*(StreamRun(*each) for each in sorted(ends.items())), *runs[half:]]


class MergedStreams:
    """The streams of one job as one, in the order in which they came, lines kept whole where that can be.

    `paths` are their files: stdout, then stderr by stage; `order` is what was noted. All methods raise OSError.
    """

    def __init__(self, paths: Sequence[str], order: str) -> None:
        self._files = [OutputFile(path) for path in paths]
        self._places = [Cursor(file) for file in self._files]
        self._noted = deque(run for run in read_order(order) if run.number < len(paths))
        self._run: StreamRun | None = None

    def close(self) -> None:
        for file in self._files:
            file.close()

    def sizes(self) -> list[int]:
        return [file.size() for file in self._files]

    def read(self, limit: int = READ_SIZE, ends: Sequence[int] | None = None) -> tuple[int, Chunk] | None:
        """The next piece and the number of its stream; None where there is nothing now. Nothing beyond `ends`."""
        while (run := self._run or self._next_noted(ends)) is not None:
            chunk = self._read(run, limit)
            if chunk is not None:
                return run.number, chunk
        for run in self._unnoted(ends):
            chunk = self._read(run, limit)
            if chunk is not None:
                return run.number, chunk
        return None

    def _read(self, run: StreamRun, limit: int) -> Chunk | None:
        place = self._places[run.number]
        chunk = place.read(limit, run.end)
        self._run = run if chunk.data and place.offset < run.end else None
        return chunk if chunk.data or chunk.dropped else None

    def _next_noted(self, ends: Sequence[int] | None) -> StreamRun | None:
        """Of what was dropped there is no run: with the first that is kept it is told once."""
        while self._noted:
            number, end = self._noted.popleft()
            file, place = self._files[number], self._places[number]
            most = file.size() if ends is None else ends[number]
            if max(place.offset, file.first_kept()) < end <= most:
                return StreamRun(number, self._line_end(file, end, most))
        return None

    def _unnoted(self, ends: Sequence[int] | None) -> list[StreamRun]:
        """What is there beyond, the stream written last at the end; of several that have grown whole lines."""
        ends = self.sizes() if ends is None else ends
        runs = [StreamRun(number, end) for number, end in enumerate(ends)]
        grown = [run for run in runs if run.end > self._places[run.number].offset]
        if len(grown) < 2:
            return [*grown, *(run for run in runs if run not in grown)]
        grown.sort(key=lambda run: self._files[run.number].state()[1])
        return [StreamRun(number, self._last_line_end(number, end)) for number, end in grown]

    @staticmethod
    def _line_end(file: OutputFile, end: int, most: int) -> int:
        """Where the line ends that is unfinished at `end`, or `end`."""
        data = file.pread(end - 1, min(_LONGEST_LINE, most - end + 1))
        return end + max(data.find(b"\n"), 0)

    def _last_line_end(self, number: int, end: int) -> int:
        start = max(self._places[number].offset, end - _LONGEST_LINE)
        place = self._files[number].pread(start, end - start).rfind(b"\n")
        return end if place < 0 else start + place + 1

    def skip_to_last_lines(self, count: int) -> None:
        """Begin with the last `count` lines of all streams together; an unfinished one counts."""
        ends = self.sizes()
        offsets, runs = [0] * len(ends), []
        while (run := self._next_noted(ends)) is not None:
            if run.end > offsets[run.number]:
                runs.append((run.number, offsets[run.number], run.end))
                offsets[run.number] = run.end
        noted = [StreamRun(number, end) for number, _, end in runs]
        rest = sorted(range(len(ends)), key=lambda number: self._files[number].state()[1])
        runs += [(number, offsets[number], ends[number]) for number in rest]
        starts = list(ends)
        while runs and count > 0:
            number, start, end = runs.pop()
            starts[number], found = self._files[number].lines_back(start, end, count)
            count -= found
        self._places = [Cursor(file, start) for file, start in zip(self._files, starts, strict=True)]
        self._noted = deque(noted)
