"""Reconnecting after the daemon went away: which requests are sent again, and how a daemon is found. No asyncio."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import MutableMapping
from dataclasses import dataclass

from corral.client.replay import replay
from corral.client.start_daemon import connected
from corral.model.errors import CorralError, DaemonUnavailableError
from corral.model.home import Home
from corral.protocol import requests as p

PATIENCE_SECONDS = 10.0
"""How long to look for a daemon after the last one went away."""
PATIENCE_AFTER_END = 1.0
"""The same after it was ended on purpose: we start none then, but a service manager may."""
RETRY_SECONDS = 0.02


@dataclass(slots=True)
class OpenRequest:
    """A request without an answer yet."""

    request: p.Request
    descriptors: tuple[int, ...]
    since: float
    """Monotonic seconds."""
    is_sent: bool = False
    was_sent: bool = False
    """To this daemon or to an earlier one."""


class Reconnection:
    """The state of a connection that outlives its daemon."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._broken_since: float | None = None
        self._leaving: p.Leaving | None = None
        self.is_broken = False
        """Whether there is no connection at the moment."""
        self.hello_number: int | None = None
        """Of the greeting on the newest connection, until it was answered."""

    def note_leaving(self, leaving: p.Leaving) -> None:
        """The daemon says what it has taken, before it hangs up."""
        self._leaving = None if leaving.why == "stay" else leaving

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

    def settle(self, asked: MutableMapping[int, OpenRequest]) -> dict[int, p.Envelope]:
        """The daemon is gone: keep the requests that can be sent to the next one. Returns errors for the others."""
        self.is_broken = True
        self._broken_since = self._broken_since or time.monotonic()
        failed = {}
        for number, one in list(asked.items()):
            one.was_sent |= one.is_sent
            if not one.is_sent or (self._leaving is not None and number not in self._leaving.taken):
                one.is_sent = False
                continue
            now = time.monotonic()
            request = replay(one.request, now - one.since)
            if request is None:
                del asked[number]
                failed[number] = p.Envelope(error=p.ErrorBody.of(DaemonUnavailableError(_unknown(one))))
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
        self.is_broken, self._leaving = False, None
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
            f"the daemon went away while it was asked to start {names}; whether it did is not known: "
            "corral ps -a shows it, if so"
        )
    verb = type(asked.request).__struct_config__.tag
    return (
        f"the daemon went away during the request {verb}; whether it was done is not known: "
        "corral ps -a shows how things are"
    )
