"""Reading lines, and the descriptors beside them, from a socket. No asyncio: the command line uses this too.

`socket.recv_fds` ignores its flags in Python 3.11, so its descriptors would not be close-on-exec; hence recvmsg.
"""

from __future__ import annotations

import array
import os
import socket
from collections import deque
from collections.abc import Sequence

from corral.model.errors import CorralError, DaemonUnavailableError
from corral.protocol.lines import REPLY_LIMIT

_CHUNK = 1 << 18
_MAX_DESCRIPTORS = 8
_DESCRIPTOR_SIZE = array.array("i").itemsize
_ANCILLARY = socket.CMSG_SPACE(_MAX_DESCRIPTORS * _DESCRIPTOR_SIZE)
_FLAGS = getattr(socket, "MSG_CMSG_CLOEXEC", 0)


def receive(sock: socket.socket, size: int = _CHUNK) -> tuple[bytes, list[int]]:
    """One recvmsg: bytes and the descriptors that came beside them, close-on-exec. Raises OSError as recvmsg does."""
    data, ancillary, _, _ = sock.recvmsg(size, _ANCILLARY, _FLAGS)
    descriptors: list[int] = []
    for level, kind, content in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            whole = len(content) - len(content) % _DESCRIPTOR_SIZE
            descriptors.extend(array.array("i", content[:whole]))
    if not _FLAGS:
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)
    return data, descriptors


def close_all(descriptors: Sequence[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


class LineSplitter:
    """Splits a stream into lines, bounded, and gives each its descriptors.

    A unix stream socket ends a read behind the message that carried descriptors, so they belong to the last line of
    what was read, be it complete or not. Lines are cut one by one,
    since a quarter of a megabyte of line feeds would become forty megabytes of Python objects.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._data = bytearray()
        self._start = 0
        """Where the next line begins; what is before it was taken out."""
        self._searched = 0
        """Up to where there is no line feed."""
        self._taken = 0
        """Bytes that were dropped from the front of `_data` so far."""
        self._beside: deque[tuple[int, list[int]]] = deque()
        """Descriptors, with the stream position after the bytes that they came with."""
        self._is_skipping = False

    @property
    def held_bytes(self) -> int:
        return len(self._data) - self._start

    def put(self, data: bytes, descriptors: list[int]) -> None:
        """Add what was read. Descriptors beyond the few that a line may have are closed."""
        self._data += data
        if descriptors:
            room = max(0, _MAX_DESCRIPTORS - sum(len(some) for _, some in self._beside))
            close_all(descriptors[room:])
            self._beside.append((self._taken + len(self._data), descriptors[:room]))

    def next(self) -> tuple[bytes | None, list[int]] | None:
        """The next complete line, with None instead of one over the limit; None if no line is complete."""
        position = self._data.find(b"\n", self._searched)
        if position < 0:
            if self._is_skipping or self.held_bytes > self.limit:
                self._is_skipping = True
                self._start = len(self._data)
            self._taken += self._start
            del self._data[: self._start]
            self._start, self._searched = 0, len(self._data)
            return None
        fits = not self._is_skipping and position - self._start <= self.limit
        line = bytes(self._data[self._start : position]) if fits else None
        self._is_skipping = False
        self._start = self._searched = position + 1
        return line, self._take_beside()

    def _take_beside(self) -> list[int]:
        taken: list[int] = []
        while self._beside and self._beside[0][0] <= self._taken + self._start:
            taken += self._beside.popleft()[1]
        return taken

    def feed(self, data: bytes, descriptors: list[int]) -> list[tuple[bytes | None, list[int]]]:
        """Add what was read, and take every complete line."""
        self.put(data, descriptors)
        lines = []
        while (line := self.next()) is not None:
            lines.append(line)
        return lines

    def close(self) -> None:
        """Close the descriptors and drop the bytes, even if this object lives on."""
        while self._beside:
            close_all(self._beside.popleft()[1])
        self._data = bytearray()
        self._start = self._searched = 0


class LineReader:
    """Lines from a blocking socket."""

    def __init__(self, sock: socket.socket, descriptors: Sequence[int] = ()) -> None:
        self._sock = sock
        self._splitter = LineSplitter(REPLY_LIMIT)
        self._descriptors: list[int] = list(descriptors)

    def read_more(self) -> list[bytes]:
        """The lines that one recvmsg completes. Raises DaemonUnavailableError where the daemon has gone."""
        try:
            data, descriptors = receive(self._sock)
        except ConnectionError:
            data, descriptors = b"", []
        if not data:
            close_all(descriptors)
            raise DaemonUnavailableError(
                "the daemon has gone away; its jobs go on, and corral ps finds them again"
            )
        lines = []
        for line, beside in self._splitter.feed(data, descriptors):
            self._descriptors.extend(beside)
            if line is None:
                raise CorralError(f"the daemon sent a line of more than {REPLY_LIMIT} bytes")
            lines.append(line)
        return lines

    def take_descriptors(self) -> list[int]:
        """The descriptors that came beside the lines; the caller closes them."""
        taken, self._descriptors = self._descriptors, []
        return taken


def send_line(sock: socket.socket, line: bytes, descriptors: Sequence[int] = ()) -> None:
    """Send a whole line, blocking; descriptors go with its first byte. Raises DaemonUnavailableError."""
    try:
        sent = socket.send_fds(sock, [line], list(descriptors)) if descriptors else 0
        if sent < len(line):
            sock.sendall(memoryview(line)[sent:])
    except ConnectionError:
        raise DaemonUnavailableError("the daemon has gone away before the request reached it") from None
