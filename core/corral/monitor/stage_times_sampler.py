"""What the stages of the running pipelines spend their time on: looks at their threads, several between two ticks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection

from corral.diagnosis.stage_activity import sample_threads, stage_pipes
from corral.jobs.managed_job import ManagedJob
from corral.measure.stage_times import BottleneckTracker, StageTimeMeter
from corral.model.job import StageTime
from corral.processes.local_run import is_running, leaders_of, run_of, running_stages

LOOKS_A_TICK = 4
LOOK_SECONDS = 0.23
"""From one to the next: no round share of a second, which programs that do something regularly may have too."""
MOST_JOBS = 16
"""Of which there are looks between two ticks, those on a screen first: the others have one a tick."""


class Times:
    """The stages of one pipeline, followed."""

    def __init__(self, job: ManagedJob) -> None:
        last = len(job.stages)
        self.of_stages = {
            stage.number: StageTimeMeter(has_input=stage.number > 1, has_output=stage.number < last)
            for stage in job.stages
        }
        self.hold_up = BottleneckTracker()

    def look(self, job: ManagedJob) -> None:
        """One look at each running stage."""
        now = time.monotonic()
        run = run_of(job)
        for stage, leader in leaders_of(running_stages(job)):
            others = [m.identity.pid for m in run.members.values() if m.stage == stage.number]
            pids = dict.fromkeys((leader.pid, *others))
            ends = stage_pipes(stage.number, run.pipe_inodes, run.input_pipe)
            self.of_stages[stage.number].observe(now, sample_threads(pids, ends))

    def settle(self, job: ManagedJob) -> None:
        """Note the shares, and which stage holds up the rest."""
        for stage in job.stages:
            stage.history.time = self.of_stages[stage.number].time() if is_running(stage) else None
        times: dict[int, StageTime] = {
            stage.number: stage.history.time for stage in job.stages if stage.history.time is not None
        }
        job.bottleneck = self.hold_up.observe(time.monotonic(), times)


class StageTimes:
    """Follows the pipelines in which something flows."""

    def __init__(self) -> None:
        self._times: dict[int, Times] = {}
        self._flowing: dict[int, ManagedJob] = {}
        self._timer: asyncio.TimerHandle | None = None

    def follow(self, job: ManagedJob) -> None:
        """At a tick: something flows in that pipeline, or may."""
        if job.id not in self._times:
            self._times[job.id] = Times(job)
        times = self._times[job.id]
        times.look(job)
        times.settle(job)
        self._flowing[job.id] = job

    def forget(self, job_id: int) -> None:
        """It has ended."""
        self._times.pop(job_id, None)
        self._flowing.pop(job_id, None)

    def tick(self, looked_at: Collection[int]) -> None:
        """All jobs were visited: look at some of them again before the next time."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        chosen = sorted(self._flowing, key=lambda job_id: job_id not in looked_at)[:MOST_JOBS]
        jobs = [self._flowing[job_id] for job_id in chosen]
        self._flowing.clear()
        if jobs:
            self._plan(jobs, LOOKS_A_TICK - 1)

    def _plan(self, jobs: list[ManagedJob], left: int) -> None:
        self._timer = asyncio.get_running_loop().call_later(LOOK_SECONDS, self._look, jobs, left)

    def _look(self, jobs: list[ManagedJob], left: int) -> None:
        for job in jobs:
            times = self._times.get(job.id)
            if times is not None:
                times.look(job)
        if left > 1:
            self._plan(jobs, left - 1)
