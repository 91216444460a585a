"""Which processes belong to which job: one pass over the process table for all jobs together."""

from __future__ import annotations

import os
import resource
from collections.abc import Collection
from typing import NamedTuple

from corral.manage.jobs import ManagedJob
from corral.system import mark
from corral.system.procfs import Stat, pids, read_stat
from corral.system.signals import Kinship


class Seen(NamedTuple):
    """One process found. `is_proven` is False where only kinship speaks for it."""

    pid: int
    stage: int
    is_proven: bool = True


def kinship_of(job: ManagedJob, home: str) -> Kinship:
    """What is known of the job's processes by other ways than the mark."""
    leaders = {stage.identity.pid for stage in job.stages if stage.identity is not None}
    # Each stage leads a session and a group of its own, so their numbers are its pid (setsid(2)).
    # Orphans come to this process, a subreaper; which job they are of, another way has to tell.
    ancestors = {os.getpid()} | leaders | set(job.members)
    return Kinship(job.id, ancestors, leaders, leaders, home)


class Census:
    """Counts the processes of jobs.

    Args:
        nonce: of this home's marks, or None where marks do not work: then two other ways have to agree.
    """

    def __init__(self, nonce: int | None, home: str) -> None:
        self._nonce = nonce
        self._home = home

    @property
    def has_marks(self) -> bool:
        """Whether every descendant is found, wherever it went."""
        return self._nonce is not None

    def take(self, jobs: Collection[ManagedJob], *, thorough: bool = False) -> dict[int, list[Seen]]:
        """The processes of all jobs, by job id; zombies included, and with marks those of unknown jobs too.

        `thorough` also looks for processes of another uid or gid, whose mark cannot be read.
        """
        found: dict[int, list[Seen]] = {}
        if self._nonce is None:
            self._add_kin(found, jobs, pids())
            return found
        for pid, job, stage in mark.scan(self._nonce):
            found.setdefault(job, []).append(Seen(pid, stage))
        if thorough:
            self._add_kin(found, jobs, _unreadable())
        return found

    def _add_kin(
        self, found: dict[int, list[Seen]], jobs: Collection[ManagedJob], candidates: list[int]
    ) -> None:
        if not candidates or not jobs:
            return
        stats = [stat for stat in map(read_stat, candidates) if stat is not None and stat.pid != os.getpid()]
        stats = _near(stats, jobs)
        for job in jobs:
            kinship = kinship_of(job, self._home)
            for stat in _relatives(stats, kinship):
                found.setdefault(job.id, []).append(Seen(stat.pid, _stage_of(stat, job), False))


def _unreadable() -> list[int]:
    """Processes whose limits we may not read; none for root."""
    unreadable = []
    for pid in pids():
        try:
            resource.prlimit(pid, mark.RLIMIT_LOCKS)
        except PermissionError:
            unreadable.append(pid)
        except ProcessLookupError:
            continue
    return unreadable


def _near(stats: list[Stat], jobs: Collection[ManagedJob]) -> list[Stat]:
    """Those with a parent, session or group of any of the jobs, our orphans, and the descendants of both.

    Nothing else can be a relative, since the environment alone proves nothing; so a thousand jobs do not each look at
    every process of the machine.
    """
    known = {stage.identity.pid for job in jobs for stage in job.stages if stage.identity is not None}
    known.add(os.getpid())  # the parent of orphans
    known.update(pid for job in jobs for pid in job.members)
    near: list[Stat] = []
    while new := [
        stat for stat in stats if not known.isdisjoint((stat.ppid, stat.session, stat.process_group))
    ]:
        near += new
        known.update(stat.pid for stat in new)
        stats = [stat for stat in stats if stat not in new]
    return near


def _relatives(stats: list[Stat], kinship: Kinship) -> list[Stat]:
    """Those of which two ways say that they belong to the job; found children make their own children known."""
    related: dict[int, Stat] = {}
    kinship = Kinship(kinship.job, set(kinship.ancestors), kinship.sessions, kinship.groups, kinship.home)
    while True:
        new = [
            stat
            for stat in stats
            if stat.pid not in related
            and (stat.pid in kinship.sessions or kinship.ways_that_agree(stat) >= 2)
        ]
        if not new:
            return list(related.values())
        for stat in new:
            related[stat.pid] = stat
        kinship.ancestors = {*kinship.ancestors, *related}


def _stage_of(stat: Stat, job: ManagedJob) -> int:
    for stage in job.stages:
        if stage.identity is not None and stage.identity.pid in (stat.pid, stat.session, stat.process_group):
            return stage.number
    known = job.members.get(stat.ppid)
    return known.stage if known is not None else 1
