"""A job's terminal on ours: what is typed goes to it, what it prints comes from its stdout file, as for everybody else."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import time
from contextlib import ExitStack, closing
from typing import Literal, NamedTuple

from corral.observe.output import OutputFile
from corral.observe.terminalmodes import entering, leaving
from corral.service.client import Client, Pending
from corral.service.protocol import OpenInput, Waited, WaitForJobs
from corral.system.terminal import set_size, size_of
from corral.values.errors import CorralError, DaemonUnavailableError
from corral.values.jobs import Job
from corral.values.text import from_anywhere, resolve_returns, sanitise
from corral_tui.cli.copy_output import Outlet
from corral_tui.cli.detach_key import DetachKey
from corral_tui.cli.interrupts import Interrupts
from corral_tui.cli.raw_terminal import INPUT, OUTPUT, RawTerminal, own_size

_LEAVING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
_FASTEST, _SLOWEST = 0.005, 0.05
"""Seconds between two looks at the file: after a key or output, and when nothing has come for a while."""
_REDRAW_SECONDS = 0.05
"""For how long a terminal has one row less, so that its program takes note of both changes."""
_SETTLE_SECONDS = 0.03
"""From a new size to the next key."""
_READ_SIZE = 64 << 10
_TAIL_SIZE = 64 << 10
_MOST_BEHIND = 4 << 20
"""Who is further behind the end than that goes on at the newest screenful; the rest is in the file."""
_MOST_TYPED = 64 << 10
"""Bytes typed that the job has not taken; what is typed beyond is dropped, with a bell, as a terminal does."""


class Left(NamedTuple):
    """How an attachment ended, the job if it was by its end, and the signal if it was by one."""

    how: Literal["ended", "detached", "signalled", "lost"]
    job: Job | None = None
    signal: int = 0


class Opened(NamedTuple):
    """A copy of the master of a job's terminal, the modes in which its program has left it, and when: at which length of
    the stdout file."""

    master: int
    modes: tuple[int, ...]
    printed: int


def open_terminal(client: Client, job_id: str) -> Opened:
    """The terminal of the job of that number; the caller closes it. Raises NotSoError: it has none, or has ended."""
    opened = client.call(OpenInput(job=job_id))
    received = client.received_descriptors()
    if opened.is_terminal and len(received) == 1:
        return Opened(received[0], opened.modes, opened.printed)
    for descriptor in received:
        os.close(descriptor)
    raise CorralError(f"job {job_id}: the daemon sent no terminal; see corral daemon log")


def attach(client: Client, job_id: str, opened: Opened, key: DetachKey, *, from_start: bool = False) -> Left:
    """Stay with a terminal until its job ends, or somebody leaves.

    With `from_start` all that it printed is obeyed, as for a job that we have just started; else the newest screenful
    is shown, and the program asked to draw again.
    """
    with ExitStack() as always_closed:
        file = always_closed.enter_context(closing(OutputFile(client.home.stdout(job_id))))
        interrupts = always_closed.enter_context(Interrupts((*_LEAVING, signal.SIGWINCH, signal.SIGCONT)))
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
            return Left(
                "signalled", signal=signal.SIGHUP
            )  # our terminal was hung up, and the signal is on its way


class _Attachment:
    """One terminal on another."""

    def __init__(
        self,
        client: Client,
        job_id: str,
        master: int,
        file: OutputFile,
        outlet: Outlet,
        interrupts: Interrupts,
        terminal: RawTerminal,
        key: DetachKey,
    ) -> None:
        self._client = client
        self._job_id = job_id
        self._master = master
        self._file = file
        self._interrupts = interrupts
        self._terminal = terminal
        self._key = key
        self._outlet = outlet
        self._typed = b""
        """What the job has not taken yet."""
        self._position = 0
        self._end: int | None = None
        self._pause = _FASTEST
        self._full_size_at: float | None = None
        self._settled_at = 0.0
        """Until then nothing is typed: some programs (less 590) drop a key that comes along with SIGWINCH."""

    def run(self) -> Left:
        daemon = self._client.hello.pid
        waiting = self._client.begin(WaitForJobs(ids=(self._job_id,)))
        self._take_size()
        ended: Job | None = None
        while True:
            left = self._obey()
            if left is not None:
                return left
            if ended is None:
                try:
                    ended = _end_of(waiting)
                except DaemonUnavailableError:
                    return Left("lost")
                if self._client.hello.pid != daemon:
                    # The terminal was that daemon's, and its last copy is ours: closing it hangs up.
                    return Left("lost")
                if ended is not None:
                    self._end = self._file.size()
            has_moved = self._show_some()
            if ended is not None and not has_moved and not self._outlet.has_queue:
                return Left("ended", ended)
            if self._wait(has_moved, -1 if ended else waiting.fileno()) and not self._take_keys():
                self._settled_at = 0.0
                self._type()
                return Left("detached")

    # ---- what it prints

    def _show_some(self) -> bool:
        """Read what is new and print what goes now; whether anything moved."""
        if not self._outlet.has_queue and self._file.size() - self._position > _MOST_BEHIND:
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
        """Go on at that offset, in the modes of there."""
        modes = self._terminal.modes
        before = set(modes.changed)
        for chunk in self._file.chunks(self._position, end):
            modes.feed(chunk.data)
        after = set(modes.changed)
        self._outlet.put(leaving(before - after) + entering(after - before))
        self.show_newest(end)
        self._redraw()

    def show_newest(self, end: int) -> None:
        """The last lines up to there, as text with its colours: what was asked of another terminal must not be asked of
        this one. A program that draws the whole screen will draw it again.
        """
        chunk = self._file.read(max(0, end - _TAIL_SIZE), _TAIL_SIZE).until(end)
        self._position = end
        if self._terminal.modes.is_full_screen:
            return
        data = from_anywhere(chunk.data) if chunk.offset else chunk.data
        lines = data.split(b"\n")[-own_size()[1] :]
        shown = (
            sanitise(resolve_returns(line.rstrip(b"\r")), colours=True).replace("\n", " ") for line in lines
        )
        self._outlet.put(self._terminal.note("\r\n".join(shown).encode()))

    # ---- what is typed

    def _take_keys(self) -> bool:
        """Pass on what was typed; False once it was the key that leaves. Raises OSError: our terminal was hung up."""
        data = os.read(INPUT, 4096)
        if not data:
            raise OSError(errno.EIO, "the terminal was hung up")
        found = self._key.find(data)
        if found is not None:
            data = data[: found[0]]
        if data and self._full_size_at is None:
            self._take_size(redraws=False)
        if len(self._typed) + len(data) > _MOST_TYPED:
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
            return  # it takes more once its program has read
        except OSError:
            self._typed = b""  # EIO: its session's leader has just gone, and its end is about to be told

    # ---- how large it is

    def _take_size(self, *, redraws: bool = True) -> None:
        """It is as large as ours. Of several that are attached the last one that typed or resized wins."""
        size = own_size()
        with contextlib.suppress(OSError):
            if size_of(self._master) != size:
                set_size(self._master, *size)
                self._settled_at = time.monotonic() + _SETTLE_SECONDS
            elif redraws:
                self._redraw()

    def _redraw(self) -> None:
        """Programs draw anew when the size changes, many only when it really does."""
        columns, rows = own_size()
        with contextlib.suppress(OSError):
            set_size(self._master, columns, rows - 1 if rows > 1 else rows + 1)
            self._full_size_at = time.monotonic() + _REDRAW_SECONDS
            self._settled_at = self._full_size_at + _SETTLE_SECONDS

    # ---- waiting

    def _obey(self) -> Left | None:
        """Do what signals and the time ask for; not None: leave."""
        for number in self._interrupts.take():
            if number in _LEAVING:
                return Left("signalled", signal=number)
            if number == signal.SIGCONT:
                self._terminal.make_raw()
            self._take_size(redraws=number == signal.SIGCONT)
        if self._full_size_at is not None and time.monotonic() >= self._full_size_at:
            self._full_size_at = None
            self._take_size(redraws=False)
        self._type()
        return None

    def _wait(self, has_moved: bool, daemon: int) -> bool:
        """Until there is something to do; whether it is a key."""
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


def _end_of(waiting: Pending[Waited]) -> Job | None:
    waited = waiting.result(0)
    return None if waited is None else waited.jobs[0]
