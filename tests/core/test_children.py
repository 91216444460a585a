"""What an ended stage has waited for is counted once."""

from __future__ import annotations

import os
import subprocess

from corral.jobs.managed_job import ManagedJob
from corral.platform.process.identity import ProcessIdentity
from corral.processes.local_run import Member, run_of
from corral.runner.children import forget_gone


def test_who_is_gone_is_no_member_any_more_and_who_lives_is() -> None:
    with subprocess.Popen(["true"]) as gone:
        pass
    job = ManagedJob.__new__(ManagedJob)
    job.held = None
    run_of(job).members = {
        pid: Member(ProcessIdentity(pid, 1.0), 1, -1, 4.2) for pid in (gone.pid, os.getpid())
    }
    forget_gone(job)
    assert list(run_of(job).members) == [os.getpid()]
