"""Which jobs lived when a process was born: one of these has born it, where it came to us as an orphan."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Mapping

from corral.jobs.managed_job import ManagedJob
from corral.platform.inspect.fdinfo import children_of
from corral.platform.process import boot_id
from corral.platform.process.identity import ProcessIdentity, identify, is_alive
from corral.processes.local_run import handle_of, leaders_of

KEPT = 1000
FORGOTTEN = 0
"""In place of the ids of jobs that are forgotten; no job has it."""


class JobLifetimes:
    """Knows the jobs in hand, and remembers the lives of those that were. Times are those of `boot.clock`."""

    def __init__(self, in_hand: Mapping[int, ManagedJob]) -> None:
        self._in_hand = in_hand
        self._known_since = boot_id.clock()
        self._inherited = [identity for pid in children_of(os.getpid()) if (identity := identify(pid))]
        """Whatever this process had as children before it had jobs, or with those of the daemon before: theirs come to us, too."""
        self._over: OrderedDict[int, tuple[float, float]] = OrderedDict()

    def note_over(self, job: ManagedJob) -> None:
        """Nothing is left of that job, which is let go of."""
        started = _started_at(job)
        if started is None and not job.life.is_started:
            return
        self._over[job.id] = (0.0 if started is None else started, boot_id.clock())
        self._over.move_to_end(job.id)
        while len(self._over) > KEPT:
            self._known_since = self._over.popitem(last=False)[1][1]

    def of(self, identity: ProcessIdentity) -> list[int]:
        """The ids of all jobs that may have had a process at that moment, FORGOTTEN where there may be more."""
        born = boot_id.started(identity)
        lived = [job.id for job in self._in_hand.values() if _had_started(job, born)]
        lived += [
            job_id
            for job_id, (started, over) in self._over.items()
            if started <= born and born <= over and job_id not in lived
        ]
        return lived if born > self._known_since and self._has_jobs_orphans_only() else [FORGOTTEN, *lived]

    def _has_jobs_orphans_only(self) -> bool:
        """Whether orphans that come to this process descend from a job: init gets everybody's (pid_namespaces(7))."""
        self._inherited = [identity for identity in self._inherited if is_alive(identity)]
        own = {leader for job in self._in_hand.values() for _, leader in leaders_of(job.stages)}
        return os.getpid() != 1 and own.issuperset(self._inherited)


def _had_started(job: ManagedJob, born: float) -> bool:
    """In hand it is not over yet. Of one that an earlier daemon has seen ending it is not known when it began."""
    started = _started_at(job)
    if started is not None:
        return started <= born
    return job.life.is_ended or any(handle_of(stage).popen is not None for stage in job.stages)


def _started_at(job: ManagedJob) -> float | None:
    return min((boot_id.started(leader) for _, leader in leaders_of(job.stages)), default=None)
