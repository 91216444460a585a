"""A daemon made of scripted values: what the dashboard sees in tests, and what it asked for."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from msgspec import Struct, structs

from corral.service.protocol import (
    AskPast,
    AskStatus,
    AskStopping,
    AskWhy,
    CloseInput,
    Done,
    HideJobs,
    Jobs,
    ListJobs,
    ListProcesses,
    Look,
    Machine,
    OpenInput,
    Outcome,
    Past,
    Pasts,
    PauseJobs,
    PeekPipes,
    Pipes,
    Processes,
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
)
from corral.service.snapshot import Snapshot
from corral.values.errors import CorralError, UnknownJobError
from corral.values.home import Home
from corral.values.jobs import Job, Pipe, ProcessView, Stage, Stopping
from corral.values.reports import (
    Advice,
    DaemonStatus,
    Detail,
    Diagnosis,
    PeekedPipe,
    Root,
    StopReport,
    Wait,
)

NOW = datetime(2026, 11, 22, 14, 2, 11, tzinfo=UTC)
"""The fixed clock of the tests."""

MACHINE = Machine(
    cpu_percent=71.0,
    cores=8,
    memory_used_bytes=int(9.1 * 2**30),
    memory_total_bytes=31 * 2**30,
    cpu_past=(30.0, 41.0, 52.0, 55.0, 63.0, 70.0, 58.0, 71.0),
    memory_past=(29.0,) * 4 + (29.4,) * 4,
)


def fixed_clock() -> datetime:
    return NOW


class Clock:
    """A clock that moves when told."""

    def __init__(self, now: datetime = NOW) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def go_on(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


# ---- builders -------------------------------------------------------------------------------------------------------


def job(number: int | str, name: str, **changes: Any) -> Job:
    """A running, active job of one stage and one process; every field can be given. `ago` is its age in seconds."""
    ago = changes.pop("ago", 60.0)
    command = changes.pop("command", name)
    argv = tuple(command.split())
    started = NOW - timedelta(seconds=ago)
    fields: dict[str, Any] = {
        "id": str(number),
        "name": name,
        "command": command,
        "cwd": "/home/ada/work",
        "state": "running",
        "health": "active",
        "created": started,
        "started": started,
        "elapsed": ago,
        "cpu_percent": 0.0,
        "memory_bytes": 8 << 20,
        "processes": 1,
        "output_bytes_per_second": 0.0,
        "origin": "command_line",
        "stages": (stage(1, argv[0] if argv else name, argv, pid=40000 + int(number)),),
    }
    return Job(**{**fields, **changes})


def stage(number: int, name: str, argv: Sequence[str] = (), **changes: Any) -> Stage:
    fields: dict[str, Any] = {
        "state": "running",
        "pid": 47000 + number,
        "started": NOW - timedelta(minutes=1),
    }
    return Stage(number=number, name=name, argv=tuple(argv) or (name,), **{**fields, **changes})


def stuck_job(number: int | str, name: str, summary: str, since: float = 130.0, **changes: Any) -> Job:
    return job(
        number,
        name,
        **{"health": "stuck", "health_since": NOW - timedelta(seconds=since), "summary": summary, **changes},
    )


def waiting_job(number: int | str, name: str, summary: str, **changes: Any) -> Job:
    return job(number, name, **{"health": "waiting", "summary": summary, **changes})


def queued_job(number: int | str, name: str, waiting_for: str, **changes: Any) -> Job:
    nothing: dict[str, Any] = {
        "state": "queued",
        "health": None,
        "started": None,
        "elapsed": None,
        "waiting_for": waiting_for,
        "cpu_percent": None,
        "memory_bytes": None,
        "processes": 0,
        "output_bytes_per_second": None,
        "stages": (Stage(number=1, name=name, argv=(name,)),),
    }
    return job(number, name, **{**nothing, **changes})


def paused_job(number: int | str, name: str, since: float = 60.0, **changes: Any) -> Job:
    return job(
        number,
        name,
        **{"state": "paused", "health": None, "paused_since": NOW - timedelta(seconds=since), **changes},
    )


def stopping_job(number: int | str, name: str, *, left: int = 1, total: int = 2, **changes: Any) -> Job:
    stopping = Stopping(
        since=NOW - timedelta(seconds=2),
        signal="TERM",
        total=total,
        left=left,
        kill_at=NOW + timedelta(seconds=3),
    )
    return job(number, name, **{"state": "stopping", "health": None, "stopping": stopping, **changes})


def ended_job(number: int | str, name: str, state: str = "succeeded", **changes: Any) -> Job:
    """Ended; `took` is how long it ran, `ended_ago` how long ago that was, both in seconds."""
    took, ended_ago = changes.pop("took", 12.0), changes.pop("ended_ago", 600.0)
    statuses = {"succeeded": 0, "failed": 1, "stopped": 143, "timed_out": 124, "lost": None}
    ended: dict[str, Any] = {
        "state": state,
        "health": None,
        "ago": took + ended_ago,
        "elapsed": took,
        "ended": NOW - timedelta(seconds=ended_ago),
        "exit_status": statuses[state],
        "cpu_percent": None,
        "memory_bytes": None,
        "processes": 0,
        "output_bytes_per_second": None,
    }
    return job(number, name, **{**ended, **changes})


def pipeline_job(number: int | str, name: str, **changes: Any) -> Job:
    """Three stages; the second holds up the rest."""
    fields: dict[str, Any] = {
        "command": 'pg_dump shop | gzip -9 | ssh vault "cat > shop.gz"',
        "cpu_percent": 104.0,
        "memory_bytes": 38 << 20,
        "processes": 3,
        "stages": (
            stage(1, "pg_dump", ("pg_dump", "shop"), cpu_percent=3.0, waits="waits to write"),
            stage(2, "gzip", ("gzip", "-9"), cpu_percent=99.0, waits="runs"),
            stage(3, "ssh", ("ssh", "vault", "cat > shop.gz"), cpu_percent=1.0, waits="waits to read"),
        ),
        "pipes": (
            Pipe(
                number=1,
                from_stage=1,
                to_stage=2,
                fill_bytes=1 << 20,
                capacity_bytes=1 << 20,
                bytes_per_second=41.0 * 2**20,
                bytes_total=int(74.1 * 2**30),
                exact=True,
                limited_by="reader",
            ),
            Pipe(
                number=2,
                from_stage=2,
                to_stage=3,
                fill_bytes=0,
                capacity_bytes=1 << 20,
                bytes_per_second=12.0 * 2**20,
                bytes_total=int(21.9 * 2**30),
                exact=True,
                limited_by="writer",
            ),
        ),
        "bottleneck": 2,
        "summary": "stage 2 (gzip -9) holds up the rest: it is busy and its input is full",
    }
    return job(number, name, **{**fields, **changes})


def six_jobs() -> list[Job]:
    """SCREENS section 1: six that run, one of them stuck, one a pipeline with a bottleneck; three ended well."""
    gigabyte, megabyte = 2**30, 2**20
    return [
        job(
            1,
            "train",
            command="python train.py --data /mnt/big --epochs 40",
            ago=7380,
            cpu_percent=780.0,
            memory_bytes=int(6.2 * gigabyte),
            processes=12,
            output_bytes_per_second=120.0,
        ),
        job(
            2,
            "build",
            command="make -j8 all",
            ago=250,
            cpu_percent=640.0,
            memory_bytes=int(1.9 * gigabyte),
            processes=23,
            output_bytes_per_second=2458.0,
        ),
        pipeline_job(3, "nightly-dump", ago=1867, stderr_bytes=96),
        stuck_job(
            4,
            "fetch-index",
            "curl waits for 10.0.0.7:443 to send; the connection is open and silent",
            command="curl -fsS https://10.0.0.7/index.json -o index.json",
            ago=1124,
            memory_bytes=int(8.1 * megabyte),
        ),
        waiting_job(
            5,
            "web",
            "waits for connections on 0.0.0.0:8080",
            command="python -m http.server 8080",
            ago=3 * 86400 + 4 * 3600,
            memory_bytes=24 * megabyte,
        ),
        job(
            6,
            "tests",
            command="pytest -x -n 4 tests/",
            ago=52,
            cpu_percent=310.0,
            memory_bytes=840 * megabyte,
            processes=9,
            output_bytes_per_second=310.0,
        ),
        ended_job(7, "lint", took=12, command="ruff check ."),
        ended_job(8, "fetch-deps", took=62, command="npm ci"),
        ended_job(9, "vacuum", took=280, command='psql -c "vacuum analyze"'),
    ]


SIX_OUTPUTS = {
    "1": "".join(
        f"epoch 12/40  step {step}  loss {0.45 - step / 80000:.3f}  lr 2.1e-4\n"
        for step in range(3100, 3270, 10)
    ),
    "2": "".join(
        f"  CC      src/{name}.o\n" for name in ("net/tls_session", "net/dial", "store/btree", "sql/parse")
    )
    + "src/store/btree.c:311:9: \x1b[35mwarning:\x1b[0m unused variable ‘n’\n  LD      libstore.so\n",
    "5": '10.0.0.9 - - [22/Nov/2026 13:41:02] "GET /a.tar HTTP/1.1" 200 -\n'
    '10.0.0.4 - - [22/Nov/2026 13:55:31] "GET /robots.txt HTTP/1.1" 404 -\n',
    "6": "tests/core/test_spawn.py ..........................            [ 21%]\ntests/core/test_pipes.py ....\n",
}


def three_hundred_jobs() -> list[Job]:
    """SCREENS section 2: 8 running, one stuck, one failed, 1 paused, 1 stopping, 77 queued, 212 ended well."""
    jobs = [ended_job(number, f"enc-{number:04}", took=240.0 + number % 60) for number in range(1, 212)]
    special: dict[int, Job] = {
        214: stuck_job(
            214,
            "enc-0214",
            "waits for the lock on /mnt/nas/out.idx, which job 17 nas-sync holds; that one waits for its network",
            since=189.0,
            ago=238.0,
            memory_bytes=398 << 20,
            processes=2,
            command="ffmpeg -i /in/0214.mov -c:v libx264 -y /mnt/nas/0214.mkv",
        ),
        217: ended_job(217, "enc-0217", "failed", took=12, reason="stage 1 (ffmpeg) exited with 1"),
        219: paused_job(219, "enc-0219", ago=219, memory_bytes=411 << 20, processes=2),
        221: stopping_job(221, "enc-0221", ago=210, memory_bytes=402 << 20, processes=2, cpu_percent=3.0),
        223: waiting_job(
            223, "enc-0223", "waits for the disk: reads /in/0223.mov (nfs)", ago=200, memory_bytes=399 << 20
        ),
    }
    for number in range(212, 301):
        name = f"enc-{number:04}"
        if number in special:
            jobs.append(special[number])
        elif number < 224:
            jobs.append(
                job(
                    number,
                    name,
                    ago=242.0 - (number - 212) * 4,
                    cpu_percent=95.0 + number % 5,
                    memory_bytes=(400 + number % 17) << 20,
                    processes=2,
                    output_bytes_per_second=1126.0,
                    command=f"ffmpeg -i /in/{number:04}.mov -y /mnt/nas/{number:04}.mkv",
                )
            )
        else:
            jobs.append(queued_job(number, name, "limit: 8 of 8 running in group enc"))
    return jobs


def many_jobs(number: int = 1000) -> list[Job]:
    """So many idle jobs."""
    return [
        waiting_job(each, f"idle-{each:04}", "waits for a timer", ago=3600.0) for each in range(1, number + 1)
    ]


# ---- the source -----------------------------------------------------------------------------------------------------

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
        self.answers: dict[type[Any], Answer] = {}
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

    async def subscribe(self) -> None:
        self.requests.append(Subscribe())

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
            AskPast: lambda request: Pasts({each: past(self._job(each)) for each in request.ids}),
            Look: lambda request: Done(),
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


def past(of: Job) -> Past:
    """Twenty cells of 5 s that rise to what the job uses now."""
    cpu, memory = of.cpu_percent or 0.0, of.memory_bytes or 0
    shape = [min(1.0, 0.3 + number / 12) for number in range(20)]
    return Past(
        seconds=5.0,
        cpu=tuple(cpu * each for each in shape),
        memory=tuple(int(memory * each) for each in shape),
        output=tuple((of.output_bytes_per_second or 0.0) * each for each in shape),
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
