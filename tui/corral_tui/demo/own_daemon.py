"""The demo's own daemon, and limits that keep its jobs from disturbing the user's machine."""

from __future__ import annotations

import contextlib
import math
import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Self

from msgspec import structs

from corral.client.environment import surroundings
from corral.client.session import Session
from corral.client.snapshot import Snapshot
from corral.commandline.parser import parse, parse_argv, quote_pipeline
from corral.library.job_handle import JobHandle
from corral.library.manager import JobManager
from corral.model.job import Job
from corral.model.reports import Advice, Diagnosis
from corral.model.spec import DescriptorInput, JobSpec
from corral.model.units import quote
from corral.platform.host.python_interpreter import interpreter
from corral.protocol.requests import Reply_, Request, StartBatch, StartJobs

NICE = 19
CORES = 2
ALL_SECONDS = 600.0
"""How long the demo's jobs may run, counted from its start."""
STUCK_AFTER = 3.0
GRACE = 3.0
DIRECTORY = "/"
"""The working directory of the demo's own jobs: exists on every machine, and shows no user name."""


class DemoSession(Session):
    """A private session. All jobs started through it, by the demo or with `n`, run niced and for a limited time."""

    _deadline = float("inf")
    _reasons: Mapping[str, str] = {}
    _always_shown: frozenset[str] | None = None
    _shown_for: Snapshot | None = None
    _shown = Snapshot()
    _worded: Mapping[str, tuple[Job, Job]] = {}
    """By id: a job as received, and as shown on the screen."""

    @classmethod
    async def open(cls) -> Self:
        """Start the demo's daemon in a temporary home.

        Raises:
            DaemonUnavailableError: it could not be started.
        """
        with on_few_cores():
            session = await cls.open_private(origin="dashboard")
        session._deadline = time.monotonic() + ALL_SECONDS
        return session

    async def call(self, request: Request[Reply_], descriptors: Sequence[int] = ()) -> Reply_:
        if isinstance(request, StartJobs):
            request.specs = tuple(self._gentle(spec) for spec in request.specs)
            request.surroundings = structs.replace(request.surroundings, nice=NICE)
        if isinstance(request, StartBatch):
            request.spec = structs.replace(request.spec, job=self._gentle(request.spec.job))
            request.surroundings = structs.replace(request.surroundings, nice=NICE)
        reply = await super().call(request, descriptors)
        if isinstance(reply, Diagnosis):
            advice = tuple(each for one in reply.advice if (each := _advice_here(one)))
            return structs.replace(reply, summary=_reword(reply.summary), advice=advice)
        return reply

    # ---- what the screen shows ----

    @property
    def snapshot(self) -> Snapshot:
        newest = super().snapshot
        if self._shown_for is not newest:
            self._shown_for, self._shown = newest, self._for_screen(newest)
        return self._shown

    async def changed(self) -> Snapshot:
        await super().changed()
        return self.snapshot

    def show_only_ended_but(self, job_ids: Iterable[str] | None) -> None:
        """Hide all jobs except these until they have ended; None shows all from now on.

        Otherwise twelve jobs that live for a second would turn the panels into a table.
        """
        self._always_shown = None if job_ids is None else frozenset(job_ids)
        self._show_again()

    def explain(self, job_ids: Iterable[str], reason: str) -> None:
        """Show this as the reason of these ended jobs from now on."""
        self._reasons = {**self._reasons, **dict.fromkeys(job_ids, reason)}
        self._show_again()

    def _show_again(self) -> None:
        self._replace(structs.replace(super().snapshot))

    def _for_screen(self, snapshot: Snapshot) -> Snapshot:
        always = self._always_shown
        self._worded = {job_id: self._reworded(job) for job_id, job in snapshot.jobs.items()}
        jobs = {
            job_id: self._job_for_screen(job)
            for job_id, (_, job) in self._worded.items()
            if always is None or job.is_ended or job_id in always
        }
        return structs.replace(snapshot, jobs=jobs)

    def _reworded(self, job: Job) -> tuple[Job, Job]:
        """The same objects until the job changes, since the dashboard treats a new object as a change."""
        known = self._worded.get(job.id)
        if known is not None and known[0] is job:
            return known
        is_worded = job.summary is not None and not job.is_ended
        return job, structs.replace(job, summary=_reword(job.summary or "")) if is_worded else job

    def _job_for_screen(self, job: Job) -> Job:
        if job.is_ended:
            return structs.replace(job, reason=self._reasons[job.id]) if job.id in self._reasons else job
        return job

    # ---- inside ----

    def _gentle(self, spec: JobSpec) -> JobSpec:
        left = float(max(1, math.ceil(self._deadline - time.monotonic())))
        return structs.replace(
            spec,
            # The path of the interpreter would take half of a panel.
            command=spec.command.replace(quote([interpreter()]), "python"),
            timeout=min(spec.timeout or left, left),
            stop_grace=min(spec.stop_grace, GRACE),
            stuck_after=min(spec.stuck_after, STUCK_AFTER),
        )


_SEND = re.compile(r"; only `corral send \d+` gives it some")
_KEYS_HERE = {
    "corral stop": "s",
    "corral restart": "r",
    "corral resume": "p",
    "corral send --eof": "a, then ctrl+d",
    "corral send": "a",
}


def _reword(sentence: str) -> str:
    """`corral send` cannot connect to a private daemon, which has no socket: name the key instead."""
    return _SEND.sub("; a types the answer", sentence)


def _advice_here(advice: Advice) -> Advice | None:
    """The advice with a key instead of a command; None if there is no key for it."""
    if advice.command is None or advice.command.startswith("corral run"):
        return advice
    key = next((key for verb, key in _KEYS_HERE.items() if advice.command.startswith(verb)), None)
    return Advice(advice.text, f"press {key}") if key else None


class DemoManager(JobManager):
    """The library's manager on a `DemoSession`. Leaving it ends all its jobs."""

    def __init__(self) -> None:
        super().__init__(is_private=True)

    async def _connected(self) -> DemoSession:
        return await DemoSession.open()

    @property
    def session(self) -> DemoSession:
        session = super().session
        assert isinstance(session, DemoSession)
        return session

    async def start_fed(
        self, command: str | Sequence[str], *, name: str | None = None, env: Mapping[str, str] | None = None
    ) -> tuple[JobHandle, int]:
        """Start a job whose stdin is a pipe from us. Returns its handle and the write end, which the caller closes.

        Raises:
            CannotStartError: nothing runs then.
        """
        pipeline = parse(command) if isinstance(command, str) else parse_argv(command)
        spec = JobSpec(
            pipeline=pipeline, command=quote_pipeline(pipeline), name=name, stdin=DescriptorInput()
        )
        around = surroundings(environment=None if env is None else dict(env), cwd=DIRECTORY)
        reader, writer = os.pipe()
        try:
            return await self._start(spec, around, (reader,)), writer
        except BaseException:
            os.close(writer)
            raise
        finally:
            os.close(reader)


def program(name: str, *words: str) -> list[str]:
    """The argv of one of the demo's own programs.

    Raises:
        CorralError: there is no Python to run it.
    """
    return [interpreter(), "-m", f"corral_tui.demo.programs.{name}", *words]


@contextlib.contextmanager
def on_few_cores() -> Iterator[None]:
    """Processes started inside use at most two of our cores; children inherit that (sched_setaffinity(2))."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    ours = os.sched_getaffinity(0)
    os.sched_setaffinity(0, set(sorted(ours)[:CORES]))
    try:
        yield
    finally:
        os.sched_setaffinity(0, ours)
