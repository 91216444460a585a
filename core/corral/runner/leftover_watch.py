"""Being told at once when one of the leftovers ends: a pidfd on each, as long as they are few. At rest it costs nothing."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable
from itertools import islice

from corral.platform.process.identity import ProcessIdentity, is_alive
from corral.platform.process.pidfd import open_pidfd_to_keep

MOST_WATCHED = 64
"""The end of others is seen by the next look at the process table."""
_MOST_FOR_WATCHING = 0.5
"""Of all descriptors that the daemon may have, up to where pidfds are kept for this."""


class LeftoverWatch:
    """Calls `on_end` when one of the processes that it watches has ended, were it unreaped."""

    def __init__(self, on_end: Callable[[], None]) -> None:
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._pidfds: dict[ProcessIdentity, int] = {}

    def watch(self, leftovers: Iterable[ProcessIdentity]) -> None:
        """From now on these, and no others."""
        wanted = dict.fromkeys(islice(leftovers, MOST_WATCHED))
        for identity in self._pidfds.keys() - wanted.keys():
            self._let_go(identity)
        for identity in wanted.keys() - self._pidfds.keys():
            self._begin(identity)

    def _begin(self, identity: ProcessIdentity) -> None:
        pidfd = open_pidfd_to_keep(identity.pid, _MOST_FOR_WATCHING)
        if pidfd is None:
            return
        self._pidfds[identity] = pidfd
        try:
            self._loop.add_reader(pidfd, self._note_end, identity)
        except OSError:
            # ENOSPC: the user watches all that epoll lets him (max_user_watches, epoll(7)).
            os.close(self._pidfds.pop(identity))
            return
        if not is_alive(identity):
            # Its number may be another's by now; that it has ended is seen by who asked for it to be watched.
            self._let_go(identity)

    def _note_end(self, identity: ProcessIdentity) -> None:
        self._let_go(identity)
        self._on_end()

    def _let_go(self, identity: ProcessIdentity) -> None:
        pidfd = self._pidfds.pop(identity)
        self._loop.remove_reader(pidfd)
        os.close(pidfd)
