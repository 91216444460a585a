"""What is in the pipes of a job now: how much, and on request the bytes themselves. Nothing is taken out."""

from __future__ import annotations

import os

from msgspec import structs

from corral.jobs.managed_job import ManagedJob
from corral.model.reports import PeekedPipe
from corral.platform.files.pipes import fill_and_capacity, peek_bytes
from corral.platform.host.procfs import HAS_PROCFS
from corral.processes.local_run import is_running, leader_of


def peek(job: ManagedJob, number: int, limit: int | None) -> PeekedPipe:
    """The fill of one pipe, read now; with `limit` the oldest bytes in it."""
    pipe = PeekedPipe(number=number, from_stage=number, to_stage=number + 1)
    # The reader first: while it lives the pipe has a reader, and a second one for a moment changes nothing for the writer.
    ends = [(job.stages[number], 0), (job.stages[number - 1], 1)]
    alive = [
        (leader.pid, descriptor)
        for stage, descriptor in ends
        if is_running(stage) and (leader := leader_of(stage)) is not None
    ]
    found = next(((*end, *sizes) for end in alive if (sizes := fill_and_capacity(*end)) is not None), None)
    if found is None:
        return structs.replace(pipe, note=_why_not_seen(alive))
    pid, descriptor, fill, capacity = found
    content, note = (None, None) if limit is None else _content(pid, descriptor, limit)
    return structs.replace(pipe, fill_bytes=fill, capacity_bytes=capacity, content=content, note=note)


def _content(pid: int, descriptor: int, limit: int) -> tuple[bytes | None, str | None]:
    """The oldest bytes in a pipe that was just there; or None, and why."""
    try:
        content = peek_bytes(pid, descriptor, limit)
    except BrokenPipeError:
        return None, "nobody reads it any more: what is in it is lost"
    except OSError as error:
        return None, f"it cannot be looked into: {os.strerror(error.errno) if error.errno else error}"
    return content, None if content is not None else "it went away while it was looked at"


def _why_not_seen(alive: list[tuple[int, int]]) -> str:
    """Why no running stage has the pipe as its descriptor, as far as the kernel says."""
    if not HAS_PROCFS:
        return "this system does not show the pipes of other processes"
    for pid, descriptor in alive:
        try:
            os.readlink(f"/proc/{pid}/fd/{descriptor}")
        except PermissionError:
            # A set-uid program, or one with capabilities: its descriptors are root's to see (proc(5)).
            return f"the kernel does not show what process {pid} has open: it runs with other rights than the daemon"
        except OSError:
            continue
    return "the pipe is gone: both its stages have ended or redirected it"
