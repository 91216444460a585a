"""The present screen of a job that draws on its terminal in place, made from the end of its output file.

Only the end is read, from where the program last began with an empty screen: what is older was painted over. Drawing
is done in slices within a budget of time, so that a program that paints without end costs no more than any other; when
we fall behind, we skip to the newest screen.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

from corral.model.home import Home
from corral.model.job import Job
from corral.model.spec import DEFAULT_TERMINAL_SIZE
from corral.output.reader import OutputFile
from corral_tui.dashboard.paint.ansi import OutputLine
from corral_tui.lazy import load

if TYPE_CHECKING:
    from corral_tui.dashboard.paint.emulator import Emulator


MOST_BEHIND = 64 << 10
"""Bytes that are drawn at most to come to the present screen: several screenfuls, 0.1 s of work."""
SLICE = 1 << 10
"""Bytes between two looks at the clock."""
LOOK_SECONDS = 0.010
"""Of drawing at one look, for all the screens in view together."""
_FRESH = re.compile(rb"\x1b\[\?(?:1049|1047|47)h|\x1b\[2J|\x1bc")
"""From here on nothing that was there before is to be seen: the alternate screen, ED 2, RIS."""


_CURSOR_MODE = re.compile(rb"\x1b\[\?25[hl]")
_PLACED = re.compile(rb"\x1b\[[0-9;]{0,9}[Hf]")
"""CUP and HVP: a program that moves the cursor, as top does on the main screen, does not print lines."""
_LEFT = re.compile(rb"\x1b\[\?(?:1049|1047|47)l")
_LOOKED_AT = 8 << 10


def after_screens(data: bytes) -> bytes:
    """What was printed since the program last left the alternate screen."""
    last = 0
    for found in _LEFT.finditer(data):
        last = found.end()
    return data[last:]


def draws_in_place(file: OutputFile, job: Job) -> bool:
    """Whether what the job printed last makes sense as a screen only, and not as lines. Raises OSError."""
    if job.full_screen or not job.pty:
        return job.full_screen
    chunk = file.read(max(0, job.stdout_bytes - _LOOKED_AT), min(job.stdout_bytes, _LOOKED_AT))
    return _PLACED.search(after_screens(chunk.data)) is not None


class Budget:
    """So many seconds of work from now on, and one slice in any case, so that there is always some progress."""

    def __init__(self, seconds: float = LOOK_SECONDS) -> None:
        self._until = time.perf_counter() + seconds
        self._has_given = False

    def take(self) -> bool:
        """Whether there is time for one more slice."""
        if self._has_given and time.perf_counter() >= self._until:
            return False
        self._has_given = True
        return True


class PresentScreen:
    """Follows the output of one job. `problem` is why that cannot be read, if it cannot."""

    def __init__(self, home: Home, job_id: str) -> None:
        self._path = home.stdout(job_id)
        self._emulator: Emulator | None = None
        self._position = 0
        self._size = 0
        self._is_alternate = False
        self._knows_cursor = False
        """Whether what we have read so far shows or hides the cursor."""
        self.problem: str | None = None

    @property
    def is_complete(self) -> bool:
        """Whether all that was there at the last look is drawn."""
        return self._position >= self._size or self.problem is not None

    @property
    def size(self) -> tuple[int, int]:
        """Columns and rows of the terminal."""
        return self._emulator.size if self._emulator else (0, 0)

    @property
    def height(self) -> int:
        return self.size[1]

    def update(self, job: Job, budget: Budget) -> bool:
        """Draw what is new, as far as the budget goes; whether there was any."""
        shape = job.terminal_size or DEFAULT_TERMINAL_SIZE
        if self._emulator is None:
            # Only where a job needs it: 40 ms.
            self._emulator = load("corral_tui.dashboard.paint.emulator:Emulator")(shape)
            self._position = -1
        self._emulator.resize(shape)
        self._size = job.stdout_bytes
        self._is_alternate = job.full_screen
        try:
            with OutputFile(self._path) as file:
                has_moved = self._draw(file, self._emulator, budget)
            self.problem = None
        except OSError as error:
            self.problem = f"its output cannot be read: {self._path}: {error.strerror}"
            return False
        return has_moved

    def _draw(self, file: OutputFile, emulator: Emulator, budget: Budget) -> bool:
        if self._position < 0 or not 0 <= self._size - self._position <= MOST_BEHIND:
            emulator.restart()
            self._position = self._newest_screen(file, emulator)
        has_moved = False
        while self._position < self._size and budget.take():
            chunk = file.read(self._position, min(SLICE, self._size - self._position))
            if chunk.end <= self._position:
                self._size = chunk.end  # shorter than the snapshot said
                break
            emulator.feed(chunk.data)
            self._position = chunk.end
            has_moved = True
        return has_moved

    def _newest_screen(self, file: OutputFile, emulator: Emulator) -> int:
        """Where to start drawing. The sequence that shows or hides the cursor usually came long before."""
        start = max(0, self._size - MOST_BEHIND)
        chunk = file.read(start, self._size - start)
        fresh = [found.start() for found in _FRESH.finditer(chunk.data)]
        # Without one: at the beginning of a sequence, not within one, as a picture that fills all of it is.
        begin = chunk.data.find(b"\x1b") if start else 0
        begin = fresh[-1] if fresh else begin if begin >= 0 else len(chunk.data)
        emulator.feed(b"".join(found[0] for found in _CURSOR_MODE.finditer(chunk.data, 0, begin)))
        self._knows_cursor = not chunk.offset or _CURSOR_MODE.search(chunk.data) is not None
        return chunk.offset + begin

    # ---- what is seen of it ----

    @property
    def cursor(self) -> tuple[int, int] | None:
        """Where its cursor is to be seen. Where that is unknown: only on the alternate screen, as in a pager, not in top."""
        if self._emulator is None or not (self._knows_cursor or self._is_alternate):
            return None
        return self._emulator.cursor

    def first_of(self, count: int) -> int:
        """The first of `count` rows to show where there is no room for all: with the cursor, else the top."""
        if count >= self.height or self.cursor is None:
            return 0
        return max(self.cursor[1] - count + 1, 0)

    def row(self, y: int) -> OutputLine:
        """One row, counted from 0; the cell of a visible cursor reversed."""
        emulator = self._emulator
        if emulator is None or not 0 <= y < emulator.height:
            return ()
        return emulator.row(y) if self.cursor is None else emulator.row_with_cursor(y)

    def rows(self, count: int) -> list[OutputLine]:
        """At most `count` rows, as much of the screen as there is room for."""
        if self._emulator is None or count <= 0:
            return []
        first = self.first_of(count)
        last = min(first + count, max(self._emulator.used_rows, first))
        return [self.row(y) for y in range(first, last)]

    def one_row(self) -> OutputLine:
        """The row that says most: that of the cursor, else the first that is not empty."""
        emulator = self._emulator
        if emulator is None:
            return ()
        if self.cursor is not None and emulator.row(self.cursor[1]):
            return emulator.row(self.cursor[1])
        return next((emulator.row(y) for y in range(emulator.height) if emulator.row(y)), ())
