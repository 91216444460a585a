"""Sending to jobs: the write end of an interactive job's stdin, or the master of its terminal."""

from __future__ import annotations

from msgspec import Struct

from corral.jobs.executor import HOW_TO_SEND, Executor
from corral.jobs.job_table import JobTable
from corral.jobs.managed_job import ManagedJob
from corral.jobs.snapshots import Snapshots
from corral.model.errors import NotSoError
from corral.model.reports import OpenedInput


class InputCommands(Struct, eq=False):
    """Opens and closes what clients send to."""

    _table: JobTable
    _snapshots: Snapshots
    _executor: Executor

    def open(self, job_id: int) -> tuple[OpenedInput, int]:
        """What reaches the job when it is written to, and what that is; the descriptor stays the daemon's.

        Raises NotSoError with how to start a job that has one.
        """
        return self._executor.open_input(self._job_with_input(job_id))

    def close(self, job_id: int) -> None:
        """Close the daemon's end: EOF, once nobody else holds a copy. Of a terminal: type what means EOF there."""
        self._executor.close_input(self._job_with_input(job_id))

    def _job_with_input(self, job_id: int) -> ManagedJob:
        snapshot = self._snapshots.of(job_id)
        if snapshot.is_ended:
            raise NotSoError(f"job {job_id} has ended and reads nothing any more")
        if snapshot.stdin not in ("interactive", "terminal"):
            raise NotSoError(f"job {job_id} has no open stdin; {HOW_TO_SEND}")
        if snapshot.state == "queued":
            kind = "terminal" if snapshot.pty else "stdin"
            raise NotSoError(f"job {job_id} is queued and has no {kind} yet")
        return self._table.started[job_id]
