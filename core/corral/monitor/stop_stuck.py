"""Stops jobs that are stuck and were started with `on_stuck="stop"`, after their diagnosis is stored."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from msgspec import Struct

from corral.jobs.managed_job import ManagedJob
from corral.jobs.transitions import Apply
from corral.journal.history_rows import cut
from corral.lifecycle.clock import moment
from corral.lifecycle.state import StopRequested
from corral.monitor.history_store import HistoryStore
from corral.monitor.last_stacks import LastStacks


def is_to_be_ended(job: ManagedJob) -> bool:
    return job.history.health == "stuck" and job.spec.on_stuck == "stop" and job.life.state == "running"


class StuckStopper(Struct, eq=False):
    """Stops jobs that are stuck."""

    _history_store: HistoryStore
    _last_stacks: LastStacks
    _apply: Apply
    commit: Callable[[], bool]
    """Writes what was noted to the journal; whether it could be written."""
    scan: Callable[[Sequence[ManagedJob]], None]
    """Updates the processes of jobs."""
    is_attended: Callable[[int], bool]
    """Whether somebody sits at the terminal of that job."""

    def stop(self, jobs: Iterable[ManagedJob], has_moved: Callable[[ManagedJob], bool]) -> None:
        """Stop those of `jobs` that are stuck and are to be stopped then.

        Not while somebody is attached to a job, who may be thinking what to type. The stacks of its Python programs are
        captured first, which may take until the next tick.

        The diagnoses are committed before the first signal; if the journal cannot be written, the next tick tries again.
        A commit may take a while, so a job that `has_moved` since its diagnosis goes on.
        """
        stuck = [job for job in jobs if is_to_be_ended(job) and not self.is_attended(job.id)]
        stuck = [job for job in stuck if self._last_stacks.are_known(job)]
        if not stuck:
            return
        for job in stuck:
            self._history_store.note_stuck(job)
            self._history_store.keep(job)
        if not self.commit():
            return
        self.scan(stuck)
        for job in stuck:
            if not has_moved(job):
                self._apply(job, StopRequested(**moment(), cause="stuck", reason=_reason(job)))


def _reason(job: ManagedJob) -> str:
    diagnosis = job.history.stuck
    return "stuck" if diagnosis is None else cut(f"stuck: {diagnosis.summary}")
