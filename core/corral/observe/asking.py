"""A job that asks something on its terminal: how to say so, and what answers it. Pure."""

from __future__ import annotations

from corral.observe.waits import ProcessWait
from corral.values.jobs import Job
from corral.values.reports import Advice


def is_asking(job: Job, end: ProcessWait) -> bool:
    """Whether what the job waits for is somebody who types on its terminal."""
    return job.pty and end.kind == "tty_input"


def question(job: Job, name: str) -> str:
    where = "screen" if job.full_screen else "terminal"
    return f"{name} waits for somebody to type on its {where}; {attaching(job)}"


def attaching(job: Job) -> str:
    """What the question ends with."""
    return f"`corral attach {job.id}` {'opens it' if job.full_screen else 'lets you'}"


def answers(job: Job, shows: str = "see what it asks, and type") -> list[Advice]:
    if job.full_screen:
        return [Advice("open it", f"corral attach {job.id}")]
    return [
        Advice(shows, f"corral attach {job.id}"),
        Advice("answer it with a line", f"corral send {job.id} TEXT"),
    ]
