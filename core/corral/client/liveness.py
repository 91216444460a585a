"""Noticing a daemon that is there and does not answer: suspended, hanging, or blocked in the kernel.

A request may take an hour, such as a wait for a job. So after a while the client sends a ping, a request that is always
answered at once, on the same connection. Only if that is not answered either, the daemon is silent.
"""

from __future__ import annotations

import socket
import time

from corral.platform.files.peer_credentials import peer_of
from corral.platform.host.procfs import read_stat

SILENT_SECONDS = 5.0
"""Until the ping, and from the ping until the daemon is reported as silent."""


class Liveness:
    """When something was last received on one connection. Monotonic time: a suspended machine does not count."""

    def __init__(self) -> None:
        self._heard = time.monotonic()
        self._pinged: float | None = None
        self._is_reported = False

    def note_heard(self) -> None:
        """Something was received, or nothing was expected until now."""
        self._heard = time.monotonic()
        self._pinged = None
        self._is_reported = False

    def note_pinged(self) -> None:
        """A ping was sent."""
        self._pinged = time.monotonic()

    def note_reported(self) -> None:
        """The silence was reported; not again until something was received."""
        self._is_reported = True

    @property
    def should_ping(self) -> bool:
        return self._pinged is None and time.monotonic() - self._heard >= SILENT_SECONDS

    @property
    def should_report(self) -> bool:
        since = self._pinged
        return since is not None and not self._is_reported and time.monotonic() - since >= SILENT_SECONDS

    @property
    def patience(self) -> float | None:
        """Seconds until the next ping or report; None after the report."""
        if self._is_reported:
            return None
        began = self._heard if self._pinged is None else self._pinged
        return max(0.0, began + SILENT_SECONDS - time.monotonic())


def why_silent(sock: socket.socket) -> str:
    """One line: the state of the daemon, and what helps. The kernel tells the pid of the listener (unix(7))."""
    pid, _ = peer_of(sock)
    stat = read_stat(pid) if pid > 0 else None
    if stat is None:
        return "the daemon does not answer; corral daemon log may tell why"
    who = f"the daemon (pid {pid}) does not answer"
    if stat.state == "T":
        return f"{who}: it is suspended; kill -CONT {pid} lets it go on"
    if stat.state == "t":
        return f"{who}: a debugger holds it"
    if stat.state == "D":
        return f"{who}: it is blocked in the kernel (state D), by a disk perhaps"
    return f"{who}: it is busy or hangs; kill -KILL {pid} ends it, the jobs go on, and the next command takes them over"
