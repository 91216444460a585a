"""Looks when the files of the journal are to be made smaller, and has it done by a thread, since that waits for the disk."""

from __future__ import annotations

import asyncio

from corral.journal import shrink
from corral.journal.journal import Journal
from corral.journal.lock_holders import describe_readers
from corral.model.errors import CorralError
from corral.platform.host.daemon_log import log, log_fault

WORK_OFF_CHANGES = 2000
"""Rows written until the log is worked off: a few MB of it."""
_PAGE = 4096
_LONG_LOG = 64 << 20
"""Bytes of the write-ahead log from which on a notice says which program keeps it from being reset."""


class Upkeep:
    """Keeps the files of one journal small."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._path = journal.home.journal
        self._changes = journal.changes
        self._task: asyncio.Task[None] | None = None
        self.notices: tuple[str, ...] = ()
        """What keeps them from getting smaller, and can be changed by the user only."""

    def look(self) -> None:
        """Work the log off where it has grown, beside the loop. Called at each tick."""
        if self._journal.changes - self._changes >= WORK_OFF_CHANGES and self._task is None:
            self._changes = self._journal.changes
            self._task = asyncio.create_task(self._work_off(), name="journal upkeep")

    async def _work_off(self) -> None:
        try:
            found = await asyncio.to_thread(shrink.checkpoint, self._path)
            self._note(found)
        except CorralError as error:
            log(f"the log of the journal: {error}")
        except Exception as error:  # noqa: BLE001  (no thread to be had: the next time)
            log_fault("the upkeep of the journal", error)
        finally:
            self._task = None

    def _note(self, found: shrink.Checkpoint) -> None:
        size = found.pages * _PAGE
        notice = None
        if size >= _LONG_LOG and found.done < found.pages:
            who = describe_readers(self._path) or "another program"
            notice = (
                f"the log of the journal has grown to {size >> 20} MB, since {who} goes on reading an old state of it:"
                " end its transaction, or that program"
            )
        if notice is not None and not self.notices:
            log(notice)
        self.notices = () if notice is None else (notice,)

    async def empty_log(self) -> None:
        """Empty the write-ahead log, so that nothing deleted stays in it, unless another program reads it now. Raises JournalError."""
        await asyncio.to_thread(shrink.truncate, self._path)

    async def make_small(self, *, is_idle: bool) -> None:
        """After many deletions. `is_idle`: nothing has to be noted for a second. Raises JournalError."""
        if is_idle:
            await asyncio.to_thread(shrink.vacuum, self._path)
        await self.empty_log()

    async def end(self) -> None:
        """Wait for the thread that works on the journal."""
        if self._task is not None:
            await asyncio.wait([self._task])
