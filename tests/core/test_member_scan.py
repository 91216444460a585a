"""When the process table is read: where a process has come or gone since the last time, and now and then."""

from __future__ import annotations

import os
from collections.abc import Collection

import pytest

from corral.jobs.job_table import JobTable
from corral.jobs.managed_job import ManagedJob
from corral.platform.host.procfs import HAS_PROCFS, turnover
from corral.processes.member_scan import LONGEST_SECONDS, MemberScan
from corral.processes.process_scan import ProcessScan
from corral.processes.unmarked_claims import Seen


class CountedScan(ProcessScan):
    """Finds nothing, and counts how often it was asked."""

    taken: int = 0

    def take(self, jobs: Collection[ManagedJob]) -> dict[int, list[Seen]]:
        self.taken += 1
        return {}


@pytest.mark.parametrize(
    ("told", "after", "taken"),
    [
        ((b"9 70", b"9 70"), 5, 1),
        ((b"9 70", b"9 71"), 5, 2),
        ((b"9 70", b"8 70"), 5, 2),
        ((b"9 70", b"9 70"), LONGEST_SECONDS, 2),
        ((None, None), 5, 2),
    ],
)
def test_the_table_is_read_where_processes_came_or_went(told, after, taken):
    scan, answers = CountedScan(None, "/nowhere"), iter(told)
    members = MemberScan(JobTable(), scan, lambda: next(answers))
    assert members.scan_all(1000.0)
    assert members.scan_all(1000.0 + after) is (taken == 2)
    assert (scan.taken, members.last_scan) == (taken, 1000.0 + after)


@pytest.mark.skipif(not HAS_PROCFS, reason="read from /proc")
def test_each_process_that_begins_is_told():
    before = turnover()
    pid = os.posix_spawnp("true", ["true"], os.environ)
    os.waitpid(pid, 0)
    assert before is not None
    assert turnover() != before
