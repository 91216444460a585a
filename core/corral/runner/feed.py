"""`--from`: the stdout file of one job into the stdin pipe of another, with sendfile(2); no byte enters Python."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from datetime import UTC, datetime

from msgspec import Struct

from corral.jobs.managed_job import ManagedJob
from corral.jobs.transitions import Apply
from corral.journal.commits import Commits
from corral.journal.journal import Journal
from corral.lifecycle.clock import moment
from corral.lifecycle.state import FeedFailed
from corral.model.home import Home
from corral.model.units import format_size
from corral.output.job_files import open_own
from corral.output.reader import dropped_bytes
from corral.output.truncation import Fingerprint
from corral.platform.files.descriptors import move_high
from corral.platform.files.pipes import bytes_in
from corral.platform.host import resource_errors

_CHUNK = 1 << 20
_LIVE_PAUSE = 0.02
FED = "fed"
"""The kind of the line in a job's life that says that it has had all of its input, or wants no more of it."""


class Feed(Struct, frozen=True):
    """What is fed to a job, and how far that is."""

    source: int
    writer: int
    """The write end of the job's stdin."""
    reader: int | None = None
    """The source's stdout file, once it is open."""
    offset: int = 0
    """Up to where that was fed."""
    start: int = 0
    """Where the feed began, as far as is known."""


class Feeder:
    """Feeds one job. Owns the write end of its stdin and the source's file.

    Woken by room in the pipe, and at the end of a live file every 20 ms.
    """

    def __init__(
        self,
        home: Home,
        is_unended: Callable[[int], bool],
        journal: Journal,
        commits: Commits,
        apply: Apply,
        job: ManagedJob,
        feed: Feed,
    ) -> None:
        self._home = home
        self._is_unended = is_unended
        self._journal = journal
        self._commits = commits
        self._apply = apply
        self._job = job
        self.source = feed.source
        self._writer = feed.writer
        os.set_blocking(feed.writer, False)
        self._reader = feed.reader
        self._offset = feed.offset
        self._start = feed.start
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._is_waiting_for_room = False
        self._trace = Fingerprint()
        self._unchanged: tuple[int, int] | None = None
        """Size and time of change of the source's file when it was found to be what it was."""
        if self._reader is not None:
            self._trace.advance(self._read, self._offset)
        self._pump()

    def feed(self) -> Feed | None:
        """Where it is; None where the job has had its EOF."""
        if self._writer < 0:
            return None
        return Feed(self.source, self._writer, self._reader, self._offset, self._start)

    def close(self) -> None:
        """EOF for the job, unless it has had it."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._is_waiting_for_room:
            self._loop.remove_writer(self._writer)
            self._is_waiting_for_room = False
        if self._writer >= 0:
            os.close(self._writer)
            self._writer = -1
        if self._reader is not None:
            os.close(self._reader)
            self._reader = None

    def _pump(self) -> None:
        """Send what there is, at most a chunk a pass of the loop."""
        self._timer = None
        if self._writer < 0:
            return
        # Asked before the read: what was written before its end is then read for certain.
        has_ended = self._source_has_ended()
        try:
            if not self._open():
                self._wait_or_end(has_ended)
                return
            self._notice_shorter()
            sent = self._send_what_fits()
            if sent != 0:
                self._wait_for_room()
                return
        except BrokenPipeError:
            # It reads no more, which is its right (`head`).
            self._finish("it reads no more of")
            return
        except OSError as error:
            self._fail(
                f"job {self.source} could not be read any further: {resource_errors.explanation(error)}"
            )
            return
        self._wait_or_end(has_ended)

    def _send_what_fits(self) -> int | None:
        """Bytes sent by one sendfile, 0 at the end of the file, None where the pipe is full. Nothing before the offset was dropped: `head_goes` is told first, in this thread."""
        assert self._reader is not None
        try:
            sent = os.sendfile(self._writer, self._reader, self._offset, _CHUNK)
        except BlockingIOError:
            return None
        self._offset += sent
        self._trace.advance(self._read, self._offset)
        return sent

    def _read(self, offset: int, count: int) -> bytes:
        assert self._reader is not None
        return os.pread(self._reader, count, offset)

    def _notice_shorter(self) -> None:
        """Where the source's own program has made its stdout shorter, go on where what is new begins."""
        assert self._reader is not None
        state = os.fstat(self._reader)
        if (state.st_size, state.st_mtime_ns) == self._unchanged:
            return
        found = self._trace.look(self._read, state.st_size, self._dropped())
        if found is None:
            self._unchanged = state.st_size, state.st_mtime_ns
            return
        text = (
            f"the stdout of job {self.source} was made shorter: the feed goes on from its byte {found.least}"
        )
        self._journal.record(self._job.id, datetime.now(UTC), "feed", text)
        self._trace.forget(found)
        self._offset = found.least
        self._start = min(self._start, self._offset)
        self._trace.advance(self._read, self._offset)

    def wanted_from(self, cap: int) -> int | None:
        """From which offset on the source's stdout, of which `cap` bytes are kept, must not be dropped yet.

        What is in the pipe counts as not fed yet, and so does a little before it, which the job may have spliced
        further: sendfile(2) passes on the pages of the file themselves, and a hole sets parts of pages to zero.
        """
        if self._writer < 0 or self._reader is None:
            return None
        unread = bytes_in(self._writer) + min(_CHUNK, cap // 4)
        return max(self._start, self._offset - unread)

    def head_goes(self, cut: int, cap: int) -> None:
        """All before `cut` is dropped from the source's stdout, of which `cap` bytes are kept: fail if that is missed."""
        wanted = self.wanted_from(cap)
        if wanted is not None and cut > wanted:
            self._fail(
                f"bytes of job {self.source} were dropped before they could be fed: "
                f"it keeps {format_size(cap)} of its output"
            )

    def _open(self) -> bool:
        if self._reader is None:
            try:
                descriptor = open_own(self._home.stdout(self.source), os.O_RDONLY)
            except FileNotFoundError:
                return False
            self._reader = move_high(descriptor)
            self._offset = self._start = self._first_kept()
        return True

    def _dropped(self) -> int:
        return dropped_bytes(self._home.stdout(self.source)) or 0

    def _first_kept(self) -> int:
        """Where the source's stdout begins by now; that it does not begin at its beginning is said."""
        dropped = self._dropped()
        if dropped:
            text = f"fed from byte {dropped} of job {self.source} on: what came before had been dropped"
            self._journal.record(self._job.id, datetime.now(UTC), "feed", text)
        return dropped

    def _source_has_ended(self) -> bool:
        return not self._is_unended(self.source)

    def _wait_for_room(self) -> None:
        if not self._is_waiting_for_room and self._writer >= 0:
            self._loop.add_writer(self._writer, self._note_room)
            self._is_waiting_for_room = True

    def _note_room(self) -> None:
        self._loop.remove_writer(self._writer)
        self._is_waiting_for_room = False
        self._pump()

    def _wait_or_end(self, has_ended: bool) -> None:
        if has_ended:
            self._finish("it was fed all of")
        elif self._writer >= 0:
            self._timer = self._loop.call_later(_LIVE_PAUSE, self._pump)

    def _finish(self, what: str) -> None:
        """Nothing more is to come. Noted, so that a next daemon knows that the input was not broken off."""
        self._journal.record(self._job.id, datetime.now(UTC), FED, f"{what} job {self.source}")
        self._commits.soon()
        self.close()

    def _fail(self, reason: str) -> None:
        self.close()
        self._apply(self._job, FeedFailed(**moment(), reason=reason))


class Feeds(Struct, eq=False):
    """All that is fed from one job to another."""

    _home: Home
    _is_unended: Callable[[int], bool]
    _journal: Journal
    _commits: Commits
    _apply: Apply
    _feeders: dict[int, Feeder] = {}
    """By the job that is fed."""

    def begin(self, job: ManagedJob, feed: Feed) -> None:
        """Feed it from there on. Takes the descriptors over."""
        self._feeders[job.id] = Feeder(
            self._home, self._is_unended, self._journal, self._commits, self._apply, job, feed
        )

    def end(self, job: ManagedJob) -> None:
        """The job has ended: let go of what fed it."""
        feeder = self._feeders.pop(job.id, None)
        if feeder is not None:
            feeder.close()

    def of(self, job: ManagedJob) -> Feed | None:
        """What it is fed with, as long as it is."""
        feeder = self._feeders.get(job.id)
        return None if feeder is None else feeder.feed()

    def still_to_feed(self, source: int, cap: int) -> int | None:
        """From which offset on that job's stdout, of which `cap` bytes are kept, has yet to be fed to others."""
        wanted = (feeder.wanted_from(cap) for feeder in self._feeders.values() if feeder.source == source)
        return min((offset for offset in wanted if offset is not None), default=None)

    def head_goes(self, source: int, cut: int, cap: int) -> None:
        """All before `cut` of that job's stdout is dropped: nothing that is fed from it may be missing that."""
        for feeder in list(self._feeders.values()):
            if feeder.source == source:
                feeder.head_goes(cut, cap)
