"""What of a job's output is not there, said on stderr by whoever prints it."""

from __future__ import annotations

from corral.values.jobs import Job
from corral_tui.cli.guard import complain


def say_if_cut(job: Job) -> None:
    """Of one that found its disk full. What is printed on a terminal waits for room, until the job has ended."""
    if job.disk_full is not None and (job.is_ended or not job.pty):
        at = f"{job.disk_full.astimezone():%Y-%m-%d %H:%M:%S}"
        complain(f"job {job.id}: the disk of its output was full at {at}; what it wrote then may be missing")
