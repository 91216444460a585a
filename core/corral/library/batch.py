"""Batches for Python programs: one job for each input, given as they end."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Sized
from typing import Any

from corral.batch.batch_files import BatchFiles
from corral.batch.batch_outputs import StateWatch
from corral.client.session import Session
from corral.library.job_handle import JobHandle
from corral.model import validators
from corral.model.batch import BatchInput, BatchProgress
from corral.model.errors import NotSoError, WrongTypeError, brief_repr
from corral.model.job import Job
from corral.model.reports import StopReport
from corral.model.wire import to_wire
from corral.protocol import requests as p

INPUTS_A_REQUEST = 1000
TAKEN_AT_ONCE = 100
"""Of inputs that are made as they are taken."""
LEAST_WAITING = 50
"""Inputs that wait for their turn before further ones are taken."""
_SOON, _LATER = 0.01, 0.1
"""Seconds between two looks for ends, while there are some and where there are none."""
JOBS_A_REQUEST = 200

Inputs = Iterable[Any] | AsyncIterable[Any]
Prepare = Callable[[], Awaitable[p.StartBatch]]


class Batch:
    """One job for each input. It starts when it is first used, at the latest by `start`.

    `async for job in batch` gives each of its jobs as it ends (`Job.input` is what it was given); leaving that loop stops nothing.

    Raises:
        UsageError: from its first use, where the command makes no sense for inputs; nothing was started.
        CannotStartError: the same, where its program is not there.
    """

    def __init__(
        self, session: Session, prepare: Prepare, inputs: Inputs, feeds: set[asyncio.Task[None]]
    ) -> None:
        self._session, self._prepare, self._inputs, self._feeds = session, prepare, inputs, feeds
        self._starting = asyncio.Lock()
        self._id: str | None = None
        self._feed: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<batch {self._id or 'that was not started'}>"

    @property
    def id(self) -> str:
        """Its number. Raises NotSoError before it was started."""
        if self._id is None:
            raise NotSoError("the batch was not started yet: await its start()")
        return self._id

    async def start(self) -> str:
        """Start it, unless that was done; its id."""
        async with self._starting:
            if self._id is None:
                request = await self._prepare()
                reply = await self._session.call(request)
                self._id = reply.ids[0]
                self._feed = asyncio.ensure_future(self._deliver(self._id, request.spec.jobs))
                self._feeds.add(self._feed)
                self._feed.add_done_callback(self._feeds.discard)
        return self._id

    # ---- asked

    async def snapshot(self) -> Job:
        """The batch as it is now; a `Job` whose `kind` is `batch`, with its `failures` by cause."""
        return await JobHandle(self._session, await self.start()).snapshot()

    async def progress(self) -> BatchProgress:
        """How far it is."""
        found = (await self.snapshot()).batch_progress
        assert found is not None
        return found

    async def wait(self, timeout: float | None = None) -> Job:
        """Wait for its end.

        Raises:
            TimeoutError: it has not ended within `timeout` seconds; nothing is stopped.
            Exception: whatever its inputs raised as they were taken; those before it have run.
        """
        job = await JobHandle(self._session, await self.start()).wait(timeout)
        await self._raise_of_inputs()
        return job

    async def stop(self, *, grace: float | None = None) -> StopReport:
        """End what runs of it, start no more, and prove it."""
        return await JobHandle(self._session, await self.start()).stop(grace=grace)

    async def failures(self) -> tuple[Job, ...]:
        """Those of its jobs that failed, timed out or are lost, so far."""
        found: list[Job] = []
        batch, page = await self.start(), None
        while True:
            reply = await self._session.call(
                p.ListBatchJobs(batch=batch, parts=("failed",), limit=INPUTS_A_REQUEST, page_after=page)
            )
            found += reply.jobs
            page = reply.next_page
            if page is None:
                return tuple(found)

    async def __aiter__(self) -> AsyncGenerator[Job, None]:
        batch = await self.start()
        files = BatchFiles(self._session.home, int(batch))
        watch = StateWatch(files)
        end = asyncio.ensure_future(self.wait())
        try:
            while True:
                is_over = end.done()
                numbers = watch.look()
                for first in range(0, len(numbers), JOBS_A_REQUEST):
                    for job in await self._jobs(batch, numbers[first : first + JOBS_A_REQUEST]):
                        yield job
                if is_over:
                    await end
                    return
                if not numbers or not end.done():
                    await asyncio.wait([end], timeout=_SOON if numbers else _LATER)
        finally:
            end.cancel()
            files.close()

    async def _jobs(self, batch: str, numbers: list[int]) -> list[Job]:
        """In the order in which they ended; those that were never started are none."""
        reply = await self._session.call(p.ListJobs(ids=tuple(f"{batch}.{number}" for number in numbers)))
        ended = [job for job in reply.jobs if job.ended is not None]
        return sorted(ended, key=lambda job: job.ended or job.created)

    # ---- inputs

    async def _deliver(self, batch: str, jobs: int) -> None:
        """Give it all inputs, those that are made as they are taken only as they are needed."""
        is_made = not isinstance(self._inputs, Sized)
        most = max(LEAST_WAITING, 2 * jobs) if is_made else None
        taken = _chunks(self._inputs, TAKEN_AT_ONCE if is_made else INPUTS_A_REQUEST)
        sent = 0
        try:
            async for chunk in taken:
                await self._send(batch, sent, chunk, most=most)
                sent += len(chunk)
        except Exception:
            await self._send(batch, sent, [], is_last=True)
            raise
        await self._send(batch, sent, [], is_last=True)

    async def _send(
        self,
        batch: str,
        sent: int,
        chunk: list[BatchInput],
        *,
        most: int | None = None,
        is_last: bool = False,
    ) -> None:
        request = p.FeedBatch(
            batch=batch, before=sent, inputs=tuple(chunk), is_last=is_last, most_waiting=most
        )
        try:
            await self._session.call(request)
        except NotSoError:
            return  # it was stopped: it needs no more

    async def _raise_of_inputs(self) -> None:
        if self._feed is not None and self._feed.done():
            await self._feed


async def _chunks(inputs: Inputs, most: int) -> AsyncIterator[list[BatchInput]]:
    """So many at a time, fewer where they come slowly."""
    chunk: list[BatchInput] = []
    since = time.monotonic()
    problem: Exception | None = None
    try:
        async for given in _each(inputs):
            chunk.append(as_input(given))
            if len(chunk) >= most or time.monotonic() - since > _LATER:
                yield chunk
                chunk, since = [], time.monotonic()
    except Exception as error:  # noqa: BLE001  (raised once those before it are given)
        problem = error
    if chunk:
        yield chunk
    if problem is not None:
        raise problem


async def _each(inputs: Inputs) -> AsyncIterator[Any]:
    if isinstance(inputs, AsyncIterable):
        async for given in inputs:
            yield given
        return
    for given in inputs:
        yield given


def as_input(given: object) -> BatchInput:
    """An input as the daemon takes it: text, a path, a number, or a list of these, whose items are `{1}` and on.

    Raises WrongTypeError.
    """
    if isinstance(given, list | tuple):
        columns = tuple(map(_text, given))
        return BatchInput(" ".join(columns), columns)
    text = _text(given)
    return BatchInput(text, (text,))


def _text(given: object) -> str:
    if isinstance(given, os.PathLike):
        given = os.fspath(given)
    if isinstance(given, bytes):
        given = os.fsdecode(given)
    if isinstance(given, int | float) and not isinstance(given, bool):
        given = str(given)
    if not isinstance(given, str):
        raise WrongTypeError(
            f"input {brief_repr(given)}: expected text, a path, a number, or a list or tuple of these"
        )
    return to_wire(validators.TEXT("input", given))
