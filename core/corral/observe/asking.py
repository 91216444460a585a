"""A job that asks something on its terminal: how to say so, and what answers it. Pure."""

from __future__ import annotations

from corral.observe.waits import ProcessWait
from corral.values.jobs import Job
from corral.values.reports import Advice


def is_asking(job: Job, end: ProcessWait) -> bool:
    """Whether what the job waits for is somebody who types on its terminal."""
    return job.pty and end.kind == "tty_input"


def question(job: Job, name: str) -> str:
    if job.full_screen:
        return f"{name} waits for somebody to type on its screen; `corral attach {job.id}` opens it"
    return f"{name} waits for somebody to type on its terminal; `corral attach {job.id}` lets you"


def answers(job: Job) -> list[Advice]:
    if job.full_screen:
        return [Advice("open it", f"corral attach {job.id}")]
    return [
        Advice("see what it asks, and type", f"corral attach {job.id}"),
        Advice("answer it with a line", f"corral send {job.id} TEXT"),
    ]
