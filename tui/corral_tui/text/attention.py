"""Which jobs need a human: the one rule for the board, the header, the notifications and the command line."""

from __future__ import annotations

from corral.model.job import Job


def needs_a_human(job: Job) -> bool:
    """Stuck, or ended badly. What was stopped because it was stuck ended so, too: nobody was there to want it."""
    if job.state == "running":
        return job.health == "stuck"
    return job.state in ("failed", "timed_out", "lost") or job.was_ended_as_stuck
