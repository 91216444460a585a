"""Reaching a daemon whose socket is gone, and waiting for the end of one. Blocking, for the command line."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from corral.client.blocking import Client
from corral.home.identity import living_daemon
from corral.model.errors import CorralError, DaemonUnavailableError, UnreachableDaemonError
from corral.model.home import Home
from corral.platform.process.identity import ProcessIdentity, identify, is_alive
from corral.platform.process.signalling import end_daemon

REACH_SECONDS = 3.0
"""For a daemon to listen: it may be starting, or notice in one of its next ticks that its socket is gone."""
END_SECONDS = 15.0
"""For a daemon to exit after it said so: it waits 2 s for clients to read their answers."""
_LOOK_SECONDS = 0.01


def reach(home: Home, connect: Callable[[], Client]) -> Client | None:
    """The daemon of this home, by `connect`, once it listens; None where none runs.

    Raises:
        UnreachableDaemonError: one runs, and does not come to listen.
        CorralError: as `connect` says.
    """
    deadline = time.monotonic() + REACH_SECONDS
    while (pid := living_daemon(home)) is not None:
        try:
            return connect()
        except DaemonUnavailableError as error:
            if time.monotonic() > deadline:
                raise UnreachableDaemonError(
                    f"a daemon, pid {pid}, runs for {home.path} and cannot be reached: {_why(home, error)};"
                    " corral daemon stop ends it, its jobs go on",
                    pid,
                ) from None
        time.sleep(_LOOK_SECONDS)
    return None


def _why(home: Home, error: CorralError) -> str:
    return f"{home.socket} is gone" if not os.path.lexists(home.socket) else str(error)


def wait_for_end(daemon: ProcessIdentity | None) -> None:
    """Return once that process is gone. Raises CorralError if it stays."""
    deadline = time.monotonic() + END_SECONDS
    while daemon is not None and is_alive(daemon):
        if time.monotonic() > deadline:
            raise CorralError(
                f"the daemon, pid {daemon.pid}, has not ended within {END_SECONDS:g} s:"
                f" kill -KILL {daemon.pid} ends it, its jobs go on"
            )
        time.sleep(_LOOK_SECONDS)


def end_unreachable(home: Home, pid: int) -> None:
    """End a daemon that does not listen; its jobs go on. Raises CorralError if it stays."""
    daemon = identify(pid)
    end_daemon(pid, lambda: living_daemon(home) == pid)
    wait_for_end(daemon)
