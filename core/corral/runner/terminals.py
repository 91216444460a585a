"""Jobs with a terminal: what they print on it goes to their stdout file, through us alone.

This is the one output that passes through Python. A flood of it keeps no client waiting: at most `PASS_SIZE` bytes
a pass of the loop, and what is not read yet stays in the terminal, which makes the job wait. We hold the job's side open
too, so that a job that closes its terminal for a while does not read as one that has hung up.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable
from datetime import UTC, datetime

from msgspec import Struct

from corral.jobs.managed_job import ManagedJob
from corral.journal.journal import Journal
from corral.model.errors import NotSoError
from corral.output.terminal_modes import TerminalModes
from corral.platform.files.pty import end_of_input, read_some, size_of
from corral.platform.host import resource_errors
from corral.processes.local_run import run_of

PASS_SIZE = 64 << 10
LAST_SIZE = 1 << 20
"""Of what is drained at the end: a terminal holds less, so only others that still print could go on for ever."""
RETRY_SECONDS = 0.5
"""Until the next try where the file takes nothing (ENOSPC)."""
EVENT = "terminal"
"""The kind of the lines in a job's life that are about its terminal."""


class HandedTerminal(Struct, frozen=True):
    """A terminal on its way to the program that takes our place."""

    master: int
    inner: int
    sink: int
    unwritten: bytes = b""
    modes: tuple[int, ...] = ()

    @property
    def descriptors(self) -> frozenset[int]:
        return frozenset((self.master, self.inner, self.sink))


class JobTerminal:
    """The terminal of one job. Owns its descriptors."""

    def __init__(
        self, job: ManagedJob, handed: HandedTerminal, journal: Journal, touch: Callable[[ManagedJob], None]
    ) -> None:
        self._journal = journal
        self._touch = touch
        self._job = job
        self.master = handed.master
        self._inner, self._sink = handed.inner, handed.sink
        self._unwritten = handed.unwritten
        """Read, and not in the file yet."""
        self._modes = TerminalModes(handed.modes)
        self._complaint: str | None = None
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._is_watching = False
        self._go_on()

    @property
    def modes(self) -> tuple[int, ...]:
        """The modes in which the program has left it."""
        return self._modes.changed

    @property
    def printed(self) -> int:
        """Bytes in the file. Raises OSError."""
        return os.fstat(self._sink).st_size

    def handed(self) -> HandedTerminal:
        return HandedTerminal(self.master, self._inner, self._sink, self._unwritten, self.modes)

    # ---- while it runs

    def _go_on(self) -> None:
        """Write what is to be written; then read on."""
        self._timer = None
        if self._write(b""):
            self._watch()
        else:
            self._try_later()

    def _watch(self) -> None:
        if not self._is_watching:
            self._loop.add_reader(self.master, self._read)
            self._is_watching = True

    def _unwatch(self) -> None:
        if self._is_watching:
            self._loop.remove_reader(self.master)
            self._is_watching = False

    def _read(self) -> None:
        data, has_hung_up = self._take(PASS_SIZE)
        if not self._write(data):
            self._unwatch()
            self._try_later()
        elif has_hung_up:
            # Its session's leader has gone, and with it the terminal: its end is about to be told.
            self._unwatch()

    def _try_later(self) -> None:
        self._timer = self._loop.call_later(RETRY_SECONDS, self._go_on)

    def _take(self, limit: int) -> tuple[bytes, bool]:
        """At most about `limit` bytes of what was printed, and whether nothing more can come."""
        pieces: list[bytes] = []
        size = 0
        while size < limit:
            piece = read_some(self.master)
            if not piece:
                return b"".join(pieces), piece is not None
            pieces.append(piece)
            size += len(piece)
        return b"".join(pieces), False

    def _write(self, data: bytes) -> bool:
        """Append to the file; whether all of it is there. What is not is kept."""
        self._modes.feed(data)
        self._note_screen()
        self._unwritten += data
        while self._unwritten:
            try:
                written = os.write(self._sink, self._unwritten)
            except OSError as error:
                if self._job.history.disk_full is None and error.errno in (errno.ENOSPC, errno.EDQUOT):
                    self._note_full(datetime.now(UTC))
                self._complain(
                    f"what it prints cannot be written, so it has to wait: {resource_errors.explanation(error)}"
                )
                return False
            self._unwritten = self._unwritten[written:]
        self._complaint = None
        if self._job.history.disk_full is not None:
            self._note_full(None)
        return True

    def _note_full(self, since: datetime | None) -> None:
        self._job.history.disk_full = since
        self._touch(self._job)

    def _note_screen(self) -> None:
        job, is_full_screen, size = self._job, self._modes.is_full_screen, size_of(self.master)
        # A client that is attached sets the size; a program draws again then, so to ask when it prints is enough.
        if (job.is_full_screen, job.terminal_size) != (is_full_screen, size):
            job.is_full_screen, job.terminal_size = is_full_screen, size
            self._touch(job)

    def _complain(self, text: str) -> None:
        if text != self._complaint:
            self._complaint = text
            self._journal.record(self._job.id, datetime.now(UTC), EVENT, text)

    # ---- the end

    def close(self) -> None:
        """Take what it still holds, and hang up."""
        if self._timer is not None:
            self._timer.cancel()
        self._unwatch()
        taken = 0
        while taken < LAST_SIZE:
            data, _ = self._take(PASS_SIZE)
            taken += len(data)
            if not self._write(data) or not data:
                break
        if self._unwritten:
            text = f"the last {len(self._unwritten)} bytes that it printed are lost: the file took no more"
            self._journal.record(self._job.id, datetime.now(UTC), EVENT, text)
        for descriptor in (self.master, self._inner, self._sink):
            os.close(descriptor)


class Terminals(Struct, eq=False):
    """The terminals of all jobs that have one."""

    _journal: Journal
    _touch: Callable[[ManagedJob], None]
    _by_job: dict[int, JobTerminal] = {}

    def begin(self, job: ManagedJob) -> None:
        """The job was started: read what it prints. Takes over what was opened for it."""
        opened, run_of(job).terminal = run_of(job).terminal, None
        if opened is not None:
            self.go_on(job, HandedTerminal(*opened))

    def go_on(self, job: ManagedJob, handed: HandedTerminal) -> None:
        """The same for one that runs already. Takes the descriptors over."""
        self._by_job[job.id] = JobTerminal(job, handed, self._journal, self._touch)

    def handed(self, job: ManagedJob) -> HandedTerminal | None:
        terminal = self._by_job.get(job.id)
        return None if terminal is None else terminal.handed()

    def end(self, job: ManagedJob) -> None:
        """Its process has ended, or could not be started: keep what it printed, and close the terminal."""
        opened, run_of(job).terminal = run_of(job).terminal, None
        for descriptor in opened or ():
            os.close(descriptor)
        terminal = self._by_job.pop(job.id, None)
        if terminal is not None:
            terminal.close()

    def of(self, job: ManagedJob) -> JobTerminal:
        """The terminal of a job that has one. Raises NotSoError where it is not there (any more)."""
        terminal = self._by_job.get(job.id)
        if terminal is not None:
            return terminal
        raise NotSoError(f"the terminal of job {job.id} is gone; it went with the daemon that held it")

    def send_end_of_input(self, job: ManagedJob) -> None:
        """Type what means EOF there. Raises NotSoError."""
        master = self.of(job).master
        try:
            os.write(master, end_of_input(master))
        except BlockingIOError:
            raise NotSoError(f"job {job.id} does not read its terminal, which is full") from None
        except OSError as error:
            # EIO: its session's leader has just gone.
            raise NotSoError(f"job {job.id} does not read its terminal any more: {error.strerror}") from None

    def note_lost(self, job: ManagedJob) -> None:
        """The daemon that held its terminal is gone: what has not left it gets SIGHUP (tty_ioctl(4))."""
        text = "its terminal was hung up: the daemon that held it has ended"
        self._journal.record(job.id, datetime.now(UTC), EVENT, text)
