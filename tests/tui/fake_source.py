"""A daemon made of scripted values: what the dashboard sees in tests, and what it asked for."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from msgspec import Struct, structs

from corral.client.snapshot import Snapshot
from corral.model.errors import CorralError, UnknownJobError
from corral.model.history import LifePast
from corral.model.home import Home
from corral.model.job import Job, ProcessView, Stopping
from corral.model.machine import Machine
from corral.model.reports import (
    Advice,
    DaemonStatus,
    Detail,
    Diagnosis,
    PeekedPipe,
    Root,
    StopReport,
    Story,
    Wait,
)
from corral.protocol.protocol_number import FIRST_QUEUED
from corral.protocol.requests import (
    AskRecentHistory,
    AskStatus,
    AskStopping,
    AskStory,
    AskWhy,
    CloseInput,
    Done,
    HideJobs,
    Jobs,
    ListJobs,
    ListProcesses,
    OpenInput,
    Outcome,
    PauseJobs,
    PeekPipes,
    Pipes,
    Processes,
    RecentHistories,
    RecentHistory,
    RemoveJobs,
    RestartJobs,
    ResumeJobs,
    ShowJob,
    Shutdown,
    SignalJobs,
    Started,
    StartJobs,
    StopJobs,
    Stops,
    Subscribe,
    WatchJobs,
)
from tui.fake_jobs import NOW, job

MACHINE = Machine(
    cpu_percent=71.0,
    cores=8,
    memory_used_bytes=int(9.1 * 2**30),
    memory_total_bytes=31 * 2**30,
    cpu_past=(30.0, 41.0, 52.0, 55.0, 63.0, 70.0, 58.0, 71.0),
    memory_past=(29.0,) * 4 + (29.4,) * 4,
)

Answer = Struct | CorralError | Callable[[Any], Struct]


class FakeSource:
    """A `Source` whose snapshot a test changes, and which keeps what it was asked.

    `requests` holds every request in order. `answers[StopJobs] = …` scripts a reply: a value, an error to raise, or
    a function of the request. Without one the request is done to the jobs in the simplest way that fits.
    """

    is_private = False

    def __init__(
        self, jobs: Sequence[Job] = (), *, home: str = "/nonexistent", machine: Machine | None = MACHINE
    ):
        self.home = Home(home)
        self.requests: list[Any] = []
        self.sent: list[tuple[str, bytes]] = []
        self.answers: dict[Any, Answer] = {}
        self.is_closed = False
        self.snapshot = Snapshot(rev=1, jobs={each.id: each for each in jobs}, machine=machine)
        self._waiters: list[asyncio.Future[None]] = []

    # -- what a test does --

    def put(self, *jobs: Job) -> None:
        """These jobs are new, or are like this now."""
        known = dict(self.snapshot.jobs)
        known.update({each.id: each for each in jobs})
        self._publish(jobs={each: known[each] for each in sorted(known, key=int)})

    def change(self, job_id: str, **changes: Any) -> None:
        self.put(structs.replace(self.snapshot.jobs[job_id], **changes))

    def drop(self, *job_ids: str) -> None:
        self._publish(jobs={each: job for each, job in self.snapshot.jobs.items() if each not in job_ids})

    def trouble(self, text: str | None) -> None:
        self._publish(trouble=text)

    def write_output(self, job_id: str, text: str | bytes, stderr_of_stage: int | None = None) -> None:
        """Append to the job's output file and let the snapshot show its size."""
        data = text.encode() if isinstance(text, str) else text
        os.makedirs(self.home.job(job_id), exist_ok=True)
        path = (
            self.home.stdout(job_id) if stderr_of_stage is None else self.home.stderr(job_id, stderr_of_stage)
        )
        with open(path, "ab") as file:
            file.write(data)
            size = file.tell()
        key = "stdout_bytes" if stderr_of_stage is None else "stderr_bytes"
        known = self.snapshot.jobs.get(job_id)
        if known is None:
            return
        stages = tuple(
            structs.replace(each, stderr_bytes=size) if each.number == stderr_of_stage else each
            for each in known.stages
        )
        self.change(job_id, **{key: size, "last_output": NOW, "stages": stages})

    def asked(self, kind: type[Any]) -> list[Any]:
        """The requests of that type, in order."""
        return [each for each in self.requests if isinstance(each, kind)]

    # -- Source --

    async def subscribe(self, queued: int = FIRST_QUEUED) -> None:
        self.requests.append(Subscribe(queued=queued))

    async def changed(self) -> Snapshot:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        await waiter
        return self.snapshot

    async def call(self, request: Any, descriptors: Sequence[int] = ()) -> Any:
        self.requests.append(request)
        answer = self.answers.get(type(request))
        if isinstance(answer, CorralError):
            raise answer
        if isinstance(answer, Struct):
            return answer
        if answer is not None:
            return answer(request)
        return _Doer(self).do(request)

    async def send_input(self, job: str, data: bytes) -> None:
        error = self.answers.get("send_input")
        if isinstance(error, CorralError):
            raise error
        self.sent.append((job, data))

    async def close(self) -> None:
        self.is_closed = True

    def _publish(self, **changes: Any) -> None:
        self.snapshot = structs.replace(self.snapshot, rev=self.snapshot.rev + 1, **changes)
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)


class _Doer:
    """What the fake does by itself, a method a request."""

    def __init__(self, source: FakeSource) -> None:
        self.source = source
        self.by_type: dict[type[Any], Callable[[Any], Struct]] = {
            StartJobs: self.start,
            StopJobs: self.stop,
            AskStopping: lambda request: Stops(tuple(report(self._job(each)) for each in request.ids)),
            PauseJobs: lambda request: self._turn(request.ids, state="paused", health=None, paused_since=NOW),
            ResumeJobs: lambda request: self._turn(
                request.ids, state="running", health="active", paused_since=None
            ),
            HideJobs: lambda request: self._turn(request.ids, hidden=request.hidden),
            SignalJobs: lambda request: Outcome(done=request.ids),
            RestartJobs: self.restart,
            RemoveJobs: self.remove,
            AskWhy: lambda request: diagnosis(self._job(request.job or "1")),
            ShowJob: lambda request: Detail(
                job=self._job(request.job), tree=processes(self._job(request.job))
            ),
            ListProcesses: lambda request: Processes(processes(self._job(request.job))),
            ListJobs: lambda request: Jobs(tuple(self.source.snapshot.jobs.values())),
            PeekPipes: lambda request: Pipes(peeked(self._job(request.job))),
            AskRecentHistory: lambda request: RecentHistories(
                {each: past(self._job(each)) for each in request.ids}
            ),
            AskStory: lambda request: story(self._job(request.job)),
            WatchJobs: lambda request: Done(),
            OpenInput: lambda request: Done(),
            CloseInput: lambda request: Done(),
            Shutdown: lambda request: Stops(()),
            AskStatus: lambda request: DaemonStatus(
                pid=1234,
                version="0.1.0",
                socket=self.source.home.socket,
                home=self.source.home.path,
                started=NOW,
                jobs={},
                cpu_percent=0.1,
                memory_bytes=30 << 20,
            ),
        }

    def do(self, request: Any) -> Struct:
        return self.by_type[type(request)](request)

    def start(self, request: StartJobs) -> Started:
        ids = []
        for spec in request.specs:
            number = self._next_number()
            name = spec.name or spec.pipeline.stages[0].argv[0]
            self.source.put(job(number, name, command=spec.command, ago=0.0, origin=spec.origin))
            ids.append(str(number))
        return Started(tuple(ids))

    def restart(self, request: RestartJobs) -> Started:
        ids = []
        for job_id in request.ids:
            old, number = self._job(job_id), self._next_number()
            self.source.put(job(number, old.title, command=old.command, ago=0.0, restarted_from=old.id))
            ids.append(str(number))
        return Started(tuple(ids))

    def stop(self, request: StopJobs) -> Stops:
        ids = request.ids or tuple(
            each.id for each in self.source.snapshot.jobs.values() if not each.is_ended
        )
        for job_id in ids:
            stopping = Stopping(since=NOW, signal="TERM", total=1, left=1, kill_at=NOW + timedelta(seconds=5))
            self.source.change(job_id, state="stopping", health=None, stopping=stopping)
        return Stops(tuple(report(self._job(each)) for each in ids))

    def remove(self, request: RemoveJobs) -> Outcome:
        self.source.drop(*request.ids)
        return Outcome(done=request.ids)

    def _turn(self, ids: tuple[str, ...], **changes: Any) -> Outcome:
        for job_id in ids:
            self._job(job_id)
            self.source.change(job_id, **changes)
        return Outcome(done=ids)

    def _job(self, job_id: str) -> Job:
        found = self.source.snapshot.jobs.get(job_id)
        if found is None:
            raise UnknownJobError(f"no job {job_id}")
        return found

    def _next_number(self) -> int:
        return max((int(each) for each in self.source.snapshot.jobs), default=0) + 1


def processes(of: Job) -> tuple[ProcessView, ...]:
    """The leaders of a job's stages, as its tree."""
    return tuple(
        ProcessView(
            pid=each.pid or 0,
            name=each.name,
            command=" ".join(each.argv),
            stage=each.number,
            is_leader=True,
            where="leader",
            state="S",
            cpu_percent=each.cpu_percent,
            memory_bytes=2 << 20,
            does=each.waits,
        )
        for each in of.stages
        if each.pid
    )


def peeked(of: Job) -> tuple[PeekedPipe, ...]:
    return tuple(
        PeekedPipe(
            number=each.number,
            from_stage=each.from_stage,
            to_stage=each.to_stage,
            fill_bytes=each.fill_bytes,
            capacity_bytes=each.capacity_bytes,
        )
        for each in of.pipes
    )


def past(of: Job) -> RecentHistory:
    """Twenty cells of 5 s that rise to what the job uses now."""
    cpu, memory = of.cpu_percent or 0.0, of.memory_bytes or 0
    shape = [min(1.0, 0.3 + number / 12) for number in range(20)]
    return RecentHistory(
        seconds=5.0,
        cpu=tuple(cpu * each for each in shape),
        memory=tuple(int(memory * each) for each in shape),
        output=tuple((of.output_bytes_per_second or 0.0) * each for each in shape),
    )


def story(of: Job) -> Story:
    """A life in forty cells that rises to what the job uses; the diagnosis of one that is stuck now."""
    cpu, memory = of.cpu_percent or 50.0, of.memory_bytes or of.peak_memory_bytes or 0
    shape = [min(1.0, 0.3 + number / 24) for number in range(40)]
    is_stuck = of.health == "stuck"
    return Story(
        id=of.id,
        diagnosis=diagnosis(of) if is_stuck else None,
        diagnosed=of.health_since if is_stuck else None,
        life=LifePast(
            seconds=max(1.0, (of.elapsed or 40.0) / 40),
            cpu=tuple(cpu * each for each in shape),
            memory=tuple(int(memory * each) for each in shape),
        ),
    )


def report(of: Job) -> StopReport:
    return StopReport(id=of.id, state=of.state, seconds=0.0, kill_in=5.0, grace=5.0)


def diagnosis(of: Job) -> Diagnosis:
    pid = of.stages[0].pid or 0
    return Diagnosis(
        id=of.id,
        health=of.health,
        since=of.health_since,
        summary=of.summary or f"{of.title} runs",
        root=Root(stage=1, pid=pid, kind="socket_read"),
        waits=(
            Wait(stage=1, pid=pid, name=of.stages[0].name, kind="socket_read", detail=of.summary or "waits"),
        ),
        advice=(Advice("stop it", f"corral stop {of.id}"), Advice("restart it", f"corral restart {of.id}")),
    )
