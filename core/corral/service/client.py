"""The blocking client of the command line: a socket, no asyncio (which would cost 40 ms)."""

from __future__ import annotations

import os
import select
import socket
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Generic

from corral import __version__
from corral.service import protocol
from corral.service.lines import LineReader, send_line
from corral.service.protocol import Answers, Hello, Reply_, SayHello
from corral.service.starter import connected
from corral.values.errors import CorralError, DaemonUnavailableError, ProtocolMismatchError
from corral.values.home import Home
from corral.values.spec import Origin


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
        """Readable when something has arrived."""
        return self._client.fileno()

    def result(self, timeout: float | None = 0) -> Reply_ | None:
        """The reply, or None when it has not come within `timeout` seconds (None: wait for it). Raises CorralError."""
        envelope = self._client.envelope_of(self._number, timeout)
        if envelope is None:
            return None
        if envelope.error is not None:
            raise envelope.error.as_error()
        return protocol.read_reply(envelope.ok, self._request)


class Client:
    """A connection to a daemon. A context manager. Not for use by several threads at once."""

    def __init__(self, sock: socket.socket, origin: Origin, home: Home) -> None:
        self._sock = sock
        self._reader = LineReader(sock)
        self._number = 0
        self._arrived: dict[int, protocol.Envelope] = {}
        hello = SayHello(version=__version__, protocol=protocol.PROTOCOL, client=origin, parent=own_job(home))
        self.hello = checked(self.call(hello, timeout=10))

    @classmethod
    def connect(cls, home: Home, *, start: bool = True, origin: Origin = "command_line") -> Client:
        """Connect to the daemon of this home, starting one when none runs and `start` is true.

        Raises:
            DaemonUnavailableError: none runs or none could be started.
            ProtocolMismatchError: it is of another protocol number.
        """
        for _ in range(20):
            sock = connected(home, start=start)
            try:
                return cls(sock, origin, home)
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
            raise CorralError(
                f"the daemon has not answered within {timeout:g} s; see its log with corral daemon log"
            )
        return reply

    def begin(self, request: Answers[Reply_], descriptors: Sequence[int] = ()) -> Pending[Reply_]:
        """Ask without waiting."""
        self._number += 1
        assert isinstance(request, protocol.Request)
        send_line(self._sock, protocol.request_line(self._number, request), descriptors)
        return Pending(self, self._number, request)

    def received_descriptors(self) -> list[int]:
        """The descriptors that came beside replies since the last call; the caller closes them."""
        return self._reader.take_descriptors()

    def fileno(self) -> int:
        return self._sock.fileno()

    def envelope_of(self, number: int, timeout: float | None) -> protocol.Envelope | None:
        """The answer to request `number`, waiting at most `timeout` seconds."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while number not in self._arrived:
            for line in self._reader.lines_in_hand():
                envelope = protocol.read_envelope(line)
                if envelope.id is not None:
                    self._arrived[envelope.id] = envelope
                elif envelope.error is not None:
                    raise envelope.error.as_error()
            if number in self._arrived:
                break
            if not self._wait(deadline):
                return None
            self._reader.read_more()
        return self._arrived.pop(number)

    def _wait(self, deadline: float | None) -> bool:
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        poller = select.poll()
        poller.register(self._sock, select.POLLIN)
        return bool(poller.poll(None if left is None else left * 1000))

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
