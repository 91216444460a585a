"""Which requests may be sent again after the daemon went away before it answered. Used by both sides."""

from __future__ import annotations

import time
from collections.abc import Sequence

from msgspec.structs import replace

from corral.protocol import requests as p

_IDEMPOTENT = (
    p.ListJobs,
    p.ShowJob,
    p.AskWhy,
    p.ListProcesses,
    p.PeekPipes,
    p.AskStopping,
    p.AskRecentHistory,
    p.AskStory,
    p.AskStatus,
    p.OpenInput,
    p.Subscribe,
    p.WatchJobs,
)
"""Sending these twice has the same effect and answer as once."""


def replay(request: p.Request, elapsed: float) -> p.Request | None:
    """The request that continues one sent `elapsed` seconds ago; None if repeating it might do it twice.

    Jobs must be given by number: a name or `@` may mean another job by now.
    """
    if isinstance(request, _IDEMPOTENT):
        return request
    if isinstance(request, p.WaitForJobs) and are_numbers(request.ids):
        timeout = None if request.timeout is None else max(0.0, request.timeout - elapsed)
        return replace(request, timeout=timeout)
    if isinstance(request, p.StopJobs) and are_numbers(request.ids) and not request.all:
        return replace(request, asked_before=True)
    if isinstance(request, p.RestartJobs) and are_numbers(request.ids):
        # An absolute time: a daemon may have to start before this is read.
        return replace(request, asked_at=request.asked_at or time.time() - elapsed)
    if isinstance(request, p.RemoveJobs) and are_numbers(request.ids):
        return replace(request, asked_before=True)
    if isinstance(request, p.Shutdown) and request.jobs == "stop":
        return request
    return None


def are_numbers(references: Sequence[str]) -> bool:
    return bool(references) and all(reference.isdecimal() for reference in references)


def may_be_cut(request: p.Request) -> bool:
    """Whether the daemon may exit before it has answered: its work is done, or the client can send it again."""
    if isinstance(request, p.RestartJobs):
        return are_numbers(request.ids)
    return isinstance(request, (*_IDEMPOTENT, p.SayHello, p.WaitForJobs, p.StopJobs))
