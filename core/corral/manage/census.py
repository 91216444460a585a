"""Which processes belong to which job: one pass over the process table for all jobs together."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from typing import NamedTuple

from corral.manage.jobs import ManagedJob, ManagedStage
from corral.system import mark
from corral.system.identity import identify
from corral.system.procfs import Stat, pids, read_stat
from corral.system.signals import ENOUGH_WAYS, Kinship


class Seen(NamedTuple):
    """One process found. `is_proven` is False where only kinship speaks for it."""

    pid: int
    stage: int
    is_proven: bool = True


def kinship_of(job: ManagedJob, home: str) -> Kinship:
    """What is known of the job's processes by other ways than the mark."""
    leaders = {
        stage.identity.pid for stage in job.stages if stage.identity is not None and not _is_reused(stage)
    }
    # Each stage leads a session and a group of its own, so their numbers are its pid (setsid(2)).
    # Orphans come to this process, a subreaper; which job they are of, another way has to tell.
    ancestors = {os.getpid()} | leaders | set(job.members)
    known = {member.identity for member in job.members.values()}
    return Kinship(job.id, ancestors, leaders, leaders, home, known)


def _is_reused(stage: ManagedStage) -> bool:
    """Whether somebody else has the leader's pid now, and perhaps a session and a group of that number.

    The kernel gives a number to nobody while a session or a group has it, so nothing of the stage's own is left in them.
    An unreaped child of ours keeps its pid.
    """
    if stage.identity is None or (stage.popen is not None and stage.is_running):
        return False
    now = identify(stage.identity.pid)
    return now is not None and now != stage.identity


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

    def take(self, jobs: Collection[ManagedJob]) -> dict[int, list[Seen]]:
        """The processes of all jobs, by job id; zombies included, and with marks those of unknown jobs too.

        Those of another uid or gid, whose mark cannot be read, are found where two other ways agree.
        """
        found: dict[int, list[Seen]] = {}
        if self._nonce is None:
            self._add_kin(found, jobs, pids())
            return found
        others: list[int] = []
        for pid, job, stage in mark.scan(self._nonce, others):
            found.setdefault(job, []).append(Seen(pid, stage))
        self._add_kin(found, jobs, _worth_a_look(others, jobs))
        return found

    def lookalikes(self, jobs: Collection[ManagedJob], found: dict[int, list[Seen]]) -> dict[int, list[Stat]]:
        """By job id: what is not in `found` and some other way speaks for all the same. Nothing proves it to be the job's."""
        proven = {seen.pid for entries in found.values() for seen in entries}
        stats = _near(_stats(pid for pid in pids() if pid not in proven), jobs)
        alike: dict[int, list[Stat]] = {}
        for job in jobs if stats else ():
            kinship = kinship_of(job, self._home)
            alike[job.id] = [stat for stat in stats if not stat.has_ended and self._looks_like(stat, kinship)]
        return alike

    def _looks_like(self, stat: Stat, kinship: Kinship) -> bool:
        ways = kinship.ways_that_agree(stat)
        if ways != 1 or stat.ppid != os.getpid():
            return ways > 0
        # An orphan of ours, and nothing tells of which job. Where it can be read and is unmarked, it is a daemon of
        # another home, which took the mark off.
        return self._nonce is not None and not _is_readable(stat.pid)

    def _add_kin(
        self, found: dict[int, list[Seen]], jobs: Collection[ManagedJob], candidates: list[int]
    ) -> None:
        if not candidates or not jobs:
            return
        stats = _near(_stats(candidates), jobs)
        for job in jobs if stats else ():
            kinship = kinship_of(job, self._home)
            for stat in _relatives(stats, kinship):
                found.setdefault(job.id, []).append(Seen(stat.pid, _stage_of(stat, job), False))


def _worth_a_look(others: list[int], jobs: Collection[ManagedJob]) -> list[int]:
    """Of processes whose mark may not be read: those in a session or group of the jobs, and those known before.

    Of no other two ways can agree, since who may not read a limit may not read an environment either (prlimit(2),
    proc(5)); root without all of its capabilities may. On a machine with two thousand processes of other users this is
    the difference between 1 ms and 60.
    """
    if os.geteuid() == 0 or not others:
        return others
    leaders = {stage.identity.pid for job in jobs for stage in job.stages if stage.identity is not None}
    members = {pid for job in jobs for pid in job.members}
    return [pid for pid in others if pid in members or _is_in(pid, leaders)]


def _is_in(pid: int, leaders: set[int]) -> bool:
    try:
        return os.getsid(pid) in leaders or os.getpgid(pid) in leaders
    except OSError:
        return False  # ended meanwhile


def _stats(candidates: Iterable[int]) -> list[Stat]:
    return [stat for stat in map(read_stat, candidates) if stat is not None and stat.pid != os.getpid()]


def _is_readable(pid: int) -> bool:
    try:
        mark.read(pid)
    except PermissionError:
        return False
    return True


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
        stat
        for stat in stats
        if not known.isdisjoint((stat.pid, stat.ppid, stat.session, stat.process_group))
    ]:
        near += new
        known.update(stat.pid for stat in new)
        stats = [stat for stat in stats if stat not in new]
    return near


def _relatives(stats: list[Stat], kinship: Kinship) -> list[Stat]:
    """Those of which two ways say that they belong to the job; found children make their own children known."""
    related: dict[int, Stat] = {}
    while True:
        new = [
            stat for stat in stats if stat.pid not in related and kinship.ways_that_agree(stat) >= ENOUGH_WAYS
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
