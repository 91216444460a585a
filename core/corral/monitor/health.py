"""Decides whether a running job is active, waiting or stuck, and diagnoses it once it stands still."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from msgspec import Struct

from corral.diagnosis.diagnose import diagnose_graph
from corral.diagnosis.wait_chains import (
    OUTSIDE_STILL_SHARE,
    WaitGraph,
    is_benign,
    is_deadlocked,
    is_stuck_polling,
)
from corral.jobs.job_table import JobTable
from corral.jobs.managed_job import ManagedJob
from corral.measure.stuck_rule import PollingDetector, Progress, health_of
from corral.model.job import Health, Job
from corral.monitor.history_store import HistoryStore
from corral.monitor.stop_stuck import is_to_be_ended
from corral.monitor.waits_of_job import WaitsOfJobs, words_of
from corral.processes.local_run import is_running, leader_of, run_of
from corral.processes.member_scan import MemberScan

DIAGNOSE_AFTER = 1.5
"""Seconds without movement until a job is diagnosed."""
DIAGNOSE_EARLY_AFTER = 0.9
"""The same for one that was not diagnosed for a while: one tick of the monitor, so that a deadlock is found soon."""
EARLY_EVERY = 10.0
SECONDS_A_TICK = 0.1
"""CPU time that may go into diagnoses in one tick before the rest is left for the next one."""
FIRST_CHECK_SHARE = 0.25
"""The share of `stuck_after` after which the processes that a polling job waits for are first observed."""
LOOK_AGAIN_SECONDS = 5.0
"""How often a still job is diagnosed again whose waits end at processes outside it, which may move unnoticed."""
_NEVER = float("inf")


class _Verdict(NamedTuple):
    """What the evidence says of a job, and since when (monotonic seconds)."""

    health: Health | None
    since: float | None
    is_polling: bool = False
    """It is stuck although it wakes up now and then, only to check whether what it waits for has come."""


class HealthJudge(Struct, eq=False):
    """Judges jobs, one at a time, as the monitor visits them."""

    _table: JobTable
    _members: MemberScan
    _waits: WaitsOfJobs
    _history_store: HistoryStore
    _snapshot: Callable[[ManagedJob], Job]
    """The snapshot of a job."""
    _tick: float = 0.0
    _spent: float = 0.0

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
            if self._is_accepted(job, progress, verdict):
                self._settle(job, verdict, now)
        else:
            # The time that it is paused is not held against it.
            progress.touch(now)
            job.polling = None
            self._settle(job, _Verdict(None, None), now)
        if job.history.health == "stuck":
            self._history_store.note_stuck(job)
        if (job.history.health, job.bottleneck, job.diagnosis) != before:
            self._table.touch(job)

    def _verdict(self, job: ManagedJob, progress: Progress, now: float) -> _Verdict:
        """The health of a running job by now. A job that does not move is diagnosed first."""
        if progress.still_for(now) >= _patience(job, now) or _flows(job):
            self._diagnose(job, now)
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

    def _is_accepted(self, job: ManagedJob, progress: Progress, verdict: _Verdict) -> bool:
        """Whether a verdict counts now. A job becomes stuck only in a tick with time left for a thorough diagnosis, and not
        while it has processes that no scan has found yet: the next visit counts these as a movement.
        """
        if verdict.health != "stuck" or job.history.health == "stuck":
            return True
        return self._spent <= SECONDS_A_TICK and not self._has_grown(job, progress)

    def _settle(self, job: ManagedJob, verdict: _Verdict, now: float) -> None:
        """Make the verdict the job's health."""
        if verdict.health != job.history.health:
            ago = None if verdict.since is None else timedelta(seconds=max(0.0, now - verdict.since))
            job.history.health = verdict.health
            job.history.health_since = None if ago is None else datetime.now(UTC) - ago
            if verdict.health == "stuck":
                self._diagnose(job, now, renew=True)
        if verdict.is_polling and job.polling is not None:
            # Its last movement dropped the diagnosis, and it is still the same.
            job.diagnosis = job.polling.diagnosis = job.diagnosis or job.polling.diagnosis

    def _stuck_polling_since(self, job: ManagedJob, now: float) -> float | None:
        """Since when a job is stuck that polls, and so never stands still; None for any other."""
        transferred = _transferred(job)
        if transferred is None:
            job.polling = None
            return None
        polling = job.polling = job.polling or PollingDetector(now)
        clocks = {pid: member.cpu_ns for pid, member in run_of(job).members.items()}
        polling.observe(now, clocks, (transferred, job.output.stdout, job.output.stderr))
        if not polling.has_stirred:
            return None
        if polling.lasts(now) < job.spec.stuck_after:
            if (
                not polling.has_checked_targets
                and polling.lasts(now) >= FIRST_CHECK_SHARE * job.spec.stuck_after
            ):
                # What it waits for has to be still as well from now on.
                polling.has_checked_targets = True
                self._wait_graph(job)
            return None
        if now >= polling.look_again_at:
            # What it waits for may just have been at work. Check soon, then less and less often: a server may poll all
            # its life.
            polling.was_stuck = is_stuck_polling(self._wait_graph(job), job.spec.stuck_after - 1.0)
            polling.looks = min(polling.looks + 1, 5)
            pause = LOOK_AGAIN_SECONDS if polling.was_stuck else 2.0 ** (polling.looks - 1)
            polling.look_again_at = now + pause
        return polling.since if polling.was_stuck else None

    def _has_grown(self, job: ManagedJob, progress: Progress) -> bool:
        """Whether the job has processes that the last scan did not find: it was before the job's last movement."""
        run = run_of(job)
        if self._members.last_scan > progress.last_moved:
            return False
        known = set(run.members)
        self._members.scan([job])
        return run.members.keys() != known

    def _is_late(self, job: ManagedJob, progress: Progress, now: float) -> bool:
        """Whether a job has to wait for the next tick: when many become still at once, clients would wait for answers."""
        if now != self._tick:
            self._tick, self._spent = now, 0.0
        is_still = progress.still_for(now) >= _patience(job, now)
        return is_still and job.diagnosis is None and self._spent > SECONDS_A_TICK

    def _diagnose(self, job: ManagedJob, now: float, *, renew: bool = False) -> None:
        """Diagnose, unless nothing can have changed since the last time."""
        if not renew and job.diagnosis is not None and not _flows(job) and now < job.look_again_at:
            return
        job.diagnosed_at = now
        graph = self._wait_graph(job)
        deadlocked = is_deadlocked(graph)
        if deadlocked and not job.is_deadlocked:
            # Reported at once, so it must not rest on anything cached.
            self._waits.forget()
            graph = self._wait_graph(job)
            deadlocked = is_deadlocked(graph)
        job.is_benign = is_benign(graph)
        job.is_deadlocked = deadlocked
        job.diagnosis = diagnose_graph(graph)
        # All such jobs in the same pass, so that the state of the whole machine is read only once.
        again = (now // LOOK_AGAIN_SECONDS + 1) * LOOK_AGAIN_SECONDS
        job.look_again_at = min(again, _is_due(job, graph, now)) if graph.seen.outside else _NEVER

    def _wait_graph(self, job: ManagedJob) -> WaitGraph:
        began = time.thread_time()
        try:
            return self._read_graph(job)
        finally:
            self._spent += time.thread_time() - began

    def _read_graph(self, job: ManagedJob) -> WaitGraph:
        seen = self._waits.look(job)
        words = words_of(seen)
        job.snapshot = None
        for stage in job.stages:
            leader = leader_of(stage) if is_running(stage) else None
            stage.history.does = None if leader is None else words.get(leader.pid)
        return WaitGraph(self._snapshot(job), seen)


def is_settled(job: ManagedJob) -> bool:
    """Whether nothing about a job that has not moved can change with the time alone."""
    if job.life.state != "running" or job.history.cpu_percent or job.output.recent:
        return False
    if is_to_be_ended(job) or job.diagnosis is None or _flows(job) or job.look_again_at != _NEVER:
        return False
    return job.history.health == "stuck" or (job.history.health == "waiting" and job.is_benign is True)


def _patience(job: ManagedJob, now: float) -> float:
    return DIAGNOSE_EARLY_AFTER if now - job.diagnosed_at > EARLY_EVERY else DIAGNOSE_AFTER


def _is_due(job: ManagedJob, graph: WaitGraph, now: float) -> float:
    """When to diagnose a job that may be stuck by then, since the processes that it waits for may have moved."""
    assert job.history.progress is not None
    left = job.spec.stuck_after - job.history.progress.still_for(now)
    stills = [still for pid, still in graph.seen.idle_seconds.items() if graph.may_be_active(pid)]
    left = max([left, *(OUTSIDE_STILL_SHARE * job.spec.stuck_after - still for still in stills)])
    return now + left if left > 0 else _NEVER


def _transferred(job: ManagedJob) -> int | None:
    """Bytes that its processes have read and written; None if the kernel hides that of one, as of another user's."""
    total = 0
    for usage in [member.usage for member in run_of(job).members.values() if member.usage is not None]:
        if usage.read_bytes is None or usage.written_bytes is None:
            return None
        total += usage.read_bytes + usage.written_bytes
    return total


def _flows(job: ManagedJob) -> bool:
    """Whether bytes may flow through it, so that the bottleneck may change."""
    return (
        bool(job.pipes) and not job.pipes_rest and any(stage.history.time is not None for stage in job.stages)
    )
