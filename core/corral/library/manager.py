"""The library's front door: jobs for Python programs.

    async with corral.open() as manager:
        result = await manager.run("sort names.txt | uniq -c")

Commands are given as a command line (a str, pipes allowed, never a shell), as an argv (a sequence of str), or as a
`Pipeline`. Nothing of the host program changes: the children belong to a daemon, a private one for `open`, the user's
for `connect`.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterable, Iterable, Mapping, Sequence
from typing import Self, Unpack

from msgspec import structs

from corral.client.session import Session
from corral.library.batch import Batch, Inputs
from corral.library.job_handle import JOBS, JobError, JobHandle, Result, id_in, raise_if_unknown
from corral.library.many_starts import PartlyStartedError, requests
from corral.library.options import (
    CommandLike,
    Options,
    checked,
    specs_of,
    surroundings_of,
    template_spec_of,
)
from corral.library.unclaimed_jobs import Unclaimed
from corral.lifecycle.batch_check import MOST_AT_A_TIME, MOST_RETRIES
from corral.model import validators
from corral.model.batch import DEFAULT_RETRY_DELAY, BatchSpec
from corral.model.errors import CorralError, NotOpenError, UsageError, WrongTypeError, brief_repr
from corral.model.home import Home, default_home
from corral.model.job import Job
from corral.model.reports import StopReport
from corral.model.spec import (
    DescriptorInput,
    JobSpec,
    NullInput,
    Surroundings,
)
from corral.protocol import requests as p

_INPUT = validators.or_none(validators.BYTES, "for no input")
_JOBS_AT_A_TIME = validators.or_none(
    validators.whole_number(1, MOST_AT_A_TIME, "how many run at a time, from 1 on"), "for one a CPU"
)
_RETRIES = validators.whole_number(0, MOST_RETRIES, "how often to try again, from 0 on")
_HOME = validators.or_none(validators.PATH, "for the environment's")


class JobManager:
    """Runs jobs through a daemon. An async context manager; get one from `corral.open()` or `corral.connect()`."""

    def __init__(self, *, is_private: bool, home: Home | None = None, parallel: int | None = None) -> None:
        self._is_private = is_private
        self._home = home
        self._parallel = parallel
        self._session: Session | None = None
        self.reports: tuple[StopReport, ...] = ()
        """After leaving a private manager: what was still running, and how it ended."""

    async def __aenter__(self) -> Self:
        if self._session is not None:
            raise NotOpenError("the manager is open already: each `async with` needs one of its own")
        self._session = await self._connected()
        self._feeds: set[asyncio.Task[None]] = set()
        self._unclaimed = Unclaimed(self._session)
        return self

    async def _connected(self) -> Session:
        if self._is_private:
            return await Session.open_private(parallel=self._parallel)
        return await Session.connect(self._home or default_home())

    async def __aexit__(self, *_: object) -> None:
        session, self._session = self._session, None
        if session is not None:
            for feed in self._feeds:
                feed.cancel()
            if not self._is_private:
                await self._unclaimed.settle()
            self.reports = await session.end()

    @property
    def session(self) -> Session:
        """The connection underneath. Raises NotOpenError outside the `async with`."""
        if self._session is None:
            raise NotOpenError("the manager is not open: use it and its jobs inside its `async with` block")
        return self._session

    # ---- starting

    async def start(self, command: CommandLike, **options: Unpack[Options]) -> JobHandle:
        """Start a job and return at once. Cancelled, it starts none: one that has begun to is ended.

        Raises:
            UsageError: the command line or an option makes no sense.
            CannotStartError: not found (status 127), not executable (126), else 125; nothing runs then.
        """
        options = checked(options)
        around = surroundings_of(options)
        (spec,) = await specs_of([command], options, self.session, around)
        return await self._start(spec, around, ())

    async def start_many(
        self, commands: Iterable[CommandLike], **options: Unpack[Options]
    ) -> list[JobHandle]:
        """Start many with the same options; those over `parallel` wait for their turn. One that cannot start fails.

        Cancelled, it ends those that were started.

        Raises:
            UsageError: one of them, or an option, makes no sense; none was started.
            PartlyStartedError: the daemon refused some, or went away; `started` has the handles of those before.
        """
        options = checked(options)
        around = surroundings_of(options)
        specs = await specs_of(list(_many(commands)), options, self.session, around)
        handles: list[JobHandle] = []
        for request in requests(specs, around):
            try:
                reply = await self._unclaimed.start(request)
            except asyncio.CancelledError:
                await self._unclaimed.end([handle.id for handle in handles])
                raise
            except CorralError as error:
                if not handles:
                    raise
                raise PartlyStartedError(handles, len(specs), error) from error
            handles += [JobHandle(self.session, job_id) for job_id in reply.ids]
        return handles

    def each(
        self,
        template: CommandLike,
        inputs: Inputs,
        *,
        jobs: int | None = None,
        retries: int = 0,
        retry_delay: float = DEFAULT_RETRY_DELAY,
        **options: Unpack[Options],
    ) -> Batch:
        """One job for each input: `async for job in manager.each("gzip -k {}", paths, jobs=8)` gives them as they end.

        Args:
            template: a command in which `{}` stands for the input, `{.}` `{/}` `{//}` `{/.}` for parts of it, `{1}` for the
                first item of one that is a list, `{#}` for its number. Without any it gets the input as its last argument.
            inputs: text, paths, numbers, or lists of these; any iterable, sync or async, endless too: what is made as it is
                taken is taken as needed.
            jobs: how many run at a time; as many as there are CPUs unless given.
            retries: how often one is tried again that fails, after `retry_delay` seconds, doubled each time.
        """
        validated = _JOBS_AT_A_TIME("jobs", jobs)
        again, delay = _RETRIES("retries", retries), validators.SECONDS("retry_delay", retry_delay)
        if isinstance(inputs, str | bytes) or not isinstance(inputs, Iterable | AsyncIterable):
            raise WrongTypeError(f"inputs={brief_repr(inputs)}: expected several, such as ['a', 'b']")
        refused = [name for name in ("stdin", "pty") if options.get(name)]
        if refused:
            raise UsageError(
                f"{refused[0]}: the jobs of a batch have nothing on their stdin, and no terminal"
            )
        options = checked(options)

        async def prepare() -> p.StartBatch:
            around = surroundings_of(options)
            job = await template_spec_of(template, options, self.session, around)
            return p.StartBatch(
                spec=BatchSpec(
                    job=job,
                    shell=options.get("shell", False),
                    jobs=validated or len(os.sched_getaffinity(0)),
                    retries=again,
                    retry_delay=delay,
                    template=job.command,
                ),
                surroundings=around,
            )

        return Batch(self.session, prepare, inputs, self._feeds)

    async def run(
        self,
        command: CommandLike,
        *,
        input: bytes | bytearray | memoryview | None = None,  # noqa: A002  (as subprocess.run calls it)
        check: bool = False,
        **options: Unpack[Options],
    ) -> Result:
        """Run to the end and return what it printed. Cancelled, it asks for the job's stop sequence and does not wait.

        With `leftovers="stop"` it returns once what outlived the job is gone, too.

        Args:
            input: fed to its stdin, then EOF; of text its `.encode()`. A child that reads none of it, or closes early,
                breaks nothing.
            check: raise JobError unless it succeeded.
        """
        content, check = _INPUT("input", input), validators.FLAG("check", check)
        options = checked(options)
        around = surroundings_of(options)
        (spec,) = await specs_of([command], options, self.session, around)
        if content is None:
            handle = await self._start(spec, around, ())
            return await self._result(handle, check)
        if not isinstance(spec.stdin, NullInput):
            raise UsageError("input and stdin exclude each other")
        reader, writer = os.pipe()
        try:
            spec = structs.replace(spec, stdin=DescriptorInput())
            handle = await self._start(spec, around, (reader,))
        except BaseException:
            os.close(writer)
            raise
        finally:
            os.close(reader)
        feed = asyncio.ensure_future(_feed(writer, content))
        try:
            return await self._result(handle, check)
        finally:
            feed.cancel()
            await asyncio.wait([feed])

    async def _start(self, spec: JobSpec, where: Surroundings, descriptors: Sequence[int]) -> JobHandle:
        request = p.StartJobs(specs=(spec,), surroundings=where, wait_started=True)
        reply = await self._unclaimed.start(request, descriptors)
        return JobHandle(self.session, reply.ids[0])

    async def _result(self, handle: JobHandle, check: bool) -> Result:
        try:
            waited = await self.session.call(p.WaitForJobs(ids=(handle.id,), swept=True))
        except asyncio.CancelledError:
            # As subprocess.run does: what nobody waits for any more is ended.
            await self._unclaimed.end([handle.id], "by the program that cancelled its run")
            raise
        result = Result(waited.jobs[0], await handle.stdout(), await handle.stderr())
        if check and not result.succeeded:
            raise JobError(result)
        return result

    # ---- all of them

    def job(self, job_id: str | int) -> JobHandle:
        """A handle on a job that is known by its id or name, or on the newest, `@`. Nothing is asked yet."""
        return JobHandle(self.session, validators.JOB_ID("job_id", job_id))

    async def jobs(self, *, all: bool = False) -> tuple[Job, ...]:  # noqa: A002  (as `corral ps --all`)
        """The jobs that have not ended, or all."""
        return (await self.session.call(p.ListJobs(all=validators.FLAG("all", all)))).jobs

    async def wait(
        self,
        handles: Iterable[JobHandle],
        *,
        any: bool = False,  # noqa: A002
        timeout: float | None = None,
    ) -> tuple[Job, ...]:
        """Wait for all of them, or with `any` for the first to end, which alone is returned.

        Raises:
            TimeoutError: not within `timeout` seconds; nothing is stopped.
        """
        timeout, any = validators.PATIENCE("timeout", timeout), validators.FLAG("any", any)  # noqa: A001
        ids = tuple([await handle.number() for handle in self._ours(handles)])
        reply = await self.session.call(p.WaitForJobs(ids=ids, any=any, timeout=timeout))
        if reply.timed_out:
            raise TimeoutError(f"not all have ended within {timeout:g} s")
        return reply.jobs

    async def stop(
        self, handles: Iterable[JobHandle], *, grace: float | None = None
    ) -> tuple[StopReport, ...]:
        """Stop several at once.

        Raises:
            UnknownJobError: one of them is no job; the others are stopped.
        """
        grace = validators.OWN_SECONDS("grace", grace)
        # One that is no job is named by the answer, and keeps the others from nothing.
        ids = tuple(handle.id for handle in self._ours(handles))
        if not ids:
            return ()
        reply = await self.session.call(p.StopJobs(ids=ids, grace=grace))
        raise_if_unknown(reply.unknown)
        return reply.reports

    def _ours(self, handles: Iterable[JobHandle]) -> list[JobHandle]:
        """Raises UsageError where one of them is none, or of another manager."""
        found = JOBS("handles", handles)
        for handle in found:
            id_in(self.session, handle)
        return found


def open(*, parallel: int | None = None) -> JobManager:  # noqa: A001  (the library's name for it)
    """A manager of one's own: `async with corral.open() as manager`. Leaving it ends all its jobs, with proof.

    Args:
        parallel: how many jobs may run at a time; the others wait for their turn. None: any number.
    """
    return JobManager(is_private=True, parallel=validators.PARALLEL("parallel", parallel))


def connect(home: str | os.PathLike[str] | None = None) -> JobManager:
    """The user's daemon, started when none runs: `async with corral.connect() as manager`. Its jobs stay.

    Args:
        home: a CORRAL_HOME; the environment's, or the platform's, unless given.
    """
    path = _HOME("home", home)
    return JobManager(is_private=False, home=None if path is None else Home(os.path.abspath(path)))


def _many(commands: Iterable[CommandLike]) -> Iterable[CommandLike]:
    """Raises WrongTypeError for what is one command, and would be taken for many by its letters."""
    if isinstance(commands, str | bytes | Mapping) or not isinstance(commands, Iterable):
        raise WrongTypeError(
            f"commands={brief_repr(commands)}: expected several, such as ['echo a', ['echo', 'b']]"
        )
    return commands


async def _feed(writer: int, data: bytes) -> None:
    """Write all, then close. Ends early, and quietly, where nobody reads any more. Owns `writer`."""
    loop = asyncio.get_running_loop()
    os.set_blocking(writer, False)
    view = memoryview(data)
    try:
        while view:
            try:
                view = view[os.write(writer, view) :]
            except BlockingIOError:
                room = loop.create_future()
                loop.add_writer(writer, room.set_result, None)
                try:
                    await room
                finally:
                    loop.remove_writer(writer)
            except BrokenPipeError:
                return
    finally:
        os.close(writer)
