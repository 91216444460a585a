"""Jobs whose call was cancelled: nobody has a handle on them, so they are ended, even while they are starting."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Coroutine, Sequence
from typing import Any

from corral.client.session import Session
from corral.model.errors import CorralError
from corral.protocol import requests as p
from corral.protocol.framing import close_all

HELD_UP_SECONDS = 1.0
"""How long a cancelled call waits at most for its stop to be requested: the daemon may be suspended."""
LEAVE_SECONDS = 5.0


class Unclaimed:
    """Those of one manager."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._ends: set[asyncio.Task[None]] = set()

    async def start(self, request: p.StartJobs, descriptors: Sequence[int] = ()) -> p.Started:
        """Start jobs. If cancelled meanwhile, they are ended as soon as their ids are known."""
        self._session.check_usable()
        held = [os.dup(descriptor) for descriptor in descriptors]
        starting = asyncio.ensure_future(self._session.call(request, held))
        starting.add_done_callback(lambda _: close_all(held))
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            self._soon(self._end_started(starting))
            raise

    async def end(self, ids: Sequence[str], by: str = "by the program that cancelled its start") -> None:
        """Request their stop, and do not wait for it."""
        await asyncio.wait([self._soon(self._stop(ids, by))], timeout=HELD_UP_SECONDS)

    async def settle(self) -> None:
        """Wait for the requested stops, before disconnecting."""
        if self._ends:
            await asyncio.wait(self._ends, timeout=LEAVE_SECONDS)

    def _soon(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.ensure_future(work)
        self._ends.add(task)
        task.add_done_callback(self._ends.discard)
        return task

    async def _end_started(self, starting: asyncio.Future[p.Started]) -> None:
        with contextlib.suppress(CorralError):
            await self._stop((await starting).ids, "by the program that cancelled its start")

    async def _stop(self, ids: Sequence[str], by: str) -> None:
        with contextlib.suppress(CorralError):
            await self._session.call(p.StopJobs(ids=tuple(ids), wait=False, by=by))
