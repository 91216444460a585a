"""One end of the socket inside an event loop: lines in, lines out, descriptors beside them.

asyncio's streams lose SCM_RIGHTS silently, so this is a small class on add_reader with recvmsg.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections import deque
from collections.abc import Callable, Sequence

from corral.protocol.framing import LineSplitter, close_all, receive

UNSENT_LIMIT = 16 << 20
"""Bytes queued for the other side above which nothing more is read from it: a client that never reads has a bounded cost."""

UNDER_WAY_LIMIT = 60 << 20
"""Bytes of requests under way above which nothing more is read."""

LineHandler = Callable[[bytes, list[int]], None]

LINES_A_PASS = 8
_CHUNK = 1 << 16
"""Bytes of one read."""
_ENTRY = 300
"""Bytes that Python takes for one queued line, beside the line itself."""


class Channel:
    """A connected socket on the running loop. Owns the socket and every descriptor that is queued on it.

    Args:
        on_line: called with each line and the descriptors beside it, which then are the callee's to close.
        on_overlong: called for a line over `limit`.
        on_end: called once, when the other side has gone or `close` was called.
        on_held: called whenever `held_bytes` may have changed.
        hears_last_words: deliver what was received before the other side closed, also when a write notices that. For a
            client, whose daemon says which requests it has read.
    """

    def __init__(
        self,
        sock: socket.socket,
        limit: int,
        *,
        on_line: LineHandler,
        on_overlong: Callable[[], None],
        on_end: Callable[[], None],
        on_held: Callable[[], None] = lambda: None,
        hears_last_words: bool = False,
    ) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._on_line, self._on_overlong, self._on_end = on_line, on_overlong, on_end
        self._on_held = on_held
        self._hears_last_words = hears_last_words
        self._splitter = LineSplitter(limit)
        self._queue: deque[tuple[memoryview, list[int]]] = deque()
        self._loop = asyncio.get_running_loop()
        self._is_writing = False
        self._has_lines = False
        """Whether there may be lines that were read and not yet delivered."""
        self._is_reading = True
        self._is_delivering = False
        self._is_held = False
        self._is_busy = False
        self.is_open = True
        self.unsent_bytes = 0
        self.under_way_bytes = 0
        """Of lines that were delivered and are not done with."""
        self.sent_at = self._loop.time()
        """When the other side last took anything."""
        self._drained: list[Callable[[], None]] = []
        self._loop.add_reader(sock, self._read)

    @property
    def held_bytes(self) -> int:
        """Bytes in memory for the other side: unsent answers, and lines that are incomplete or not delivered."""
        return self._queue_bytes + self._splitter.held_bytes

    @property
    def _queue_bytes(self) -> int:
        return self.unsent_bytes + _ENTRY * len(self._queue)

    @property
    def has_room(self) -> bool:
        """Whether the other side may have more answers queued for it."""
        return self._queue_bytes <= UNSENT_LIMIT

    def set_busy(self, is_busy: bool) -> None:
        """While a long answer is being sent, no other line is delivered."""
        self._is_busy = is_busy
        self._watch_for_lines()

    def note_under_way(self, change: int) -> None:
        """The size of the requests under way changed; above the limit nothing is read."""
        self.under_way_bytes += change
        self._watch_for_lines()

    def allow(self, limit: int) -> None:
        """From now on lines may have so many bytes."""
        self._splitter.limit = limit

    def send(self, line: bytes, descriptors: Sequence[int] = ()) -> None:
        """Queue a line. `descriptors` are duplicated, so that the caller goes on owning its own."""
        if not self.is_open:
            return
        self._queue.append((memoryview(line), [os.dup(descriptor) for descriptor in descriptors]))
        self.unsent_bytes += len(line)
        if self._is_writing:
            self._on_held()
        else:
            self._write()

    def when_drained(self, call: Callable[[], None]) -> None:
        """Call once everything queued is sent; at once where nothing is."""
        if self._queue:
            self._drained.append(call)
        else:
            call()

    def hold(self) -> None:
        """Deliver no more lines, and read none."""
        self._is_held = True
        self._watch_for_lines()

    def go_on(self) -> None:
        """Deliver what came meanwhile, and continue reading."""
        self._is_held = False
        self._watch_for_lines()

    def close(self) -> None:
        """Close at once. What is queued is lost."""
        if not self.is_open:
            return
        self.is_open = False
        self._loop.remove_reader(self._sock)
        self._loop.remove_writer(self._sock)
        self._sock.close()
        self._splitter.close()
        for _, descriptors in self._queue:
            close_all(descriptors)
        self._queue.clear()
        self._has_lines = False
        self._on_end()

    def _read(self) -> None:
        try:
            data, descriptors = receive(self._sock, _CHUNK)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            # ECONNRESET and its like: the other side is gone, as with EOF.
            self.close()
            return
        if not data:
            close_all(descriptors)
            self.close()
            return
        self._splitter.put(data, descriptors)
        self._has_lines = True
        self._deliver()
        if self.is_open:
            self._on_held()

    def _deliver(self) -> None:
        """Deliver some lines; the rest after these were answered, so that the limit on unsent answers holds."""
        self._is_delivering = False
        try:
            for _ in range(LINES_A_PASS):
                # The handler may close this channel, which drops the other lines.
                if not self._has_lines or self._is_held or self._is_busy:
                    return
                found = self._splitter.next()
                if found is None:
                    self._has_lines = False
                    return
                line, beside = found
                if line is None:
                    close_all(beside)
                    self._on_overlong()
                else:
                    self._on_line(line, beside)
        finally:
            self._watch_for_lines()

    def _watch_for_lines(self) -> None:
        """Deliver what was read, or read more, unless too many answers are unsent."""
        if not self.is_open or self._is_delivering:
            return
        is_free = not (self._is_held or self._is_busy)
        has_room = is_free and self.has_room and self.under_way_bytes <= UNDER_WAY_LIMIT
        if self._has_lines and has_room:
            self._is_delivering = True
            self._loop.call_soon(self._deliver)
        wants = has_room and not self._has_lines
        if wants != self._is_reading:
            self._is_reading = wants
            if wants:
                self._read_on()
            else:
                self._loop.remove_reader(self._sock)

    def _read_on(self) -> None:
        try:
            self._loop.add_reader(self._sock, self._read)
        except OSError:
            # ENOMEM, or ENOSPC: the limit of epoll watches is reached (max_user_watches, epoll(7)). We close; the client
            # reconnects.
            self.close()

    def _write(self) -> None:
        while self._queue and self.is_open:
            view, descriptors = self._queue[0]
            try:
                sent = self._send_some(view, descriptors)
            except (BlockingIOError, InterruptedError):
                break
            except OSError:
                # EPIPE: the other side is gone.
                if self._hears_last_words:
                    self._hear_last_words()
                self.close()
                return
            close_all(descriptors)
            self.unsent_bytes -= sent
            self.sent_at = self._loop.time()
            if sent < len(view):
                self._queue[0] = (view[sent:], [])
            else:
                self._queue.popleft()
        self._watch_for_room()
        self._watch_for_lines()
        if self.is_open:
            self._on_held()

    def _hear_last_words(self) -> None:
        """Read what it wrote before it closed. This ends, since no more comes."""
        with contextlib.suppress(OSError):
            while True:
                data, descriptors = receive(self._sock, _CHUNK)
                if not data:
                    close_all(descriptors)
                    break
                self._splitter.put(data, descriptors)
        while self.is_open and (found := self._splitter.next()) is not None:
            line, beside = found
            if line is not None:
                self._on_line(line, beside)

    def _send_some(self, view: memoryview, descriptors: list[int]) -> int:
        if not descriptors:
            return self._sock.send(view)
        return socket.send_fds(self._sock, [view], descriptors)

    def _watch_for_room(self) -> None:
        if not self.is_open:
            return
        if self._queue and not self._is_writing:
            self._is_writing = True
            self._loop.add_writer(self._sock, self._write)
        elif not self._queue:
            if self._is_writing:
                self._is_writing = False
                self._loop.remove_writer(self._sock)
            calls, self._drained = self._drained, []
            for call in calls:
                call()
