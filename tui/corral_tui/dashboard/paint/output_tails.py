"""The last lines of the jobs on the screen, read from their output files when these have grown."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable

from rich.style import Style

from corral.model.home import Home
from corral.model.job import Job
from corral.model.text import after_carriage_returns, end_of_line, skip_control_string_end
from corral.model.urgency import ended_badly
from corral.output.reader import OutputFile, TruncationDetector
from corral_tui.dashboard.paint.ansi import OutputLine, output_line
from corral_tui.dashboard.paint.terminal_preview import Budget, PresentScreen, after_screens, draws_in_place

TAIL_BYTES = 4096
KEPT_LINES = 80
OPEN_JOBS = 400
"""Jobs whose lines are kept; beyond, the longest unseen are forgotten and read again when they come back."""

FULL_SCREEN: OutputLine = (("uses its whole terminal screen; a attaches", Style(italic=True)),)
"""Until something of that screen is drawn: as lines it would make no sense."""


class _TailedStream:
    """One output file: up to where it was read, and its unfinished last line."""

    __slots__ = ("file", "is_cut", "memory", "partial", "path", "position")

    def __init__(self, path: str) -> None:
        self.path = path
        self.file = OutputFile(path)
        self.memory = TruncationDetector(self.file)
        self.position = 0
        self.partial = b""
        self.is_cut = False
        """Whether the beginning of that line is not known."""

    def written(self) -> int:
        """When it was last written to, in nanoseconds; 0 where nobody can say."""
        try:
            return os.stat(self.path).st_mtime_ns
        except OSError:
            return 0

    def read(self, size: int) -> list[bytes]:
        """The lines finished since the last read; only the last 4 KiB of them are looked at."""
        # Closed again at once: many jobs are on the screen, and few of them print.
        with self.file as file:
            shorter = self.memory.truncation()
            if shorter is not None:
                self.position, self.partial, self.is_cut = shorter.least, b"", False
            start = max(self.position, size - TAIL_BYTES)
            chunk = file.read(start, max(0, size - start))
            self.memory.note_read(chunk)
        is_gap = chunk.offset > self.position
        begun = chunk.data if is_gap else self.partial + chunk.data
        data = skip_control_string_end(begun) if is_gap or self.is_cut else begun
        # What a control string leaves of a line is what is to be seen of it.
        is_within_line = is_gap and len(data) == len(begun)
        self.position = chunk.end
        lines = after_screens(data).split(b"\n")
        if is_within_line and len(lines) > 1:
            del lines[0]  # it began before what was read
        partial = lines.pop()
        self.is_cut = (not lines and (is_within_line or self.is_cut)) or len(partial) > TAIL_BYTES
        self.partial = end_of_line(partial, TAIL_BYTES)
        return lines


class Tail:
    """The last lines of one job, of all its streams, in the order in which they were seen to come."""

    def __init__(self, home: Home, job: Job) -> None:
        paths = home.outputs(job.id, len(job.stages))
        self._streams = [_TailedStream(path) for path in paths]
        self._lines: deque[bytes] = deque(maxlen=KEPT_LINES)
        self._sizes: tuple[int, ...] = ()
        self._truncated = 0
        """Of what the daemon had counted when the files were looked at last."""
        self._newest = self._streams[0]
        self.problem: str | None = None
        self._home = home
        self._screen: PresentScreen | None = None
        """While it draws in place."""
        self._looked_at = 0

    def update(self, job: Job, budget: Budget | None = None) -> bool:
        """Read what is new; whether there was any. Of files that grew meanwhile the one written last is read last; of a job
        that ended badly those of stderr, which tell why: what a program held back of its stdout is written as it ends."""
        if self._draws_in_place(job):
            self._screen = self._screen or PresentScreen(self._home, job.id)
            return self._screen.update(job, budget or Budget())
        if self._screen is not None:
            self._screen, self._sizes = None, ()
        sizes = _sizes_of(job)
        if sizes == self._sizes and job.truncated_bytes == self._truncated:
            return False
        # One that was made shorter may have grown to the very size that it had.
        before = self._sizes if self._sizes and job.truncated_bytes == self._truncated else (0,) * len(sizes)
        self._sizes, self._truncated = sizes, job.truncated_bytes
        both = reversed(list(zip(self._streams, sizes, before, strict=False)))
        grown = [(stream, size) for stream, size, old in both if size != old]
        if len(grown) > 1:
            # Where the clock of the files is too coarse to tell, stdout is taken for the newer one.
            is_bad = ended_badly(job)
            grown.sort(key=lambda one: (is_bad and one[0] is not self._streams[0], one[0].written()))
        for stream, size in grown:
            self._read(stream, size)
        return True

    def _draws_in_place(self, job: Job) -> bool:
        if not job.pty or job.stdout_bytes == self._looked_at:
            return job.full_screen or self._screen is not None
        self._looked_at = job.stdout_bytes
        try:
            with OutputFile(self._home.stdout(job.id)) as file:
                return draws_in_place(file, job)
        except OSError:
            return False  # the lines say what is wrong with it

    def _read(self, stream: _TailedStream, size: int) -> None:
        try:
            self._lines.extend(stream.read(size))
            self._newest = stream
            self.problem = None
        except OSError as error:
            self.problem = f"its output cannot be read: {stream.path}: {error.strerror}"

    def last_lines(self, count: int) -> list[OutputLine]:
        """At most `count` lines, the newest last, unfinished ones included."""
        if count <= 0:
            return []
        if self._screen is not None:
            return self._screen.rows(count) or [FULL_SCREEN]
        return [output_line(after_carriage_returns(line)) for line in self._rows()[-count:]]

    def last_line(self) -> OutputLine:
        """The newest line with anything to see."""
        if self._screen is not None:
            return self._screen.one_row() or FULL_SCREEN
        for raw in reversed(self._rows()):
            line = output_line(after_carriage_returns(raw)) if raw.strip() else ()
            if line:
                return line
        return ()

    @property
    def is_complete(self) -> bool:
        """Whether all that it printed is taken in: a screen is drawn in slices."""
        return self._screen is None or self._screen.is_complete

    @property
    def is_empty(self) -> bool:
        return not self._lines and not any(stream.partial for stream in self._streams)

    def _rows(self) -> list[bytes]:
        """Finished lines, and the unfinished ones of other streams, which are older than what the newest wrote last."""
        finished = list(self._lines)
        others = [stream.partial for stream in self._streams if stream.partial and stream is not self._newest]
        newest = [self._newest.partial] if self._newest.partial else finished[-1:]
        return [*(finished if self._newest.partial else finished[:-1]), *others, *newest]


class Tails:
    """The tails of the jobs on the screen."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._tails: dict[str, Tail] = {}
        self._first = 0

    def of(self, job: Job) -> Tail | None:
        return self._tails.get(job.id)

    def update(self, jobs: Iterable[Job]) -> bool:
        """Read what has grown of these jobs, which are on the screen; False where there is more to draw of some."""
        budget, is_complete = Budget(), True
        for job in self._in_turn(jobs):
            tail = self._tails.pop(job.id, None)
            if tail is None:
                if job.kind == "batch" or not (job.stdout_bytes or job.stderr_bytes):
                    continue
                tail = Tail(self._home, job)
            tail.update(job, budget)
            self._tails[job.id] = tail
            is_complete = is_complete and tail.is_complete
        while len(self._tails) > OPEN_JOBS:
            del self._tails[next(iter(self._tails))]
        return is_complete

    def _in_turn(self, jobs: Iterable[Job]) -> list[Job]:
        """Another one first each time, since the budget may not reach the last."""
        ordered = list(jobs)
        if not ordered:
            return ordered
        self._first = (self._first + 1) % len(ordered)
        return ordered[self._first :] + ordered[: self._first]


def _sizes_of(job: Job) -> tuple[int, ...]:
    stages = [stage.stderr_bytes for stage in job.stages]
    if len(stages) == 1:
        stages = [job.stderr_bytes]
    return (job.stdout_bytes, *stages)
