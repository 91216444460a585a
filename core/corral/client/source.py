"""`Source`: the Protocol of what a screen needs from a daemon. `Session` implements it; tests have a fake."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from corral.client.snapshot import Snapshot
from corral.model.home import Home
from corral.protocol.protocol_number import FIRST_QUEUED
from corral.protocol.requests import Reply_, Request


class Source(Protocol):
    """A daemon, seen from an asyncio program. `corral.client.session.Session` is the real one."""

    @property
    def home(self) -> Home: ...

    @property
    def is_private(self) -> bool:
        """Whether the daemon belongs to this program alone and ends with it, as in the demo."""
        ...

    @property
    def snapshot(self) -> Snapshot:
        """The newest one, after `subscribe`. Never blocks."""
        ...

    async def subscribe(self, queued: int = FIRST_QUEUED) -> None:
        """Keep `snapshot` up to date from now on, reconnecting if the daemon goes away. `queued`: how many of the queued jobs
        it is to have, those whose turn comes first; asked again it has more of them."""
        ...

    async def changed(self) -> Snapshot:
        """Wait for a snapshot newer than the one at the time of the call."""
        ...

    async def call(self, request: Request[Reply_], descriptors: Sequence[int] = ()) -> Reply_:
        """Ask, and wait for the reply. Raises CorralError, whose text is one line for a person.

        Sent `descriptors` stay open on this side.
        """
        ...

    async def send_input(self, job: str, data: bytes) -> None:
        """Write to the stdin of a job, or type on its terminal; waits while it does not read. Raises CorralError."""
        ...

    async def close(self) -> None:
        """Disconnect; a private daemon ends with all its jobs."""
        ...
