"""The output files of running jobs, as the monitor looks at them: how much was written, in which order, and what was lost."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from datetime import UTC, datetime

from msgspec import Struct

from corral.jobs.job_table import JobTable
from corral.jobs.managed_job import ManagedJob
from corral.journal.journal import Journal
from corral.measure.pipe_flow import RATE_WINDOW
from corral.model.home import Home
from corral.model.wire import to_wire
from corral.output import stream_order
from corral.output.job_files import size_own
from corral.platform.files.disk_usage import is_full
from corral.processes.local_run import leaders_of, run_of
from corral.runner.output_cap import OutputCap
from corral.runner.truncation_watch import TruncationWatch

_FULL_NOW = "the disk of its output is full: what it writes now may be missing"
_FULL_AT_END = "the disk of its output was full when it ended: what it wrote last may be missing"


class OutputWatch(Struct, eq=False):
    """Looks at the output files by their size only."""

    _table: JobTable
    _journal: Journal
    _home: Home
    _truncations: TruncationWatch
    _output_cap: OutputCap

    def tick(self) -> None:
        self._output_cap.tick()

    def open(self, job: ManagedJob) -> None:
        """Begin to look. Raises OSError."""
        try:
            self._truncations.open(job)
        except PermissionError as error:
            # A FIFO or a symlink that the job itself put there: all else of it can be observed.
            self.note_trouble(job, f"its output is not followed: {error.filename}: {error.strerror}")

    def reopen(self, job: ManagedJob) -> None:
        """Somebody removed a file of its output that we have open, or put something else in its place."""
        run_of(job).files.close()
        self.open(job)
        job.next_visit = 0  # the next tick notes that it is gone

    def look(self, job: ManagedJob, now: float) -> bool:
        """Look at its sizes, its cap and the room on its disk. Whether anything was written. Raises OSError."""
        has_output = self.read_sizes(job, now)
        if has_output:
            self._note_full_disk(job, _FULL_NOW)
        self._output_cap.look(job)
        return has_output

    def look_at_cap(self, job: ManagedJob) -> None:
        self._output_cap.look(job)

    def note_trouble(self, job: ManagedJob, text: str) -> None:
        """Write down, once, why something of the job cannot be observed."""
        if job.history.trouble != text:
            job.history.trouble = text
            self._journal.record(job.id, datetime.now(UTC), "trouble", text)

    def note_if_gone(self, job: ManagedJob) -> None:
        if run_of(job).files.is_gone:
            folder = to_wire(self._home.job(job.id))
            self.note_trouble(job, f"its output was removed from {folder}: what it prints is lost")

    def finish(self, job: ManagedJob) -> None:
        """Every stage has ended."""
        run = run_of(job)
        self._truncations.finish(job)
        output = job.output
        if output.newest is not None:
            with contextlib.suppress(
                OSError
            ):  # then the order of what was written in its last second is unknown
                before = (output.stdout, *(stage.history.stderr_bytes for stage in job.stages))
                self._note_order(job, before, run.files.sizes() or before, was_shorter=False)
        run.files.close()
        self._read_final_sizes(job)
        has_written = job.output.stdout or any(stage.history.stderr_bytes for stage in job.stages)
        has_run = job.life.started is not None
        # A job that wrote nothing and succeeded had nothing to lose, as far as anybody can tell.
        if has_written or (has_run and job.life.state == "failed"):
            self._note_full_disk(job, _FULL_AT_END)

    def _note_full_disk(self, job: ManagedJob, text: str) -> None:
        """A job that gets ENOSPC seldom says so, least of all where its messages go. What its write(2) returned nobody else
        can see, but that the disk had no room while it wrote, or as it ended. A terminal is no matter of this: what is
        printed there waits for room, and nothing is lost.
        """
        if job.spec.pty or not is_full(self._home.jobs):
            return
        if job.history.disk_full is None:
            self._journal.record(job.id, datetime.now(UTC), "output", text)
        job.history.disk_full = datetime.now(UTC)
        self._table.touch(job)

    def _read_final_sizes(self, job: ManagedJob) -> None:
        if job.life.started is None and not leaders_of(job.stages):
            return
        # EIO, ENOMEM: a job that has ended has ended; its sizes stay those that were last seen.
        with contextlib.suppress(OSError):
            for stage in job.stages:
                stage.history.stderr_bytes = size_own(self._home.stderr(job.id, stage.number))
            job.output.stdout = size_own(self._home.stdout(job.id))

    def read_sizes(self, job: ManagedJob, now: float) -> bool:
        """The sizes of the output files; whether anything was written. Raises OSError."""
        output = job.output
        sizes = run_of(job).files.sizes()
        if not sizes:
            return False
        before = (output.stdout, *(stage.history.stderr_bytes for stage in job.stages))
        was_shorter = self._truncations.look(job, sizes)
        # Of a file that was made shorter all that stands there now may be new.
        grown = sum(new - old if new >= old else new for new, old in zip(sizes, before, strict=True))
        has_output = was_shorter or tuple(sizes) != before
        if has_output and len(sizes) > 1:
            self._note_order(job, before, sizes, was_shorter=was_shorter)
        output.stdout, output.stderr = sizes[0], sum(sizes[1:])
        for stage, size in zip(job.stages, sizes[1:], strict=True):
            stage.history.stderr_bytes = size
        output.written += grown
        recent = output.recent
        if has_output:
            output.last_output = datetime.now(UTC)
        if has_output or recent:
            recent.append((now, output.written))
            while len(recent) > 2 and recent[1][0] <= now - RATE_WINDOW:
                recent.pop(0)
            if recent[0][1] == recent[-1][1] and recent[-1][0] - recent[0][0] >= RATE_WINDOW:
                recent.clear()
            self._table.touch(job)
        return has_output

    def _note_order(
        self, job: ManagedJob, before: Sequence[int], sizes: Sequence[int], *, was_shorter: bool
    ) -> None:
        output, path = job.output, self._home.order(job.id)
        if was_shorter:
            stream_order.forget(path)
            output.newest = None
        else:
            output.newest = stream_order.note_growth(
                path, output.newest, before, sizes, run_of(job).files.written_at
            )
