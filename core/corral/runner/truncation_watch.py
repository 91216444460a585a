"""Output that its own program made shorter: a file opened again by `> /dev/stdout`, `tee /dev/stderr` or the like is emptied.

That it happened tells a tripwire (`corral.platform.files.truncation_tripwire`), however long ago and however short it was. How much is lost,
at least, is known as far as it was looked at before: each look of the monitor compares the files with what is
remembered of them (`corral.output.truncation`), and between these inotify(7) wakes us when one is opened. The position
of the stage's own descriptor tells, too: it stays where the last write had ended. No write wakes us: who waits for it
would be as fast as who writes.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial

from msgspec import Struct, field

from corral.jobs.managed_job import ManagedJob
from corral.journal.journal import Journal
from corral.measure.history import Stream
from corral.model.home import Home
from corral.output.capped_stream import in_thread, open_to_punch, read_ready
from corral.output.reader import dropped_bytes
from corral.output.truncation import ReadAt, Truncation
from corral.platform.files import truncation_tripwire
from corral.platform.files.inotify import LEFT, ONCE, OPENED, WRITTEN, Watcher
from corral.platform.inspect.open_files import appended_up_to
from corral.processes.local_run import is_running, leader_of, run_of
from corral.runner.output_cap import OutputCap

SPAN_SECONDS = 0.2
MOST_WAKES = 40
"""In such a span; then nothing is heard of files until it is over. Whoever opens its stdout all the time costs us no more."""
SET_UP_SECONDS = 0.05
GIVE_BACK_SECONDS = 2.0
"""After the end of a job. What starts and ends many short ones has its time until then for itself."""
LATEST_SECONDS = 60.0
ADVICE = "run --output pipe keeps all"


class TruncationWatch(Struct, eq=False):
    """Watches the output files of running jobs."""

    _home: Home
    _journal: Journal
    _output_cap: OutputCap
    touch: Callable[[ManagedJob], None]
    """Called with a job of which something has changed."""
    note_replaced: Callable[[ManagedJob], None]
    """Called with a job of whose output files one was removed, or another file put in its place."""
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)
    _watcher: Watcher = field(default_factory=Watcher)
    _watched: dict[int, tuple[ManagedJob, int]] = {}
    _firsts: Watcher = field(default_factory=Watcher)
    """Of each file the first thing that happened to it, to be asked for. Nobody is woken by it."""
    _first_of: dict[int, tuple[ManagedJob, int]] = {}
    _sectors: int = 0
    _chores: dict[float, list[Callable[[], object]]] = {}
    """By how long after their planning they are done."""
    _span_ends: float = 0.0
    _wakes: int = 0

    def __post_init__(self) -> None:
        self._sectors = truncation_tripwire.sectors_in(self._home.jobs)
        self._listen()

    def _listen(self) -> None:
        if self._watcher.descriptor is not None:
            self._loop.add_reader(self._watcher.descriptor, self._note_changes)

    def watch(self, job: ManagedJob) -> None:
        """Its files are there, and nothing was written to them."""
        run = run_of(job)
        for number, path in enumerate(self._home.outputs(job.id, len(job.stages))):
            watch = self._watcher.watch(path, OPENED | LEFT)
            if watch is not None:
                self._watched[watch] = job, number
                run.watches.append(watch)
            first = self._firsts.watch(path, OPENED | WRITTEN | ONCE)
            if first is not None:
                self._first_of[first] = job, number
                run.first_watches.append(first)

    def _take_firsts(self) -> None:
        for watch, mask in self._firsts.changes():
            job, number = self._first_of.pop(watch, (None, 0))
            if job is not None and mask & WRITTEN:
                run_of(job).written_first.add(number)

    def open(self, job: ManagedJob) -> None:
        """Look at its files from now on. Short jobs that print nothing do without.

        Raises OSError where one cannot be opened.
        """
        run = run_of(job)
        if run.files.paths:
            return
        if not run.watches:
            self.watch(job)
        run.files.open(self._home.outputs(job.id, len(job.stages)))
        if run.files.is_gone:
            return
        if not job.history.streams:
            job.history.streams = [Stream() for _ in run.files.paths]
        for number in range(len(job.history.streams)):
            self._look_at(job, number)

    def _path(self, job: ManagedJob, number: int) -> str:
        home = self._home
        return home.stderr(job.id, number) if number else home.stdout(job.id)

    def finish(self, job: ManagedJob) -> None:
        """Every stage has ended: a last look."""
        run = run_of(job)
        with suppress(OSError):  # EIO, or removed by hand: its final sizes have the same trouble
            touched = [self._was_touched(job, number) for number in range(len(job.history.streams))]
            if any(touched):
                # What is still to be heard of tells whether anything stood there before.
                self._take_changes()
                self.open(job)
            doubtful = [
                number
                for number, stream in enumerate(job.history.streams)
                if touched[number] or not stream.has_tripwire
            ]
            self.look(job, run.files.sizes(), doubtful)
        for watch in run.watches:
            if self._watched.pop(watch, None) is not None:
                self._plan(partial(self._watcher.forget, watch), GIVE_BACK_SECONDS)
        run.watches.clear()
        self._take_firsts()
        for first in run.first_watches:
            if self._first_of.pop(first, None) is not None:
                self._plan(partial(self._firsts.forget, first), GIVE_BACK_SECONDS)
        run.first_watches.clear()
        self._give_back(job)

    def _give_back(self, job: ManagedJob) -> None:
        if not self._sectors or not _writes_itself(job):
            return
        for path, stream in zip(
            self._home.outputs(job.id, len(job.stages)), job.history.streams, strict=False
        ):
            if stream.has_tripwire is not None:
                # Where it went it may have been set up again, or not have gone after all.
                self._take_away(path, GIVE_BACK_SECONDS)
            stream.has_tripwire = None

    def _take_away(self, path: str, seconds: float) -> None:
        """So much later; and again in twice the time, a few times, while a process has the file open."""
        again = None if seconds >= LATEST_SECONDS else partial(self._note_taken_away, path, 2 * seconds)
        self._plan(partial(self._do, path, truncation_tripwire.take_away, again), seconds)

    def _note_taken_away(self, path: str, seconds: float, is_gone: bool) -> None:
        if not is_gone and os.path.exists(path):
            self._take_away(path, seconds)

    # ---- beside the loop, since fallocate(2) waits for a write under way, and the end of a watch takes 15 µs

    def _plan(self, chore: Callable[[], object], seconds: float) -> None:
        if seconds not in self._chores:
            self._chores[seconds] = []
            self._loop.call_later(seconds, self._do_chores, seconds)
        self._chores[seconds].append(chore)

    def _do_chores(self, seconds: float) -> None:
        """What has come together meanwhile, by one thread."""
        in_thread(partial(_work, self._chores.pop(seconds)))

    def _do(self, path: str, action: Callable[[int], object], note: Callable[[bool], None] | None) -> None:
        """Do it to a file; `note` hears in the loop whether it went."""
        answer = _done_to(path, action)
        if note is not None:
            with suppress(RuntimeError):  # the loop has closed: the daemon is ending
                self._loop.call_soon_threadsafe(note, answer)

    # ---- woken

    def _note_changes(self) -> None:
        """Somebody has opened a file, a reader perhaps."""
        assert self._watcher.descriptor is not None
        now = self._loop.time()
        if now >= self._span_ends:
            self._span_ends, self._wakes = now + SPAN_SECONDS, 0
        self._wakes += 1
        if self._wakes >= MOST_WAKES:
            self._loop.remove_reader(self._watcher.descriptor)
            self._loop.call_at(self._span_ends, self._listen)
        self._take_changes()

    def _take_changes(self) -> None:
        changes = self._watcher.changes()
        left = {change.watch for change in changes if change.mask & LEFT}
        for watch in {change.watch for change in changes} & self._watched.keys():
            job, number = self._watched[watch]
            with suppress(OSError):  # the monitor says what is wrong with it
                if watch in left and run_of(job).files.is_elsewhere(number):
                    self.note_replaced(job)
                self.open(job)
                self._look_at(job, number)

    def _look_at(self, job: ManagedJob, number: int) -> None:
        self._look(job, number, self._position(job, number))

    # ---- looking

    def look(self, job: ManagedJob, sizes: Sequence[int], closely: Collection[int] = ()) -> bool:
        """Look at the files that have changed, and `closely` at some in any case. Whether one was made shorter."""
        found = [
            self._look(job, number)
            for number, (stream, size) in enumerate(zip(job.history.streams, sizes, strict=False))
            if size != stream.end or number in closely
        ]
        self._set_up_again(job)
        return any(found)

    def _look(self, job: ManagedJob, number: int, position: int = 0) -> bool:
        """`position` was asked for before: it is where the stage's last write had ended."""
        stream = job.history.streams[number]
        before = stream.end
        was_touched = self._was_touched(job, number)
        # Asked after both: what they tell of has happened then.
        run = run_of(job)
        size = run.files.size(number)
        first_kept = run.capped[number].noted if run.capped else 0
        read: ReadAt = _read_nothing
        if number < len(run.files.descriptors):
            read = partial(_read, run.files.descriptors[number])
        found = stream.look(read, size, first_kept)
        if found is not None and not run.capped:
            # The daemon before us may have dropped what we look for.
            first_kept = dropped_bytes(run.files.paths[number]) or 0
            found = stream.look(read, size, first_kept) if first_kept else found
        if was_touched and not stream.held:
            self._take_firsts()
            stream.held = position > 0 or number in run.written_first
        if size < position != stream.position:
            found = found or Truncation(min(before, size), size)
            before = max(before, position)
        was_touched &= not first_kept
        if found is not None:
            stream.forget(found)
            self._note(job, number, found.most, max(1, before - found.most))
        elif was_touched and stream.held:
            # Not a byte of what stood there was known to us, or the same was written again.
            self._note(job, number, size, 1)
        is_shorter = found is not None or was_touched
        if is_shorter:
            run.rested_at = None  # the next visit sets up another
            # Where it stands still: the kernel takes the size back first, and frees the blocks then.
            stream.has_tripwire = False
        stream.advance(read, size, first_kept)
        if is_shorter or not stream.held:
            # Unless it was emptied since we looked whether it was: then these bytes came later.
            stream.held = size > 0 and not self._was_touched(job, number)
        return is_shorter

    def _was_touched(self, job: ManagedJob, number: int) -> bool:
        """Whether there was a tripwire in that file, and it is no more."""
        if not self._sectors or not job.history.streams[number].has_tripwire:
            return False
        paths = run_of(job).files.paths
        path = paths[number] if paths else self._path(job, number)
        # Twice, since what waits to be written is counted in another place than what was, and moves.
        return all(
            truncation_tripwire.was_touched(os.stat(path, follow_symlinks=False), self._sectors)
            for _ in range(2)
        )

    def _set_up_again(self, job: ManagedJob) -> None:
        """Once a tick at most."""
        if not self._sectors or job.life.is_ended or not _writes_itself(job):
            return
        for number, stream in enumerate(job.history.streams):
            if stream.has_tripwire is False:
                stream.has_tripwire = None
                path = self._path(job, number)
                chore = partial(
                    self._do, path, truncation_tripwire.set_up, partial(self._note_set_up, job, number)
                )
                self._plan(chore, SET_UP_SECONDS)

    def _note_set_up(self, job: ManagedJob, number: int, stands: bool) -> None:
        if not stands:
            return  # ENOSPC, or it is not the file any more that it was: not tried again
        if job.life.is_ended:
            self._take_away(self._path(job, number), GIVE_BACK_SECONDS)
        else:
            job.history.streams[number].has_tripwire = True

    def _position(self, job: ManagedJob, number: int) -> int:
        """Where the last write through the descriptor ended that the stage was given; 0 where that cannot be told."""
        if not _writes_itself(job):
            return 0
        stage, descriptors = job.stages[number - 1], run_of(job).files.descriptors
        leader = leader_of(stage)
        if leader is None or not is_running(stage) or number >= len(descriptors):
            return 0
        inode = os.fstat(descriptors[number]).st_ino
        return appended_up_to(leader.pid, 2 if number else 1, inode)

    def _note(self, job: ManagedJob, number: int, most: int, lost: int) -> None:
        stream = job.history.streams[number]
        stream.lost += lost
        stream.times += 1
        stream.position = self._position(job, number)
        job.history.truncated = datetime.now(UTC)
        self._output_cap.note_shorter(job, number, most)
        self.touch(job)
        text = self._words(job, number, stream)
        if text is not None:
            self._journal.record(job.id, job.history.truncated, "output", text)

    @staticmethod
    def _words(job: ManagedJob, number: int, stream: Stream) -> str | None:
        """For the job's life; of what happens again and again only every tenth, hundredth… time is told."""
        name = job.stream_name(number)
        if stream.times == 1:
            how = f", as `> /dev/{'stderr' if number else 'stdout'}` does" if _writes_itself(job) else ""
            advice = f"; {ADVICE}" if _writes_itself(job) else ""
            return f"{name} was made shorter{how}: {_amount(stream.lost)}{advice}"
        if stream.times == 10 ** (len(str(stream.times)) - 1):
            return f"{name} was made shorter {stream.times} times by now: {_amount(stream.lost)}"
        return None


def _amount(lost: int) -> str:
    return f"at least {lost} {'byte of it is' if lost == 1 else 'bytes of it are'} lost"


def _writes_itself(job: ManagedJob) -> bool:
    """Whether its program has the files themselves, and can empty them."""
    return job.spec.output == "file" and not job.spec.pty


def _work(chores: Sequence[Callable[[], object]]) -> None:
    for chore in chores:
        chore()


def _done_to(path: str, action: Callable[[int], object]) -> bool:
    """Do it to a file, open for writing; what came of it."""
    with suppress(OSError):  # removed with its job
        descriptor = open_to_punch(path)
        try:
            return bool(action(descriptor))
        finally:
            os.close(descriptor)
    return False


def _read(descriptor: int, offset: int, count: int) -> bytes:
    return read_ready(descriptor, count, offset)


def _read_nothing(offset: int, count: int) -> bytes:
    """Descriptors are scarce, and none was kept: the sizes have to do."""
    return b""
