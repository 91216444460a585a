"""Which jobs need a human, and which of them first: the one rule of `corral why`, the dashboard's lists and its bell."""

from __future__ import annotations

from corral.model.job import Job, place_of

_STUCK, _ENDED_BADLY, _NOT_OBSERVED, _WAITING, _ACTIVE, _ENDED_WELL = range(6)


def is_stuck(job: Job) -> bool:
    """Whether it runs, and will not go on by itself."""
    return job.state == "running" and job.health == "stuck"


def ended_badly(job: Job) -> bool:
    """What was stopped because it was stuck ended badly, too: nobody was there to want it."""
    return job.state in ("failed", "timed_out", "lost") or job.was_ended_as_stuck


def needs_a_human(job: Job) -> bool:
    return is_stuck(job) or ended_badly(job)


def urgency(job: Job) -> tuple[int, float, tuple[int, ...]]:
    """Sort by this to have the most urgent job first.

    Stuck ones, the longest stuck first; those that ended badly, the last to end first; those of which no health is known (queued,
    paused, stopping); those that wait, the longest first; active ones; those that ended well. Else the newest first.
    """
    rank, at = _rank(job), 0.0
    if rank in (_STUCK, _WAITING) and job.health_since is not None:
        at = job.health_since.timestamp()
    elif rank == _ENDED_BADLY and job.ended is not None:
        at = -job.ended.timestamp()
    return rank, at, tuple(-each for each in place_of(job.id))


def _rank(job: Job) -> int:
    if is_stuck(job):
        return _STUCK
    if ended_badly(job):
        return _ENDED_BADLY
    if job.is_ended:
        return _ENDED_WELL
    return {"waiting": _WAITING, "active": _ACTIVE}.get(job.health or "", _NOT_OBSERVED)
