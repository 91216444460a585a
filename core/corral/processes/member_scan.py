"""Gives each running job its members, from what the process scan has found: all jobs at once, or one now."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from msgspec import Struct

from corral.jobs.job_table import JobTable
from corral.jobs.managed_job import ManagedJob
from corral.platform.host.procfs import read_stat, turnover
from corral.platform.process.identity import ProcessIdentity, identify
from corral.processes.local_run import Member, run_of
from corral.processes.process_scan import ProcessScan
from corral.processes.unmarked_claims import Seen

LONGEST_SECONDS = 60.0
"""After which the process table is read again in any case: a process may have taken off its mark, or be a zombie."""


class MemberScan(Struct, eq=False):
    """Keeps `members` of the jobs of a table up to date."""

    _table: JobTable
    _process_scan: ProcessScan
    _turnover: Callable[[], bytes | None] = turnover
    """What changes with each process of the machine, as `procfs.turnover`."""
    last_scan: float = 0.0
    """When the members of all jobs were updated last (monotonic seconds)."""
    cost: float = 0.0
    """CPU seconds that reading the process table took."""
    _read_at: float = 0.0
    _seen_turnover: bytes | None = None

    def scan_all(self, now: float) -> bool:
        """Give every job its members. Whether the process table was read: not where none was born or has gone since."""
        self.last_scan = now
        before, self._seen_turnover = self._seen_turnover, self._turnover()
        if before is not None and before == self._seen_turnover and now - self._read_at < LONGEST_SECONDS:
            return False
        self._read_at = now
        began = time.process_time()
        self.scan(list(self._table.started.values()))
        self.cost = time.process_time() - began
        return True

    def scan(self, jobs: Sequence[ManagedJob]) -> None:
        """The same for some jobs."""
        found = self._process_scan.take(jobs)
        for job in jobs:
            self.set_members(job, found.get(job.id, ()))

    def set_members(self, job: ManagedJob, found: Sequence[Seen]) -> None:
        """These are its processes; zombies are left out."""
        run = run_of(job)
        if len(found) == len(run.members) and all(seen.pid in run.members for seen in found):
            return
        members: dict[int, Member] = {}
        for pid, stage, _ in found:
            known = run.members.get(pid)
            if known is not None and identify(pid) == known.identity:
                members[pid] = known
                continue
            stat = read_stat(pid)
            if stat is not None and not stat.has_ended:
                members[pid] = Member(ProcessIdentity(pid, stat.started), stage, -1, stat.cpu_seconds)
        if members.keys() != run.members.keys():
            run.members = members
            self._table.touch(job)
