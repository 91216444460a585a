"""An attached terminal: keys go to the job's terminal; its output is read from its stdout file, as everywhere else."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import time
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Literal, NamedTuple

from corral.client.blocking import Client, PendingReply
from corral.model.errors import CorralError, DaemonUnavailableError
from corral.model.job import Job
from corral.model.text import after_carriage_returns, sanitise, skip_control_string_end
from corral.output.reader import OutputFile
from corral.output.terminal_modes import entering, leaving
from corral.platform.files.pty import set_size, size_of
from corral.protocol.requests import OpenInput, Waited, WaitForJobs
from corral_tui.cli.output.copy_output import Outlet
from corral_tui.cli.run.detach_key import DetachKey
from corral_tui.cli.run.raw_terminal import INPUT, OUTPUT, RawTerminal, own_size
from corral_tui.cli.support.interrupts import Interrupts

_DETACHING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
_FASTEST, _SLOWEST = 0.005, 0.05
"""Seconds between two reads of the file: after a key or output, and after a while without either."""
_REDRAW_SECONDS = 0.05
"""How long the terminal is kept one row smaller, so that the program notices both changes of size."""
_SETTLE_SECONDS = 0.03
"""Delay from a change of size to the next key."""
_READ_SIZE = 64 << 10
_TAIL_SIZE = 64 << 10
_MAX_LAG = 4 << 20
"""Bytes; when output is further ahead than this we skip to the newest screenful. The rest stays in the file."""
_MAX_TYPED = 64 << 10
"""Bytes typed but not yet read by the job; more is dropped with a bell, as a terminal does."""


class AttachEnd(NamedTuple):
    """How an attachment ended; the job if the job ended, the signal if one ended it."""

    how: Literal["ended", "detached", "signalled", "lost"]
    job: Job | None = None
    signal: int = 0


class OpenedTerminal(NamedTuple):
    """A copy of the master of a job's terminal, the modes its program has set, and the length of the stdout file at
    that moment."""

    master: int
    modes: tuple[int, ...]
    printed: int


def open_terminal(client: Client, job_id: str) -> OpenedTerminal:
    """Open the job's terminal; the caller closes it. Raises NotSoError if the job has none or has ended."""
    opened = client.call(OpenInput(job=job_id))
    received = client.received_descriptors()
    if opened.is_terminal and len(received) == 1:
        return OpenedTerminal(received[0], opened.modes, opened.printed)
    for descriptor in received:
        os.close(descriptor)
    raise CorralError(f"job {job_id}: the daemon sent no terminal; see corral daemon log")


def attach(
    client: Client, job_id: str, opened: OpenedTerminal, key: DetachKey, *, from_start: bool = False
) -> AttachEnd:
    """Connect the two terminals until the job ends or the user detaches.

    With `from_start` all output is passed through unchanged, as for a job that we have just started; otherwise the
    newest screenful is shown and the program is made to redraw.
    """
    with ExitStack() as always_closed:
        file = always_closed.enter_context(closing(OutputFile(client.home.stdout(job_id))))
        interrupts = always_closed.enter_context(Interrupts((*_DETACHING, signal.SIGWINCH, signal.SIGCONT)))
        terminal = always_closed.enter_context(RawTerminal(() if from_start else opened.modes))
        outlet = always_closed.enter_context(closing(Outlet(OUTPUT)))
        attachment = _Attachment(client, job_id, opened.master, file, outlet, interrupts, terminal, key)
        try:
            if not from_start:
                attachment.show_newest(opened.printed)
            return attachment.run()
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            # Our terminal was hung up; the signal is on its way.
            return AttachEnd("signalled", signal=signal.SIGHUP)


@dataclass
class _Attachment:
    """One attached terminal."""

    _client: Client
    _job_id: str
    _master: int
    _file: OutputFile
    _outlet: Outlet
    _interrupts: Interrupts
    _terminal: RawTerminal
    _key: DetachKey
    _typed: bytes = b""
    """What the job has not read yet."""
    _position: int = 0
    _end: int | None = None
    _pause: float = _FASTEST
    _full_size_at: float | None = None
    _settled_at: float = 0.0
    """Keys are held back until then: some programs (less 590) drop a key that arrives together with SIGWINCH."""

    def run(self) -> AttachEnd:
        daemon = self._client.hello.pid
        waiting = self._client.begin(WaitForJobs(ids=(self._job_id,)))
        self._take_size()
        ended: Job | None = None
        while True:
            end = self._handle_signals()
            if end is not None:
                return end
            if ended is None:
                try:
                    ended = _end_of(waiting)
                except DaemonUnavailableError:
                    return AttachEnd("lost")
                if self._client.hello.pid != daemon:
                    # The terminal belonged to that daemon. Ours is the last copy: closing it hangs up.
                    return AttachEnd("lost")
                if ended is not None:
                    self._end = self._file.size()
            has_moved = self._copy_some()
            if ended is not None and not has_moved and not self._outlet.has_queue:
                return AttachEnd("ended", ended)
            if self._wait(has_moved, -1 if ended else waiting.fileno()) and not self._take_keys():
                self._settled_at = 0.0
                self._type()
                return AttachEnd("detached")

    # ---- what it prints

    def _copy_some(self) -> bool:
        """Read new output and write what can be written now. Returns whether anything moved."""
        if not self._outlet.has_queue and self._file.size() - self._position > _MAX_LAG:
            self._skip_to(self._file.size())
        has_read = False
        if not self._outlet.has_queue:
            chunk = self._file.read(self._position, _READ_SIZE)
            if self._end is not None:
                chunk = chunk.until(self._end)
            self._position = chunk.end
            has_read = bool(chunk.data)
            self._outlet.put(self._terminal.note(chunk.data))
        return self._outlet.write_some() or has_read

    def _skip_to(self, end: int) -> None:
        """Continue at that offset, with the terminal modes in effect there."""
        modes = self._terminal.modes
        before = set(modes.changed)
        for chunk in self._file.chunks(self._position, end):
            modes.feed(chunk.data)
        after = set(modes.changed)
        self._outlet.put(leaving(before - after) + entering(after - before))
        self.show_newest(end)
        self._redraw()

    def show_newest(self, end: int) -> None:
        """Show the last lines before `end` as text with colours, without other control sequences, which were meant for
        another terminal. A full-screen program redraws itself instead.
        """
        chunk = self._file.read(max(0, end - _TAIL_SIZE), _TAIL_SIZE).until(end)
        self._position = end
        if self._terminal.modes.is_full_screen:
            return
        data = skip_control_string_end(chunk.data) if chunk.offset else chunk.data
        lines = data.split(b"\n")[-own_size()[1] :]
        shown = (
            sanitise(after_carriage_returns(line.rstrip(b"\r")), colours=True).replace("\n", " ")
            for line in lines
        )
        self._outlet.put(self._terminal.note("\r\n".join(shown).encode()))

    # ---- what is typed

    def _take_keys(self) -> bool:
        """Pass keys on; False after the detach key. Raises OSError if our terminal was hung up."""
        data = os.read(INPUT, 4096)
        if not data:
            raise OSError(errno.EIO, "the terminal was hung up")
        found = self._key.find(data)
        if found is not None:
            data = data[: found[0]]
        if data and self._full_size_at is None:
            self._take_size(redraws=False)
        if len(self._typed) + len(data) > _MAX_TYPED:
            self._outlet.put(b"\a")
        else:
            self._typed += data
        self._type()
        self._pause = _FASTEST
        return found is None

    def _type(self) -> None:
        if time.monotonic() < self._settled_at:
            return
        try:
            while self._typed:
                self._typed = self._typed[os.write(self._master, self._typed) :]
        except BlockingIOError:
            return  # the terminal takes more once the program has read
        except OSError:
            self._typed = (
                b""  # EIO: the session leader has just exited; the end of the job will be reported next
            )

    # ---- size

    def _take_size(self, *, redraws: bool = True) -> None:
        """Give the job's terminal our size. With several attached, the last one that typed or resized wins."""
        size = own_size()
        with contextlib.suppress(OSError):
            if size_of(self._master) != size:
                set_size(self._master, *size)
                self._settled_at = time.monotonic() + _SETTLE_SECONDS
            elif redraws:
                self._redraw()

    def _redraw(self) -> None:
        """Make the program redraw by a change of size; many ignore a SIGWINCH without one."""
        columns, rows = own_size()
        with contextlib.suppress(OSError):
            set_size(self._master, columns, rows - 1 if rows > 1 else rows + 1)
            self._full_size_at = time.monotonic() + _REDRAW_SECONDS
            self._settled_at = self._full_size_at + _SETTLE_SECONDS

    # ---- waiting

    def _handle_signals(self) -> AttachEnd | None:
        """Handle signals and timers. Returns how to detach, or None to continue."""
        for number in self._interrupts.take():
            if number in _DETACHING:
                return AttachEnd("signalled", signal=number)
            if number == signal.SIGCONT:
                self._terminal.make_raw()
            self._take_size(redraws=number == signal.SIGCONT)
        if self._full_size_at is not None and time.monotonic() >= self._full_size_at:
            self._full_size_at = None
            self._take_size(redraws=False)
        self._type()
        return None

    def _wait(self, has_moved: bool, daemon: int) -> bool:
        """Wait until there is something to do. Returns whether a key was typed."""
        self._pause = _FASTEST if has_moved else min(_SLOWEST, self._pause * 1.3)
        poller = select.poll()
        for descriptor in (INPUT, self._interrupts.fileno(), daemon):
            if descriptor >= 0:
                poller.register(descriptor, select.POLLIN)
        if self._typed and time.monotonic() >= self._settled_at:
            poller.register(self._master, select.POLLOUT)
        ready = dict(poller.poll(0 if has_moved and not self._outlet.has_queue else self._pause * 1000))
        if self._master in ready:
            self._type()
        return INPUT in ready


def _end_of(waiting: PendingReply[Waited]) -> Job | None:
    waited = waiting.result(0)
    return None if waited is None else waited.jobs[0]
