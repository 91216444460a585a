"""What the daemon does with each request. Each runs as a coroutine of its own, so that none delays another."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from typing import Any, Protocol

from msgspec import Struct, structs

from corral.daemon.batch_handlers import BatchHandlers
from corral.daemon.client_connection import Answer, Caller
from corral.daemon.list_reply import JobLists
from corral.daemon.publisher import Publisher
from corral.daemon.replace_program import ProgramReplacement
from corral.daemon.status import StatusReport, leftovers_of_ended
from corral.daemon.stop_many import StopRequests
from corral.engine.engine import Engine
from corral.lifecycle.job_reference import parse_batch_job, parse_id
from corral.model import validators
from corral.model.batch import BatchJobId
from corral.model.errors import (
    CannotStartError,
    CorralError,
    NotSoError,
    ProtocolMismatchError,
    UnknownJobError,
    UsageError,
)
from corral.model.job import Job, place_of
from corral.model.reports import DaemonStatus, Detail, Diagnosis, Story
from corral.model.spec import DescriptorInput, JobSpec, Origin
from corral.model.wire import to_wire
from corral.platform.files.path_destination import HANGING_FILE_REFUSED, file_that_may_hang
from corral.platform.host.resource_errors import no_descriptors
from corral.platform.spawn import scheduling
from corral.protocol import requests as p
from corral.protocol.long_lists import ListReply
from corral.protocol.shorten_commands import fit
from corral.retention.cleaning_plan import CleanRequest
from corral.version import __version__

NAMES_A_PASS = 50
"""Names looked up in one pass of the loop: one may take a tenth of a millisecond."""


MOST_NAMED = 8
"""Jobs that a refusal to end names."""
MOST_WATCHED = 1000
MOST_STARTS = 5000
"""Jobs in one request. They are accepted in one pass of the loop: some tenths of a second."""


class DaemonControl(Protocol):
    """The daemon, as far as requests ask something of it and not of its jobs."""

    @property
    def is_private(self) -> bool: ...

    @property
    def generation(self) -> int: ...

    def note_watched_jobs(self) -> None:
        """A client shows other jobs than before."""

    def end_soon(self) -> None: ...


Reply = Struct | ListReply


class Handlers:
    """The requests of the protocol, served by one engine."""

    def __init__(
        self, daemon: DaemonControl, engine: Engine, publisher: Publisher, replacement: ProgramReplacement
    ) -> None:
        self._daemon = daemon
        self._engine = engine
        self._publisher = publisher
        self._replacement = replacement
        self._status = StatusReport(engine)
        self._lists = JobLists(
            engine.table, engine.journal, engine.commits, engine.snapshots, see=engine.executor.see
        )
        self._stops = StopRequests(
            engine.table, engine.commits, engine.snapshots, engine.stops, engine.batch_stops
        )
        self._batches = BatchHandlers(engine)
        self._handlers: dict[type[p.Request[Any]], Callable[[Any], Awaitable[Reply]]] = {
            p.ListJobs: self._list,
            p.ListBatchJobs: self._batches.jobs,
            p.SetBatch: self._batches.set,
            p.ShowJob: self._show,
            p.AskWhy: self._why,
            p.ListProcesses: self._processes,
            p.PeekPipes: self._peek,
            p.StopJobs: self._stop,
            p.AskStopping: self._stopping,
            p.SignalJobs: self._signal,
            p.PauseJobs: self._pause,
            p.ResumeJobs: self._resume,
            p.WaitForJobs: self._wait,
            p.CloseInput: self._close_input,
            p.RemoveJobs: self._remove,
            p.CleanJobs: self._clean,
            p.HideJobs: self._hide,
            p.AskRecentHistory: self._recent_histories,
            p.AskStory: self._history,
            p.AskStatus: self._describe_daemon,
            p.Shutdown: self._shutdown,
        }
        """Those that need nothing but the request."""
        self._handlers_for_caller: dict[type[p.Request[Any]], Callable[[Any, Caller], Awaitable[Answer]]] = {
            p.SayHello: self._hello,
            p.StartJobs: self._start,
            p.StartBatch: self._batches.start,
            p.FeedBatch: self._batches.feed,
            p.RestartJobs: self._restart,
            p.OpenInput: self._open_input,
            p.Subscribe: self._subscribe,
            p.WatchJobs: self._watch,
            p.RestartDaemon: self._restart_daemon,
        }
        """Those that also need the client, or descriptors from it or for it."""

    async def handle(self, request: p.Request[Any], caller: Caller) -> Answer:
        """The answer to one request. Raises CorralError."""
        hello = caller.client.hello
        if hello is None and not isinstance(request, p.SayHello):
            raise UsageError("say hello first")
        if hello is not None and hello.protocol != p.PROTOCOL:
            check_frozen(hello, request)
        handler = self._handlers.get(type(request))
        if handler is not None:
            return Answer(await handler(request))
        return await self._handlers_for_caller[type(request)](request, caller)

    # ---- greeting and starting

    async def _hello(self, request: p.SayHello, caller: Caller) -> Answer:
        if caller.client.hello is not None:
            raise UsageError("hello was said before")
        parent = request.parent if request.parent and parse_id(request.parent) else None
        caller.client.hello = structs.replace(request, parent=parent)
        notices: tuple[str, ...] = ()
        if request.client == "command_line":
            # Shown once, by the command line: a dashboard has no line for it, and a program no reader.
            notices = tuple(self._engine.journal.notices)
            self._engine.journal.notices.clear()
        return Answer(
            p.Hello(
                version=__version__,
                protocol=p.PROTOCOL,
                pid=os.getpid(),
                home=to_wire(self._engine.home.path),
                private=self._daemon.is_private,
                generation=self._daemon.generation,
                notices=notices,
            )
        )

    async def _start(self, request: p.StartJobs, caller: Caller) -> Answer:
        descriptor = None
        if len(request.specs) > MOST_STARTS:
            raise UsageError(
                f"{len(request.specs)} jobs in one request: at most {MOST_STARTS}; send them in parts"
            )
        if any(isinstance(spec.stdin, DescriptorInput) for spec in request.specs):
            if not caller.descriptors:
                # The kernel drops what does not fit into our table and sets MSG_CTRUNC (unix(7)).
                raise CorralError(f"the stdin to pass did not arrive, most likely because {no_descriptors()}")
            if len(request.specs) != 1 or len(caller.descriptors) != 1:
                raise UsageError(
                    "a job that reads the client's stdin needs exactly one descriptor, and to be alone"
                )
            if file_that_may_hang(caller.descriptors[0], self._engine.mounts.may_hang) is not None:
                raise UsageError(f"stdin: {HANGING_FILE_REFUSED}")
            descriptor = caller.descriptors.pop()
        assert caller.client.hello is not None
        specs = [self._with_origin(spec, caller.client.hello) for spec in request.specs]
        surroundings = structs.replace(request.surroundings, scheduling=scheduling.of(caller.client.pid))
        self._engine.executor.check(surroundings)
        surroundings = structs.replace(surroundings, namespaces={})
        left = self._engine.executor.leftovers.told({spec.name for spec in specs if spec.name is not None})
        ids = await self._engine.acceptance.accept(specs, surroundings, descriptor)
        if request.wait_started:
            await asyncio.gather(*(self._engine.queue.until_started(job_id) for job_id in ids))
            # A job that failed half started is still being ended; its exit status is known only then.
            await asyncio.gather(*self._engine.ends.of(job_id for job_id in ids if self._has_failed(job_id)))
            self._raise_if_not_started(ids)
        return Answer(p.Started(tuple(map(str, ids)), left))

    @staticmethod
    def _with_origin(spec: JobSpec, hello: p.SayHello) -> JobSpec:
        return structs.replace(spec, origin=hello.client, parent=hello.parent, instead_of=())

    def _has_failed(self, job_id: int) -> bool:
        job = self._engine.table.started.get(job_id)
        return job is not None and job.life.start_failure is not None

    def _raise_if_not_started(self, ids: Sequence[int]) -> None:
        if len(ids) != 1:
            return
        snapshot = self._engine.snapshots.of(ids[0])
        has_unstarted = any(stage.started is None for stage in snapshot.stages)
        if snapshot.state == "failed" and has_unstarted and snapshot.exit_status is not None:
            raise CannotStartError(snapshot.reason or "could not start", snapshot.exit_status, snapshot.id)

    # ---- asking

    async def _list(self, request: p.ListJobs) -> Reply:
        if request.ids:
            now = time.monotonic()
            ids, unknown = await self._resolved(request.ids)
            self._engine.executor.leftovers.look(ids)
            found = [self._engine.snapshots.fresh(job_id, now) for job_id in ids]
            left = [job for job in self._engine.executor.leftovers.named(request.ids) if job.id not in ids]
            return p.Jobs(fit(found), tuple(unknown), {str(job.id): job.leftovers for job in left})
        leftovers = {} if request.all else leftovers_of_ended(self._engine)
        return self._lists.reply(request, leftovers)

    async def _resolved(self, references: Sequence[str]) -> tuple[list[int], list[str]]:
        """The ids that are known, and a sentence for each that is not. Other requests are served in between."""
        ids, unknown = [], []
        for count, reference in enumerate(dict.fromkeys(references)):
            if count % NAMES_A_PASS == NAMES_A_PASS - 1:
                await asyncio.sleep(0)
            try:
                ids.append(self._engine.references.resolve(reference))
            except NotSoError as error:
                unknown.append(str(error))
        return list(dict.fromkeys(ids)), unknown

    async def _show(self, request: p.ShowJob) -> Detail:
        job_id = self._engine.references.resolve(request.job)
        self._engine.executor.leftovers.look([job_id])
        return await self._batches.detail(job_id)

    async def _why(self, request: p.AskWhy) -> Diagnosis:
        engine = self._engine
        job_id = (
            engine.explanation.most_urgent()
            if request.job is None
            else engine.references.resolve(request.job)
        )
        found = self._batches.why(job_id)
        job = engine.table.started.get(job_id)
        if request.stacks and job is not None:
            found = await engine.executor.add_stacks(found, job, request.py_spy)
        return found

    async def _processes(self, request: p.ListProcesses) -> p.Processes:
        return p.Processes(self._engine.explanation.processes(self._engine.references.resolve(request.job)))

    async def _peek(self, request: p.PeekPipes) -> p.Pipes:
        job_id = self._batches.one_job(request.job)
        return p.Pipes(self._engine.explanation.peek(job_id, request.pipe, request.bytes))

    async def _recent_histories(self, request: p.AskRecentHistory) -> p.RecentHistories:
        now = time.monotonic()
        jobs = map(self._engine.table.started.get, _numbers(request.ids))
        return p.RecentHistories(
            {str(job.id): job.history.recent.values(now) for job in jobs if job is not None}
        )

    async def _history(self, request: p.AskStory) -> Story:
        job_id = self._engine.references.resolve(request.job)
        return self._batches.history(job_id)

    async def _describe_daemon(self, _: p.AskStatus) -> DaemonStatus:
        return self._status.now()

    # ---- ending

    async def _stop(self, request: p.StopJobs) -> p.Stops:
        engine = self._engine
        unknown: list[str] = []
        if request.all:
            engine.executor.leftovers.look()
            in_hand = engine.table.started
            ids = [
                job.id
                for job in in_hand.values()
                if job.leftovers or not (job.life.is_ended or isinstance(job.id, BatchJobId))
            ]
            ids += [*engine.table.batches, *engine.table.queued]
        elif not request.ids:
            raise UsageError("no job named; give ids, or --all")
        else:
            ids, unknown = await self._resolved(request.ids)
        if not request.all and request.stage is None:
            ids = list(dict.fromkeys(ids + [job.id for job in engine.executor.leftovers.named(request.ids)]))
        if request.stage is not None:
            reports = await asyncio.gather(
                *(
                    engine.stops.stop_stage(
                        job_id, request.stage, request.signal, request.grace, wait=request.wait
                    )
                    for job_id in ids
                )
            )
            return p.Stops(tuple(reports), tuple(unknown))
        return await self._stops.stop(ids, request, unknown)

    async def _stopping(self, request: p.AskStopping) -> p.Stops:
        ids, unknown = await self._resolved(request.ids)
        self._engine.commits.soon()
        reports = [await self._engine.stops.report(job_id, wait=False) for job_id in ids]
        return p.Stops(tuple(reports), tuple(unknown))

    async def _signal(self, request: p.SignalJobs) -> p.Outcome:
        def send(job_id: int) -> str:
            if job_id in self._engine.table.batches and request.stage is request.pid is None:
                return self._engine.batch_pauses.signal(job_id, request.signal, tree=request.tree)
            return self._engine.signals.signal_job(
                job_id,
                request.signal,
                tree=request.tree,
                stage=request.stage,
                pid=request.pid,
            )

        return await self._each(request.ids, send)

    async def _pause(self, request: p.PauseJobs) -> p.Outcome:
        return await self._each(request.ids, self._batches.pause)

    async def _resume(self, request: p.ResumeJobs) -> p.Outcome:
        return await self._each(request.ids, self._batches.resume)

    async def _each(self, references: Sequence[str], act: Callable[[int], str]) -> p.Outcome:
        ids, unknown = await self._resolved(references)
        done, errors = [], list(unknown)
        for job_id in ids:
            try:
                done.append(act(job_id))
            except NotSoError as error:
                errors.append(str(error))
        # Before the answer: what it says must be known to the next daemon, too.
        self._engine.commits.soon()
        self._engine.queue.wake()
        return p.Outcome(tuple(done), tuple(errors), tuple(unknown))

    async def _restart(self, request: p.RestartJobs, caller: Caller) -> Answer:
        assert caller.client.hello is not None
        origin: Origin = caller.client.hello.client
        ids = [self._engine.references.resolve(reference) for reference in request.ids]
        names = {self._engine.snapshots.of(job_id).name for job_id in ids} - {None}
        left = self._engine.executor.leftovers.told(names, ids)
        new = await asyncio.gather(*(self._batches.restart(job_id, origin, request) for job_id in ids))
        return Answer(p.Started(tuple(map(str, new)), left))

    # ---- waiting

    async def _wait(self, request: p.WaitForJobs) -> p.Waited:
        if request.any and not request.ids:
            raise UsageError("no job to wait for; give ids")
        ids, unknown = await self._resolved(request.ids)
        if unknown:
            raise UnknownJobError("; ".join(unknown))
        with self._engine.needed_jobs.holding(ids):
            return await self._waited(ids, request)

    async def _waited(self, ids: Sequence[int], request: p.WaitForJobs) -> p.Waited:
        ends = self._engine.ends.of(ids)
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
            await self._engine.executor.leftovers.until_swept(ids)
        jobs = [self._engine.snapshots.fresh(job_id, time.monotonic()) for job_id in ids]
        ended = [job for job in jobs if job.is_ended]
        if request.any and ended:
            return p.Waited((min(ended, key=_ended_at),))
        return p.Waited(fit(jobs), timed_out=timed_out)

    # ---- input

    async def _open_input(self, request: p.OpenInput, caller: Caller) -> Answer:
        job_id = self._batches.one_job(request.job)
        opened, writer = self._engine.inputs.open(job_id)
        if opened.is_terminal:
            caller.client.terminals.add(job_id)
        return Answer(opened, (writer,))

    async def _close_input(self, request: p.CloseInput) -> p.Done:
        self._engine.inputs.close(self._batches.one_job(request.job))
        return p.Done()

    # ---- tidying

    async def _remove(self, request: p.RemoveJobs) -> p.Outcome:
        ids, unknown = await self._resolved(request.ids)
        done, more = await self._engine.removals.remove(ids, force=request.force)
        if request.asked_before:
            # An id is never reused: a job that is not there any more was removed.
            done, unknown = [*done, *(f"{text}; it was removed" for text in unknown)], []
        return p.Outcome(tuple(done), (*unknown, *more), tuple(unknown))

    async def _clean(self, request: p.CleanJobs) -> Reply:
        validators.AGE("older_than", request.older_than)
        validators.KEEP("keep", request.keep)
        wanted = CleanRequest(request.older_than, request.keep, request.only, request.folders)
        cleaner = self._engine.cleaner
        return await (cleaner.plan(wanted) if request.plan else cleaner.clean(wanted))

    async def _hide(self, request: p.HideJobs) -> p.Outcome:
        ids, unknown = await self._resolved(request.ids)
        done, more = self._engine.removals.hide(ids, request.hidden)
        return p.Outcome(tuple(done), (*unknown, *more), tuple(unknown))

    # ---- screens

    async def _subscribe(self, request: p.Subscribe, caller: Caller) -> Answer:
        self._publisher.add(caller.client, request.ended, request.queued)
        return Answer(p.Done())

    async def _watch(self, request: p.WatchJobs, caller: Caller) -> Answer:
        if len(request.ids) > MOST_WATCHED:
            raise UsageError(f"{len(request.ids)} jobs to look at: at most {MOST_WATCHED} fit on a screen")
        caller.client.watched_jobs = frozenset(self._watched(request.ids))
        self._daemon.note_watched_jobs()
        return Answer(p.Done())

    def _watched(self, references: Sequence[str]) -> Iterator[int]:
        """Of a job in a batch the run that is under way. What is not known any more is passed over."""
        for reference in references:
            if (number := parse_id(reference)) is not None:
                yield number
            elif parse_batch_job(reference) is not None:
                with suppress(NotSoError):
                    yield self._engine.references.resolve(reference)

    # ---- the end of the daemon

    async def _shutdown(self, request: p.Shutdown) -> p.Stops:
        engine = self._engine
        stops = p.Stops(())
        if request.jobs is None and (count := engine.table.unended_count):
            first = map(engine.snapshots.of, islice(engine.table.unended_ids(), MOST_NAMED))
            names = ", ".join(f"{job.id} {job.title}" for job in first)
            more = f" and {count - MOST_NAMED} more" if count > MOST_NAMED else ""
            raise NotSoError(
                f"jobs have not ended: {names}{more}; corral daemon stop --jobs stop ends them,"
                " --jobs leave leaves them running"
            )
        if request.jobs == "stop":
            stops = await self.stop_everything("with the daemon")
        self._daemon.end_soon()
        return stops

    async def _restart_daemon(self, request: p.RestartDaemon, caller: Caller) -> Answer:
        if len(caller.descriptors) != 1:
            raise UsageError("a restart needs the write end of a pipe on which the new program reports")
        await self._replacement.replace_program(request, caller.descriptors[0], self._engine.home)

    async def stop_everything(self, by: str) -> p.Stops:
        """Stop every job and all leftovers, and report on each."""
        self._engine.executor.leftovers.check()
        return await self._stops.stop_everything(by)


def check_frozen(hello: p.SayHello, request: p.Request[Any]) -> None:
    """Refuse a client of another protocol number all but the requests whose shape never changes."""
    if not request.any_protocol:
        raise ProtocolMismatchError(
            f"the client (version {hello.version}) speaks protocol {hello.protocol}, the daemon {p.PROTOCOL};"
            " corral daemon restart brings the daemon up to date and leaves the jobs running"
        )


def _numbers(references: Sequence[str]) -> set[int]:
    return {number for reference in references if (number := parse_id(reference)) is not None}


def _ended_at(job: Job) -> Any:
    return job.ended, place_of(job.id)
