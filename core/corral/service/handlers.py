"""What the daemon does with each request. One coroutine a request; those that wait keep nobody else waiting."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from msgspec import Struct, structs

from corral.decide.naming import number_of
from corral.manage import heirs, operations
from corral.manage.manager import Manager
from corral.manage.oldjobs import Asked
from corral.manage.peeking import peek
from corral.manage.stories import story
from corral.service import protocol as p
from corral.service.fitting import fitting
from corral.service.handover import replace_program
from corral.service.listing import listed
from corral.service.parts import ListReply
from corral.service.stops import stop
from corral.system import scheduling
from corral.system.destinations import NOT_TO_BE_HELD, file_that_may_hang
from corral.system.shortage import no_descriptors
from corral.values import kinds
from corral.values.errors import (
    CannotStartError,
    CorralError,
    NotSoError,
    ProtocolMismatchError,
    UnknownJobError,
    UsageError,
)
from corral.values.jobs import Job
from corral.values.reports import DaemonStatus
from corral.values.spec import DescriptorInput, JobSpec, Origin
from corral.values.wire import to_wire
from corral.version import __version__

if TYPE_CHECKING:
    from corral.service.connection import Connection
    from corral.service.daemon import Daemon


NAMES_A_PASS = 50
"""Names looked up before others have their turn: one may take a tenth of a millisecond."""


MOST_LOOKED_AT = 1000
MOST_STARTS = 5000
"""Jobs in one request. They are accepted in one go: some tenths of a second."""


class Answer(NamedTuple):
    """A reply, and the descriptors that go beside it; those stay the daemon's."""

    reply: Struct | ListReply
    descriptors: tuple[int, ...] = ()


class Handlers:
    """The requests of the protocol, served by one manager."""

    def __init__(self, daemon: Daemon, manager: Manager) -> None:
        self._daemon = daemon
        self._manager = manager
        self._listing = asyncio.Lock()
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
            p.CleanJobs: self._clean,
            p.HideJobs: self._hide,
            p.Subscribe: self._subscribe,
            p.Look: self._look,
            p.AskPast: self._past,
            p.AskStory: self._story,
            p.AskStatus: self._status,
            p.Shutdown: self._shutdown,
            p.RestartDaemon: self._restart_daemon,
        }

    async def handle(self, connection: Connection, request: p.AnyRequest, descriptors: list[int]) -> Answer:
        """The answer to one request. Takes descriptors that it wants out of the list. Raises CorralError."""
        if connection.hello is None and not isinstance(request, p.SayHello):
            raise UsageError("say hello first")
        if connection.hello is not None and connection.hello.protocol != p.PROTOCOL:
            check_frozen(connection.hello, request)
        return await self._handlers[type(request)](connection, request, descriptors)

    # ---- greeting and starting

    async def _hello(self, connection: Connection, request: p.SayHello, _: list[int]) -> Answer:
        if connection.hello is not None:
            raise UsageError("hello was said before")
        parent = request.parent if request.parent and number_of(request.parent) else None
        connection.hello = structs.replace(request, parent=parent)
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
                home=to_wire(self._manager.home.path),
                private=self._daemon.is_private,
                generation=self._daemon.generation,
                notices=notices,
            )
        )

    async def _start(self, connection: Connection, request: p.StartJobs, descriptors: list[int]) -> Answer:
        descriptor = None
        if len(request.specs) > MOST_STARTS:
            raise UsageError(
                f"{len(request.specs)} jobs in one request: at most {MOST_STARTS}; send them in parts"
            )
        if any(isinstance(spec.stdin, DescriptorInput) for spec in request.specs):
            if not descriptors:
                # The kernel drops what does not fit into our table and sets MSG_CTRUNC (unix(7)).
                raise CorralError(f"the stdin to pass did not arrive, most likely since {no_descriptors()}")
            if len(request.specs) != 1 or len(descriptors) != 1:
                raise UsageError(
                    "a job that reads the client's stdin needs exactly one descriptor, and to be alone"
                )
            if file_that_may_hang(descriptors[0], self._manager.mounts.may_hang) is not None:
                raise UsageError(f"stdin: {NOT_TO_BE_HELD}")
            descriptor = descriptors.pop()
        assert connection.hello is not None
        specs = [self._with_origin(spec, connection.hello) for spec in request.specs]
        surroundings = structs.replace(request.surroundings, scheduling=scheduling.of(connection.pid))
        self._manager.launcher.check(surroundings)
        surroundings = structs.replace(surroundings, namespaces={})
        left = self._manager.leftovers.told({spec.name for spec in specs if spec.name is not None})
        ids = await self._manager.accept(specs, surroundings, descriptor)
        if request.wait_started:
            await asyncio.gather(*(self._manager.until_started(job_id) for job_id in ids))
            # Of what was half started the rest is being ended; until then its end is not known.
            await asyncio.gather(*self._manager.ends_of(job_id for job_id in ids if self._has_failed(job_id)))
            self._raise_if_not_started(ids)
        return Answer(p.Started(tuple(map(str, ids)), left))

    @staticmethod
    def _with_origin(spec: JobSpec, hello: p.SayHello) -> JobSpec:
        return structs.replace(spec, origin=hello.client, parent=hello.parent, instead_of=())

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
        if request.ids:
            now = time.monotonic()
            ids, unknown = await self._resolved(request.ids)
            self._manager.leftovers.look(ids)
            found = [self._manager.fresh(job_id, now) for job_id in ids]
            left = [job for job in self._manager.leftovers.named(request.ids) if job.id not in ids]
            return Answer(
                p.Jobs(fitting(found), tuple(unknown), {str(job.id): job.leftovers for job in left})
            )
        leftovers = {} if request.all else self._leftovers()
        return Answer(listed(self._manager, request, leftovers, self._listing))

    def _leftovers(self) -> dict[str, int]:
        """How many processes live on of each job that has ended."""
        jobs = sorted(self._manager.jobs.items())
        return {str(job_id): job.leftovers for job_id, job in jobs if job.life.is_ended and job.leftovers}

    async def _resolved(self, references: Sequence[str]) -> tuple[list[int], list[str]]:
        """The ids that are known, and a sentence for each that is not. Of many names others do not have to wait."""
        ids, unknown = [], []
        for count, reference in enumerate(dict.fromkeys(references)):
            if count % NAMES_A_PASS == NAMES_A_PASS - 1:
                await asyncio.sleep(0)
            try:
                ids.append(self._manager.resolve(reference))
            except NotSoError as error:
                unknown.append(str(error))
        return list(dict.fromkeys(ids)), unknown

    async def _show(self, _: Connection, request: p.ShowJob, __: list[int]) -> Answer:
        job_id = self._manager.resolve(request.job)
        self._manager.leftovers.look([job_id])
        return Answer(operations.detail(self._manager, job_id))

    async def _why(self, _: Connection, request: p.AskWhy, __: list[int]) -> Answer:
        manager = self._manager
        job_id = operations.most_urgent(manager) if request.job is None else manager.resolve(request.job)
        found = operations.why(manager, job_id)
        job = manager.jobs.get(job_id)
        if request.stacks and job is not None:
            found = await self._manager.spy.add_stacks(found, frozenset(job.members), request.py_spy)
        return Answer(found)

    async def _processes(self, _: Connection, request: p.ListProcesses, __: list[int]) -> Answer:
        return Answer(p.Processes(operations.processes(self._manager, self._manager.resolve(request.job))))

    async def _peek(self, _: Connection, request: p.PeekPipes, __: list[int]) -> Answer:
        job_id = self._manager.resolve(request.job)
        return Answer(p.Pipes(peek(self._manager, job_id, request.pipe, request.bytes)))

    async def _past(self, _: Connection, request: p.AskPast, __: list[int]) -> Answer:
        now = time.monotonic()
        jobs = map(self._manager.jobs.get, _numbers(request.ids))
        return Answer(p.Pasts({str(job.id): job.past.values(now) for job in jobs if job is not None}))

    async def _story(self, _: Connection, request: p.AskStory, __: list[int]) -> Answer:
        return Answer(story(self._manager, self._manager.resolve(request.job)))

    async def _status(self, _: Connection, __: p.AskStatus, ___: list[int]) -> Answer:
        manager = self._manager
        counts: dict[str, int] = {}
        for job in manager.jobs.values():
            if not job.life.is_ended:
                counts[job.life.state] = counts.get(job.life.state, 0) + 1
        manager.leftovers.look()
        process = self._daemon.process
        with process.oneshot():
            return Answer(
                DaemonStatus(
                    pid=os.getpid(),
                    version=__version__,
                    socket=to_wire(manager.home.socket),
                    home=to_wire(manager.home.path),
                    started=self._daemon.started,
                    jobs=counts,
                    cpu_percent=self._daemon.cpu_percent(),
                    memory_bytes=process.memory_info().rss,
                    protocol=p.PROTOCOL,
                    marks=manager.why_no_marks or "on",
                    leftovers=self._leftovers(),
                    notices=(*manager.commits.notices, *manager.cleaner.notices, *manager.upkeep.notices),
                )
            )

    # ---- ending

    async def _stop(self, connection: Connection, request: p.StopJobs, _: list[int]) -> Answer:
        manager = self._manager
        unknown: list[str] = []
        if request.all:
            manager.leftovers.look()
            ids = [job_id for job_id, job in manager.jobs.items() if not job.life.is_ended or job.leftovers]
        elif not request.ids:
            raise UsageError("no job named; give ids, or --all")
        else:
            ids, unknown = await self._resolved(request.ids)
        if not request.all and request.stage is None:
            ids = list(dict.fromkeys(ids + [job.id for job in manager.leftovers.named(request.ids)]))
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
        return Answer(await stop(manager, ids, request, unknown))

    async def _stopping(self, _: Connection, request: p.AskStopping, __: list[int]) -> Answer:
        ids, unknown = await self._resolved(request.ids)
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

        return await self._each(request.ids, send)

    async def _pause(self, _: Connection, request: p.PauseJobs, __: list[int]) -> Answer:
        return await self._each(request.ids, lambda job_id: operations.pause(self._manager, job_id))

    async def _resume(self, _: Connection, request: p.ResumeJobs, __: list[int]) -> Answer:
        return await self._each(request.ids, lambda job_id: operations.resume(self._manager, job_id))

    async def _each(self, references: Sequence[str], act: Callable[[int], str]) -> Answer:
        ids, unknown = await self._resolved(references)
        done, errors = [], list(unknown)
        for job_id in ids:
            try:
                done.append(act(job_id))
            except NotSoError as error:
                errors.append(str(error))
        # Before the answer: what was said to be so is so for the next daemon, too.
        self._manager.commit_soon()
        self._manager.wake()
        return Answer(p.Outcome(tuple(done), tuple(errors), tuple(unknown)))

    async def _restart(self, connection: Connection, request: p.RestartJobs, _: list[int]) -> Answer:
        assert connection.hello is not None
        origin: Origin = connection.hello.client
        ids = [self._manager.resolve(reference) for reference in request.ids]
        names = {self._manager.snapshot(job_id).name for job_id in ids} - {None}
        left = self._manager.leftovers.told(names, ids)
        new = await asyncio.gather(
            *(heirs.restart(self._manager, job_id, origin, request.asked_at) for job_id in ids)
        )
        return Answer(p.Started(tuple(map(str, new)), left))

    # ---- waiting

    async def _wait(self, _: Connection, request: p.WaitForJobs, __: list[int]) -> Answer:
        if request.any and not request.ids:
            raise UsageError("no job named of which one is to end; give ids")
        ids, unknown = await self._resolved(request.ids)
        if unknown:
            raise UnknownJobError("; ".join(unknown))
        with self._manager.cleaner.holding(ids):
            return Answer(await self._waited(ids, request))

    async def _waited(self, ids: Sequence[int], request: p.WaitForJobs) -> p.Waited:
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
        if request.swept and not timed_out:
            await self._manager.leftovers.until_swept(ids)
        jobs = [self._manager.fresh(job_id, time.monotonic()) for job_id in ids]
        ended = [job for job in jobs if job.is_ended]
        if request.any and ended:
            return p.Waited((min(ended, key=_ended_at),))
        return p.Waited(fitting(jobs), timed_out=timed_out)

    # ---- input

    async def _open_input(self, connection: Connection, request: p.OpenInput, _: list[int]) -> Answer:
        job_id = self._manager.resolve(request.job)
        opened, writer = operations.open_input(self._manager, job_id)
        if opened.is_terminal:
            connection.terminals.add(job_id)
        return Answer(opened, (writer,))

    async def _close_input(self, _: Connection, request: p.CloseInput, __: list[int]) -> Answer:
        operations.close_input(self._manager, self._manager.resolve(request.job))
        return Answer(p.Done())

    # ---- tidying

    async def _remove(self, _: Connection, request: p.RemoveJobs, __: list[int]) -> Answer:
        ids, unknown = await self._resolved(request.ids)
        done, more = await operations.remove(self._manager, ids, force=request.force)
        if request.asked_before:
            # An id is never used again: what is not there any more was removed.
            done, unknown = [*done, *(f"{text}; it was removed" for text in unknown)], []
        return Answer(p.Outcome(tuple(done), (*unknown, *more), tuple(unknown)))

    async def _clean(self, _: Connection, request: p.CleanJobs, __: list[int]) -> Answer:
        kinds.AGE("older_than", request.older_than)
        kinds.KEEP("keep", request.keep)
        asked = Asked(request.older_than, request.keep, request.only, request.folders)
        cleaner = self._manager.cleaner
        return Answer(await (cleaner.plan(asked) if request.plan else cleaner.clean(asked)))

    async def _hide(self, _: Connection, request: p.HideJobs, __: list[int]) -> Answer:
        ids, unknown = await self._resolved(request.ids)
        done, more = operations.hide(self._manager, ids, request.hidden)
        return Answer(p.Outcome(tuple(done), (*unknown, *more), tuple(unknown)))

    # ---- screens

    async def _subscribe(self, connection: Connection, request: p.Subscribe, _: list[int]) -> Answer:
        self._daemon.publisher.add(connection, request.ended)
        return Answer(p.Done())

    async def _look(self, connection: Connection, request: p.Look, _: list[int]) -> Answer:
        if len(request.ids) > MOST_LOOKED_AT:
            raise UsageError(f"{len(request.ids)} jobs to look at: at most {MOST_LOOKED_AT} fit on a screen")
        connection.looks_at = frozenset(_numbers(request.ids))
        self._daemon.note_looks()
        return Answer(p.Done())

    # ---- the end of the daemon

    async def _shutdown(self, _: Connection, request: p.Shutdown, __: list[int]) -> Answer:
        manager = self._manager
        running = [job for job in manager.jobs.values() if not job.life.is_ended]
        stops = p.Stops(())
        if request.jobs is None and running:
            names = ", ".join(f"{job.id} {job.title}" for job in running[:8])
            more = f" and {len(running) - 8} more" if len(running) > 8 else ""
            raise NotSoError(
                f"jobs have not ended: {names}{more}; corral daemon stop --jobs stop ends them,"
                " --jobs leave leaves them running"
            )
        if request.jobs == "stop":
            stops = await self._daemon.stop_everything("with the daemon")
        self._daemon.end_soon()
        return Answer(stops)

    async def _restart_daemon(
        self, _: Connection, request: p.RestartDaemon, descriptors: list[int]
    ) -> Answer:
        if len(descriptors) != 1:
            raise UsageError("a restart needs the write end of a pipe on which the new program reports")
        await replace_program(self._daemon, request, descriptors[0], self._manager.home)


def check_frozen(hello: p.SayHello, request: p.AnyRequest) -> None:
    """Refuse a client of another protocol number all but the requests whose shape never changes."""
    if not isinstance(request, p.SayHello | p.RestartDaemon | p.Shutdown):
        raise ProtocolMismatchError(
            f"the client (version {hello.version}) speaks protocol {hello.protocol}, the daemon {p.PROTOCOL};"
            " corral daemon restart brings the daemon up to date and leaves the jobs running"
        )


def _numbers(references: Sequence[str]) -> set[int]:
    return {number for reference in references if (number := number_of(reference)) is not None}


def _ended_at(job: Job) -> Any:
    return job.ended, int(job.id)
