"""Copies growing files to our stdout and stderr without ever blocking in a write, which a signal could not end."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import select
import stat
import struct
import sys
import termios
from collections.abc import Callable, Iterable
from typing import Protocol

from corral.model.text import VisibleStream
from corral.output.reader import READ_SIZE, Cursor, OutputFile, PollInterval
from corral.output.reader_claims import ReaderClaim
from corral.platform.files.pty import reopen
from corral_tui.blocked_terminal import silence

_QUEUE_LIMIT = READ_SIZE
_INCOMPLETE = re.compile(rb"(?:\x1b(?:\[[0-9;:]*)?|[\xc0-\xff][\x80-\xbf]*)\Z")
"""An incomplete SGR sequence or UTF-8 character at the end."""
CLAIMED_BEYOND = 64 << 20
"""A reader that is further behind claims the rest: far less than the usual cap, far more than most jobs write."""


class Transform(Protocol):
    """Changes a stream of bytes while it is copied."""

    def feed(self, data: bytes) -> bytes: ...

    def flush(self) -> bytes:
        """What was held back; called at the end of the stream."""
        ...


class CopySource(Protocol):
    """Something that a `Copier` reads into an outlet."""

    outlet: Outlet

    @property
    def is_read(self) -> bool:
        """Whether everything has been read."""
        ...

    def fix_end(self) -> None:
        """Do not copy what is written after this moment."""
        ...

    def read_some(self) -> bool:
        """Read a piece into the outlet if that has room. Returns whether anything was read."""
        ...

    def close(self) -> None: ...


class Unchanged:
    """Copies bytes as they are."""

    def feed(self, data: bytes) -> bytes:
        return data

    def flush(self) -> bytes:
        return b""


class Outlet:
    """One of our descriptors; writes only what it takes without blocking. Raises BrokenPipeError, OSError."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        mode = os.fstat(descriptor).st_mode
        self._is_file = stat.S_ISREG(mode)
        self._capacity = _capacity(descriptor) if stat.S_ISFIFO(mode) else 0
        self._writes_now = stat.S_ISFIFO(mode) and hasattr(os, "RWF_NOWAIT")
        self._queue = memoryview(b"")
        self._is_discarding = False
        self.is_terminal = os.isatty(descriptor)
        self.tells_when_closed = self.is_terminal or stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)
        """Whether poll(2) reports POLLERR, for a terminal POLLHUP, once the reader has gone."""
        self._writes_to = descriptor
        with contextlib.suppress(OSError):  # then a slow terminal may block us
            self._writes_to = reopen(descriptor) if self.is_terminal else descriptor
        self.is_torn = False
        """Whether the last write ended in the middle of a character or sequence: no other stream may write next."""

    def close(self) -> None:
        """Close what was opened here; the descriptor itself stays open."""
        if self._writes_to != self.descriptor:
            os.close(self._writes_to)
            self._writes_to = self.descriptor

    @property
    def has_queue(self) -> bool:
        return len(self._queue) > 0

    def discard(self) -> None:
        """Throw everything away from now on: nobody reads it."""
        self._is_discarding = True
        self.tells_when_closed = False
        self._queue = memoryview(b"")

    def put(self, data: bytes) -> None:
        """Queue `data`."""
        if not self._is_discarding:
            self._queue = memoryview(bytes(self._queue) + data if self._queue else data)

    @property
    def is_full(self) -> bool:
        return len(self._queue) >= _QUEUE_LIMIT

    def write_some(self) -> bool:
        """Write what can be written without blocking. Returns whether anything was written."""
        if not self._queue:
            return False
        try:
            written = self._write_now() if self._writes_now else self._write_what_fits()
        except BlockingIOError:
            return False
        self._queue = self._queue[written:]
        return written > 0

    def _write_now(self) -> int:
        """Write as much as a pipe takes now with pwritev2(2), which pipes support since Linux 6.4."""
        try:
            return os.pwritev(self.descriptor, [self._queue], -1, os.RWF_NOWAIT)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ESPIPE, errno.ENOSYS):
                raise
            self._writes_now = False
            return self._write_what_fits()

    def _write_what_fits(self) -> int:
        room = self._room()
        if not room:
            return 0
        if not self.is_terminal:
            return os.write(self.descriptor, self._queue[:room])
        piece = bytes(self._queue[:room])
        if len(piece) < len(self._queue):
            piece = piece[: _whole_part(piece)]
        written = os.write(self._writes_to, piece)
        self.is_torn = written < len(piece)
        return written

    def _room(self) -> int:
        """How much can be written without blocking.

        A blocking pipe takes PIPE_BUF bytes when poll(2) says so, and its whole capacity when it is empty (pipe(7)).
        """
        if self._is_file:
            return len(self._queue)
        poller = select.poll()
        poller.register(self.descriptor, select.POLLOUT)
        if not poller.poll(0):
            return 0
        if self._capacity and not _unread(self.descriptor):
            return self._capacity
        return select.PIPE_BUF


def _whole_part(piece: bytes) -> int:
    """How much of a piece to write to a terminal shared with another stream: whole lines, else whole characters.

    Plain text of another stream must not complete an unfinished sequence of this one.
    """
    lines = piece.rfind(b"\n") + 1
    if lines:
        return lines
    begun = _INCOMPLETE.search(piece)
    return begun.start() if begun and begun.start() else len(piece)


def _capacity(descriptor: int) -> int:
    return fcntl.fcntl(descriptor, fcntl.F_GETPIPE_SZ) if sys.platform == "linux" else 0


def _unread(descriptor: int) -> int:
    answer = fcntl.ioctl(descriptor, termios.FIONREAD, struct.pack("i", 0))
    return int(struct.unpack("i", answer)[0])


class FileSource:
    """One file, read from `start` to its end into an outlet. `on_drop` is called with the number of dropped bytes,
    `on_shorter` when the file was truncated by its writer.

    With `claims` it asks the daemon not to drop what it has still to read.
    """

    def __init__(
        self,
        path: str,
        outlet: Outlet,
        *,
        start: int = 0,
        transform: Transform | None = None,
        on_drop: Callable[[int], None],
        on_shorter: Callable[[], None] = lambda: None,
        claims: bool = False,
    ) -> None:
        self._place = Cursor(OutputFile(path), start)
        self.outlet = outlet
        self._end: int | None = None
        self._transform = transform or Unchanged()
        self._on_drop = on_drop
        self._on_shorter = on_shorter
        self._is_flushed = False
        self._claim = ReaderClaim(path) if claims else None
        self._is_claiming = False

    @property
    def is_read(self) -> bool:
        return self._is_flushed

    @property
    def position(self) -> int:
        """How far it has been read."""
        return self._place.offset

    def fix_end(self) -> None:
        if self._end is None:
            self._end = self._place.file.size()

    def read_some(self) -> bool:
        if self._is_flushed or self.outlet.is_full:
            return False
        chunk = self._place.read(READ_SIZE, self._end)
        if chunk.after_truncation:
            self._on_shorter()
        if chunk.dropped:
            self._on_drop(chunk.dropped)
        if self._claim is not None and len(chunk.data) == READ_SIZE:
            self._claim_the_rest(self._claim)
        self.outlet.put(self._transform.feed(chunk.data))
        # Nothing before the fixed end: a leftover process has truncated the file since.
        has_come = bool(chunk.data) or bool(chunk.dropped)
        if self._end is not None and (self._place.offset >= self._end or not has_come):
            self.outlet.put(self._transform.flush())
            self._is_flushed = True
        return bool(chunk.data)

    def _claim_the_rest(self, claim: ReaderClaim) -> None:
        """Claim what is still to be read once that is much, and from then on."""
        self._is_claiming = self._is_claiming or self._place.file.size() - self._place.offset > CLAIMED_BEYOND
        if self._is_claiming:
            try:
                claim.hold_from(self._place.offset)
            except OSError:
                self._claim = None  # ENOSPC, EMFILE: what is dropped as a result is reported.

    def close(self) -> None:
        self._place.file.close()
        if self._claim is not None:
            self._claim.close()


class Copier:
    """Copies several sources, some of which may share an outlet."""

    def __init__(self, streams: Iterable[CopySource], outlets: Iterable[Outlet] = ()) -> None:
        self._streams = list(streams)
        used = (*outlets, *(stream.outlet for stream in self._streams))
        self._outlets = list({id(outlet): outlet for outlet in used}.values())

    def step(self) -> bool:
        """Read and write what is possible now. Returns whether anything moved. Raises BrokenPipeError."""
        has_read = [stream.read_some() for stream in self._streams]
        has_written = self._write_some()
        return any(has_read) or has_written

    def _write_some(self) -> bool:
        has_written = False
        for outlet in [outlet for outlet in self._outlets if outlet.is_torn] or self._outlets:
            has_written |= outlet.write_some()
            if outlet.is_torn:
                break
        return has_written

    def add(self, stream: CopySource) -> None:
        """Copy this one, too; its outlet is one of those that there are."""
        self._streams.append(stream)

    def forget_read(self) -> None:
        """Close what has been read to its end."""
        for stream in [stream for stream in self._streams if stream.is_read]:
            stream.close()
            self._streams.remove(stream)

    @property
    def has_streams(self) -> bool:
        return bool(self._streams)

    def fix_ends(self) -> None:
        for stream in self._streams:
            stream.fix_end()

    def drain(self) -> None:
        """Copy all up to the fixed ends."""
        while not self.is_done:
            if not self.step():
                self.wait(PollInterval.SLOW, ())

    def discard(self) -> None:
        for outlet in self._outlets:
            outlet.discard()

    def discard_for_terminals(self) -> None:
        """Throw away what is still to be printed on terminals, and what follows."""
        for outlet in self._outlets:
            if outlet.is_terminal:
                outlet.discard()
                silence(outlet.descriptor)

    @property
    def is_done(self) -> bool:
        """Whether all sources are read to their fixed ends, and everything is written."""
        return all(stream.is_read for stream in self._streams) and not any(
            outlet.has_queue for outlet in self._outlets
        )

    def close(self) -> None:
        for stream in self._streams:
            stream.close()
        for outlet in self._outlets:
            outlet.close()

    def wait(self, seconds: float | None, readable: Iterable[int]) -> set[int]:
        """Wait until a descriptor of `readable` is readable, an outlet takes more, or the time is over.

        Returns the readable descriptors. Raises BrokenPipeError as soon as an outlet has no reader any more, even with
        nothing to write; OSError (EIO) if that outlet is a terminal.
        """
        poller = select.poll()
        wanted = set(readable)
        for descriptor in wanted:
            poller.register(descriptor, select.POLLIN)
        for outlet in self._outlets:
            if outlet.has_queue or outlet.tells_when_closed:
                poller.register(outlet.descriptor, select.POLLOUT if outlet.has_queue else 0)
        ready = poller.poll(None if seconds is None else seconds * 1000)
        closed = {descriptor for descriptor, events in ready if events & (select.POLLERR | select.POLLHUP)}
        for outlet in self._outlets:
            if outlet.tells_when_closed and outlet.descriptor in closed:
                raise (
                    OSError(errno.EIO, "the terminal was hung up") if outlet.is_terminal else BrokenPipeError
                )
        return {descriptor for descriptor, _ in ready} & wanted


COLOURS_OFF = b"\x1b[0m"
LONGEST_LINE = 1 << 16
"""At most so many bytes of an unfinished line are held back to be printed as one piece."""


def transform_for(descriptor: int, prefix: str, *, raw: bool) -> Transform:
    """For `descriptor`: bytes unchanged for a file or a pipe, control characters made visible on a terminal unless `raw`."""
    safe: Transform = VisibleStream() if os.isatty(descriptor) and not raw else Unchanged()
    return Prefixed(os.fsencode(prefix), safe) if prefix else safe


class Prefixed:
    """Adds a prefix to every line and passes only whole lines, since several jobs share one descriptor."""

    def __init__(self, prefix: bytes, inner: Transform) -> None:
        self._prefix = prefix
        self._inner = inner
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        return self._whole_lines(self._inner.feed(data))

    def flush(self) -> bytes:
        rest = self._inner.flush()
        if rest == COLOURS_OFF and not self._held:
            return rest  # no line of its own
        lines = self._whole_lines(rest)
        held, self._held = self._held, b""
        return lines + (self._prefix + held + b"\n" if held else b"")

    def _whole_lines(self, data: bytes) -> bytes:
        text = self._held + data
        end = text.rfind(b"\n") + 1
        if not end and len(text) > LONGEST_LINE:
            end = len(text)
        self._held = text[end:]
        lines = text[:end].split(b"\n")
        if not lines[-1]:
            lines.pop()
        return b"".join(self._prefix + line + b"\n" for line in lines)
