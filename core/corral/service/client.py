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

from corral.service import protocol
from corral.service.again import may_be_cut
from corral.service.lines import LineReader, send_line
from corral.service.mending import Asked, Mending
from corral.service.parts import Parts
from corral.service.protocol import Answers, AskPast, Hello, Reply_, SayHello, WaitForJobs
from corral.service.silence import Silence, why_silent
from corral.service.starter import connected
from corral.system.peer import peer_of
from corral.values.errors import CorralError, DaemonUnavailableError, ProtocolMismatchError
from corral.values.home import Home
from corral.values.spec import Origin
from corral.version import __version__


def checked(hello: Hello) -> Hello:
    """Refuse a daemon of another protocol number."""
    if hello.protocol != protocol.PROTOCOL:
        raise ProtocolMismatchError(
            f"the daemon (version {hello.version}, pid {hello.pid}) speaks protocol {hello.protocol}, this program"
            f" {protocol.PROTOCOL}; corral daemon restart brings it up to date and leaves the jobs running"
        )
    return hello


def own_job(home: Home) -> str | None:
    """The job of this home that this program runs in, as its environment says."""
    is_ours = os.environ.get("CORRAL_HOME") == home.path
    return os.environ.get("CORRAL_JOB_ID") if is_ours else None


class Pending(Generic[Reply_]):
    """A request under way, for a caller that does other work meanwhile."""

    def __init__(self, client: Client, number: int, request: Answers[Reply_]) -> None:
        self._client = client
        self._number = number
        self._request = request

    def fileno(self) -> int:
        """Readable when something has arrived. It may be another one after each call of `result`."""
        return self._client.fileno()

    def result(self, timeout: float | None = 0) -> Reply_ | None:
        """The reply, or None when it has not come within `timeout` seconds (None: wait for it). Raises CorralError."""
        envelope = self._client.envelope_of(self._number, timeout)
        if envelope is None:
            return None
        return protocol.read_reply(envelope, self._request)

    def raw(self) -> msgspec.Raw:
        """Wait for the reply as it came, for a daemon of another protocol number. Raises CorralError."""
        envelope = self._client.envelope_of(self._number, None)
        assert envelope is not None
        return _ok(envelope)


def _ok(envelope: protocol.Envelope) -> msgspec.Raw:
    if envelope.error is not None:
        raise envelope.error.as_error()
    return envelope.ok


_PING = AskPast(ids=())


class Client:
    """A connection to a daemon. A context manager. Not for use by several threads at once.

    With `is_lasting` it outlives the daemon: it finds the next one, and asks again what may be asked again. With
    `any_protocol` only what never changes may be asked, unless the number turns out to be ours.
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
        self._asked: dict[int, Asked] = {}
        """What was not answered yet, by number."""
        self._parts = Parts()
        self._arrived: dict[int, protocol.Envelope] = {}
        self._mending: Mending | None = None
        self._silence = Silence()
        self._pings: set[int] = set()
        self.on_silence: Callable[[str], None] | None = None
        """Told why the daemon does not answer while jobs are waited for, which goes on then."""
        self._can_ping = False
        hello = self.call(self._greeting(), timeout=10)
        self.hello = hello if any_protocol else checked(hello)
        self._can_ping = self.hello.protocol == protocol.PROTOCOL
        if is_lasting:
            self._mending = Mending(home)

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
                # EOF before hello: it was just about to end for want of work. The next try starts another.
                sock.close()
                time.sleep(0.005)
        raise DaemonUnavailableError(f"the daemon hangs up before it says hello; see {home.daemon_log}")

    def call(
        self, request: Answers[Reply_], descriptors: Sequence[int] = (), timeout: float | None = None
    ) -> Reply_:
        """Ask and wait. `descriptors` travel beside the request and stay open here. Raises CorralError."""
        reply = self.begin(request, descriptors).result(timeout)
        if reply is None:
            raise CorralError(why_silent(self._sock))
        return reply

    def begin(self, request: Answers[Reply_], descriptors: Sequence[int] = ()) -> Pending[Reply_]:
        """Ask without waiting. `descriptors` have to stay open until the reply is here."""
        assert isinstance(request, protocol.Request)
        number = self._next_number()
        asked = Asked(request, tuple(descriptors), time.monotonic())
        if not self._asked:
            self._silence.note_heard()
        # Before it is noted: what is too long for a line was never asked.
        line = protocol.request_line(number, request)
        self._asked[number] = asked
        if self._mending is None or not self._mending.is_broken:
            self._send(asked, line)
        return Pending(self, number, request)

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
        """Of the daemon at the other end, as the kernel tells; 0 where it does not."""
        return peer_of(self._sock).pid

    def envelope_of(self, number: int, timeout: float | None) -> protocol.Envelope | None:
        """The answer to request `number`, waiting at most `timeout` seconds."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while number not in self._arrived:
            if self._mending is not None and self._mending.is_broken and not self._mend(deadline):
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
            protocol=protocol.PROTOCOL,
            client=self._origin,
            parent=parent,
            parts=True,
        )

    def _send(self, asked: Asked, line: bytes) -> None:
        try:
            send_line(self._sock, line, asked.descriptors)
            asked.is_sent = True
        except DaemonUnavailableError:
            # A line without its end is no request: nobody has read it.
            self._note_gone()

    def _sort_lines(self) -> None:
        for line in self._reader.lines_in_hand():
            envelope = self._parts.whole(protocol.read_envelope(line))
            if envelope is None:
                continue
            if envelope.event == "leaving" and self._mending is not None:
                self._mending.note_leaving(protocol.read_leaving(line))
            elif envelope.id is not None:
                self._take(envelope.id, envelope)
            elif envelope.error is not None:
                raise envelope.error.as_error()

    def _take(self, number: int, envelope: protocol.Envelope) -> None:
        self._asked.pop(number, None)
        if number in self._pings:
            self._pings.discard(number)
            return
        if self._mending is None or number != self._mending.hello_number:
            self._arrived[number] = envelope
            return
        self.hello = checked(protocol.read_reply(envelope, self._greeting()))
        self._mending.note_mended()

    def _wait(self, deadline: float | None) -> bool:
        """Whether something has come by `deadline`. Raises CorralError where the daemon is silent."""
        poller = select.poll()
        poller.register(self._sock, select.POLLIN)
        while True:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            patience = self._silence.patience if self._can_ping else None
            waits = [seconds for seconds in (left, patience) if seconds is not None]
            if poller.poll(min(waits) * 1000 if waits else None):
                self._silence.note_heard()
                return True
            if self._can_ping:
                self._mind_silence()
            if deadline is not None and time.monotonic() >= deadline:
                return False

    def _mind_silence(self) -> None:
        """Ask whether it is there; then, where not even that is answered, say so. A wait goes on all the same."""
        if self._silence.is_to_be_asked:
            number = self._next_number()
            self._pings.add(number)
            self._silence.note_asked()
            self._send(Asked(_PING, (), time.monotonic()), protocol.request_line(number, _PING))
        elif self._silence.is_to_be_said:
            why = why_silent(self._sock)
            only_waits = all(isinstance(asked.request, WaitForJobs) for asked in self._asked.values())
            if self.on_silence is None or not only_waits:
                has_effect = any(not may_be_cut(asked.request) for asked in self._asked.values())
                raise CorralError(
                    f"{why}; what was asked of it may then still be done" if has_effect else why
                )
            self._silence.note_said()
            self.on_silence(f"{why}; waiting on")

    # ---- the daemon goes away

    def _note_gone(self) -> None:
        """Settle what becomes of each request. Raises DaemonUnavailableError where nothing is to be mended."""
        if self._mending is None:
            raise DaemonUnavailableError(
                "the daemon has gone away; its jobs go on, and corral ps finds them again"
            )
        with contextlib.suppress(DaemonUnavailableError):
            while True:
                # Also where it was noticed by a write: what it had said before is still to be read.
                self._reader.read_more()
        self._sort_lines()
        self._arrived |= self._mending.settle(self._asked)

    def _mend(self, deadline: float | None) -> bool:
        """Find a daemon again and ask it what is open; whether there is one, as of `deadline` at the latest."""
        assert self._mending is not None
        sock = self._mending.find(deadline)
        if sock is None:
            return False
        descriptors = self._reader.take_descriptors()
        self._sock.close()
        self._sock, self._reader = sock, LineReader(sock, descriptors)
        self._parts = Parts()
        self._silence.note_heard()
        self._mending.hello_number = self._next_number()
        hello = Asked(self._greeting(), (), time.monotonic())
        # No need to wait for the answer: requests are taken in their order.
        for number, asked in [(self._mending.hello_number, hello), *self._asked.items()]:
            if not self._mending.is_broken:
                self._send(asked, protocol.request_line(number, asked.request))
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
