"""What a client keeps of its connection, over all daemons: what was asked, what has come, what is sent again. No asyncio.

The bytes are sent and received by `corral.client.blocking` and `corral.client.session`.
"""

from __future__ import annotations

import itertools
import os
import socket
import time
from collections.abc import Sequence
from typing import Any

from msgspec import Struct, field

from corral.client.start_daemon import connected
from corral.model.errors import CorralError, DaemonUnavailableError, ProtocolMismatchError
from corral.model.home import Home
from corral.model.spec import Origin
from corral.protocol import lines, pushes
from corral.protocol import requests as p
from corral.protocol.long_lists import Parts
from corral.version import __version__

PATIENCE_SECONDS = 10.0
"""How long to look for a daemon after the last one went away."""
PATIENCE_AFTER_END = 1.0
"""The same after it was ended on purpose: we start none then, but a service manager may."""
RETRY_SECONDS = 0.02


class OpenRequest(Struct):
    """A request without an answer yet."""

    request: p.Request[Any]
    descriptors: tuple[int, ...] = ()
    since: float = field(default_factory=time.monotonic)
    is_sent: bool = False
    was_sent: bool = False
    """To this daemon or to an earlier one."""


def checked(hello: p.Hello) -> p.Hello:
    """Refuse a daemon of another protocol number."""
    if hello.protocol != p.PROTOCOL:
        raise ProtocolMismatchError(
            f"the daemon (version {hello.version}, pid {hello.pid}) speaks protocol {hello.protocol}, this program"
            f" {p.PROTOCOL}; corral daemon restart brings it up to date and leaves the jobs running"
        )
    return hello


class Connection:
    """The state of a connection that may outlive its daemon."""

    def __init__(self, home: Home, origin: Origin, *, is_private: bool = False) -> None:
        self._home = home
        # The job that this program runs in is one of this home only if its environment says so.
        is_inside = not is_private and os.environ.get("CORRAL_HOME") == home.path
        self.greeting = p.SayHello(
            version=__version__,
            protocol=p.PROTOCOL,
            client=origin,
            parent=os.environ.get("CORRAL_JOB_ID") if is_inside else None,
            parts=True,
        )
        self._numbers = itertools.count(1)
        self.open_requests: dict[int, OpenRequest] = {}
        """Requests without an answer yet, by number."""
        self._parts = Parts()
        self._broken_since: float | None = None
        self._leaving: pushes.Leaving | None = None
        self.is_broken = False
        """Whether there is no connection at the moment."""
        self.hello_number: int | None = None
        """Of the greeting on the newest connection, until it was answered."""

    def next_line(self, request: p.Request[Any]) -> tuple[int, bytes]:
        """A number for the request, and the line to send. Raises CorralError if it is too long for one."""
        number = next(self._numbers)
        return number, lines.request_line(number, request)

    def note_open(self, number: int, request: p.Request[Any], descriptors: Sequence[int]) -> OpenRequest:
        """The request waits for its answer, over daemons if need be."""
        asked = self.open_requests[number] = OpenRequest(request, tuple(descriptors))
        return asked

    def take(self, line: bytes) -> lines.Envelope | None:
        """The answer or push in a line that has come. None for the part of one, and for the last words of a daemon.

        Raises:
            msgspec.DecodeError: it is not of our protocol.
        """
        envelope = self._parts.whole(lines.read_envelope(line))
        if envelope is not None and envelope.event == "leaving":
            leaving = lines.read_leaving(line)
            self._leaving = None if leaving.why == "stay" else leaving
            return None
        return envelope

    def want_daemon(self) -> None:
        """A new request needs a daemon: restart the clock, and start one even if the last one was ended on purpose."""
        self._broken_since = time.monotonic()
        self._leaving = None

    def note_connected(self) -> None:
        """A daemon has answered."""
        self.hello_number = self._broken_since = None

    @property
    def is_ended(self) -> bool:
        """Whether somebody ended the daemon on purpose."""
        return self._leaving is not None and self._leaving.why == "end"

    def settle(self) -> dict[int, lines.Envelope]:
        """The daemon is gone: keep the requests that can be sent to the next one. Returns errors for the others."""
        self.is_broken = True
        self._broken_since = self._broken_since or time.monotonic()
        failed = {}
        for number, one in list(self.open_requests.items()):
            one.was_sent |= one.is_sent
            if not one.is_sent or (self._leaving is not None and number not in self._leaving.taken):
                one.is_sent = False
                continue
            now = time.monotonic()
            request = one.request.again(now - one.since)
            if request is None:
                del self.open_requests[number]
                failed[number] = lines.Envelope(
                    error=lines.ErrorBody.of(DaemonUnavailableError(_unknown(one)))
                )
            else:
                one.request, one.since, one.is_sent = request, now, False
        return failed

    def find(self, deadline: float | None) -> socket.socket | None:
        """A connection to a daemon, started if none runs; None at `deadline` (monotonic). Tries at least once.

        Raises:
            DaemonUnavailableError: none could be reached for as long as is reasonable; the text says why.
        """
        while True:
            try:
                sock = self.dialled(start=True)
            except (CorralError, OSError) as error:
                self.check_patience(error)
            else:
                return sock
            time.sleep(RETRY_SECONDS)
            if deadline is not None and time.monotonic() >= deadline:
                return None

    def broken_for(self) -> float:
        """Seconds since a daemon answered last."""
        return 0.0 if self._broken_since is None else time.monotonic() - self._broken_since

    def dialled(self, *, start: bool) -> socket.socket:
        """One try; with `start` a daemon is started, unless the last one was ended on purpose.

        Raises:
            CorralError, OSError: there is none.
        """
        # No daemon is started if the home was removed.
        start = start and not self.is_ended and os.path.exists(self._home.journal)
        sock = connected(self._home, start=start)
        self.is_broken, self._leaving, self._parts = False, None, Parts()
        return sock

    def check_patience(self, error: Exception) -> None:
        """Raise DaemonUnavailableError with the reason of the last try once it is time to give up."""
        patience = PATIENCE_AFTER_END if self.is_ended else PATIENCE_SECONDS
        if self.broken_for() < patience:
            return
        what = "the daemon was ended" if self.is_ended else f"the daemon has gone away ({error})"
        raise DaemonUnavailableError(f"{what}; its jobs go on: corral ps finds them again") from None


def _unknown(asked: OpenRequest) -> str:
    """The error for a request that may have been carried out and must not be sent twice."""
    if isinstance(asked.request, p.StartJobs):
        names = ", ".join(spec.name or spec.command for spec in asked.request.specs[:3])
        return (
            f"the daemon went away while it was asked to start {names}; it is not known whether it did: "
            "corral ps -a shows the job if so"
        )
    verb = type(asked.request).__struct_config__.tag
    return (
        f"the daemon went away during the request {verb}; it is not known whether it was done: "
        "corral ps -a shows the jobs as they are"
    )
