"""The seam between the engine and what runs its jobs: `LocalExecutor` today, other machines and batch systems later.

The engine decides when a job starts and ends, and speaks of jobs; an executor has their processes. What happens to those
comes back as events in the life of the job (`corral.jobs.transitions.Apply`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

from corral.diagnosis.wait_chains import Observations
from corral.jobs.managed_job import ManagedJob
from corral.jobs.takeover import Takeover
from corral.lifecycle.state import StopCause
from corral.model.job import Job, ProcessView
from corral.model.reports import Diagnosis, OpenedInput, PeekedPipe, StopReport, Story, Survivor
from corral.model.spec import Surroundings

TICK_SECONDS = 1.0
BY_STOP = "corral stop"
"""By whom a stage was signalled that is ended by `corral stop --stage`."""
HOW_TO_SEND = "start it with corral run -i, or --pty, to be able to send to it"


class Observation(NamedTuple):
    """What a snapshot of a job has of its processes."""

    pids: tuple[int | None, ...]
    """Of its stages; None of one that has not started."""
    processes: int
    """How many are alive, its stages included."""
    cpu_seconds: float
    """Of the whole tree, ended processes included."""
    output_rate: float | None
    """Bytes per second of stdout and stderr over the last 5 s; None while nobody looks."""


class SlowStart(Protocol):
    """The start of a job that could make us wait: for a FIFO, or a file system that hangs."""

    @property
    def waiting_for(self) -> str | None:
        """In words."""

    @property
    def has_to_wait(self) -> bool:
        """Whether it will take longer than a client should be kept waiting."""


class StopSequence(Protocol):
    """A stop that goes on: of a job, of one of its stages, or of what an ended job has left."""

    @property
    def signal(self) -> str: ...

    @property
    def grace(self) -> float: ...

    @property
    def is_killing(self) -> bool:
        """Whether the grace is over."""

    @property
    def is_done(self) -> bool:
        """Whether nothing is left."""

    @property
    def total(self) -> int:
        """The processes that were found, ended ones included."""

    @property
    def left(self) -> int:
        """Those of them that are alive."""

    def report(self) -> StopReport:
        """As of now."""


class Leftovers(Protocol):
    """What jobs that have ended left alive."""

    def job_ended(self, job: Job) -> None:
        """Look soon what is left of it."""

    def jobs_withdrawn(self, job_ids: Sequence[int]) -> None: ...

    def look_after(self, job_id: int, *, is_urgent: bool = True) -> None:
        """The same of a job of a batch, of which very many may end: if it is not urgent, at the next tick."""

    def look(self, jobs: Iterable[int] | None = None) -> None:
        """Look at once what is left of these jobs, or of all, where anything may be."""

    def check(self) -> None:
        """Look at all at once."""

    def named(self, names: Collection[str | None], ids: Collection[int] = ()) -> list[ManagedJob]:
        """The ended jobs of one of these names, or ids, that have left something alive."""

    def told(self, names: Collection[str | None], ids: Collection[int] = ()) -> tuple[str, ...]:
        """The same in words, for who is about to start a job of that name."""

    async def until_swept(self, job_ids: Iterable[int]) -> None:
        """Return once nothing is left of those of these jobs whose leftovers are to be stopped, or nothing more helps."""

    def take_on(self, job_id: int) -> ManagedJob:
        """An ended job of which processes are alive, as a managed job again."""

    def let_go(self, job_id: int) -> None:
        """Nothing is left of that job."""

    def forget_the_gone(self) -> None:
        """Nothing is left any more of what the last daemon had counted and this one does not find."""


class Executor(Protocol):
    """Runs jobs, and observes them."""

    is_attended: Callable[[int], bool]
    """Set by the daemon: whether a client is attached to the terminal of that job."""

    @property
    def leftovers(self) -> Leftovers: ...

    @property
    def takeover(self) -> Takeover: ...

    def tick(self) -> None:
        """Once in `TICK_SECONDS`: observe, and notice what has ended unnoticed."""

    def reap(self) -> None:
        """Notice now what has ended."""

    # ---- starting

    def check(self, surroundings: Surroundings, programs: Sequence[str] = ()) -> None:
        """Raises OtherSurroundingsError where no job can have these, CannotStartError where one of the programs cannot be run."""

    def keep_stdin(self, job: ManagedJob, descriptor: int) -> None:
        """Hold what is to be the stdin of a job until it starts. Takes the descriptor over."""

    def start(self, job: ManagedJob) -> None:
        """Start the stages of a job whose turn has come. Whatever goes wrong becomes an event of the job."""

    def slow_start(self, job: ManagedJob) -> SlowStart | None:
        """What the start of that job waits for, where it waits."""

    # ---- ending

    def stop(self, job: ManagedJob, signal: str, grace: float, stage: int | None = None) -> StopSequence:
        """Begin to end a job, or one stage of it, or go on with that."""

    def skip_grace(self, job: ManagedJob, stage: int | None = None) -> None:
        """Have a stop that goes on come to KILL at once."""

    def stop_of(self, job: ManagedJob, stage: int | None = None) -> StopSequence | None:
        """The stop that goes on, if one does."""

    async def outcome(self, job: ManagedJob, stage: int | None = None) -> None:
        """Wait until nothing is left of what is being stopped, or until nothing more helps."""

    def close(self, job: ManagedJob) -> None:
        """The job's life is over: close what is held of it."""

    # ---- signals

    def signal_leaders(self, job: ManagedJob, signal: str) -> list[int]:
        """Send to the first process of each stage; the pids that got it. Raises RefusedSignalError, PermissionError."""

    def signal_tree(self, job: ManagedJob, signal: str, stage: int | None = None) -> list[int]:
        """The same to every process of the job, or of one stage."""

    def signal_process(self, job: ManagedJob, signal: str, pid: int) -> list[int]:
        """The same to one process."""

    def leads(self, job: ManagedJob, pid: int) -> int | None:
        """The stage of which that is the first process; None where it is another process of the job.

        Raises NotSoError where it is no process of the job.
        """

    # ---- input

    def open_input(self, job: ManagedJob) -> tuple[OpenedInput, int]:
        """What is written to reaches the job: the write end of its stdin, or its terminal. The descriptor stays ours.

        Raises NotSoError.
        """

    def close_input(self, job: ManagedJob) -> None:
        """EOF for the job, once no other process holds a copy. Raises NotSoError."""

    # ---- asking

    def observe(self, job: ManagedJob) -> Observation: ...

    def look(self, job: ManagedJob) -> None:
        """Look at the processes of a job now."""

    async def add_stacks(self, found: Diagnosis, job: ManagedJob, py_spy: str | None) -> Diagnosis:
        """The diagnosis with the stacks of the job's Python and Java programs. `py_spy` is the client's."""

    def processes_of(self, job: ManagedJob) -> tuple[ProcessView, ...]:
        """The tree of a job as of the last look at it."""

    def alive(self, jobs: Collection[ManagedJob]) -> Mapping[int, int]:
        """How many processes of each of these jobs are alive, by id; and of jobs that only marks tell of."""

    def in_doubt(self, job_id: int) -> tuple[Survivor, ...]:
        """What the last look found that may be of that job, and nothing proves it."""

    def see(self, job: ManagedJob) -> None:
        """Observe a job that was started since the last tick, for somebody who asks already."""

    def waits_of(self, job: ManagedJob) -> Observations:
        """What its processes wait for now."""

    def peek(self, job: ManagedJob, pipe: int, limit: int | None) -> PeekedPipe:
        """What is in one of its pipes now, with `limit` the oldest bytes of it."""

    # ---- what is kept of a job

    def note_stop(self, job: ManagedJob, cause: StopCause) -> None:
        """Keep what the job waits for, since it is about to be stopped."""

    def keep_histories(self) -> None:
        """Have the journal keep what was observed of every job, since this daemon observes no more."""

    def history(self, job_id: int) -> Story:
        """What is kept of a job, running or ended. Raises UnknownJobError."""
