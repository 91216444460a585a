"""How each running job does, and why: its health, and the sentence of its diagnosis once it is still."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from corral.manage.jobs import ManagedJob
from corral.manage.onstuck import is_to_be_ended
from corral.manage.reasons import observe_waits, words_for
from corral.manage.stories import note_stuck
from corral.observe.chains import OUTSIDE_STILL_SHARE, WaitGraph, is_benign, is_deadlocked, is_stuck_polling
from corral.observe.diagnose import diagnose_graph
from corral.observe.progress import PollingDetector, Progress, health_of

if TYPE_CHECKING:
    from corral.manage.manager import Manager

DIAGNOSE_AFTER = 1.5
"""Seconds without movement until a job is diagnosed."""
EARLY_AFTER = 0.9
"""The same for one that was not diagnosed for a while: one tick of the monitor, so that a ring is found soon."""
EARLY_EVERY = 10.0
SECONDS_A_TICK = 0.1
"""CPU time that may go into diagnoses in one tick before the rest is left for the next one."""
MEETS_AT = 0.25
"""The share of `stuck_after` after which a job that looks round is looked at for the first time."""
LOOK_AGAIN_SECONDS = 5.0
"""How often a still job is diagnosed anew whose waits end at processes that are not its own: they may move unseen."""


class Judge:
    """Judges jobs, one at a time, as the monitor visits them."""

    def __init__(self, manager: Manager) -> None:
        self._manager = manager
        self._tick = 0.0
        self._spent = 0.0

    def judge(self, job: ManagedJob, now: float) -> None:
        """Settle the job's health as of `now` (monotonic seconds)."""
        progress = job.progress
        assert progress is not None
        is_paused = job.life.state != "running"
        if not is_paused and self._is_late(job, progress, now):
            return
        before = (job.health, job.bottleneck, job.diagnosis)
        if is_paused:
            progress.touch(now)
            job.quiet = None
        elif progress.still_for(now) >= self._patience(job, now) or _flows(job):
            self.explain(job, now)
        is_still = not is_paused and job.diagnosis is not None
        health, since = health_of(
            progress,
            now,
            job.spec.stuck_after,
            job.is_benign if is_still else None,
            is_paused=is_paused,
            is_cycle=is_still and job.is_deadlocked,
        )
        quiet_since = None if is_paused else self._in_vain_since(job, now)
        if quiet_since is not None:
            health, since = "stuck", quiet_since
        if health == "stuck" != job.health and self._spent > SECONDS_A_TICK:
            quiet_since = None  # in the next tick
        elif health == "stuck" != job.health and self._has_grown(job, progress):
            # Some of it was not looked at. The next visit takes that for a movement.
            quiet_since = None
        elif health != job.health:
            job.health = health
            job.health_since = (
                None if since is None else datetime.now(UTC) - timedelta(seconds=max(0.0, now - since))
            )
            if health == "stuck":
                self.explain(job, now, anew=True)
        if quiet_since is not None and job.quiet is not None:
            # Looking round dropped the diagnosis, and it is still the same.
            job.diagnosis = job.quiet.diagnosis = job.diagnosis or job.quiet.diagnosis
        if job.health == "stuck":
            note_stuck(job)
        if (job.health, job.bottleneck, job.diagnosis) != before:
            self._manager.touch(job)

    def _in_vain_since(self, job: ManagedJob, now: float) -> float | None:
        """Since when a job waits in vain that looks round now and then, and so is never still; None for any other."""
        quiet = job.quiet = job.quiet or PollingDetector(now)
        transferred = 0
        for usage in [member.usage for member in job.run.members.values() if member.usage is not None]:
            if usage.read_bytes is None or usage.written_bytes is None:
                # Another user's: what it reads and writes is not told, so nothing tells that it does neither.
                job.quiet = None
                return None
            transferred += usage.read_bytes + usage.written_bytes
        clocks = {pid: member.cpu_ns for pid, member in job.run.members.items()}
        quiet.observe(now, clocks, (transferred, job.output.stdout, job.output.stderr))
        if not quiet.has_stirred or quiet.lasts(now) < job.spec.stuck_after:
            if (
                quiet.has_stirred
                and not quiet.has_met
                and quiet.lasts(now) >= MEETS_AT * job.spec.stuck_after
            ):
                # What it waits for has to be still as well from now on.
                quiet.has_met = True
                self._look(job)
            return None
        if now >= quiet.look_again_at:
            # It may just have been at work when it was looked at; but a server may look round all its life: soon, then
            # less and less often.
            quiet.is_sure = is_stuck_polling(self._look(job), job.spec.stuck_after - 1.0)
            quiet.looks = min(quiet.looks + 1, 5)
            pause = LOOK_AGAIN_SECONDS if quiet.is_sure else 2.0 ** (quiet.looks - 1)
            quiet.look_again_at = now + pause
        return quiet.since if quiet.is_sure else None

    def _has_grown(self, job: ManagedJob, progress: Progress) -> bool:
        """Whether the job has processes that no scan has told of yet: the last one was before it moved last."""
        monitor = self._manager.monitor
        if monitor.last_scan > progress.last_moved:
            return False
        known = set(job.run.members)
        monitor.scan_job(job)
        return job.run.members.keys() != known

    def _is_late(self, job: ManagedJob, progress: Progress, now: float) -> bool:
        """Whether a job is left for the next tick, as it is: many became still at once, and others wait for answers."""
        if now != self._tick:
            self._tick, self._spent = now, 0.0
        is_still = progress.still_for(now) >= self._patience(job, now)
        return is_still and job.diagnosis is None and self._spent > SECONDS_A_TICK

    @staticmethod
    def _patience(job: ManagedJob, now: float) -> float:
        return EARLY_AFTER if now - job.explained_at > EARLY_EVERY else DIAGNOSE_AFTER

    def explain(self, job: ManagedJob, now: float, *, anew: bool = False) -> None:
        """Diagnose, unless nothing can have changed since the last time."""
        if not anew and job.diagnosis is not None and not _flows(job) and now < job.look_again_at:
            return
        job.explained_at = now
        web = self._look(job)
        deadlocked = is_deadlocked(web)
        if deadlocked and not job.is_deadlocked:
            # Said at once, so nothing of it may come from what was read a moment ago.
            self._manager.monitor.holders.forget()
            web = self._look(job)
            deadlocked = is_deadlocked(web)
        job.is_benign = is_benign(web)
        job.is_deadlocked = deadlocked
        job.diagnosis = diagnose_graph(web)
        # All in the same pass, so that what has to be read of the whole machine is read once for all of them.
        again = (now // LOOK_AGAIN_SECONDS + 1) * LOOK_AGAIN_SECONDS
        job.look_again_at = min(again, self._is_due(job, web, now)) if web.seen.outside else float("inf")

    @staticmethod
    def _is_due(job: ManagedJob, web: WaitGraph, now: float) -> float:
        """When a job is to be looked at that may be stuck by then: those that it waits for may have moved meanwhile."""
        assert job.progress is not None
        left = job.spec.stuck_after - job.progress.still_for(now)
        stills = [still for pid, still in web.seen.rests.items() if web.stirs(pid)]
        left = max([left, *(OUTSIDE_STILL_SHARE * job.spec.stuck_after - still for still in stills)])
        return now + left if left > 0 else float("inf")

    def _look(self, job: ManagedJob) -> WaitGraph:
        began = time.thread_time()
        try:
            return self._web(job)
        finally:
            self._spent += time.thread_time() - began

    def _web(self, job: ManagedJob) -> WaitGraph:
        seen = observe_waits(self._manager, job)
        job.view = None
        for stage in job.stages:
            stage.does = (
                words_for(seen, stage.handle.identity.pid)
                if stage.handle.identity and stage.is_running
                else None
            )
        return WaitGraph(self._manager.view(job), seen)


def is_settled(job: ManagedJob) -> bool:
    """Whether nothing about a job that has not moved can change with the time alone."""
    if job.life.state != "running" or job.cpu_percent or job.output.recent:
        return False
    if is_to_be_ended(job) or job.diagnosis is None or _flows(job) or job.look_again_at != float("inf"):
        return False
    return job.health == "stuck" or (job.health == "waiting" and job.is_benign is True)


def _flows(job: ManagedJob) -> bool:
    """Whether something flows in it as far as is known, so that the stage that holds up the rest may be another one soon."""
    return not job.pipes_rest and any(stage.time is not None for stage in job.stages)
