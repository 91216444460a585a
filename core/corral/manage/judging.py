"""How each running job does, and why: its health, and the sentence of its diagnosis once it is still."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from corral.manage.jobs import ManagedJob
from corral.manage.jobtable import JobTable
from corral.manage.keeping import Persistence
from corral.manage.member_scan import MemberScan
from corral.manage.onstuck import is_to_be_ended
from corral.manage.reasons import WaitsOfJobs, words_for
from corral.observe.chains import OUTSIDE_STILL_SHARE, WaitGraph, is_benign, is_deadlocked, is_stuck_polling
from corral.observe.diagnose import diagnose_graph
from corral.observe.progress import PollingDetector, Progress, health_of
from corral.values.jobs import Health, Job

DIAGNOSE_AFTER = 1.5
"""Seconds without movement until a job is diagnosed."""
EARLY_AFTER = 0.9
"""The same for one that was not diagnosed for a while: one tick of the monitor, so that a ring is found soon."""
EARLY_EVERY = 10.0
SECONDS_A_TICK = 0.1
"""CPU time that may go into diagnoses in one tick before the rest is left for the next one."""
MEETS_AT = 0.25
"""The share of `stuck_after` after which a job that polls is looked at for the first time."""
LOOK_AGAIN_SECONDS = 5.0
"""How often a still job is diagnosed again whose waits end at processes that are not its own: they may move unseen."""
_NEVER = float("inf")


class _Verdict(NamedTuple):
    """What the evidence says of a job, and since when (monotonic seconds)."""

    health: Health | None
    since: float | None
    is_polling: bool = False
    """It is stuck although it moves now and then, only to look whether what it waits for has come."""


class Judge:
    """Judges jobs, one at a time, as the monitor visits them.

    Args:
        view: the snapshot of a job.
    """

    def __init__(
        self,
        table: JobTable,
        members: MemberScan,
        waits: WaitsOfJobs,
        persistence: Persistence,
        view: Callable[[ManagedJob], Job],
    ) -> None:
        self._table = table
        self._members = members
        self._waits = waits
        self._persistence = persistence
        self._view = view
        self._tick = 0.0
        self._spent = 0.0

    def judge(self, job: ManagedJob, now: float) -> None:
        """Settle the job's health as of `now` (monotonic seconds)."""
        progress = job.history.progress
        assert progress is not None
        is_running = job.life.state == "running"
        if is_running and self._is_late(job, progress, now):
            return
        before = (job.history.health, job.bottleneck, job.diagnosis)
        if is_running:
            verdict = self._verdict(job, progress, now)
            if self._counts(job, progress, verdict):
                self._settle(job, verdict, now)
        else:
            # The time that it is paused is not held against it.
            progress.touch(now)
            job.quiet = None
            self._settle(job, _Verdict(None, None), now)
        if job.history.health == "stuck":
            self._persistence.note_stuck(job)
        if (job.history.health, job.bottleneck, job.diagnosis) != before:
            self._table.touch(job)

    def _verdict(self, job: ManagedJob, progress: Progress, now: float) -> _Verdict:
        """What is seen of a running job by now, which is diagnosed where it does not move."""
        if progress.still_for(now) >= _patience(job, now) or _flows(job):
            self._explain(job, now)
        is_still = job.diagnosis is not None
        found = health_of(
            progress,
            now,
            job.spec.stuck_after,
            job.is_benign if is_still else None,
            is_cycle=is_still and job.is_deadlocked,
        )
        polling_since = self._stuck_polling_since(job, now)
        return _Verdict(*found) if polling_since is None else _Verdict("stuck", polling_since, True)

    def _counts(self, job: ManagedJob, progress: Progress, verdict: _Verdict) -> bool:
        """Whether a verdict counts now. That a job has become stuck is said only once there is time for a closer look, and
        not of one with processes that were not looked at yet: the next visit takes these for a movement.
        """
        if verdict.health != "stuck" or job.history.health == "stuck":
            return True
        return self._spent <= SECONDS_A_TICK and not self._has_grown(job, progress)

    def _settle(self, job: ManagedJob, verdict: _Verdict, now: float) -> None:
        """The verdict is the job's health from now on."""
        if verdict.health != job.history.health:
            ago = None if verdict.since is None else timedelta(seconds=max(0.0, now - verdict.since))
            job.history.health = verdict.health
            job.history.health_since = None if ago is None else datetime.now(UTC) - ago
            if verdict.health == "stuck":
                self._explain(job, now, renew=True)
        if verdict.is_polling and job.quiet is not None:
            # Its last movement dropped the diagnosis, and it is still the same.
            job.diagnosis = job.quiet.diagnosis = job.diagnosis or job.quiet.diagnosis

    def _stuck_polling_since(self, job: ManagedJob, now: float) -> float | None:
        """Since when a job waits in vain that polls now and then, and so is never still; None for any other."""
        transferred = _transferred(job)
        if transferred is None:
            job.quiet = None
            return None
        quiet = job.quiet = job.quiet or PollingDetector(now)
        clocks = {pid: member.cpu_ns for pid, member in job.run.members.items()}
        quiet.observe(now, clocks, (transferred, job.output.stdout, job.output.stderr))
        if not quiet.has_stirred:
            return None
        if quiet.lasts(now) < job.spec.stuck_after:
            if not quiet.has_checked_targets and quiet.lasts(now) >= MEETS_AT * job.spec.stuck_after:
                # What it waits for has to be still as well from now on.
                quiet.has_checked_targets = True
                self._look(job)
            return None
        if now >= quiet.look_again_at:
            # It may just have been at work when it was looked at; but a server may poll all its life: soon, then less
            # and less often.
            quiet.was_stuck = is_stuck_polling(self._look(job), job.spec.stuck_after - 1.0)
            quiet.looks = min(quiet.looks + 1, 5)
            pause = LOOK_AGAIN_SECONDS if quiet.was_stuck else 2.0 ** (quiet.looks - 1)
            quiet.look_again_at = now + pause
        return quiet.since if quiet.was_stuck else None

    def _has_grown(self, job: ManagedJob, progress: Progress) -> bool:
        """Whether the job has processes that no scan has told of yet: the last one was before it moved last."""
        if self._members.last_scan > progress.last_moved:
            return False
        known = set(job.run.members)
        self._members.scan([job])
        return job.run.members.keys() != known

    def _is_late(self, job: ManagedJob, progress: Progress, now: float) -> bool:
        """Whether a job is left for the next tick, as it is: many became still at once, and others wait for answers."""
        if now != self._tick:
            self._tick, self._spent = now, 0.0
        is_still = progress.still_for(now) >= _patience(job, now)
        return is_still and job.diagnosis is None and self._spent > SECONDS_A_TICK

    def _explain(self, job: ManagedJob, now: float, *, renew: bool = False) -> None:
        """Diagnose, unless nothing can have changed since the last time."""
        if not renew and job.diagnosis is not None and not _flows(job) and now < job.look_again_at:
            return
        job.explained_at = now
        web = self._look(job)
        deadlocked = is_deadlocked(web)
        if deadlocked and not job.is_deadlocked:
            # Said at once, so nothing of it may come from what was read a moment ago.
            self._waits.forget()
            web = self._look(job)
            deadlocked = is_deadlocked(web)
        job.is_benign = is_benign(web)
        job.is_deadlocked = deadlocked
        job.diagnosis = diagnose_graph(web)
        # All in the same pass, so that what has to be read of the whole machine is read once for all of them.
        again = (now // LOOK_AGAIN_SECONDS + 1) * LOOK_AGAIN_SECONDS
        job.look_again_at = min(again, _is_due(job, web, now)) if web.seen.outside else _NEVER

    def _look(self, job: ManagedJob) -> WaitGraph:
        began = time.thread_time()
        try:
            return self._web(job)
        finally:
            self._spent += time.thread_time() - began

    def _web(self, job: ManagedJob) -> WaitGraph:
        seen = self._waits.look(job)
        job.view = None
        for stage in job.stages:
            leader = stage.handle.identity if stage.is_running else None
            stage.history.does = None if leader is None else words_for(seen, leader.pid)
        return WaitGraph(self._view(job), seen)


def is_settled(job: ManagedJob) -> bool:
    """Whether nothing about a job that has not moved can change with the time alone."""
    if job.life.state != "running" or job.history.cpu_percent or job.output.recent:
        return False
    if is_to_be_ended(job) or job.diagnosis is None or _flows(job) or job.look_again_at != _NEVER:
        return False
    return job.history.health == "stuck" or (job.history.health == "waiting" and job.is_benign is True)


def _patience(job: ManagedJob, now: float) -> float:
    return EARLY_AFTER if now - job.explained_at > EARLY_EVERY else DIAGNOSE_AFTER


def _is_due(job: ManagedJob, web: WaitGraph, now: float) -> float:
    """When a job is to be looked at that may be stuck by then: those that it waits for may have moved meanwhile."""
    assert job.history.progress is not None
    left = job.spec.stuck_after - job.history.progress.still_for(now)
    stills = [still for pid, still in web.seen.idle_seconds.items() if web.may_be_active(pid)]
    left = max([left, *(OUTSIDE_STILL_SHARE * job.spec.stuck_after - still for still in stills)])
    return now + left if left > 0 else _NEVER


def _transferred(job: ManagedJob) -> int | None:
    """Bytes that its processes have read and written; None where one is another user's, and that is not told."""
    total = 0
    for usage in [member.usage for member in job.run.members.values() if member.usage is not None]:
        if usage.read_bytes is None or usage.written_bytes is None:
            return None
        total += usage.read_bytes + usage.written_bytes
    return total


def _flows(job: ManagedJob) -> bool:
    """Whether something flows in it as far as is known, so that the stage that holds up the rest may be another one soon."""
    return not job.pipes_rest and any(stage.history.time is not None for stage in job.stages)
