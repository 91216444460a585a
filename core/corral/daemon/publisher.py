"""Pushing changes to subscribers: merged, a few times a second, and piece by piece if there are many."""

from __future__ import annotations

import asyncio
import sys
import time
from collections import deque
from collections.abc import Iterable
from functools import partial
from itertools import islice
from typing import cast

from corral.daemon.client_connection import ClientConnection
from corral.jobs.job_table import JobTable
from corral.jobs.snapshots import Snapshots
from corral.measure.machine import MachineSampler
from corral.model.job import Job
from corral.model.machine import Machine
from corral.protocol.lines import push_line
from corral.protocol.long_lists import pieces
from corral.protocol.pushes import ChangesPushed, Push, SnapshotPushed
from corral.protocol.shorten_commands import cut_to

PUSH_SECONDS = 0.1
MACHINE_SECONDS = 2.0
UNREAD_LIMIT = 4 << 20
"""Unread bytes above which a subscriber gets no more pushes; the changes are a debt until it reads."""
STAGES_A_JOB = 4
"""Of the queued jobs that a client is told of at first, on average at most: it waits for all of them."""
NEWEST_QUEUED = 20
"""Of a long queue: told of besides the first."""
MOST_STAGES = 2000
"""Of all jobs that changed at once; above that, changes are sent piece by piece. About a megabyte."""
PUSHED_TEXT = 16 << 10
"""Bytes of a command and its arguments in a push: they are repeated with every change of the job."""


class _Debt:
    """The jobs that have still to be sent to a subscriber, as they are when their turn comes."""

    def __init__(self, jobs: Iterable[int], *, is_new: bool = False) -> None:
        self.jobs = dict.fromkeys(jobs)
        self.removed: set[int] = set()
        self.is_new = is_new
        """Nothing was sent yet."""
        self.until_whole = len(self.jobs) if is_new else 0
        """How many of `jobs` are still those of its first snapshot."""

    def add(self, changed: Iterable[int], removed: Iterable[int]) -> None:
        self.jobs |= dict.fromkeys(changed)
        self.removed.update(removed)

    def take(self, count: int) -> None:
        """The first `count` jobs were sent."""
        for job_id in list(islice(self.jobs, count)):
            del self.jobs[job_id]
        self.until_whole = max(0, self.until_whole - count)


class Publisher:
    """Keeps subscribers up to date."""

    def __init__(self, table: JobTable, snapshots: Snapshots) -> None:
        self._table = table
        self._snapshots = snapshots
        self._subscribers: dict[ClientConnection, int] = {}
        """How many queued jobs each is told of."""
        self._told_queued: set[int] = set()
        """Those that were told of, as of the last push."""
        self._debts: dict[ClientConnection, _Debt] = {}
        """Of those that get changes piece by piece."""
        self._due: deque[ClientConnection] = deque()
        self._rev = 0
        self._timer: asyncio.TimerHandle | None = None
        self._machine: Machine | None = None
        self._sampler: MachineSampler | None = None
        self._loop = asyncio.get_running_loop()
        table.on_change = self._note_change

    def add(self, client: ClientConnection, ended: int, queued: int | None = None) -> None:
        """Push to this client from now on, beginning with a whole snapshot: with so many of the newest ended jobs, and of
        the first queued ones, None for all."""
        if self._sampler is None:
            self._sampler = MachineSampler()
        self._subscribers[client] = sys.maxsize if queued is None else min(max(0, queued), sys.maxsize)
        # A client that subscribes repeatedly gets one snapshot for all requests that came at once.
        debt = self._debts.get(client)
        if debt is None or not debt.is_new:
            self._owe(client, _Debt(self._all(ended, client), is_new=True), is_due=debt is None)

    def drop(self, client: ClientConnection) -> None:
        self._subscribers.pop(client, None)
        self._debts.pop(client, None)

    def sample_machine(self) -> None:
        """Called every `MACHINE_SECONDS`."""
        if self._subscribers and self._sampler is not None:
            self._machine = self._sampler.sample()
            self._push(ChangesPushed(rev=self._rev, machine=self._machine))

    def _all(self, ended: int, client: ClientConnection) -> list[int]:
        newest = sorted(self._table.ended)[-ended:] if ended else []
        return sorted((*newest, *self._table.begun_ids(), *self._listed(self._subscribers[client])))

    def _listed(self, most: int) -> set[int]:
        """So many of the queued jobs, fewer of long pipelines, and the newest, which somebody has just started."""
        queued = self._table.queued
        if most == sys.maxsize:
            return set(queued)
        listed, room = set(islice(reversed(queued), NEWEST_QUEUED)), STAGES_A_JOB * most
        for job in islice(queued.values(), most):
            room -= job.stages
            if room < 0:
                break
            listed.add(job.id)
        return listed

    # ---- what changes

    def _note_change(self) -> None:
        if not self._subscribers:
            self._table.take_changes()
        elif self._timer is None:
            self._timer = self._loop.call_later(PUSH_SECONDS, self._push_changes)

    def _push_changes(self) -> None:
        self._timer = None
        changed, removed = self._table.take_changes()
        if not self._subscribers or not (changed or removed):
            return
        changed = self._told(changed)
        removed |= {job_id for job_id in changed if not self._table.is_known(job_id)}
        for debt in self._debts.values():
            debt.add(changed, removed)
        stages = sum(map(self._table.stage_count, changed))
        if max(stages, len(changed)) > MOST_STAGES:
            for client in self._subscribers.keys() - self._debts.keys():
                self._begin_to_owe(client, changed, removed)
            return
        jobs = [told for job_id in sorted(changed) if (told := self._job(job_id)) is not None]
        self._rev += 1
        push = ChangesPushed(
            rev=self._rev, jobs=tuple(jobs), removed=tuple(map(str, removed)), queued=len(self._table.queued)
        )
        self._push(push, changed, removed)

    def _told(self, changed: set[int]) -> set[int]:
        """Those of these jobs that anybody is told of; and queued ones that came to be listed."""
        queued, listed = self._table.queued, self._listed(max(self._subscribers.values()))
        entered, self._told_queued = listed - self._told_queued, listed
        return {job_id for job_id in changed if job_id not in queued or job_id in listed} | entered

    def _push(self, push: ChangesPushed, changed: Iterable[int] = (), removed: Iterable[int] = ()) -> None:
        """To all subscribers without a debt; for those that do not read it becomes one."""
        line = push_line(push)
        for client in self._subscribers.keys() - self._debts.keys():
            if client.unsent_bytes > UNREAD_LIMIT:
                self._begin_to_owe(client, changed, removed)
            else:
                client.push(line)

    def _job(self, job_id: int) -> Job | None:
        """The job as it is pushed; None if it is not known any more."""
        if not self._table.is_known(job_id):
            return None
        return cut_to(self._snapshots.fresh(job_id, time.monotonic()), PUSHED_TEXT)

    # ---- debts

    def _begin_to_owe(self, client: ClientConnection, changed: Iterable[int], removed: Iterable[int]) -> None:
        debt = _Debt(sorted(changed))
        debt.removed.update(removed)
        self._owe(client, debt)

    def _owe(self, client: ClientConnection, debt: _Debt, *, is_due: bool = True) -> None:
        self._debts[client] = debt
        if is_due:
            self._pay_when_read(client)

    def _pay_when_read(self, client: ClientConnection) -> None:
        if client.unsent_bytes > UNREAD_LIMIT:
            client.when_drained(partial(self._pay_soon, client))
        else:
            self._pay_soon(client)

    def _pay_soon(self, client: ClientConnection) -> None:
        """One piece a pass of the loop, however many are due."""
        self._due.append(client)
        if len(self._due) == 1:
            self._loop.call_soon(self._pay_next)

    def _pay_next(self) -> None:
        client = self._due.popleft()
        debt = self._debts.get(client)
        if debt is not None:
            self._pay(client, debt)
        if self._due:
            self._loop.call_soon(self._pay_next)

    def _pay(self, client: ClientConnection, debt: _Debt) -> None:
        client.push(push_line(self._piece(debt)))
        if client not in self._debts:
            return  # It is gone.
        if debt.jobs or debt.removed:
            self._pay_when_read(client)
        else:
            del self._debts[client]

    def _piece(self, debt: _Debt) -> Push:
        """The next piece. A job that is not known any more was removed."""
        self._rev += 1
        told: list[int] = []

        def jobs() -> Iterable[Job]:
            for job_id in debt.jobs:
                told.append(job_id)
                job = self._job(job_id)
                if job is not None:
                    yield job
                elif not debt.is_new:
                    debt.removed.add(job_id)

        piece = cast("tuple[Job, ...]", next(pieces(jobs())))
        debt.take(len(told))
        return self._push_of(debt, piece)

    def _push_of(self, debt: _Debt, piece: tuple[Job, ...]) -> Push:
        more = debt.until_whole > 0
        if debt.is_new:
            debt.is_new = False
            if self._machine is None and self._sampler is not None:
                self._machine = self._sampler.sample()
            return SnapshotPushed(
                rev=self._rev, jobs=piece, machine=self._machine, queued=len(self._table.queued), more=more
            )
        removed, debt.removed = debt.removed, set()
        return ChangesPushed(
            rev=self._rev,
            jobs=piece,
            removed=tuple(map(str, removed)),
            queued=len(self._table.queued),
            more=more,
        )
