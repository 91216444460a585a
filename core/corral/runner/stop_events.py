"""Turns what a stop sequence does and finds into events of its job: signals sent, survivors, an empty tree."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping

from msgspec import Struct, structs

from corral.jobs.executor import BY_STOP
from corral.jobs.managed_job import ManagedJob
from corral.jobs.transitions import Apply
from corral.journal.commits import Commits
from corral.journal.journal import Journal
from corral.lifecycle.clock import moment
from corral.lifecycle.state import SignalSent, StageSignalled, SurvivorsFound, TreeEmptied
from corral.platform.process.identity import ProcessIdentity
from corral.processes.reaping import ChildEnd
from corral.processes.stop_sequence import LocalStop, report_on
from corral.runner.children import Children


class StopEvents(Struct, eq=False):
    """Implements `corral.processes.stop_sequence.StopListener`."""

    _jobs: Mapping[int, ManagedJob]
    """All jobs that have begun, by id."""
    _journal: Journal
    _commits: Commits
    _apply: Apply
    _children: Children
    note_left: Callable[[ManagedJob, int], None]
    """Called when the leftovers of an ended job were stopped, with how many are in doubt."""
    note_survivors: Callable[[int, str], None]
    """Called with the id of a job that could not be ended, and why."""
    wake: Callable[[], None]
    """Called when a start may be due."""

    def unended(self) -> Collection[ManagedJob]:
        return self._jobs.values()

    def note_stops(self) -> None:
        self._commits.for_sure()

    def reap(self) -> None:
        self._children.reap()

    def end_of(self, identity: ProcessIdentity) -> ChildEnd | None:
        return self._children.end_of(identity)

    def signal_sent(self, stop: LocalStop, signal: str) -> None:
        if stop.stage is None:
            self._apply(stop.job, SignalSent(**moment(), signal=signal))
        else:
            grace = max(0.0, stop.kill_at - time.monotonic())
            sent = StageSignalled(**moment(), number=stop.stage, signal=signal, by=BY_STOP, grace=grace)
            self._apply(stop.job, sent)

    def tree_emptied(self, stop: LocalStop) -> None:
        job = stop.job
        if stop.stage is not None or self._jobs.get(job.id) is not job:
            # Of one stage only; or the job was removed meanwhile, its leftovers having ended.
            return
        job.report = report_on(stop)
        was_ended = job.life.is_ended
        if not was_ended:
            job.leftovers = 0
        self._apply(job, TreeEmptied(**moment()))
        job.report = structs.replace(job.report, state=job.life.state)
        self._journal.stop_reported(job.id, job.report)
        if was_ended:
            self.note_left(job, len(job.report.in_doubt))
        self.wake()

    def survivors_found(self, stop: LocalStop, text: str) -> None:
        self._apply(stop.job, SurvivorsFound(**moment(), text=text))
        if stop.stage is None:
            self.note_survivors(stop.job.id, text)
