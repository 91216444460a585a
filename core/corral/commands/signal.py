"""Sending signals to jobs, to stages and to single processes; pausing and resuming."""

from __future__ import annotations

from datetime import UTC, datetime

from msgspec import Struct

from corral.jobs.executor import Executor
from corral.jobs.managed_job import ManagedJob
from corral.jobs.snapshots import Snapshots
from corral.jobs.transitions import Apply
from corral.journal.commits import Commits
from corral.journal.journal import Journal
from corral.lifecycle.clock import moment
from corral.lifecycle.state import Effect, PauseRequested, ResumeRequested, StageSignalled
from corral.model.errors import NotSoError, UsageError
from corral.model.units import parse_signal, signal_name
from corral.platform.process.signalling import RefusedSignalError


class SignalCommands(Struct, eq=False):
    """Signals, pauses and resumes jobs."""

    _journal: Journal
    _commits: Commits
    _snapshots: Snapshots
    _executor: Executor
    _apply: Apply

    def signal_job(
        self,
        job_id: int,
        signal: str,
        *,
        tree: bool = False,
        stage: int | None = None,
        pid: int | None = None,
    ) -> str:
        """Send a signal to each stage's leader, or to what is named; what was done, in a few words.

        Raises:
            NotSoError: nothing to send it to.
            UsageError: no such stage or signal.
        """
        job = self._snapshots.running_job(job_id, "signalled")
        name = signal_name(parse_signal(signal))
        if stage is not None and not 1 <= stage <= len(job.stages):
            raise UsageError(f"job {job_id} has no stage {stage}; it has {len(job.stages)}")
        try:
            if pid is not None:
                pids = self._signal_process(job, name, pid)
            elif tree or stage is not None:
                self._note_signalled(job, name, stage)
                pids = self._executor.signal_tree(job, name, stage)
            else:
                self._note_signalled(job, name, None)
                pids = self._executor.signal_leaders(job, name)
        except (RefusedSignalError, PermissionError) as error:
            raise NotSoError(f"job {job_id}: {error}") from None
        if not pids:
            raise NotSoError(f"job {job_id}: nothing is left to signal")
        return f"{name} sent to {len(pids)} of job {job_id}"

    def _signal_process(self, job: ManagedJob, name: str, pid: int) -> list[int]:
        number = self._executor.leads(job, pid)
        if number is not None:
            self._note_signalled(job, name, number)
        return self._executor.signal_process(job, name, pid)

    def _note_signalled(self, job: ManagedJob, name: str, stage: int | None) -> None:
        """Before it is sent: the end that it causes may come at once."""
        for number, lived in enumerate(job.life.stages, start=1):
            if lived.is_running and stage in (None, number):
                event = StageSignalled(**moment(), number=number, signal=name, by="corral signal")
                self._apply(job, event)
        self._commits.for_sure()

    # ---- pausing

    def pause(self, job_id: int) -> str:
        """Suspend a running job; what was done, in a few words. Raises NotSoError."""
        job = self._snapshots.running_job(job_id, "paused")
        if job.life.state != "running":
            raise NotSoError(f"job {job_id} cannot be paused: it is {job.life.state}")
        self._apply(job, PauseRequested(**moment()))
        return f"job {job_id} is paused"

    def resume(self, job_id: int) -> str:
        """Let a paused job go on, or one that was suspended by others (state T). Raises NotSoError."""
        job = self._snapshots.running_job(job_id, "resumed")
        if job.life.state == "paused":
            self._apply(job, ResumeRequested(**moment()))
            return f"job {job_id} goes on"
        if all(process.state != "T" for process in self._executor.processes_of(job)):
            raise NotSoError(f"job {job_id} is not paused: it is {job.life.state}")
        self._executor.signal_tree(job, "CONT")
        return f"job {job_id} goes on"

    def pause_tree(self, job: ManagedJob, _: Effect) -> None:
        """Suspend every process, which the job's life asks for."""
        # Noted first: what a next daemon finds paused it pauses, what runs it leaves as it is.
        self._commits.for_sure()
        self._signal_as_far_as_possible(job, "STOP")

    def resume_tree(self, job: ManagedJob, _: Effect) -> None:
        """Let every process go on."""
        self._signal_as_far_as_possible(job, "CONT")

    def _signal_as_far_as_possible(self, job: ManagedJob, signal: str) -> None:
        try:
            self._executor.signal_tree(job, signal)
        except (RefusedSignalError, PermissionError) as error:
            text = f"{signal} was not sent to all: {error}"
            self._journal.record(job.id, datetime.now(UTC), "signal", text)
