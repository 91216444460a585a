"""A handle on one job, for programs."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Iterable, Sequence

from msgspec import Struct

from corral.client.ask_why import ask_why
from corral.client.session import Session
from corral.library.batch_job_output import is_under_way, printed
from corral.lifecycle.job_reference import parse_id
from corral.model import validators
from corral.model.errors import CorralError, NotSoError, UnknownJobError, UsageError
from corral.model.home import Home
from corral.model.job import Job, ProcessView
from corral.model.reports import Diagnosis, StopReport, Story
from corral.output.reader import READ_SIZE, Cursor, OutputFile, PollInterval
from corral.output.stream_order import MergedStreams
from corral.protocol import requests as p


class JobError(CorralError):
    """`run(check=True)`: the job did not succeed. `result` holds all of it."""

    def __init__(self, result: Result) -> None:
        job = result.job
        super().__init__(f"{job.command}: {job.state} with exit status {job.exit_status} ({job.reason})")
        self.result = result

    def __reduce__(self) -> tuple[type[JobError], tuple[Result]]:
        return JobError, (self.result,)


class OutputDroppedError(CorralError):
    """`follow()`: so many bytes of the job's stdout, `dropped`, were dropped by its cap before they could be read."""

    def __init__(self, job: str, dropped: int) -> None:
        super().__init__(
            f"job {job}: {dropped} bytes of its stdout were dropped before they could be read; "
            "max_output=None keeps all"
        )
        self.job = job
        self.dropped = dropped

    def __reduce__(self) -> tuple[type[OutputDroppedError], tuple[str, int]]:
        return OutputDroppedError, (self.job, self.dropped)


class Result(Struct, frozen=True):
    """A job that has ended, and what it printed, byte for byte."""

    job: Job
    """The job as it ended."""
    stdout: bytes
    """All that is kept of its stdout."""
    stderr: bytes
    """Of all stages, in their order."""

    @property
    def exit_status(self) -> int | None:
        """128 + n for signal n, 124 for a time limit; None where nobody knows."""
        return self.job.exit_status

    @property
    def succeeded(self) -> bool:
        """Whether its state is `succeeded`; a stage that SIGPIPE ended because its reader was done is no failure."""
        return self.job.state == "succeeded"


class JobHandle:
    """One job of a manager. Cheap: it holds the id, everything else is asked for.

    Raises:
        UnknownJobError: from every method, where no job has this id or name.
    """

    def __init__(self, session: Session, job_id: str) -> None:
        self._opened = session
        self.id = job_id
        """As it was asked for: its number, or its name; `number` has the one in any case."""

    def __repr__(self) -> str:
        return f"<job {self.id}>"

    @property
    def _session(self) -> Session:
        """Raises NotOpenError where nothing can be asked."""
        self._opened.check_usable()
        return self._opened

    async def snapshot(self) -> Job:
        """The job as it is now."""
        reply = await self._session.call(p.ListJobs(ids=(self.id,)))
        raise_if_unknown(reply.unknown)
        return reply.jobs[0]

    async def wait(self, timeout: float | None = None) -> Job:
        """Wait for its end.

        Raises:
            TimeoutError: it has not ended within `timeout` seconds; nothing is stopped.
        """
        timeout = validators.PATIENCE("timeout", timeout)
        # By number: if another daemon continues the wait, it must be for the same job.
        reply = await self._session.call(p.WaitForJobs(ids=(await self.number(),), timeout=timeout))
        if reply.timed_out:
            raise TimeoutError(f"job {self.id} has not ended within {timeout:g} s")
        return reply.jobs[0]

    async def stop(self, *, signal: str | int | None = None, grace: float | None = None) -> StopReport:
        """Run the stop sequence to its end; what is left, if anything, is named in `survivors`.

        Args:
            signal: the first one, such as `"INT"` or `signal.SIGINT`; the job's `stop_signal` unless given.
            grace: seconds from that to KILL; the job's `stop_grace` unless given.
        """
        name, grace = validators.OWN_SIGNAL("signal", signal), validators.OWN_SECONDS("grace", grace)
        reply = await self._session.call(
            p.StopJobs(ids=(await self.number(),), signal=name, grace=grace, by="from the library")
        )
        raise_if_unknown(reply.unknown)
        return reply.reports[0]

    async def kill(self) -> StopReport:
        """The stop sequence without any grace."""
        return await self.stop(grace=0.0)

    async def signal(self, signal: str | int, *, tree: bool = False, stage: int | None = None) -> None:
        """Send a signal, no more: to each stage's leader, the whole tree, or one stage (numbered from 1)."""
        request = p.SignalJobs(
            ids=(self.id,),
            signal=validators.SIGNAL("signal", signal),
            tree=validators.FLAG("tree", tree),
            stage=validators.ONE_STAGE("stage", stage),
        )
        await self._do(request)

    async def pause(self) -> None:
        """Suspend the whole tree. Time paused counts for no time limit."""
        await self._do(p.PauseJobs(ids=(self.id,)))

    async def resume(self) -> None:
        """Resume a paused tree."""
        await self._do(p.ResumeJobs(ids=(self.id,)))

    async def restart(self) -> JobHandle:
        """Run it again; a running one is stopped first."""
        reply = await self._session.call(p.RestartJobs(ids=(await self.number(),)))
        return JobHandle(self._session, reply.ids[0])

    async def remove(self) -> None:
        """Delete the ended job and its output."""
        await self._do(p.RemoveJobs(ids=(self.id,)))

    async def why(self) -> Diagnosis:
        """What it does or waits for, in words, with the evidence."""
        return await self._session.call(ask_why(self.id))

    async def story(self) -> Story:
        """What is kept of it, also once it has ended: the last time it was stuck, and CPU and memory over its life."""
        return await self._session.call(p.AskStory(job=self.id))

    async def processes(self) -> tuple[ProcessView, ...]:
        """Its tree, counted now."""
        return (await self._session.call(p.ListProcesses(job=self.id))).processes

    # ---- input and output

    async def send(self, data: bytes | bytearray | memoryview) -> None:
        """Write to the stdin of a job that was started with `stdin="interactive"`; waits while it does not read.

        With `pty=True` it is typed: end a line with `\\r`, as the key does. If cancelled, the rest is not written.
        """
        data = validators.BYTES("data", data)
        await self._session.send_input(self.id, bytes(data))

    async def close_stdin(self) -> None:
        """EOF for a job that was started with `stdin="interactive"`; typed (ctrl+d) for one with `pty=True`."""
        await self._session.call(p.CloseInput(job=self.id))

    async def stdout(self) -> bytes:
        """All that is kept of its stdout, so far."""
        return await asyncio.to_thread(_read_stream, self._session.home, await self._number(), 0)

    async def stderr(self, stage: int | None = None) -> bytes:
        """All that is kept of the stderr of one stage (numbered from 1), or of all in their order."""
        stage = validators.ONE_STAGE("stage", stage)
        count = len((await self.snapshot()).stages)
        if stage is not None and stage > count:
            raise UsageError(f"job {self.id} has no stage {stage}; it has {count}")
        stages = range(1, count + 1) if stage is None else [stage]
        home, job_id = self._session.home, await self._number()
        parts = [await asyncio.to_thread(_read_stream, home, job_id, number) for number in stages]
        return b"".join(parts)

    async def output(self) -> bytes:
        """What is kept of its stdout and all stderr, so far, in the order in which it came as far as looks once a second
        tell; lines are kept whole where that can be.
        """
        count = len((await self.snapshot()).stages)
        home, job_id = self._session.home, await self._number()
        packed = printed(home, job_id, count).packed if "." in job_id else ()
        if packed:
            return b"".join(packed)
        return await asyncio.to_thread(_read_merged, home.outputs(job_id, count), home.order(job_id))

    async def follow(self) -> AsyncGenerator[bytes, None]:
        """Its stdout from the first kept byte, live, until it has ended and all was given.

        What its own program takes away again (`> /dev/stdout`) may be missing: `Job.stdout_truncated_bytes`.

        Raises:
            OutputDroppedError: its `max_output` dropped bytes before we came to them.
        """
        job_id = await self._number()
        place = Cursor(OutputFile(self._session.home.stdout(job_id)))
        loop = asyncio.get_running_loop()
        pace = PollInterval(loop.time())
        end = asyncio.ensure_future(self.wait())
        given = 0
        try:
            while True:
                has_ended = end.done()
                chunk = place.read()
                if "." in job_id and not is_under_way(self._session.home, job_id):
                    await end
                    yield (await self.stdout())[given:]
                    return
                given += len(chunk.data)
                if chunk.dropped and chunk.offset > chunk.dropped:
                    raise OutputDroppedError(self.id, chunk.dropped)
                if chunk.data:
                    yield chunk.data
                is_new = bool(chunk.data or chunk.dropped)
                if has_ended and not is_new:
                    await end
                    return
                if not is_new or not has_ended:
                    # Read on at once if we are behind: the cap of a fast writer would drop what we have not read.
                    delay = pace.delay(loop.time(), had_output=is_new)
                    await asyncio.wait([end], timeout=0 if len(chunk.data) == READ_SIZE else delay)
        finally:
            end.cancel()
            place.file.close()

    async def number(self) -> str:
        """The id of the job, also where the handle has its name. Raises UnknownJobError."""
        return (await self.snapshot()).id if parse_id(self.id) is None else self.id

    async def _number(self) -> str:
        """The id by which its files are kept, also where the handle has its name. Raises UnknownJobError."""
        return self.id if self._has_files() else (await self.snapshot()).id

    def _has_files(self) -> bool:
        return parse_id(self.id) is not None and os.path.lexists(self._session.home.job(self.id))

    async def _do(self, request: p.SignalJobs | p.PauseJobs | p.ResumeJobs | p.RemoveJobs) -> None:
        outcome = await self._session.call(request)
        raise_if_unknown(outcome.unknown)
        if outcome.errors:
            raise NotSoError("; ".join(outcome.errors))


def id_in(session: Session, handle: JobHandle) -> str:
    """The id, for a request of `session`. Raises UsageError where it would mean a job of another daemon."""
    if handle._opened.home != session.home:
        raise UsageError(f"{handle} is a job of another manager, with another CORRAL_HOME: use its own")
    return handle.id


def jobs_of(value: object) -> list[JobHandle]:
    """The handles in an iterable. Raises TypeError for anything else."""
    if not isinstance(value, Iterable):
        raise TypeError
    handles = list(value)
    if not all(isinstance(handle, JobHandle) for handle in handles):
        raise TypeError
    return handles


JOBS = validators.Validator("jobs of this manager, such as [job]", jobs_of)


def raise_if_unknown(unknown: Sequence[str]) -> None:
    if unknown:
        raise UnknownJobError("; ".join(unknown))


def _read_stream(home: Home, job_id: str, number: int) -> bytes:
    """stdout, which is number 0, or the stderr of a stage."""
    if "." in job_id:
        found = printed(home, job_id, max(1, number))
        if found.packed or not found.paths:
            return found.packed[number] if number < len(found.packed) else b""
    return _read_all(home.outputs(job_id, number)[number])


def _read_all(path: str) -> bytes:
    with OutputFile(path) as file:
        parts: list[bytes] = []
        place, end = Cursor(file, file.first_kept()), file.size()
        while place.offset < end:
            chunk = place.read(READ_SIZE, end)
            if chunk.after_truncation:
                # The file was truncated and rewritten: read what is there now.
                return b"".join(each.data for each in file.chunks(file.first_kept()))
            if chunk.dropped:
                # Bytes were dropped while we read: drop those before, too, so that there is no gap.
                parts.clear()
            if not chunk.data and not chunk.dropped:
                break
            parts.append(chunk.data)
        return b"".join(parts)


def _read_merged(paths: list[str], order: str) -> bytes:
    merged = MergedStreams(paths, order)
    try:
        ends, parts = merged.sizes(), []
        while (found := merged.read(ends=ends)) is not None:
            parts.append(found[1].data)
        return b"".join(parts)
    finally:
        merged.close()
