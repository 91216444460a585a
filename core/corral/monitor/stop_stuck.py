"""Stops jobs that are stuck and were started with `on_stuck="stop"`, after their diagnosis is stored."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from corral.jobs.managed_job import ManagedJob
from corral.jobs.transitions import Apply
from corral.journal.history_rows import cut
from corral.lifecycle.clock import moment
from corral.lifecycle.state import StopRequested
from corral.monitor.history_store import HistoryStore
from corral.monitor.last_stacks import LastStacks


def is_to_be_ended(job: ManagedJob) -> bool:
    return job.history.health == "stuck" and job.spec.on_stuck == "stop" and job.life.state == "running"


class StuckStopper:
    """Stops jobs that are stuck.

    Args:
        commit: writes what was noted to the journal; whether it could be written.
        scan: updates the processes of jobs.
        is_attended: whether somebody sits at the terminal of that job.
    """

    def __init__(
        self,
        history_store: HistoryStore,
        last_stacks: LastStacks,
        apply: Apply,
        *,
        commit: Callable[[], bool],
        scan: Callable[[Sequence[ManagedJob]], None],
        is_attended: Callable[[int], bool],
    ) -> None:
        self._history_store = history_store
        self._last_stacks = last_stacks
        self._apply = apply
        self._commit = commit
        self._scan = scan
        self._is_attended = is_attended

    def stop(self, jobs: Iterable[ManagedJob], has_moved: Callable[[ManagedJob], bool]) -> None:
        """Stop those of `jobs` that are stuck and are to be stopped then.

        Not while somebody is attached to a job, who may be thinking what to type. The stacks of its Python programs are
        captured first, which may take until the next tick.

        The diagnoses are committed before the first signal; if the journal cannot be written, the next tick tries again.
        A commit may take a while, so a job that `has_moved` since its diagnosis goes on.
        """
        stuck = [job for job in jobs if is_to_be_ended(job) and not self._is_attended(job.id)]
        stuck = [job for job in stuck if self._last_stacks.are_known(job)]
        if not stuck:
            return
        for job in stuck:
            self._history_store.note_stuck(job)
            self._history_store.keep(job)
        if not self._commit():
            return
        self._scan(stuck)
        for job in stuck:
            if not has_moved(job):
                self._apply(job, StopRequested(**moment(), cause="stuck", reason=_reason(job)))


def _reason(job: ManagedJob) -> str:
    diagnosis = job.history.stuck
    return "stuck" if diagnosis is None else cut(f"stuck: {diagnosis.summary}")
