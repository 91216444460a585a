"""Pushing what changed to those who subscribed: deltas, folded, a few times a second; the whole where somebody lags."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from functools import partial
from typing import TYPE_CHECKING

from corral.manage.manager import Manager
from corral.observe.machine import MachineSampler
from corral.service.fitting import fitting
from corral.service.protocol import ChangesPushed, SnapshotPushed, push_line
from corral.values.jobs import Job
from corral.values.machine import Machine

if TYPE_CHECKING:
    from corral.service.connection import Connection

PUSH_SECONDS = 0.1
MACHINE_SECONDS = 2.0
UNREAD_LIMIT = 4 << 20
"""Bytes that a subscriber may leave unread before its deltas are dropped and one snapshot is sent instead."""


class Publisher:
    """Keeps subscribers up to date."""

    def __init__(self, manager: Manager) -> None:
        self._manager = manager
        self._subscribers: dict[Connection, int] = {}
        self._lagging: set[Connection] = set()
        self._due: deque[Connection] = deque()
        self._rev = 0
        self._timer: asyncio.TimerHandle | None = None
        self._machine: Machine | None = None
        self._sampler: MachineSampler | None = None
        self._loop = asyncio.get_running_loop()
        manager.on_change = self._note_change

    def add(self, connection: Connection, ended: int) -> None:
        """Push to this connection from now on, the whole first."""
        if self._sampler is None:
            self._sampler = MachineSampler()
        self._subscribers[connection] = ended
        # Who subscribes again and again gets one for all that came at once.
        if connection not in self._lagging:
            self._lagging.add(connection)
            self._send_whole_soon(connection)

    def drop(self, connection: Connection) -> None:
        self._subscribers.pop(connection, None)
        self._lagging.discard(connection)

    def sample_machine(self) -> None:
        """Called every `MACHINE_SECONDS` while somebody looks."""
        if self._subscribers and self._sampler is not None:
            self._machine = self._sampler.sample()
            self._push(ChangesPushed(rev=self._rev, machine=self._machine))

    def _note_change(self) -> None:
        if not self._subscribers:
            self._manager.changed_ids.clear()
            self._manager.removed_ids.clear()
        elif self._timer is None:
            self._timer = self._loop.call_later(PUSH_SECONDS, self._push_changes)

    def _push_changes(self) -> None:
        self._timer = None
        manager = self._manager
        changed, removed = manager.changed_ids, manager.removed_ids
        manager.changed_ids, manager.removed_ids = set(), set()
        if not self._subscribers or not (changed or removed):
            return
        self._rev += 1
        now = time.monotonic()
        jobs = [manager.fresh(job_id, now) for job_id in sorted(changed) if manager.is_known(job_id)]
        self._push(ChangesPushed(rev=self._rev, jobs=fitting(jobs), removed=tuple(map(str, removed))))

    def _push(self, push: ChangesPushed) -> None:
        line = push_line(push)
        for connection in list(self._subscribers):
            if connection in self._lagging:
                continue
            if connection.unsent_bytes > UNREAD_LIMIT:
                self._lagging.add(connection)
                connection.when_drained(partial(self._send_whole_soon, connection))
            else:
                connection.push(line)

    def _send_whole_soon(self, connection: Connection) -> None:
        """One a pass of the loop, however many are due."""
        self._due.append(connection)
        if len(self._due) == 1:
            self._loop.call_soon(self._send_next)

    def _send_next(self) -> None:
        self._send_whole(self._due[0])
        self._due.popleft()
        if self._due:
            self._loop.call_soon(self._send_next)

    def _send_whole(self, connection: Connection) -> None:
        self._lagging.discard(connection)
        if connection not in self._subscribers:
            return
        self._rev += 1
        if self._machine is None and self._sampler is not None:
            self._machine = self._sampler.sample()
        jobs = self._everything(self._subscribers[connection])
        connection.push(push_line(SnapshotPushed(rev=self._rev, jobs=jobs, machine=self._machine)))

    def _everything(self, ended: int) -> tuple[Job, ...]:
        manager = self._manager
        now = time.monotonic()
        unended = [manager.fresh(job.id, now) for job in manager.jobs.values() if not job.life.is_ended]
        newest = sorted(manager.ended.values(), key=lambda job: int(job.id))[-ended:] if ended else []
        return fitting(sorted([*newest, *unended], key=lambda job: int(job.id)))
