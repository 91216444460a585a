"""Output that a full disk cut short: a job that gets ENOSPC seldom says so, least of all where its messages go.

What its write(2) was told nobody else can see. That the disk of the output had no room while it wrote, or as it ended, can.
What is printed on a terminal waits for room, and nothing of it is lost: its owner notes that.
"""

from __future__ import annotations

from datetime import UTC, datetime

from corral.decide.store import Journal
from corral.manage.jobs import ManagedJob
from corral.manage.jobtable import JobTable
from corral.system.disk_usage import is_full
from corral.values.home import Home

EVENT = "output"
_NOW = "the disk of its output is full: what it writes now may be missing"
_AT_END = "as it ended the disk of its output was full: what it wrote last may be missing"


class DiskWatch:
    """Notes of jobs that their disk was full while they wrote."""

    def __init__(self, table: JobTable, journal: Journal, home: Home) -> None:
        self._table = table
        self._journal = journal
        self._home = home

    def look(self, job: ManagedJob, text: str = _NOW) -> None:
        """It has just written, or ended: note it, and say so once."""
        if job.spec.pty or not is_full(self._home.jobs):
            return
        if job.history.disk_full is None:
            self._journal.record(job.id, datetime.now(UTC), EVENT, text)
        job.history.disk_full = datetime.now(UTC)
        self._table.touch(job)

    def look_at_end(self, job: ManagedJob) -> None:
        """It has ended. One that wrote nothing and has succeeded had nothing to lose, as far as anybody can tell."""
        has_written = job.output.stdout or any(stage.history.stderr_bytes for stage in job.stages)
        has_run = job.life.started is not None
        if has_written or (has_run and job.life.state == "failed"):
            self.look(job, _AT_END)
