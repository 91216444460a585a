"""When the journal is committed, and tried again while another program keeps it locked. Never blocks the loop.

What cannot be written is kept and tried again: by every pass of the loop and, where a lock is in the way, by a timer. Only
an answer that says that something is noted waits for that; the loop goes on meanwhile, and the wait is bounded.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from msgspec import Struct, field

from corral.journal.journal import Journal
from corral.journal.opening import LockedJournalError
from corral.model.errors import CorralError
from corral.platform.host.daemon_log import log

RETRY_SECONDS = 0.02
"""Until the next try where another program keeps the journal locked."""
PATIENCE_SECONDS = 5.0
"""How long a client waits for such a lock to go."""


class Commits(Struct, eq=False):
    """Decides when the journal is written. `on_unlocked` is called when it could be written again."""

    _journal: Journal
    on_unlocked: Callable[[], None]
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)
    _timer: asyncio.TimerHandle | None = None
    _complaint: str | None = None
    _ending: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def notices(self) -> tuple[str, ...]:
        """Why not all is written, as long as that is so."""
        return () if self._complaint is None else (self._complaint,)

    def soon(self) -> bool:
        """For what no client waits for: written, or kept and tried again. Whether it is written."""
        try:
            self._journal.commit()
        except CorralError as error:
            self._complain(str(error))
            if isinstance(error, LockedJournalError):
                self.within(RETRY_SECONDS)
            return False
        self._complaint = None
        return True

    def for_sure(self) -> bool:
        """The same for what the next daemon has to know in any case: what cannot be written is kept beside the journal."""
        return self.soon() or self._journal.spill()

    def within(self, seconds: float) -> None:
        """Write within so many seconds what is not written before."""
        if self._timer is None:
            self._timer = self._loop.call_later(seconds, self._try_again)

    def _try_again(self) -> None:
        self._timer = None
        was_locked = self._complaint is not None
        if self.soon() and was_locked:
            self.on_unlocked()

    async def done(self) -> None:
        """Return once all that was collected so far is written; at once, where it can be.

        Raises:
            JournalError: it cannot be, or another program has kept it locked for too long. It is still kept.
        """
        await self._patiently(self._journal.commit)

    async def unlocked(self) -> None:
        """Return once no other program keeps the journal locked. Raises LockedJournalError as `done` does."""
        await self._patiently(self._journal.check_lock)

    async def _patiently(self, attempt: Callable[[], None]) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                attempt()
                self._complaint = None
                return
            except LockedJournalError as error:
                self._complain(str(error))
                if self._ending.is_set() or time.monotonic() >= deadline:
                    raise
            try:
                async with asyncio.timeout(RETRY_SECONDS):
                    await self._ending.wait()
            except TimeoutError:
                continue

    def end(self) -> None:
        """The daemon ends: nobody waits for a lock any longer, and each wait fails."""
        self._ending.set()

    def _complain(self, text: str) -> None:
        """Once in daemon.log, not at each try."""
        if text != self._complaint:
            self._complaint = text
            log(text)
