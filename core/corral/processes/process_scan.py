"""Finds the processes of every job: one pass over the process table, by marks, trees, groups and sessions."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from msgspec import Struct

from corral.jobs.managed_job import ManagedJob
from corral.platform.host.procfs import Stat, pids, read_stat
from corral.platform.process import mark
from corral.platform.process.identity import ProcessIdentity
from corral.platform.process.kinship import ENOUGH_EVIDENCE, Kinship
from corral.platform.process.signalling import Signaller
from corral.processes.job_lifetimes import FORGOTTEN
from corral.processes.local_run import leaders_of, run_of
from corral.processes.unmarked_claims import Seen, UnmarkedClaims, kinship_of, near, stage_of

MOST_PASSES = 8
"""Over the table in one count. Against what forks without pause the next count goes on."""


class _Rest(NamedTuple):
    """Processes without a mark of this home, the inodes of their folders by pid."""

    unmarked: dict[int, int]
    apart: dict[int, int]
    """With one of another home, or with the sign of a daemon."""


class ProcessScan(Struct, eq=False):
    """Counts the processes of jobs."""

    _nonce: int | None
    """Of this home's marks, or None where marks do not work: then two other ways have to agree."""
    _home: str
    _signaller: Signaller | None = None
    """Marks again what has lost its mark; None looks only."""
    _in_hand: Mapping[int, ManagedJob] = MappingProxyType({})
    """All jobs in hand, by id."""
    _born_in: Callable[[ProcessIdentity], Collection[int]] = lambda _: ()
    """The jobs that may have lived when a process was born."""
    _strangers: dict[int, int] = {}
    """Pid to inode: nothing of them has to do with any job, and never will, since no process changes its ancestors."""
    _settled: dict[int, int] = {}
    """Pid to job: marked processes whose mark was held against all else."""
    unmarked: set[int] = set()
    """Jobs with processes that are proven and cannot be marked."""
    _doubtful: dict[int, list[Stat]] = {}
    _suspects: dict[ProcessIdentity, set[int]] = {}
    """Processes that are in doubt, and the jobs that they may be of."""

    @property
    def has_marks(self) -> bool:
        """Whether every descendant is found, wherever it went."""
        return self._nonce is not None

    def take(self, jobs: Collection[ManagedJob]) -> dict[int, list[Seen]]:
        """The processes of all jobs, by job id; zombies included, and with marks those of unknown jobs too.

        Those without a mark, or whose mark cannot be read, are found where two other ways agree, and marked again. Of no
        jobs: by their mark alone.
        """
        if self._nonce is None:
            return self._kin_of(jobs)
        found, rest = self._by_mark(self._nonce)
        if not jobs or self._signaller is None:
            return found
        for _ in range(MOST_PASSES):
            if not self._claim(self._nonce, self._signaller, found, rest):
                break
            # What has its mark again may have started others a moment before.
            found, rest = self._by_mark(self._nonce)
        return found

    def lookalikes(self, jobs: Collection[ManagedJob], found: dict[int, list[Seen]]) -> dict[int, list[Stat]]:
        """By job id: what was not in the last count, `found`, and may be the job's all the same. Nothing proves it."""
        if self._nonce is not None:
            return {job.id: self.doubtful(job.id) for job in jobs}
        proven = {seen.pid for entries in found.values() for seen in entries}
        stats = near(_stats(pid for pid in pids() if pid not in proven), _pids_of(jobs))
        alike: dict[int, list[Stat]] = {}
        for job in jobs if stats else ():
            kinship = self._kinship_of(job)
            alike[job.id] = [stat for stat in stats if not stat.has_ended and _looks_like(stat, kinship)]
        return alike

    def doubtful(self, job_id: int) -> list[Stat]:
        """What the last count found that may be of that job."""
        return self._doubtful.get(job_id, [])

    def suspect(self, job_id: int, identity: ProcessIdentity) -> None:
        """That process may be of that job."""
        self._suspects.setdefault(identity, set()).add(job_id)

    def jobs_that_may_have(self, stat: Stat) -> list[int]:
        """The jobs that a process in doubt may be of."""
        return sorted(self._suspects.get(ProcessIdentity(stat.pid, stat.started), ()))

    def suspected(self) -> dict[int, tuple[ProcessIdentity, ...]]:
        """All that is in doubt, by job."""
        return {
            job_id: tuple(ProcessIdentity(stat.pid, stat.started) for stat in stats)
            for job_id, stats in self._doubtful.items()
        }

    # ---- with marks

    def _by_mark(self, nonce: int) -> tuple[dict[int, list[Seen]], _Rest]:
        """What carries a mark of this home, by job, and what does not and is no stranger yet."""
        found: dict[int, list[Seen]] = {}
        others: list[tuple[int, int]] = []
        for pid, job, stage in mark.scan(nonce, others):
            found.setdefault(job, []).append(Seen(pid, stage))
        rest, strangers = _Rest({}, {}), {}
        for pid, inode in others:
            if self._strangers.get(pid) == inode:
                strangers[pid] = inode
                continue
            try:
                value = mark.value_of(pid)
            except PermissionError:
                value = mark.UNLIMITED  # as good as none
            carried = None if value is None else mark.decode(value)
            if carried is not None and carried.nonce == nonce:
                found.setdefault(carried.job, []).append(Seen(pid, carried.stage))
            elif carried is not None or value == mark.APART:
                rest.apart[pid] = inode
            elif value is not None:
                rest.unmarked[pid] = inode
        self._strangers = strangers
        return found, rest

    def _claim(self, nonce: int, signaller: Signaller, found: dict[int, list[Seen]], rest: _Rest) -> bool:
        """Add what is proven by other ways. Whether a process was marked again."""
        claims = UnmarkedClaims(self._in_hand, found, nonce, self._home, signaller, self._may_have_born)
        claims.claim_known()
        claims.doubt_new(self._settled)
        self._settled, self.unmarked = dict(claims.owners), claims.unmarked
        stats = _stats(pid for pid in rest.unmarked if pid not in claims.owners)
        if stats:
            close = near(stats, claims.owners.keys() | {os.getpid()})
            self._note_strangers(stats, {stat.pid for stat in close}, rest.unmarked)
            claims.settle(close)
        for stat in _stats(pid for pid in rest.apart if pid not in claims.owners):
            if not claims.doubt_apart(stat):
                self._strangers[stat.pid] = rest.apart[stat.pid]
        claims.doubtful.pop(FORGOTTEN, None)
        for job_id, doubtful in claims.doubtful.items():
            for stat in doubtful:
                self.suspect(job_id, ProcessIdentity(stat.pid, stat.started))
        self._doubtful = self._still_suspected(claims.owners) if self._suspects else {}
        return claims.has_marked

    def _may_have_born(self, identity: ProcessIdentity) -> Collection[int]:
        suspected = self._suspects.get(identity)
        return self._born_in(identity) if suspected is None else {FORGOTTEN, *suspected}

    def _still_suspected(self, owners: dict[int, int]) -> dict[int, list[Stat]]:
        """What is alive and was not proven to be of any job since. A doubt does not end with the parent that had raised it."""
        found: dict[int, list[Stat]] = {}
        for identity in list(self._suspects):
            stat = read_stat(identity.pid)
            if stat is None or stat.started != identity.started or stat.has_ended or stat.pid in owners:
                del self._suspects[identity]
                continue
            for job_id in self._suspects[identity]:
                found.setdefault(job_id, []).append(stat)
        return found

    def _note_strangers(self, stats: list[Stat], close: set[int], inodes: dict[int, int]) -> None:
        """Those that descend from init by strangers alone. Of the others a parent may have ended just now."""
        left = [stat for stat in stats if stat.pid not in close]
        roots = {0, 1, *self._strangers} - {os.getpid()}
        while new := [stat for stat in left if stat.ppid in roots]:
            self._strangers.update((stat.pid, inodes[stat.pid]) for stat in new)
            roots.update(stat.pid for stat in new)
            left = [stat for stat in left if stat.pid not in roots]

    # ---- without

    def _kinship_of(self, job: ManagedJob) -> Kinship:
        return kinship_of(job, self._home, has_marks=False)

    def _kin_of(self, jobs: Collection[ManagedJob]) -> dict[int, list[Seen]]:
        found: dict[int, list[Seen]] = {}
        stats = near(_stats(pids()), _pids_of(jobs)) if jobs else []
        for job in jobs if stats else ():
            for stat in _relatives(stats, self._kinship_of(job)):
                found.setdefault(job.id, []).append(Seen(stat.pid, stage_of(stat, job), False))
        return found


def _stats(candidates: Iterable[int]) -> list[Stat]:
    return [stat for stat in map(read_stat, candidates) if stat is not None and stat.pid != os.getpid()]


def _pids_of(jobs: Iterable[ManagedJob]) -> set[int]:
    """Of all that is known of these jobs, and of this process, the parent of orphans."""
    known = {os.getpid()}
    for job in jobs:
        known.update(leader.pid for _, leader in leaders_of(job.stages))
        known.update(run_of(job).members)
        known.update(run_of(job).proven)
    return known


def _looks_like(stat: Stat, kinship: Kinship) -> bool:
    """Not an orphan of ours of which nothing tells of which job."""
    ways = kinship.agreeing_evidence(stat)
    return ways > 1 or (ways == 1 and stat.ppid != os.getpid())


def _relatives(stats: list[Stat], kinship: Kinship) -> list[Stat]:
    """Those of which two ways say that they belong to the job; found children make their own children known."""
    related: dict[int, Stat] = {}
    while True:
        new = [
            stat
            for stat in stats
            if stat.pid not in related and kinship.agreeing_evidence(stat) >= ENOUGH_EVIDENCE
        ]
        if not new:
            return list(related.values())
        for stat in new:
            related[stat.pid] = stat
        kinship.ancestors = {*kinship.ancestors, *related}
