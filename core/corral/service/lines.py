"""Lines and the descriptors beside them, off a socket. No asyncio: the command line uses this too.

`socket.recv_fds` ignores its flags in Python 3.11, so its descriptors would not be close-on-exec; hence recvmsg.
"""

from __future__ import annotations

import array
import os
import socket
from collections import deque
from collections.abc import Sequence

from corral.service.protocol import REPLY_LIMIT
from corral.values.errors import CorralError, DaemonUnavailableError

_CHUNK = 1 << 18
_MAX_DESCRIPTORS = 8
_DESCRIPTOR_SIZE = array.array("i").itemsize
_ANCILLARY = socket.CMSG_SPACE(_MAX_DESCRIPTORS * _DESCRIPTOR_SIZE)
_FLAGS = getattr(socket, "MSG_CMSG_CLOEXEC", 0)


def receive(sock: socket.socket) -> tuple[bytes, list[int]]:
    """One recvmsg: bytes and the descriptors that came beside them, close-on-exec. Raises OSError as recvmsg does."""
    data, ancillary, _, _ = sock.recvmsg(_CHUNK, _ANCILLARY, _FLAGS)
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
    what was read, be it complete or not.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._rest = bytearray()
        self._descriptors: list[int] = []
        self._is_skipping = False

    def feed(self, data: bytes, descriptors: list[int]) -> list[tuple[bytes | None, list[int]]]:
        """The lines that are complete now; None in place of one that was longer than the limit."""
        pieces = data.split(b"\n")
        lines: list[tuple[bytes | None, list[int]]] = []
        for piece in pieces[:-1]:
            lines.append((self._finish(piece), self._descriptors))
            self._descriptors = []
        self._keep(pieces[-1])
        if not descriptors:
            return lines
        if lines and not pieces[-1]:
            lines[-1][1].extend(descriptors)
        else:
            self._descriptors.extend(descriptors)
        return lines

    def _finish(self, piece: bytes) -> bytes | None:
        if self._is_skipping or len(self._rest) + len(piece) > self._limit:
            self._is_skipping = False
            self._rest.clear()
            return None
        if not self._rest:
            return piece
        line = bytes(self._rest) + piece
        self._rest.clear()
        return line

    def _keep(self, piece: bytes) -> None:
        if self._is_skipping:
            return
        if len(self._rest) + len(piece) > self._limit:
            self._is_skipping = True
            self._rest.clear()
        else:
            self._rest += piece

    def close(self) -> None:
        close_all(self._descriptors)
        self._descriptors = []


class LineReader:
    """Lines off a blocking socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._splitter = LineSplitter(REPLY_LIMIT)
        self._lines: deque[bytes] = deque()
        self._descriptors: list[int] = []

    def lines_in_hand(self) -> list[bytes]:
        """Every complete line that has been read and not been taken."""
        lines = list(self._lines)
        self._lines.clear()
        return lines

    def read_more(self) -> None:
        """One recvmsg. Raises DaemonUnavailableError where the daemon has gone."""
        try:
            data, descriptors = receive(self._sock)
        except ConnectionError:
            data, descriptors = b"", []
        if not data:
            close_all(descriptors)
            raise DaemonUnavailableError(
                "the daemon has gone away; its jobs go on, and corral ps finds them again"
            )
        for line, beside in self._splitter.feed(data, descriptors):
            self._descriptors.extend(beside)
            if line is None:
                raise CorralError(f"the daemon sent a line of more than {REPLY_LIMIT} bytes")
            self._lines.append(line)

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
