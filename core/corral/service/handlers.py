"""What the daemon does with each request. One coroutine a request; those that wait keep nobody else waiting."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from msgspec import Struct, structs

from corral import __version__
from corral.manage import operations
from corral.manage.manager import Manager
from corral.manage.peeking import peek
from corral.service import protocol as p
from corral.values.errors import CannotStartError, CorralError, NotSoError, UnknownJobError, UsageError
from corral.values.jobs import Job
from corral.values.reports import DaemonStatus, StopReport
from corral.values.spec import DescriptorInput, JobSpec, Origin

if TYPE_CHECKING:
    from corral.service.daemon import Connection, Daemon


LISTED_ENDED = 20_000
"""Ended jobs in one reply, the newest: about 30 MB. Any older one is still found by its number."""


class Answer(NamedTuple):
    """A reply, and the descriptors that go beside it; those stay the daemon's."""

    reply: Struct
    descriptors: tuple[int, ...] = ()


class Handlers:
    """The requests of the protocol, served by one manager."""

    def __init__(self, daemon: Daemon, manager: Manager) -> None:
        self._daemon = daemon
        self._manager = manager
        self._handlers: dict[type[p.Request], Callable[..., Awaitable[Answer]]] = {
            p.SayHello: self._hello,
            p.StartJobs: self._start,
            p.ListJobs: self._list,
            p.ShowJob: self._show,
            p.AskWhy: self._why,
            p.ListProcesses: self._processes,
            p.PeekPipes: self._peek,
            p.StopJobs: self._stop,
            p.AskStopping: self._stopping,
            p.SignalJobs: self._signal,
            p.PauseJobs: self._pause,
            p.ResumeJobs: self._resume,
            p.RestartJobs: self._restart,
            p.WaitForJobs: self._wait,
            p.OpenInput: self._open_input,
            p.CloseInput: self._close_input,
            p.RemoveJobs: self._remove,
            p.HideJobs: self._hide,
            p.Subscribe: self._subscribe,
            p.Look: self._look,
            p.AskPast: self._past,
            p.AskStatus: self._status,
            p.Shutdown: self._shutdown,
        }

    async def handle(self, connection: Connection, request: p.AnyRequest, descriptors: list[int]) -> Answer:
        """The answer to one request. Takes descriptors that it wants out of the list. Raises CorralError."""
        if connection.hello is None and not isinstance(request, p.SayHello):
            raise UsageError("say hello first")
        return await self._handlers[type(request)](connection, request, descriptors)

    # ---- greeting and starting

    async def _hello(self, connection: Connection, request: p.SayHello, _: list[int]) -> Answer:
        connection.hello = request
        notices: tuple[str, ...] = ()
        if request.client == "command_line":
            # Said once: a dashboard has no line for it, a program nobody who reads it.
            notices = tuple(self._manager.journal.notices)
            self._manager.journal.notices.clear()
        return Answer(
            p.Hello(
                version=__version__,
                protocol=p.PROTOCOL,
                pid=os.getpid(),
                home=self._manager.home.path,
                private=self._daemon.is_private,
                notices=notices,
            )
        )

    async def _start(self, connection: Connection, request: p.StartJobs, descriptors: list[int]) -> Answer:
        descriptor = None
        if any(isinstance(spec.stdin, DescriptorInput) for spec in request.specs):
            if len(request.specs) != 1 or len(descriptors) != 1:
                raise UsageError(
                    "a job that reads the client's stdin needs exactly one descriptor, and to be alone"
                )
            descriptor = descriptors.pop()
        assert connection.hello is not None
        specs = [self._with_origin(spec, connection.hello) for spec in request.specs]
        try:
            ids = self._manager.accept(specs, request.surroundings, descriptor)
        except CorralError:
            if descriptor is not None:
                os.close(descriptor)
            raise
        if request.wait_started:
            await asyncio.gather(*(self._manager.until_started(job_id) for job_id in ids))
            # Of what was half started the rest is being ended; until then its end is not known.
            await asyncio.gather(*self._manager.ends_of(job_id for job_id in ids if self._has_failed(job_id)))
            self._raise_if_not_started(ids)
        return Answer(p.Started(tuple(map(str, ids))))

    @staticmethod
    def _with_origin(spec: JobSpec, hello: p.SayHello) -> JobSpec:
        return structs.replace(spec, origin=hello.client, parent=hello.parent)

    def _has_failed(self, job_id: int) -> bool:
        job = self._manager.jobs.get(job_id)
        return job is not None and job.life.start_failure is not None

    def _raise_if_not_started(self, ids: Sequence[int]) -> None:
        if len(ids) != 1:
            return
        view = self._manager.snapshot(ids[0])
        has_unstarted = any(stage.started is None for stage in view.stages)
        if view.state == "failed" and has_unstarted and view.exit_status is not None:
            raise CannotStartError(view.reason or "could not start", view.exit_status, view.id)

    # ---- asking

    async def _list(self, _: Connection, request: p.ListJobs, __: list[int]) -> Answer:
        manager, now = self._manager, time.monotonic()
        if request.ids:
            ids, unknown = self._resolved(request.ids)
            return Answer(p.Jobs(tuple(manager.fresh(job_id, now) for job_id in ids), tuple(unknown)))
        for job in list(manager.jobs.values()):
            manager.monitor.see(job)
        unended = sorted(job_id for job_id, job in manager.jobs.items() if not job.life.is_ended)
        jobs = [manager.fresh(job_id, now) for job_id in unended]
        if request.all:
            manager.commit_soon()
            known = {job.id: job for job in manager.journal.ended(LISTED_ENDED)}
            # What a full disk has not taken yet is known here only.
            known.update((str(job_id), job) for job_id, job in manager.ended.items())
            known.update((job.id, job) for job in jobs)
            jobs = sorted(known.values(), key=lambda job: int(job.id))
        return Answer(p.Jobs(tuple(jobs), leftovers={} if request.all else self._leftovers()))

    def _leftovers(self) -> dict[str, int]:
        """How many processes live on of each job that has ended."""
        jobs = sorted(self._manager.jobs.items())
        return {str(job_id): job.leftovers for job_id, job in jobs if job.life.is_ended and job.leftovers}

    def _resolved(self, references: Sequence[str]) -> tuple[list[int], list[str]]:
        """The ids that are known, and a sentence for each that is not."""
        ids, unknown = [], []
        for reference in references:
            try:
                ids.append(self._manager.resolve(reference))
            except NotSoError as error:
                unknown.append(str(error))
        return list(dict.fromkeys(ids)), unknown

    async def _show(self, _: Connection, request: p.ShowJob, __: list[int]) -> Answer:
        return Answer(operations.detail(self._manager, self._manager.resolve(request.job)))

    async def _why(self, _: Connection, request: p.AskWhy, __: list[int]) -> Answer:
        manager = self._manager
        job_id = operations.most_urgent(manager) if request.job is None else manager.resolve(request.job)
        return Answer(operations.why(manager, job_id))

    async def _processes(self, _: Connection, request: p.ListProcesses, __: list[int]) -> Answer:
        return Answer(p.Processes(operations.processes(self._manager, self._manager.resolve(request.job))))

    async def _peek(self, _: Connection, request: p.PeekPipes, __: list[int]) -> Answer:
        job_id = self._manager.resolve(request.job)
        return Answer(p.Pipes(peek(self._manager, job_id, request.pipe, request.bytes)))

    async def _past(self, _: Connection, request: p.AskPast, __: list[int]) -> Answer:
        now = time.monotonic()
        jobs = (self._manager.jobs.get(int(job_id)) for job_id in request.ids if job_id.isdecimal())
        return Answer(p.Pasts({str(job.id): job.past.values(now) for job in jobs if job is not None}))

    async def _status(self, _: Connection, __: p.AskStatus, ___: list[int]) -> Answer:
        manager = self._manager
        counts: dict[str, int] = {}
        for job in manager.jobs.values():
            if not job.life.is_ended:
                counts[job.life.state] = counts.get(job.life.state, 0) + 1
        process = self._daemon.process
        with process.oneshot():
            return Answer(
                DaemonStatus(
                    pid=os.getpid(),
                    version=__version__,
                    socket=manager.home.socket,
                    home=manager.home.path,
                    started=self._daemon.started,
                    jobs=counts,
                    cpu_percent=self._daemon.cpu_percent(),
                    memory_bytes=process.memory_info().rss,
                    marks=manager.why_no_marks or "on",
                    leftovers=self._leftovers(),
                )
            )

    # ---- ending

    async def _stop(self, connection: Connection, request: p.StopJobs, _: list[int]) -> Answer:
        manager = self._manager
        unknown: list[str] = []
        if request.all:
            ids = [job_id for job_id, job in manager.jobs.items() if not job.life.is_ended or job.leftovers]
        elif not request.ids:
            raise UsageError("no job named; give ids, or --all")
        else:
            ids, unknown = self._resolved(request.ids)
        if request.stage is not None:
            reports = await asyncio.gather(
                *(
                    operations.stop_stage(
                        manager, job_id, request.stage, request.signal, request.grace, wait=request.wait
                    )
                    for job_id in ids
                )
            )
            return Answer(p.Stops(tuple(reports), tuple(unknown)))
        had_ended = {
            str(job_id)
            for job_id in ids
            if not operations.request_stop(
                manager, job_id, by=request.by, signal=request.signal, grace=request.grace
            )
        }
        reports = await asyncio.gather(
            *(operations.stop_report(manager, job_id, wait=request.wait) for job_id in ids)
        )
        manager.commit_soon()
        told = (
            structs.replace(report, note="already ended") if report.id in had_ended else report
            for report in reports
        )
        return Answer(p.Stops(tuple(told), tuple(unknown)))

    async def _stopping(self, _: Connection, request: p.AskStopping, __: list[int]) -> Answer:
        ids, unknown = self._resolved(request.ids)
        self._manager.commit_soon()
        reports = [await operations.stop_report(self._manager, job_id, wait=False) for job_id in ids]
        return Answer(p.Stops(tuple(reports), tuple(unknown)))

    async def _signal(self, _: Connection, request: p.SignalJobs, __: list[int]) -> Answer:
        def send(job_id: int) -> str:
            return operations.signal_job(
                self._manager,
                job_id,
                request.signal,
                tree=request.tree,
                stage=request.stage,
                pid=request.pid,
            )

        return self._each(request.ids, send)

    async def _pause(self, _: Connection, request: p.PauseJobs, __: list[int]) -> Answer:
        return self._each(request.ids, lambda job_id: operations.pause(self._manager, job_id))

    async def _resume(self, _: Connection, request: p.ResumeJobs, __: list[int]) -> Answer:
        return self._each(request.ids, lambda job_id: operations.resume(self._manager, job_id))

    def _each(self, references: Sequence[str], act: Callable[[int], str]) -> Answer:
        ids, unknown = self._resolved(references)
        done, errors = [], list(unknown)
        for job_id in ids:
            try:
                done.append(act(job_id))
            except NotSoError as error:
                errors.append(str(error))
        self._manager.wake()
        return Answer(p.Outcome(tuple(done), tuple(errors), tuple(unknown)))

    async def _restart(self, connection: Connection, request: p.RestartJobs, _: list[int]) -> Answer:
        assert connection.hello is not None
        origin: Origin = connection.hello.client
        ids = [self._manager.resolve(reference) for reference in request.ids]
        new = await asyncio.gather(*(operations.restart(self._manager, job_id, origin) for job_id in ids))
        return Answer(p.Started(tuple(map(str, new))))

    # ---- waiting

    async def _wait(self, _: Connection, request: p.WaitForJobs, __: list[int]) -> Answer:
        ids, unknown = self._resolved(request.ids)
        if unknown:
            raise UnknownJobError("; ".join(unknown))
        ends = self._manager.ends_of(ids)
        mode = asyncio.FIRST_COMPLETED if request.any else asyncio.ALL_COMPLETED
        is_over = len(ends) < len(ids) if request.any else not ends
        try:
            if not is_over:
                await asyncio.wait(ends, timeout=request.timeout, return_when=mode)
            timed_out = not all(end.done() for end in ends)
        finally:
            for end in ends:
                end.cancel()
        jobs = [self._manager.fresh(job_id, time.monotonic()) for job_id in ids]
        ended = [job for job in jobs if job.is_ended]
        if request.any and ended:
            return Answer(p.Waited((min(ended, key=_ended_at),)))
        return Answer(p.Waited(tuple(jobs), timed_out=timed_out))

    # ---- input

    async def _open_input(self, _: Connection, request: p.OpenInput, __: list[int]) -> Answer:
        writer = operations.input_of(self._manager, self._manager.resolve(request.job))
        return Answer(p.Done(), (writer,))

    async def _close_input(self, _: Connection, request: p.CloseInput, __: list[int]) -> Answer:
        operations.close_input(self._manager, self._manager.resolve(request.job))
        return Answer(p.Done())

    # ---- tidying

    async def _remove(self, _: Connection, request: p.RemoveJobs, __: list[int]) -> Answer:
        ids, unknown = self._resolved(request.ids)
        done, more = await operations.remove(self._manager, ids, force=request.force)
        return Answer(p.Outcome(tuple(done), (*unknown, *more), tuple(unknown)))

    async def _hide(self, _: Connection, request: p.HideJobs, __: list[int]) -> Answer:
        ids, unknown = self._resolved(request.ids)
        done, more = operations.hide(self._manager, ids, request.hidden)
        return Answer(p.Outcome(tuple(done), (*unknown, *more), tuple(unknown)))

    # ---- screens

    async def _subscribe(self, connection: Connection, request: p.Subscribe, _: list[int]) -> Answer:
        self._daemon.publisher.add(connection, request.ended)
        return Answer(p.Done())

    async def _look(self, connection: Connection, request: p.Look, _: list[int]) -> Answer:
        connection.looks_at = frozenset(int(job_id) for job_id in request.ids if job_id.isdecimal())
        self._daemon.note_looks()
        return Answer(p.Done())

    # ---- the end of the daemon

    async def _shutdown(self, _: Connection, request: p.Shutdown, __: list[int]) -> Answer:
        manager = self._manager
        running = [job for job in manager.jobs.values() if not job.life.is_ended]
        reports: tuple[StopReport, ...] = ()
        if request.jobs is None and running:
            names = ", ".join(f"{job.id} {job.title}" for job in running[:8])
            more = f" and {len(running) - 8} more" if len(running) > 8 else ""
            raise NotSoError(
                f"jobs have not ended: {names}{more}; corral daemon stop --jobs stop ends them,"
                " --jobs leave leaves them running"
            )
        if request.jobs == "stop":
            reports = await self._daemon.stop_everything("with the daemon")
        self._daemon.end_soon()
        return Answer(p.Stops(reports))


def _ended_at(job: Job) -> Any:
    return job.ended, int(job.id)
