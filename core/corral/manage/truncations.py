"""Output that its own program made shorter: a file opened anew by `> /dev/stdout`, `tee /dev/stderr` or the like is emptied.

Each look of the monitor compares the files with what is remembered of them (`corral.observe.traces`). Between the looks
inotify(7) wakes us when somebody opens one, and at the first write after that, so that what stood there for a
millisecond is known of, too. The position of the stage's own descriptor tells more: the kernel leaves it where the last
write had ended. What is written and lost before we come to look is not found out; `--output pipe` loses nothing.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from msgspec import Struct

from corral.manage.dropping import read_ready
from corral.observe.output import dropped_bytes
from corral.observe.traces import Piece, Read, Trace, Truncation
from corral.system.inotify import OPENED, WRITTEN, Watcher
from corral.system.openfiles import appended_up_to

if TYPE_CHECKING:
    from corral.manage.jobs import ManagedJob
    from corral.manage.manager import Manager

SPAN_SECONDS = 0.2
MOST_WAKES = 40
"""In such a span; then nothing is heard of files until it is over. Whoever opens its stdout all the time costs us no more."""
ADVICE = "run --output pipe keeps all"


class HandedStream(Struct, frozen=True):
    """One output file on its way to the program that takes our place, or, without pieces, to a daemon after a crash."""

    end: int
    lost: int = 0
    times: int = 0
    position: int = 0
    pieces: tuple[Piece, ...] = ()


@dataclass(slots=True)
class Stream:
    """One output file of a running job."""

    trace: Trace = field(default_factory=Trace)
    lost: int = 0
    """At least so many bytes, by all the times that it was made shorter."""
    times: int = 0
    position: int = 0
    """Of the stage's descriptor, when the file was found to be shorter: what it tells is counted."""
    awaits_write: bool = True

    @classmethod
    def handed(cls, handed: HandedStream) -> Stream:
        return cls(Trace(handed.end, handed.pieces), handed.lost, handed.times, handed.position)

    def to_hand(self) -> HandedStream:
        pieces = self.trace.pieces
        return HandedStream(
            self.trace.end, self.lost, self.times, self.position, (*pieces[:1], *pieces[1:][-1:])
        )


class Truncations:
    """Watches the output files of a manager's running jobs."""

    def __init__(self, manager: Manager) -> None:
        self._manager = manager
        self._loop = asyncio.get_running_loop()
        self._watcher = Watcher()
        self._watched: dict[int, tuple[ManagedJob, int]] = {}
        self._span_ends = 0.0
        self._wakes = 0
        self._listen()

    def _listen(self) -> None:
        if self._watcher.descriptor is not None:
            self._loop.add_reader(self._watcher.descriptor, self._note_changes)

    def watch(self, job: ManagedJob) -> None:
        """It was just started. Raises OSError where one of its files cannot be opened."""
        self._add_watches(job)
        if len(job.stages) > 1:
            # The first may have written something before the last was there.
            self.open(job)

    def _add_watches(self, job: ManagedJob) -> None:
        for number, path in enumerate(self._paths(job)):
            watch = self._watcher.watch(path, OPENED | WRITTEN)
            if watch is not None:
                self._watched[watch] = job, number
                job.watches.append(watch)

    def open(self, job: ManagedJob) -> None:
        """Look at its files from now on. Short jobs that print nothing do without. Raises OSError as above."""
        if job.output.paths:
            return
        if not job.watches:
            self._add_watches(job)
        job.output.open(self._paths(job))
        if not job.streams:
            job.streams = [Stream() for _ in job.output.paths]
        for number in range(len(job.streams)):
            self._look_at(job, number)

    def _paths(self, job: ManagedJob) -> tuple[str, ...]:
        home = self._manager.home
        return home.stdout(job.id), *(home.stderr(job.id, stage.number) for stage in job.stages)

    def finish(self, job: ManagedJob) -> None:
        """Every stage has ended: a last look."""
        with suppress(OSError):  # EIO, or removed by hand: its final sizes have the same trouble
            self.look(job, job.output.sizes(), range(len(job.streams)))
        for watch in job.watches:
            self._watched.pop(watch, None)
            self._watcher.forget(watch)
        job.watches.clear()

    # ---- woken

    def _note_changes(self) -> None:
        """Somebody has opened a file, a reader perhaps, or written to it for the first time."""
        assert self._watcher.descriptor is not None
        now = self._loop.time()
        if now >= self._span_ends:
            self._span_ends, self._wakes = now + SPAN_SECONDS, 0
        self._wakes += 1
        if self._wakes >= MOST_WAKES:
            self._loop.remove_reader(self._watcher.descriptor)
            self._loop.call_at(self._span_ends, self._listen)
        masks: dict[int, int] = {}
        for change in self._watcher.changes():
            masks[change.watch] = masks.get(change.watch, 0) | change.mask
        for watch, mask in masks.items():
            if watch in self._watched:
                self._wake(*self._watched[watch], was_opened=bool(mask & OPENED))

    def _wake(self, job: ManagedJob, number: int, *, was_opened: bool) -> None:
        with suppress(OSError):  # the monitor says what is wrong with it
            self.open(job)
            self._look_at(job, number)
            stream = job.streams[number]
            if stream.awaits_write != was_opened and job.output.descriptors:
                # The first write after each opening is worth a look, the others are the monitor's.
                stream.awaits_write = was_opened
                mask = OPENED | WRITTEN if was_opened else OPENED
                self._watcher.change(job.output.descriptors[number], mask)

    def _look_at(self, job: ManagedJob, number: int) -> None:
        position = self._position(job, number)
        self._look(job, number, job.output.sizes()[number], position)

    # ---- looking

    def look(self, job: ManagedJob, sizes: Sequence[int], closely: Collection[int] = ()) -> bool:
        """Look at the files that have changed, and `closely` at some in any case. Whether one was made shorter."""
        found = [
            self._look(job, number, size)
            for number, (stream, size) in enumerate(zip(job.streams, sizes, strict=False))
            if size != stream.trace.end or (size and number in closely)
        ]
        return any(found)

    def _look(self, job: ManagedJob, number: int, size: int, position: int = 0) -> bool:
        """`position` was asked for before `size`: it is where the stage's last write had ended."""
        trace = job.streams[number].trace
        first_kept = 0 if job.capped is None else job.capped[number].noted
        read: Read = _read_nothing
        if number < len(job.output.descriptors):
            read = partial(_read, job.output.descriptors[number])
        found = trace.look(read, size, first_kept)
        if found is not None and job.capped is None:
            # The daemon before us may have dropped what we look for.
            first_kept = dropped_bytes(job.output.paths[number]) or 0
            found = trace.look(read, size, first_kept) if first_kept else found
        before = trace.end
        if size < position != job.streams[number].position:
            found = found or Truncation(min(trace.end, size), size)
            before = max(before, position)
        if found is not None:
            trace.forget(found)
            self._note(job, number, found, max(1, before - found.most))
        trace.advance(read, size, first_kept)
        return found is not None

    def _position(self, job: ManagedJob, number: int) -> int:
        """Where the last write through the descriptor ended that the stage was given; 0 where that cannot be told."""
        if job.spec.output == "pipe" or job.spec.pty:
            return 0
        stage = job.stages[number - 1]
        if stage.identity is None or not stage.is_running or number >= len(job.output.descriptors):
            return 0
        inode = os.fstat(job.output.descriptors[number]).st_ino
        return appended_up_to(stage.identity.pid, 2 if number else 1, inode)

    def _note(self, job: ManagedJob, number: int, found: Truncation, lost: int) -> None:
        stream = job.streams[number]
        stream.lost += lost
        stream.times += 1
        stream.position = self._position(job, number)
        job.truncated = datetime.now(UTC)
        self._manager.capping.note_shorter(job, number, found.most)
        self._manager.touch(job)
        text = self._words(job, number, stream)
        if text is not None:
            self._manager.journal.record(job.id, job.truncated, "output", text)

    @staticmethod
    def _words(job: ManagedJob, number: int, stream: Stream) -> str | None:
        """For the job's life; of what happens again and again only every tenth, hundredth… time is told."""
        name = job.stream_name(number)
        if stream.times == 1:
            is_its_own = job.spec.output == "file" and not job.spec.pty
            how = f", as `> /dev/{'stderr' if number else 'stdout'}` does" if is_its_own else ""
            advice = f"; {ADVICE}" if is_its_own else ""
            return f"{name} was made shorter{how}: at least {stream.lost} bytes of it are lost{advice}"
        if stream.times == 10 ** (len(str(stream.times)) - 1):
            return f"{name} was made shorter {stream.times} times by now: at least {stream.lost} bytes of it are lost"
        return None


def _read(descriptor: int, offset: int, count: int) -> bytes:
    return read_ready(descriptor, count, offset)


def _read_nothing(offset: int, count: int) -> bytes:
    """Descriptors are scarce, and none was kept: the sizes have to do."""
    return b""
