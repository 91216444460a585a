"""Limits on the number of clients and on the memory for all of them, so that none can starve the others."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar

from corral.model.errors import CorralError
from corral.platform.host import malloc
from corral.platform.host.daemon_log import log

HELLO_SECONDS = 10.0
"""Time for a client to say hello. Ours does at once."""
MOST_UNGREETED = 256
"""Clients that have not said hello; beyond that the oldest is disconnected."""
MOST_CLIENTS = 4096
SHARE_OF_DESCRIPTORS = 4
"""Clients may use this fraction of the daemon's descriptors; the others are for jobs."""
MOST_WAITS = 30_000
"""Requests of all clients together that wait for jobs to end."""
MOST_HELD = 128 << 20
"""Bytes for all clients together: unread answers, incomplete lines, requests under way. Twice as much while all of them
read: nine lists of 20,000 jobs."""
MUCH_ALONE = 1 << 19
"""Bytes for one client below which it is not disconnected."""
MUCH_HELD = 16 << 20
"""Bytes that, once freed, make a garbage collection worth while."""
COLLECT_SECONDS = (1.0, 5.0, 20.0)
"""When to collect: thousands of requests take some time to be cancelled."""
STALLED_SECONDS = 1.0


class TooManyClientsError(CorralError):
    """The limit of clients is reached."""


class Peer(Protocol):
    """A client, as far as its share of the daemon goes."""

    since: float
    """When it connected, by the loop's clock."""

    @property
    def held_bytes(self) -> int: ...

    def is_stalled(self, seconds: float) -> bool: ...

    def close(self) -> None: ...


P = TypeVar("P", bound=Peer)


class Clients(Generic[P]):
    """The connected clients, in the order of their connections."""

    def __init__(self) -> None:
        self._all: dict[P, int] = {}
        """Bytes held for each, as last noted."""
        self._ungreeted: dict[P, None] = {}
        self._held = self._peak = 0
        self.waits = 0
        """Requests that wait for jobs to end."""
        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        share = MOST_CLIENTS if soft == resource.RLIM_INFINITY else soft // SHARE_OF_DESCRIPTORS
        self._most = max(8, min(MOST_CLIENTS, share))
        self._most_ungreeted = min(MOST_UNGREETED, self._most // 2)

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[P]:
        """Over a copy: clients may leave during the iteration."""
        return iter(list(self._all))

    def make_room(self) -> None:
        """For one more, by disconnecting the oldest that has not said hello. Raises TooManyClientsError."""
        is_full = len(self._all) >= self._most
        if self._ungreeted and (is_full or len(self._ungreeted) >= self._most_ungreeted):
            next(iter(self._ungreeted)).close()
        if len(self._all) >= self._most:
            raise TooManyClientsError(
                f"{len(self._all)} clients are connected, no more fit: end some of them"
            )

    @property
    def may_wait(self) -> bool:
        """Whether one more request may wait for jobs to end."""
        return self.waits < MOST_WAITS

    def add(self, client: P) -> None:
        self._all[client] = 0
        self._ungreeted[client] = None

    def note_greeted(self, client: P) -> None:
        """It has said hello."""
        self._ungreeted.pop(client, None)

    def forget(self, client: P) -> None:
        self._held -= self._all.pop(client, 0)
        self._ungreeted.pop(client, None)
        if self._peak > MUCH_HELD and self._held < MUCH_HELD // 2:
            # Cancelled requests form reference cycles; the automatic collection would come much later.
            self._peak = 0
            for seconds in COLLECT_SECONDS:
                asyncio.get_running_loop().call_later(seconds, malloc.collect_garbage)

    def note_held(self, client: P) -> None:
        """The bytes held for this one have changed. Disconnects the worst client if the total is too high."""
        before = self._all.get(client)
        if before is None:
            return
        now = client.held_bytes
        self._held += now - before
        self._all[client] = now
        self._peak = max(self._peak, self._held)
        if self._held > MOST_HELD:
            self._relieve()

    def _relieve(self) -> None:
        """Disconnect the worst of those that do not read; far above the limit, the worst of all."""
        stalled = [
            one for one, held in self._all.items() if held > MUCH_ALONE and one.is_stalled(STALLED_SECONDS)
        ]
        if not stalled and self._held <= 2 * MOST_HELD:
            return
        worst = max(stalled or self._all, key=self._all.__getitem__)
        log(f"hung up on a client for which {self._all[worst]} bytes were kept: it does not read")
        worst.close()

    def drop_silent(self, now: float) -> None:
        """Disconnect those that have not said hello in time. `now` is the loop's time."""
        for client in list(self._ungreeted):
            if now - client.since < HELLO_SECONDS:
                return
            client.close()
