"""A daemon that is there and does not answer: it was suspended, hangs, or is blocked in the kernel. Noticed, and said.

A request may take as long as it takes: an hour of waiting for a job is no silence. So after a while the client asks
something that is always answered at once, on the same connection. Only when that stays without an answer, too, the
daemon is silent.
"""

from __future__ import annotations

import socket
import time

from corral.system.peer import peer_of
from corral.system.procfs import read_stat

SILENT_SECONDS = 5.0
"""Until the question whether it is there, and from that on until it is called silent."""


class Silence:
    """How long nothing has been heard on one connection. Times are monotonic seconds: a machine asleep is not silent."""

    def __init__(self) -> None:
        self._heard = time.monotonic()
        self._asked: float | None = None
        self._is_known = False

    def note_heard(self) -> None:
        """Something came, or nothing was waited for until now."""
        self._heard = time.monotonic()
        self._asked = None
        self._is_known = False

    def note_asked(self) -> None:
        """It was asked whether it is there."""
        self._asked = time.monotonic()

    def note_said(self) -> None:
        """Somebody was told; he is not told again before something was heard."""
        self._is_known = True

    @property
    def is_to_be_asked(self) -> bool:
        return self._asked is None and time.monotonic() - self._heard >= SILENT_SECONDS

    @property
    def is_to_be_said(self) -> bool:
        since = self._asked
        return since is not None and not self._is_known and time.monotonic() - since >= SILENT_SECONDS

    @property
    def patience(self) -> float | None:
        """Seconds until there is something to ask or to say; None where all has been said."""
        if self._is_known:
            return None
        began = self._heard if self._asked is None else self._asked
        return max(0.0, began + SILENT_SECONDS - time.monotonic())


def why_silent(sock: socket.socket) -> str:
    """One line: what its daemon is in, and what helps. The pid is the kernel's word on who listens (unix(7))."""
    pid = peer_of(sock).pid
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
