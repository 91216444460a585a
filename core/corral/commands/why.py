"""What clients ask about one job: why it does not go on or failed, its processes and pipes, and all of its details."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import chain

from msgspec import structs

from corral.commandline.abbreviation import with_full_command
from corral.diagnosis.diagnose import diagnose, on_full_disk
from corral.diagnosis.postmortem import explain_failure
from corral.diagnosis.wait_chains import Observations
from corral.jobs.job_table import JobTable
from corral.jobs.managed_job import ManagedJob
from corral.jobs.snapshots import Snapshots
from corral.journal.commits import Commits
from corral.journal.journal import Journal
from corral.lifecycle.outcome import all_events
from corral.model.home import Home
from corral.model.job import Job, ProcessView
from corral.model.reports import Detail, Diagnosis, PeekedPipe, Story, with_story
from corral.monitor.buffered_output_hint import with_buffering_advice
from corral.monitor.peek import peek
from corral.monitor.repeated_output import with_repeated_line
from corral.output.job_files import stat_own
from corral.platform.files.disk_usage import is_full

_URGENCY = {"stuck": 0, "active": 3, "waiting": 2}
_URGENCY_OF_OTHERS = 1


class Explanation:
    """Answers what clients ask about one job.

    Args:
        scan: reads the process table for one job.
        observe: what the processes of a job wait for.
        tree_of: the processes of a job.
        story_of: what is kept of a job beyond its end.
        newest: the newest job of all. Raises UnknownJobError.
    """

    def __init__(
        self,
        home: Home,
        table: JobTable,
        journal: Journal,
        commits: Commits,
        snapshots: Snapshots,
        *,
        scan: Callable[[ManagedJob], None],
        observe: Callable[[ManagedJob], Observations],
        tree_of: Callable[[ManagedJob], tuple[ProcessView, ...]],
        story_of: Callable[[int], Story],
        newest: Callable[[], int],
    ) -> None:
        self._home = home
        self._table = table
        self._journal = journal
        self._commits = commits
        self._snapshots = snapshots
        self._scan = scan
        self._observe = observe
        self._tree_of = tree_of
        self._story_of = story_of
        self._newest = newest

    def why(self, job_id: int) -> Diagnosis:
        """The diagnosis of a job, made now."""
        job = self._table.managed.get(job_id)
        view = self._snapshots.of(job_id)
        if view.is_ended:
            self._commits.soon()
            found = with_story(diagnose(view), view, self._story_of(job_id))
            return explain_failure(found, view, self._journal)
        if job is None or not job.life.is_started:
            return diagnose(view)
        self._scan(job)
        view = self._snapshots.of(job_id)
        printed = max(view.stdout_bytes, _size_of(self._home.stdout(job_id)))
        found = with_buffering_advice(diagnose(view, self._observe(job)), view, printed)
        found = with_repeated_line(found, view, self._home) if printed else found
        return on_full_disk(view, found) if is_full(self._home.jobs) else found

    def most_urgent(self) -> int:
        """The job that needs attention most: stuck, else the one that waits longest, else the newest."""
        queued = self._table.newest_queued()
        begun = (job for job in self._table.begun.values() if not job.life.is_ended)
        views = [self._snapshots.view(job) for job in chain(begun, () if queued is None else (queued,))]
        if not views:
            return self._newest()
        now = datetime.now(UTC)

        def urgency(view: Job) -> tuple[int, datetime, int]:
            rank = _URGENCY.get(view.health or "", _URGENCY_OF_OTHERS)
            return rank, view.health_since or now, -int(view.id)

        return int(min(views, key=urgency).id)

    def processes(self, job_id: int) -> tuple[ProcessView, ...]:
        """The tree of a job, counted now; empty for one that has ended without leftovers."""
        job = self._table.managed.get(job_id)
        if job is None:
            return ()
        self._scan(job)
        return self._tree_of(job)

    def peek(self, job_id: int, pipe: int | None, limit: int | None) -> tuple[PeekedPipe, ...]:
        """What is in its pipes. Raises NotSoError, UsageError."""
        return peek(self._snapshots.of(job_id), self._table.unended(job_id), pipe, limit)

    def detail(self, job_id: int) -> Detail:
        """All of one job."""
        self._commits.soon()
        found = self._journal.detail(job_id)
        view = self._snapshots.fresh(job_id, time.monotonic())
        if view.cut:
            view = with_full_command(view, self._snapshots.origin_of(job_id)[0])
        job = self._table.managed.get(job_id)
        report = job.report if job is not None and job.report is not None else found.stop
        events = all_events(view, self._journal.events(job_id))
        told = self._story_of(job_id)
        return structs.replace(
            found,
            job=view,
            events=events,
            tree=self.processes(job_id),
            stop=report,
            life=told.life,
            diagnosis=told.diagnosis,
            diagnosed=told.diagnosed,
        )


def _size_of(path: str) -> int:
    """0 where the file is gone, or another one took its place: `logs` says so."""
    try:
        return stat_own(path).st_size
    except OSError:
        return 0
