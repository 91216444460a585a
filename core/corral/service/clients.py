"""How many clients there may be, and how much the daemon keeps for them all: nobody's programs take it from the others."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar

from corral.system import memory
from corral.system.daemonlog import log
from corral.values.errors import CorralError

HELLO_SECONDS = 10.0
"""In which a client has to say hello. Ours does at once."""
MOST_UNGREETED = 256
"""Clients that have not said hello; beyond, the oldest goes."""
MOST_CLIENTS = 4096
SHARE_OF_DESCRIPTORS = 4
"""One in so many of the daemon's descriptors may be a client's: the others are for jobs."""
MOST_WAITS = 30_000
"""Requests of all clients together that wait for jobs to end."""
MOST_HELD = 128 << 20
"""Bytes kept for all clients together: answers they have not read, lines that have no end, requests under way. While all
of them read, twice as much: nine lists of 20,000 jobs."""
MUCH_ALONE = 1 << 19
"""Bytes kept for one client below which it is not to blame."""
MUCH_HELD = 16 << 20
"""Bytes whose end is worth a look for garbage."""
COLLECT_SECONDS = (1.0, 5.0, 20.0)
"""When to look: thousands of requests take their time to be cancelled."""
STALLED_SECONDS = 1.0


class TooManyClientsError(CorralError):
    """There is no room for one more."""


class Peer(Protocol):
    """A client, as far as its share of the daemon goes."""

    since: float
    """When it came, by the loop's clock."""

    @property
    def held_bytes(self) -> int: ...

    def is_stalled(self, seconds: float) -> bool: ...

    def close(self) -> None: ...


P = TypeVar("P", bound=Peer)


class Clients(Generic[P]):
    """Those that are connected, in the order in which they came."""

    def __init__(self) -> None:
        self._all: dict[P, int] = {}
        """What is held for each, in bytes, as last noted."""
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
        """Over a copy: whoever is looked at may leave meanwhile."""
        return iter(list(self._all))

    def make_room(self) -> None:
        """For one more: who has not said hello goes, the oldest first. Raises TooManyClientsError."""
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
            # Cancelled requests hang together in cycles; the collector itself would come by much later.
            self._peak = 0
            for seconds in COLLECT_SECONDS:
                asyncio.get_running_loop().call_later(seconds, memory.collect_garbage)

    def note_held(self, client: P) -> None:
        """What is held for this one has changed. Hangs up on the worst where it is too much for all together."""
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
        """Hang up on the worst of those that take nothing; where it is far too much, on the worst of all."""
        stalled = [
            one for one, held in self._all.items() if held > MUCH_ALONE and one.is_stalled(STALLED_SECONDS)
        ]
        if not stalled and self._held <= 2 * MOST_HELD:
            return
        worst = max(stalled or self._all, key=self._all.__getitem__)
        log(f"hung up on a client for which {self._all[worst]} bytes were kept: it does not read")
        worst.close()

    def drop_silent(self, now: float) -> None:
        """Hang up on those that have not said hello in time. `now` is the loop's."""
        for client in list(self._ungreeted):
            if now - client.since < HELLO_SECONDS:
                return
            client.close()
