"""Sending to jobs: the write end of an interactive job's stdin, or the master of its terminal."""

from __future__ import annotations

import os

from corral.manage.jobs import ManagedJob
from corral.manage.jobtable import JobTable
from corral.manage.terminals import Terminals
from corral.values.errors import NotSoError
from corral.values.reports import OpenedInput
from corral.values.spec import InteractiveInput

_HOW = "start it with corral run -i, or --pty, to be able to send to it"


class InputCommands:
    """Opens and closes what clients send to."""

    def __init__(self, table: JobTable, terminals: Terminals) -> None:
        self._table = table
        self._terminals = terminals

    def open(self, job_id: int) -> tuple[OpenedInput, int]:
        """The write end of an interactive job's stdin, or the master of a job's terminal; both stay the daemon's.

        Raises NotSoError with how to start a job that has one.
        """
        job = self._table.unended(job_id)
        if job is None or not job.spec.pty:
            return OpenedInput(), self._stdin_of(job_id, job)
        terminal = self._terminals.of(job)
        opened = OpenedInput(is_terminal=True, modes=terminal.modes, printed=terminal.printed)
        return opened, terminal.master

    def close(self, job_id: int) -> None:
        """Close the daemon's end: EOF, once nobody else holds a copy. Of a terminal: type what means EOF there."""
        job = self._table.unended(job_id)
        if job is not None and job.spec.pty:
            self._terminals.send_end_of_input(job)
            return
        os.close(self._stdin_of(job_id, job))
        if job is not None:
            job.run.stdin_writer = None

    @staticmethod
    def _stdin_of(job_id: int, job: ManagedJob | None) -> int:
        if job is None:
            raise NotSoError(f"job {job_id} has ended and reads nothing any more")
        if not isinstance(job.spec.stdin, InteractiveInput):
            raise NotSoError(f"job {job_id} has no open stdin; {_HOW}")
        if job.life.state == "queued":
            raise NotSoError(f"job {job_id} is queued and has no stdin yet")
        if job.run.stdin_writer is None:
            raise NotSoError(f"the stdin of job {job_id} was closed; {_HOW}")
        return job.run.stdin_writer
