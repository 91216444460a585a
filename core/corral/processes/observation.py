"""The pids, process count and CPU time of a job, as the local executor gives them to its snapshot."""

from __future__ import annotations

from corral.jobs.executor import Observation
from corral.jobs.managed_job import ManagedJob
from corral.processes.local_run import leader_of, run_of, running_stages
from corral.processes.usage_meter import cpu_seconds_of, output_rate_of


def observation_of(job: ManagedJob) -> Observation:
    if job.held is None:
        return Observation((None,) * len(job.stages), 0, 0.0, None)
    return Observation(
        pids=tuple(None if leader is None else leader.pid for leader in map(leader_of, job.stages)),
        processes=max(len(run_of(job).members), len(running_stages(job))),
        cpu_seconds=cpu_seconds_of(job),
        output_rate=output_rate_of(job),
    )
