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

from corral.client.liveness import Liveness, why_silent
from corral.client.reconnect import OpenRequest, Reconnection
from corral.client.replay import may_be_cut
from corral.client.start_daemon import connected
from corral.model.errors import CorralError, DaemonUnavailableError, ProtocolMismatchError
from corral.model.home import Home
from corral.model.spec import Origin
from corral.platform.files.peer_credentials import peer_of
from corral.protocol import requests
from corral.protocol.framing import LineReader, send_line
from corral.protocol.long_lists import Parts
from corral.protocol.requests import Answers, AskRecentHistory, Hello, Reply_, SayHello, WaitForJobs
from corral.version import __version__


def checked(hello: Hello) -> Hello:
    """Refuse a daemon of another protocol number."""
    if hello.protocol != requests.PROTOCOL:
        raise ProtocolMismatchError(
            f"the daemon (version {hello.version}, pid {hello.pid}) speaks protocol {hello.protocol}, this program"
            f" {requests.PROTOCOL}; corral daemon restart brings it up to date and leaves the jobs running"
        )
    return hello


def own_job(home: Home) -> str | None:
    """The job of this home that this program runs in, according to its environment."""
    is_ours = os.environ.get("CORRAL_HOME") == home.path
    return os.environ.get("CORRAL_JOB_ID") if is_ours else None


class PendingReply(Generic[Reply_]):
    """The reply to a request, for a caller that does other work meanwhile."""

    def __init__(self, client: Client, number: int, request: Answers[Reply_]) -> None:
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
        return requests.read_reply(envelope, self._request)

    def raw(self) -> msgspec.Raw:
        """Wait for the reply as it came, for a daemon of another protocol number. Raises CorralError."""
        envelope = self._client.envelope_of(self._number, None)
        assert envelope is not None
        return _ok(envelope)


def _ok(envelope: requests.Envelope) -> msgspec.Raw:
    if envelope.error is not None:
        raise envelope.error.as_error()
    return envelope.ok


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
        self._origin: Origin = origin
        self._home = home
        self._number = 0
        self._open_requests: dict[int, OpenRequest] = {}
        """Requests without an answer yet, by number."""
        self._parts = Parts()
        self._arrived: dict[int, requests.Envelope] = {}
        self._reconnection: Reconnection | None = None
        self._liveness = Liveness()
        self._pings: set[int] = set()
        self.on_silence: Callable[[str], None] | None = None
        """Called with the reason if the daemon does not answer while we only wait for jobs; the wait continues."""
        self._can_ping = False
        hello = self.call(self._greeting(), timeout=10)
        self.hello = hello if any_protocol else checked(hello)
        self._can_ping = self.hello.protocol == requests.PROTOCOL
        if is_lasting:
            self._reconnection = Reconnection(home)

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
        self, request: Answers[Reply_], descriptors: Sequence[int] = (), timeout: float | None = None
    ) -> Reply_:
        """Send a request and wait for the reply. `descriptors` are sent with it and stay open here. Raises CorralError."""
        reply = self.begin(request, descriptors).result(timeout)
        if reply is None:
            raise CorralError(why_silent(self._sock))
        return reply

    def begin(self, request: Answers[Reply_], descriptors: Sequence[int] = ()) -> PendingReply[Reply_]:
        """Send a request without waiting. `descriptors` have to stay open until the reply is here."""
        assert isinstance(request, requests.Request)
        number = self._next_number()
        asked = OpenRequest(request, tuple(descriptors), time.monotonic())
        if not self._open_requests:
            self._liveness.note_heard()
        # Encoded first: a request that is too long for a line is never sent.
        line = requests.request_line(number, request)
        self._open_requests[number] = asked
        if self._reconnection is None or not self._reconnection.is_broken:
            self._send(asked, line)
        return PendingReply(self, number, request)

    def received_descriptors(self) -> list[int]:
        """The descriptors that came beside replies since the last call; the caller closes them."""
        return self._reader.take_descriptors()

    def fileno(self) -> int:
        return self._sock.fileno()

    @property
    def home(self) -> Home:
        return self._home

    @property
    def daemon_pid(self) -> int:
        """Of the daemon at the other end, from the kernel; 0 if it does not tell."""
        return peer_of(self._sock).pid

    def envelope_of(self, number: int, timeout: float | None) -> requests.Envelope | None:
        """The answer to request `number`, waiting at most `timeout` seconds."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while number not in self._arrived:
            if (
                self._reconnection is not None
                and self._reconnection.is_broken
                and not self._reconnect(deadline)
            ):
                return None
            self._sort_lines()
            if number in self._arrived:
                break
            if not self._wait(deadline):
                return None
            try:
                self._reader.read_more()
            except DaemonUnavailableError:
                self._note_gone()
        return self._arrived.pop(number)

    # ---- lines

    def _next_number(self) -> int:
        self._number += 1
        return self._number

    def _greeting(self) -> SayHello:
        parent = own_job(self._home)
        return SayHello(
            version=__version__,
            protocol=requests.PROTOCOL,
            client=self._origin,
            parent=parent,
            parts=True,
        )

    def _send(self, asked: OpenRequest, line: bytes) -> None:
        try:
            send_line(self._sock, line, asked.descriptors)
            asked.is_sent = True
        except DaemonUnavailableError:
            # An incomplete line is no request: it was not carried out.
            self._note_gone()

    def _sort_lines(self) -> None:
        for line in self._reader.lines_in_hand():
            envelope = self._parts.whole(requests.read_envelope(line))
            if envelope is None:
                continue
            if envelope.event == "leaving" and self._reconnection is not None:
                self._reconnection.note_leaving(requests.read_leaving(line))
            elif envelope.id is not None:
                self._take(envelope.id, envelope)
            elif envelope.error is not None:
                raise envelope.error.as_error()

    def _take(self, number: int, envelope: requests.Envelope) -> None:
        self._open_requests.pop(number, None)
        if number in self._pings:
            self._pings.discard(number)
            return
        if self._reconnection is None or number != self._reconnection.hello_number:
            self._arrived[number] = envelope
            return
        self.hello = checked(requests.read_reply(envelope, self._greeting()))
        self._reconnection.note_connected()

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
            number = self._next_number()
            self._pings.add(number)
            self._liveness.note_pinged()
            self._send(OpenRequest(_PING, (), time.monotonic()), requests.request_line(number, _PING))
        elif self._liveness.should_report:
            why = why_silent(self._sock)
            only_waits = all(isinstance(asked.request, WaitForJobs) for asked in self._open_requests.values())
            if self.on_silence is None or not only_waits:
                has_effect = any(not may_be_cut(asked.request) for asked in self._open_requests.values())
                raise CorralError(
                    f"{why}; what was asked of it may then still be done" if has_effect else why
                )
            self._liveness.note_reported()
            self.on_silence(f"{why}; waiting on")

    # ---- the daemon goes away

    def _note_gone(self) -> None:
        """Decide what becomes of each request. Raises DaemonUnavailableError unless this client reconnects."""
        if self._reconnection is None:
            raise DaemonUnavailableError(
                "the daemon has gone away; its jobs go on, and corral ps finds them again"
            )
        with contextlib.suppress(DaemonUnavailableError):
            while True:
                # A write may have noticed it: what the daemon sent before has still to be read.
                self._reader.read_more()
        self._sort_lines()
        self._arrived |= self._reconnection.settle(self._open_requests)

    def _reconnect(self, deadline: float | None) -> bool:
        """Connect to the next daemon and send the open requests; False if there is none by `deadline`."""
        assert self._reconnection is not None
        sock = self._reconnection.find(deadline)
        if sock is None:
            return False
        descriptors = self._reader.take_descriptors()
        self._sock.close()
        self._sock, self._reader = sock, LineReader(sock, descriptors)
        self._parts = Parts()
        self._liveness.note_heard()
        self._reconnection.hello_number = self._next_number()
        hello = OpenRequest(self._greeting(), (), time.monotonic())
        # No need to wait for the answer: requests are processed in order.
        for number, asked in [(self._reconnection.hello_number, hello), *self._open_requests.items()]:
            if not self._reconnection.is_broken:
                self._send(asked, requests.request_line(number, asked.request))
        return True

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
