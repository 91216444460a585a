"""What clients ask about one job: why it does not go on or failed, its processes and pipes, and all of its details."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from itertools import chain, islice

from msgspec import Struct, structs

from corral.commandline.abbreviation import with_full_command
from corral.diagnosis.buffered_output_hint import with_buffering_advice
from corral.diagnosis.diagnose import diagnose, on_full_disk
from corral.diagnosis.postmortem import explain_failure
from corral.diagnosis.repeated_output import with_repeated_line
from corral.jobs.executor import Executor
from corral.jobs.job_table import JobTable
from corral.jobs.snapshots import Snapshots
from corral.journal.commits import Commits
from corral.journal.journal import Journal
from corral.lifecycle.outcome import all_events
from corral.model.errors import NotSoError, UsageError
from corral.model.home import Home
from corral.model.job import ProcessView
from corral.model.reports import Detail, Diagnosis, PeekedPipe, with_history
from corral.model.urgency import urgency
from corral.output.job_files import size_own
from corral.platform.files.disk_usage import is_full

MOST_PEEKED = 1 << 20
"""Bytes of one pipe: the largest that an ordinary user may have (pipe-max-size)."""


class Explanation(Struct, eq=False):
    """Answers what clients ask about one job."""

    _home: Home
    _table: JobTable
    _journal: Journal
    _commits: Commits
    _snapshots: Snapshots
    _executor: Executor
    newest: Callable[[], int]
    """The newest job of all. Raises UnknownJobError."""

    def why(self, job_id: int) -> Diagnosis:
        """The diagnosis of a job, made now."""
        job = self._table.started.get(job_id)
        snapshot = self._snapshots.of(job_id)
        if snapshot.is_ended:
            self._commits.soon()
            found = with_history(diagnose(snapshot), snapshot, self._executor.history(job_id))
            return explain_failure(found, snapshot, self._journal)
        if job is None or not job.life.is_started:
            return diagnose(snapshot)
        self._executor.look(job)
        snapshot = self._snapshots.of(job_id)
        printed = snapshot.stdout_bytes
        with suppress(OSError):  # the file is gone, or another one took its place: `logs` says so
            printed = max(printed, size_own(self._home.stdout(job_id)))
        found = with_buffering_advice(diagnose(snapshot, self._executor.waits_of(job)), snapshot, printed)
        found = with_repeated_line(found, snapshot, self._home) if printed else found
        return on_full_disk(snapshot, found) if is_full(self._home.jobs) else found

    def most_urgent(self) -> int:
        """The most urgent of those that have not ended; where there is none, the newest."""
        newest_queued = islice(reversed(self._table.queued), 1)
        snapshots = [self._snapshots.of(job_id) for job_id in chain(self._table.begun_ids(), newest_queued)]
        return int(min(snapshots, key=urgency).id) if snapshots else self.newest()

    def processes(self, job_id: int) -> tuple[ProcessView, ...]:
        """The tree of a job, counted now; empty for one that has ended without leftovers."""
        job = self._table.started.get(job_id)
        if job is None:
            return ()
        self._executor.look(job)
        return self._executor.processes_of(job)

    def peek(self, job_id: int, pipe: int | None, limit: int | None) -> tuple[PeekedPipe, ...]:
        """The fill of one of its pipes or of all, read now; with `limit` the oldest bytes in each.

        Raises:
            NotSoError: it has no such pipe.
            UsageError: a limit below 1 or above 1 MiB.
        """
        if limit is not None and not 1 <= limit <= MOST_PEEKED:
            raise UsageError(f"{limit} bytes: at least 1 and at most {MOST_PEEKED} can be peeked at")
        count = len(self._snapshots.of(job_id).stages) - 1
        if pipe is not None and not 1 <= pipe <= count:
            has = "no pipes: it has one stage" if count == 0 else f"pipes 1 to {count}"
            raise NotSoError(f"job {job_id} has no pipe {pipe}; it has {has}")
        job = self._table.live(job_id)
        numbers = range(1, count + 1) if pipe is None else [pipe]
        if job_id in self._table.queued:
            return tuple(_no_pipe(number, "the job is queued: it has no pipes yet") for number in numbers)
        if job is None:
            return tuple(_no_pipe(number, "the job has ended: its pipes are gone") for number in numbers)
        return tuple(self._executor.peek(job, number, limit) for number in numbers)

    def detail(self, job_id: int) -> Detail:
        """All of one job."""
        self._commits.soon()
        found = self._journal.detail(job_id)
        snapshot = self._snapshots.fresh(job_id, time.monotonic())
        if snapshot.cut:
            snapshot = with_full_command(snapshot, self._snapshots.origin_of(job_id)[0])
        job = self._table.started.get(job_id)
        report = job.report if job is not None and job.report is not None else found.stop
        events = all_events(snapshot, self._journal.events(job_id))
        told = self._executor.history(job_id)
        return structs.replace(
            found,
            job=snapshot,
            events=events,
            tree=self.processes(job_id),
            stop=report,
            life=told.life,
            diagnosis=told.diagnosis,
            diagnosed=told.diagnosed,
        )


def _no_pipe(number: int, note: str) -> PeekedPipe:
    return PeekedPipe(number=number, from_stage=number, to_stage=number + 1, note=note)
