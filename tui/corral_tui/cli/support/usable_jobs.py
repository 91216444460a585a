"""Which jobs each verb can use: what shell completion offers for an id."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from corral.model.job import STARTED_STATES, Job

Usable = Callable[[Job, Mapping[str, Any]], bool]
"""Whether a verb can use the job, given the options typed so far."""


def any_job(job: Job, options: Mapping[str, Any]) -> bool:
    return True


def is_started(job: Job, options: Mapping[str, Any]) -> bool:
    return job.state in STARTED_STATES


def has_processes(job: Job, options: Mapping[str, Any]) -> bool:
    return not job.is_ended or bool(job.leftovers or job.in_doubt)


def is_running(job: Job, options: Mapping[str, Any]) -> bool:
    return job.state == "running"


def is_paused(job: Job, options: Mapping[str, Any]) -> bool:
    return job.state == "paused"


def has_terminal(job: Job, options: Mapping[str, Any]) -> bool:
    return job.pty and job.state in STARTED_STATES


def reads_input(job: Job, options: Mapping[str, Any]) -> bool:
    return job.stdin in ("interactive", "terminal") and job.state in STARTED_STATES


def has_pipes(job: Job, options: Mapping[str, Any]) -> bool:
    return len(job.stages) > 1 and job.state in STARTED_STATES


def may_succeed(job: Job, options: Mapping[str, Any]) -> bool:
    return not job.is_ended or job.state == "succeeded"


def is_removable(job: Job, options: Mapping[str, Any]) -> bool:
    return job.is_ended or bool(options.get("force"))
