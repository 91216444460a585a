"""What may be asked again of a daemon that went away before it answered. Imported by both sides."""

from __future__ import annotations

import time
from collections.abc import Sequence

from msgspec.structs import replace

from corral.service import protocol as p

_HARMLESS = (
    p.ListJobs,
    p.ShowJob,
    p.AskWhy,
    p.ListProcesses,
    p.PeekPipes,
    p.AskStopping,
    p.AskPast,
    p.AskStory,
    p.AskStatus,
    p.OpenInput,
    p.Subscribe,
    p.Look,
)
"""Asked twice they do and tell the same as asked once."""


def again(request: p.Request, elapsed: float) -> p.Request | None:
    """The request that goes on with one that was sent `elapsed` seconds ago; None where nobody knows whether it was done.

    What names jobs goes on only where it does so by number: by now `@` or a name may mean another job.
    """
    if isinstance(request, _HARMLESS):
        return request
    if isinstance(request, p.WaitForJobs) and are_numbers(request.ids):
        timeout = None if request.timeout is None else max(0.0, request.timeout - elapsed)
        return replace(request, timeout=timeout)
    if isinstance(request, p.StopJobs) and are_numbers(request.ids) and not request.all:
        return replace(request, asked_before=True)
    if isinstance(request, p.RestartJobs) and are_numbers(request.ids):
        # Not how long ago: until it is read there a daemon may have to be started first.
        return replace(request, asked_at=request.asked_at or time.time() - elapsed)
    if isinstance(request, p.RemoveJobs) and are_numbers(request.ids):
        return replace(request, asked_before=True)
    if isinstance(request, p.Shutdown) and request.jobs == "stop":
        return request
    return None


def are_numbers(references: Sequence[str]) -> bool:
    return bool(references) and all(reference.isdecimal() for reference in references)


def may_be_cut(request: p.Request) -> bool:
    """Whether the daemon may leave before it has answered: all that it has to do is done, or can be asked again."""
    if isinstance(request, p.RestartJobs):
        return are_numbers(request.ids)
    return isinstance(request, (*_HARMLESS, p.SayHello, p.WaitForJobs, p.StopJobs))
