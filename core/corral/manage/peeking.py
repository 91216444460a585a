"""What stands in the pipes of a job now: how much, and on request the bytes themselves. Nothing is taken out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from corral.system.pipes import fill_and_capacity, peek_bytes
from corral.values.errors import NotSoError, UsageError
from corral.values.reports import PeekedPipe

if TYPE_CHECKING:
    from corral.manage.manager import Manager

MOST_BYTES = 1 << 20
"""Of one pipe: the largest that an ordinary user may have (pipe-max-size)."""


def peek(manager: Manager, job_id: int, pipe: int | None, limit: int | None = None) -> tuple[PeekedPipe, ...]:
    """The fill of one pipe or of all, read now; with `limit` the oldest bytes in each.

    Raises:
        NotSoError: it has no such pipe.
        UsageError: a limit below 1 or above 1 MiB.
    """
    if limit is not None and not 1 <= limit <= MOST_BYTES:
        raise UsageError(f"{limit} bytes: at least 1 and at most {MOST_BYTES} can be peeked at")
    view = manager.snapshot(job_id)
    count = len(view.stages) - 1
    if pipe is not None and not 1 <= pipe <= count:
        has = "no pipes: it has one stage" if count == 0 else f"pipes 1 to {count}"
        raise NotSoError(f"job {job_id} has no pipe {pipe}; it has {has}")
    numbers = range(1, count + 1) if pipe is None else [pipe]
    return tuple(_peeked(manager, job_id, number, limit) for number in numbers)


def _peeked(manager: Manager, job_id: int, number: int, limit: int | None) -> PeekedPipe:
    job = manager.jobs.get(job_id)
    measured, content = None, None
    if job is not None:
        # The reader first: while it lives the pipe has a reader, and ours for a moment is no news to the writer.
        for stage, descriptor in ((job.stages[number], 0), (job.stages[number - 1], 1)):
            if measured is not None or not stage.is_running or stage.identity is None:
                continue
            measured = fill_and_capacity(stage.identity.pid, descriptor)
            if measured is not None and limit is not None:
                content = peek_bytes(stage.identity.pid, descriptor, limit)
    fill, capacity = measured or (None, None)
    note = None
    if measured is None:
        is_over = job is None or job.life.is_ended
        gone = "the pipe is gone: both its stages have ended or redirected it"
        note = "the job has ended" if is_over else gone
    return PeekedPipe(
        number=number,
        from_stage=number,
        to_stage=number + 1,
        fill_bytes=fill,
        capacity_bytes=capacity,
        note=note,
        content=content,
    )
