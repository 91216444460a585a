"""The blocking client of the command line: a socket, no asyncio (which would cost 40 ms)."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Generic

import msgspec

from corral.client.connection import Connection, OpenRequest, checked
from corral.client.liveness import Liveness, why_silent
from corral.client.start_daemon import connected
from corral.model.errors import CorralError, DaemonUnavailableError
from corral.model.home import Home
from corral.model.spec import Origin
from corral.platform.files.peer_credentials import peer_of
from corral.protocol import lines
from corral.protocol.framing import LineReader, send_line
from corral.protocol.requests import PROTOCOL, AskRecentHistory, Reply_, Request, WaitForJobs


class PendingReply(Generic[Reply_]):
    """The reply to a request, for a caller that does other work meanwhile."""

    def __init__(self, client: Client, number: int, request: Request[Reply_]) -> None:
        self._client = client
        self._number = number
        self._request = request

    def fileno(self) -> int:
        """Readable when something has arrived. May change with each call of `result`."""
        return self._client.fileno()

    def result(self, timeout: float | None = 0) -> Reply_ | None:
        """The reply, or None when it has not come within `timeout` seconds (None: wait for it). Raises CorralError."""
        envelope = self._client.envelope_of(self._number, timeout)
        if envelope is None:
            return None
        return lines.read_reply(envelope, self._request)

    def raw(self) -> msgspec.Raw:
        """Wait for the reply as it came, for a daemon of another protocol number. Raises CorralError."""
        envelope = self._client.envelope_of(self._number, None)
        assert envelope is not None
        return envelope.answer()


_PING = AskRecentHistory(ids=())


class Client:
    """A connection to a daemon. A context manager. Not thread-safe.

    With `is_lasting` it outlives the daemon: it connects to the next one, and repeats the requests that may be repeated.
    With `any_protocol` it accepts any daemon; only the frozen requests may be sent unless the protocol is ours.
    """

    def __init__(
        self,
        sock: socket.socket,
        origin: Origin,
        home: Home,
        *,
        is_lasting: bool = False,
        any_protocol: bool = False,
    ) -> None:
        self._sock = sock
        self._reader = LineReader(sock)
        self.home = home
        self._connection = Connection(home, origin)
        self._is_lasting = False
        self._arrived: dict[int, lines.Envelope] = {}
        self._liveness = Liveness()
        self._pings: set[int] = set()
        self.on_silence: Callable[[str], None] | None = None
        """Called with the reason if the daemon does not answer while we only wait for jobs; the wait continues."""
        self._can_ping = False
        hello = self.call(self._connection.greeting, timeout=10)
        self.hello = hello if any_protocol else checked(hello)
        self._can_ping = self.hello.protocol == PROTOCOL
        self._is_lasting = is_lasting

    @classmethod
    def connect(
        cls,
        home: Home,
        *,
        start: bool = True,
        origin: Origin = "command_line",
        is_lasting: bool = False,
        any_protocol: bool = False,
    ) -> Client:
        """Connect to the daemon of this home, starting one when none runs and `start` is true.

        Raises:
            DaemonUnavailableError: none runs or none could be started.
            ProtocolMismatchError: it is of another protocol number.
        """
        for _ in range(20):
            sock = connected(home, start=start)
            try:
                return cls(sock, origin, home, is_lasting=is_lasting, any_protocol=any_protocol)
            except DaemonUnavailableError:
                # EOF before hello: an idle daemon was just ending. The next try starts another.
                sock.close()
                time.sleep(0.005)
        raise DaemonUnavailableError(f"the daemon hangs up before it says hello; see {home.daemon_log}")

    def call(
        self, request: Request[Reply_], descriptors: Sequence[int] = (), timeout: float | None = None
    ) -> Reply_:
        """Send a request and wait for the reply. `descriptors` are sent with it and stay open here. Raises CorralError."""
        reply = self.begin(request, descriptors).result(timeout)
        if reply is None:
            raise CorralError(why_silent(self._sock))
        return reply

    def begin(self, request: Request[Reply_], descriptors: Sequence[int] = ()) -> PendingReply[Reply_]:
        """Send a request without waiting. `descriptors` have to stay open until the reply is here."""
        if not self._connection.open_requests:
            self._liveness.note_heard()
        number, line = self._connection.next_line(request)
        asked = self._connection.note_open(number, request, descriptors)
        if not self._connection.is_broken:
            self._send(asked, line)
        return PendingReply(self, number, request)

    def received_descriptors(self) -> list[int]:
        """The descriptors that came beside replies since the last call; the caller closes them."""
        return self._reader.take_descriptors()

    def fileno(self) -> int:
        return self._sock.fileno()

    @property
    def daemon_pid(self) -> int:
        """Of the daemon at the other end, from the kernel; 0 if it does not tell."""
        return peer_of(self._sock)[0]

    def envelope_of(self, number: int, timeout: float | None) -> lines.Envelope | None:
        """The answer to request `number`, waiting at most `timeout` seconds."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while number not in self._arrived:
            if self._connection.is_broken:
                if not self._reconnect(deadline):
                    return None
            elif not self._wait(deadline):
                return None
            else:
                try:
                    self._read()
                except DaemonUnavailableError:
                    self._note_gone()
        return self._arrived.pop(number)

    # ---- lines

    def _send(self, asked: OpenRequest, line: bytes) -> None:
        try:
            send_line(self._sock, line, asked.descriptors)
            asked.is_sent = True
        except DaemonUnavailableError:
            # An incomplete line is no request: it was not carried out.
            self._note_gone()

    def _read(self) -> None:
        """Take what has come. Raises DaemonUnavailableError where the daemon has gone."""
        for line in self._reader.read_more():
            envelope = self._connection.take(line)
            if envelope is None:
                continue
            if envelope.id is not None:
                self._take(envelope.id, envelope)
            elif envelope.error is not None:
                raise envelope.error.as_error()

    def _take(self, number: int, envelope: lines.Envelope) -> None:
        self._connection.open_requests.pop(number, None)
        if number in self._pings:
            self._pings.discard(number)
        elif number == self._connection.hello_number:
            self.hello = checked(lines.read_reply(envelope, self._connection.greeting))
            self._connection.note_connected()
        else:
            self._arrived[number] = envelope

    def _wait(self, deadline: float | None) -> bool:
        """Whether something has arrived by `deadline`. Raises CorralError if the daemon is silent."""
        poller = select.poll()
        poller.register(self._sock, select.POLLIN)
        while True:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            patience = self._liveness.patience if self._can_ping else None
            waits = [seconds for seconds in (left, patience) if seconds is not None]
            if poller.poll(min(waits) * 1000 if waits else None):
                self._liveness.note_heard()
                return True
            if self._can_ping:
                self._check_liveness()
            if deadline is not None and time.monotonic() >= deadline:
                return False

    def _check_liveness(self) -> None:
        """Send a ping; if that is not answered either, report it. A wait for jobs continues all the same."""
        if self._liveness.should_ping:
            number, line = self._connection.next_line(_PING)
            self._pings.add(number)
            self._liveness.note_pinged()
            self._send(OpenRequest(_PING), line)
        elif self._liveness.should_report:
            why = why_silent(self._sock)
            requests = [asked.request for asked in self._connection.open_requests.values()]
            only_waits = all(isinstance(request, WaitForJobs) for request in requests)
            if self.on_silence is None or not only_waits:
                has_effect = any(not request.may_be_cut for request in requests)
                raise CorralError(f"{why}; it may then still do what was asked" if has_effect else why)
            self._liveness.note_reported()
            self.on_silence(f"{why}; still waiting")

    # ---- the daemon goes away

    def _note_gone(self) -> None:
        """Decide what becomes of each request. Raises DaemonUnavailableError unless this client reconnects."""
        if not self._is_lasting:
            raise DaemonUnavailableError(
                "the daemon has gone away; its jobs go on, and corral ps finds them again"
            )
        with contextlib.suppress(DaemonUnavailableError):
            while True:
                # A write may have noticed it: what the daemon sent before has still to be read.
                self._read()
        self._arrived |= self._connection.settle()

    def _reconnect(self, deadline: float | None) -> bool:
        """Connect to the next daemon and send the open requests; False if there is none by `deadline`."""
        sock = self._connection.find(deadline)
        if sock is None:
            return False
        descriptors = self._reader.take_descriptors()
        self._sock.close()
        self._sock, self._reader = sock, LineReader(sock, descriptors)
        self._liveness.note_heard()
        self._connection.hello_number, line = self._connection.next_line(self._connection.greeting)
        self._send(OpenRequest(self._connection.greeting), line)
        # No need to wait for the answer: requests are processed in order.
        for number, asked in list(self._connection.open_requests.items()):
            if not self._connection.is_broken:
                self._send(asked, lines.request_line(number, asked.request))
        return True

    def wait_until_dropped(self, seconds: float) -> None:
        """Return once the daemon, which was told to end, has hung up; it has stopped listening by then. What else it sends is
        not read. At the latest after so many seconds without a word."""
        self._sock.settimeout(seconds)
        with contextlib.suppress(OSError):
            while self._sock.recv(1 << 16):
                continue

    def close(self) -> None:
        for descriptor in self._reader.take_descriptors():
            os.close(descriptor)
        self._sock.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
