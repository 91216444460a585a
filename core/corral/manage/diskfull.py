"""Output that a full disk cut short: a job that gets ENOSPC seldom says so, least of all where its messages go.

What its write(2) was told nobody else can see. That the disk of the output had no room while it wrote, or as it ended, can.
What is printed on a terminal waits for room, and nothing of it is lost: its owner notes that.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from corral.system.disk_usage import is_full

if TYPE_CHECKING:
    from corral.manage.jobs import ManagedJob
    from corral.manage.manager import Manager

EVENT = "output"
_NOW = "the disk of its output is full: what it writes now may be missing"
_AT_END = "as it ended the disk of its output was full: what it wrote last may be missing"


def is_cutting(manager: Manager, job: ManagedJob) -> bool:
    """Whether what it writes now would be lost."""
    return not job.spec.pty and is_full(manager.home.jobs)


def look(manager: Manager, job: ManagedJob, text: str = _NOW) -> None:
    """It has just written, or ended: note it, and say so once."""
    if not is_cutting(manager, job):
        return
    if job.disk_full is None:
        manager.journal.record(job.id, datetime.now(UTC), EVENT, text)
    job.disk_full = datetime.now(UTC)
    manager.touch(job)


def look_at_end(manager: Manager, job: ManagedJob) -> None:
    """It has ended. One that wrote nothing and has succeeded had nothing to lose, as far as anybody can tell."""
    has_written = job.output.stdout or any(stage.stderr_bytes for stage in job.stages)
    has_run = job.life.started is not None
    if has_written or (has_run and job.life.state == "failed"):
        look(manager, job, _AT_END)
