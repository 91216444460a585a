"""The pids, process count and CPU time of a job, as the local executor gives them to its snapshot."""

from __future__ import annotations

from corral.jobs.executor import Observation
from corral.jobs.managed_job import ManagedJob
from corral.processes.usage_meter import cpu_seconds_of


def observation_of(job: ManagedJob) -> Observation:
    return Observation(
        pids=tuple(stage.handle.identity.pid if stage.handle.identity else None for stage in job.stages),
        processes=max(len(job.run.members), len(job.running_stages)),
        cpu_seconds=cpu_seconds_of(job),
    )
