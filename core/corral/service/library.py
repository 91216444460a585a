"""The library's front door: jobs for Python programs.

    async with corral.open() as manager:
        result = await manager.run("sort names.txt | uniq -c")

Commands are given as a command line (a str, pipes allowed, never a shell), as an argv (a sequence of str), or as a
`Pipeline`. Nothing of the host program changes: the children belong to a daemon, a private one for `open`, the user's
for `connect`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Literal, Self, TypedDict, Unpack

from msgspec import Struct

from corral.observe.output import Follower, OutputFile, Pace
from corral.service import protocol as p
from corral.service.session import Session
from corral.service.surroundings import surroundings
from corral.values.commandline import parse, parse_argv, quote_pipeline, shell_pipeline
from corral.values.errors import CorralError, DaemonUnavailableError, NotSoError, UnknownJobError, UsageError
from corral.values.home import Home, default_home
from corral.values.jobs import Job, ProcessView
from corral.values.reports import Diagnosis, StopReport
from corral.values.spec import (
    DEFAULT_STOP_GRACE,
    DEFAULT_STOP_SIGNAL,
    DEFAULT_STUCK_AFTER,
    DescriptorInput,
    FileInput,
    InteractiveInput,
    JobInput,
    JobSpec,
    NullInput,
    Pipeline,
    StdinSource,
    Surroundings,
)
from corral.values.units import check_name, parse_signal, signal_name
from corral.values.wire import to_wire

CommandLike = str | Sequence[str] | Pipeline
_JOBS_A_REQUEST = 500
_READ_BYTES = 1 << 20


class JobError(CorralError):
    """`run(check=True)`: the job did not succeed. `result` holds all of it."""

    def __init__(self, result: Result) -> None:
        job = result.job
        super().__init__(f"{job.command}: {job.state} with exit status {job.exit_status} ({job.reason})")
        self.result = result


class Result(Struct, frozen=True):
    """A job that has ended, and what it printed, byte for byte."""

    job: Job
    stdout: bytes
    stderr: bytes
    """Of all stages, in their order."""

    @property
    def exit_status(self) -> int | None:
        """128 + n for signal n, 124 for a time limit; None where nobody knows."""
        return self.job.exit_status

    @property
    def succeeded(self) -> bool:
        return self.job.state == "succeeded"


class Options(TypedDict, total=False):
    """How to run a job; all are optional. Durations in seconds.

    Keys:
        name: `[A-Za-z][A-Za-z0-9_.-]{0,63}`.
        cwd: its directory, this program's unless given.
        env: its whole environment, this program's unless given.
        stdin: a path to read; `interactive` keeps a pipe open for `JobHandle.send`; a `JobHandle` feeds that job's output.
        timeout: its time limit; then the stop sequence, and the state `timed_out`.
        stop_signal, stop_grace: how the stop sequence begins, and how long until KILL.
        stuck_after: seconds without any progress until it counts as stuck.
        after: jobs that have to succeed first.
        shell: run a str with /bin/sh, as one stage.
    """

    name: str
    cwd: str
    env: Mapping[str, str]
    stdin: str | os.PathLike[str] | JobHandle | Literal["interactive"]
    timeout: float
    stop_signal: str
    stop_grace: float
    stuck_after: float
    after: Iterable[JobHandle]
    shell: bool


class JobHandle:
    """One job of a manager. Cheap: it holds the id, everything else is asked for.

    Raises:
        UnknownJobError: from every method, where no job has this id or name.
    """

    def __init__(self, session: Session, job_id: str) -> None:
        self._session = session
        self.id = job_id

    def __repr__(self) -> str:
        return f"<job {self.id}>"

    async def snapshot(self) -> Job:
        """The job as it is now."""
        reply = await self._session.call(p.ListJobs(ids=(self.id,)))
        _raise_if_unknown(reply.unknown)
        return reply.jobs[0]

    async def wait(self, timeout: float | None = None) -> Job:
        """Wait for its end.

        Raises:
            TimeoutError: it has not ended within `timeout` seconds; nothing is stopped.
        """
        reply = await self._session.call(p.WaitForJobs(ids=(self.id,), timeout=timeout))
        if reply.timed_out:
            raise TimeoutError(f"job {self.id} has not ended within {timeout:g} s")
        return reply.jobs[0]

    async def stop(self, *, signal: str | None = None, grace: float | None = None) -> StopReport:
        """Run the stop sequence to its end; what is left, if anything, is named in `survivors`."""
        name = None if signal is None else signal_name(parse_signal(signal))
        reply = await self._session.call(
            p.StopJobs(ids=(self.id,), signal=name, grace=grace, by="from the library")
        )
        _raise_if_unknown(reply.unknown)
        return reply.reports[0]

    async def kill(self) -> StopReport:
        """The stop sequence without any grace."""
        return await self.stop(grace=0.0)

    async def signal(self, signal: str, *, tree: bool = False, stage: int | None = None) -> None:
        """Send a signal, no more: to each stage's leader, the whole tree, or one stage."""
        await self._do(p.SignalJobs(ids=(self.id,), signal=signal, tree=tree, stage=stage))

    async def pause(self) -> None:
        """Suspend the whole tree. Time paused counts for no time limit."""
        await self._do(p.PauseJobs(ids=(self.id,)))

    async def resume(self) -> None:
        await self._do(p.ResumeJobs(ids=(self.id,)))

    async def restart(self) -> JobHandle:
        """Run it again; a running one is stopped first."""
        reply = await self._session.call(p.RestartJobs(ids=(self.id,)))
        return JobHandle(self._session, reply.ids[0])

    async def remove(self) -> None:
        """Delete the ended job and its output."""
        await self._do(p.RemoveJobs(ids=(self.id,)))

    async def why(self) -> Diagnosis:
        """What it does or waits for, in words, with the evidence."""
        return await self._session.call(p.AskWhy(job=self.id))

    async def processes(self) -> tuple[ProcessView, ...]:
        """Its tree, counted now."""
        return (await self._session.call(p.ListProcesses(job=self.id))).processes

    # ---- input and output

    async def send(self, data: bytes) -> None:
        """Write to the stdin of a job that was started with `stdin="interactive"`; waits while it does not read."""
        await self._session.call(p.OpenInput(job=self.id))
        (descriptor,) = self._session.received_descriptors()
        # The description is shared with the daemon, so it stays blocking; a thread of ours waits instead.
        try:
            await asyncio.to_thread(_write_all, descriptor, data)
        finally:
            os.close(descriptor)

    async def close_stdin(self) -> None:
        """EOF for a job that was started with `stdin="interactive"`."""
        await self._session.call(p.CloseInput(job=self.id))

    async def stdout(self) -> bytes:
        """All that is kept of its stdout, so far."""
        return await asyncio.to_thread(_read_all, self._session.home.stdout(await self._number()))

    async def stderr(self, stage: int | None = None) -> bytes:
        """All that is kept of the stderr of one stage, or of all in their order."""
        count = len((await self.snapshot()).stages)
        stages = range(1, count + 1) if stage is None else [stage]
        home = self._session.home
        job_id = await self._number()
        parts = [await asyncio.to_thread(_read_all, home.stderr(job_id, number)) for number in stages]
        return b"".join(parts)

    async def follow(self) -> AsyncIterator[bytes]:
        """Its stdout from the first kept byte, live, until it has ended and all was given."""
        loop = asyncio.get_running_loop()
        follower = Follower({"stdout": self._session.home.stdout(await self._number())})
        pace = Pace(loop.time())
        end = asyncio.ensure_future(self.wait())
        try:
            while True:
                has_ended = end.done()
                chunks = follower.poll()
                for _, chunk in chunks:
                    yield chunk.data
                if has_ended and not chunks:
                    await end
                    return
                if not chunks or not has_ended:
                    await asyncio.wait([end], timeout=pace.delay(loop.time(), had_output=bool(chunks)))
        finally:
            end.cancel()
            follower.close()

    async def _number(self) -> str:
        """The id by which its files are kept, also where the handle has its name. Raises UnknownJobError."""
        return self.id if self._has_files() else (await self.snapshot()).id

    def _has_files(self) -> bool:
        return self.id.isdecimal() and os.path.isdir(self._session.home.job(self.id))

    async def _do(self, request: p.SignalJobs | p.PauseJobs | p.ResumeJobs | p.RemoveJobs) -> None:
        outcome = await self._session.call(request)
        _raise_if_unknown(outcome.unknown)
        if outcome.errors:
            raise NotSoError("; ".join(outcome.errors))


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
        if self._is_private:
            self._session = await Session.open_private(parallel=self._parallel)
        else:
            self._session = await Session.connect(self._home or default_home())
        return self

    async def __aexit__(self, *_: object) -> None:
        session, self._session = self._session, None
        if session is not None:
            self.reports = await session.end()

    @property
    def session(self) -> Session:
        """The connection underneath. Raises CorralError outside the `async with`."""
        if self._session is None:
            raise CorralError("this manager is not open; use it inside `async with`")
        return self._session

    # ---- starting

    async def start(self, command: CommandLike, **options: Unpack[Options]) -> JobHandle:
        """Start a job and return at once.

        Raises:
            UsageError: the command line or an option makes no sense.
            CannotStartError: not found (status 127), not executable (126), else 125; nothing runs then.
        """
        spec = _spec(command, options)
        return await self._start(spec, _surroundings(options), ())

    async def start_many(
        self, commands: Iterable[CommandLike], **options: Unpack[Options]
    ) -> list[JobHandle]:
        """Start many with the same options; those over `parallel` wait for their turn. One that cannot start fails."""
        specs = [_spec(command, options) for command in commands]
        shared = _surroundings(options)
        handles: list[JobHandle] = []
        for first in range(0, len(specs), _JOBS_A_REQUEST):
            request = p.StartJobs(specs=tuple(specs[first : first + _JOBS_A_REQUEST]), surroundings=shared)
            reply = await self.session.call(request)
            handles += [JobHandle(self.session, job_id) for job_id in reply.ids]
        return handles

    async def run(
        self,
        command: CommandLike,
        *,
        input: bytes | None = None,  # noqa: A002  (as subprocess.run calls it)
        check: bool = False,
        **options: Unpack[Options],
    ) -> Result:
        """Run to the end and return what it printed. Cancelled, it asks for the job's stop sequence and does not wait.

        Args:
            input: fed to its stdin, then EOF. A child that reads none of it, or closes early, breaks nothing.
            check: raise JobError unless it succeeded.
        """
        spec = _spec(command, options)
        if input is None:
            handle = await self._start(spec, _surroundings(options), ())
            return await self._result(handle, check)
        if not isinstance(spec.stdin, NullInput):
            raise UsageError("input and stdin exclude each other")
        reader, writer = os.pipe()
        try:
            spec = _with_stdin(spec, DescriptorInput())
            handle = await self._start(spec, _surroundings(options), (reader,))
        except BaseException:
            os.close(writer)
            raise
        finally:
            os.close(reader)
        feed = asyncio.ensure_future(_feed(writer, input))
        try:
            return await self._result(handle, check)
        finally:
            feed.cancel()
            await asyncio.wait([feed])

    async def _start(self, spec: JobSpec, where: Surroundings, descriptors: Sequence[int]) -> JobHandle:
        request = p.StartJobs(specs=(spec,), surroundings=where, wait_started=True)
        reply = await self.session.call(request, descriptors)
        return JobHandle(self.session, reply.ids[0])

    async def _result(self, handle: JobHandle, check: bool) -> Result:
        try:
            job = await handle.wait()
        except asyncio.CancelledError:
            # As subprocess.run does: what nobody waits for any more is ended.
            await asyncio.shield(self._abandon(handle))
            raise
        result = Result(job, await handle.stdout(), await handle.stderr())
        if check and not result.succeeded:
            raise JobError(result)
        return result

    async def _abandon(self, handle: JobHandle) -> None:
        request = p.StopJobs(ids=(handle.id,), wait=False, by="by the program that cancelled its run")
        with contextlib.suppress(DaemonUnavailableError):
            await self.session.call(request)

    # ---- all of them

    def job(self, job_id: str | int) -> JobHandle:
        """A handle on a job that is known by its id or name."""
        return JobHandle(self.session, str(job_id))

    async def jobs(self, *, all: bool = False) -> tuple[Job, ...]:  # noqa: A002  (as `corral ps --all`)
        """The jobs that have not ended, or all."""
        return (await self.session.call(p.ListJobs(all=all))).jobs

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
        ids = tuple(handle.id for handle in handles)
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
        reply = await self.session.call(p.StopJobs(ids=tuple(handle.id for handle in handles), grace=grace))
        _raise_if_unknown(reply.unknown)
        return reply.reports


def open(*, parallel: int | None = None) -> JobManager:  # noqa: A001  (the library's name for it)
    """A manager of one's own: `async with corral.open() as manager`. Leaving it ends all its jobs, with proof.

    Args:
        parallel: how many jobs may run at a time; the others wait for their turn. None: any number.
    """
    return JobManager(is_private=True, parallel=parallel)


def connect(home: str | os.PathLike[str] | None = None) -> JobManager:
    """The user's daemon, started when none runs: `async with corral.connect() as manager`. Its jobs stay.

    Args:
        home: a CORRAL_HOME; the environment's, or the platform's, unless given.
    """
    return JobManager(is_private=False, home=None if home is None else Home(os.path.abspath(home)))


# ---- inside -------------------------------------------------------------------------------------------------------


def _raise_if_unknown(unknown: Sequence[str]) -> None:
    if unknown:
        raise UnknownJobError("; ".join(unknown))


def _spec(command: CommandLike, options: Options) -> JobSpec:
    pipeline = _pipeline(command, shell=options.get("shell", False))
    name = options.get("name")
    return JobSpec(
        pipeline=pipeline,
        command=to_wire(command if isinstance(command, str) else quote_pipeline(pipeline)),
        name=None if name is None else check_name(name),
        stdin=_stdin(options.get("stdin")),
        timeout=options.get("timeout"),
        stop_signal=signal_name(parse_signal(options.get("stop_signal", DEFAULT_STOP_SIGNAL))),
        stop_grace=options.get("stop_grace", DEFAULT_STOP_GRACE),
        stuck_after=options.get("stuck_after", DEFAULT_STUCK_AFTER),
        after=tuple(handle.id for handle in options.get("after", ())),
    )


def _pipeline(command: CommandLike, *, shell: bool) -> Pipeline:
    if isinstance(command, Pipeline):
        return command
    if isinstance(command, str):
        return shell_pipeline(command) if shell else parse(command)
    if shell:
        raise UsageError("shell=True takes one str; POSIX sh would run only the first item of a sequence")
    return parse_argv([to_wire(os.fspath(word)) for word in command])


def _stdin(source: object) -> StdinSource:
    match source:
        case None:
            return NullInput()
        case "interactive":
            return InteractiveInput()
        case JobHandle():
            return JobInput(source.id)
        case str() | os.PathLike():
            return FileInput(to_wire(os.fspath(source)))
        case _:
            raise UsageError(f"stdin is a path, a job or 'interactive', not {source!r}")


def _with_stdin(spec: JobSpec, source: StdinSource) -> JobSpec:
    from msgspec.structs import replace

    return replace(spec, stdin=source)


def _surroundings(options: Options) -> Surroundings:
    env = options.get("env")
    return surroundings(environment=None if env is None else dict(env), cwd=options.get("cwd"))


def _read_all(path: str) -> bytes:
    with OutputFile(path) as file:
        size = file.size()
        return b"".join(chunk.data for chunk in file.chunks(file.first_kept(), size, _READ_BYTES))


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


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
