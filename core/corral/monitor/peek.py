"""What is in the pipes of a job now: how much, and on request the bytes themselves. Nothing is taken out."""

from __future__ import annotations

import os

from msgspec import structs

from corral.jobs.managed_job import ManagedJob
from corral.model.errors import NotSoError, UsageError
from corral.model.job import Job
from corral.model.reports import PeekedPipe
from corral.platform.files.pipes import fill_and_capacity, peek_bytes
from corral.platform.host.procfs import HAS_PROCFS

MOST_BYTES = 1 << 20
"""Of one pipe: the largest that an ordinary user may have (pipe-max-size)."""


def peek(
    view: Job, job: ManagedJob | None, pipe: int | None, limit: int | None = None
) -> tuple[PeekedPipe, ...]:
    """The fill of one pipe or of all, read now; with `limit` the oldest bytes in each. `job` is None once it has ended.

    Raises:
        NotSoError: it has no such pipe.
        UsageError: a limit below 1 or above 1 MiB.
    """
    if limit is not None and not 1 <= limit <= MOST_BYTES:
        raise UsageError(f"{limit} bytes: at least 1 and at most {MOST_BYTES} can be peeked at")
    count = len(view.stages) - 1
    if pipe is not None and not 1 <= pipe <= count:
        has = "no pipes: it has one stage" if count == 0 else f"pipes 1 to {count}"
        raise NotSoError(f"job {view.id} has no pipe {pipe}; it has {has}")
    numbers = range(1, count + 1) if pipe is None else [pipe]
    return tuple(_with_content(job, _unseen(number), limit) for number in numbers)


def _unseen(number: int) -> PeekedPipe:
    return PeekedPipe(
        number=number, from_stage=number, to_stage=number + 1, fill_bytes=None, capacity_bytes=None
    )


def _with_content(job: ManagedJob | None, pipe: PeekedPipe, limit: int | None) -> PeekedPipe:
    if job is None:
        return structs.replace(pipe, note="the job has ended: its pipes are gone")
    # The reader first: while it lives the pipe has a reader, and a second one for a moment changes nothing for the writer.
    ends = [(job.stages[pipe.number], 0), (job.stages[pipe.number - 1], 1)]
    alive = [
        (stage.handle.identity.pid, descriptor)
        for stage, descriptor in ends
        if stage.is_running and stage.handle.identity is not None
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
        return None, "nobody reads it any more: what stands in it is lost"
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
