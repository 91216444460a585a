"""Snapshots of jobs, as JSON and every client see them. The keys are a contract (docs/command-line.md, JSON).

Times are aware UTC datetimes (ISO 8601 on the wire), durations seconds, sizes bytes; what is not known is None.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from msgspec import Struct, field

from corral.model.batch import DEFAULT_RETRY_DELAY, Attempt, BatchProgress, FailureGroup
from corral.model.spec import DEFAULT_STOP_GRACE

State = Literal[
    "queued", "running", "paused", "stopping", "succeeded", "failed", "stopped", "timed_out", "lost"
]
Health = Literal["active", "waiting", "stuck"]
Limiter = Literal["reader", "writer", "none"]
Kind = Literal["job", "batch"]

ENDED_STATES: frozenset[State] = frozenset({"succeeded", "failed", "stopped", "timed_out", "lost"})
UNENDED_STATES: frozenset[State] = frozenset({"queued", "running", "paused", "stopping"})
STARTED_STATES: frozenset[State] = frozenset({"running", "paused", "stopping"})
"""States in which processes of the job may be alive because it has not ended."""
UNKNOWN_COMMAND = "(unknown)"
"""Of a job whose command nobody can tell."""


def place_of(job_id: str) -> tuple[int, ...]:
    """Sort ids by this: 2, 12, 12.3, 12.10, 13."""
    return tuple(map(int, job_id.split(".")))


class StageTime(Struct, frozen=True, kw_only=True):
    """What a stage spent the last 5 s on, as shares that add up to 1."""

    run: float
    """On a core, or ready and waiting for one; its threads and children included."""
    input: float
    """Waiting for something in its input."""
    output: float
    """Waiting for room in its output."""
    other: float
    """Waiting for anything else: a timer, a disk, a socket, a child."""


class Stage(Struct, frozen=True, kw_only=True):
    """One command of a pipeline: one child process. `exit_status` is None where a signal ended it."""

    number: int
    """From 1 on."""
    name: str
    """Of its program, without the folder."""
    argv: tuple[str, ...]
    """The program and its arguments."""
    pid: int | None = None
    """None before its start."""
    state: str = "queued"
    """`queued running succeeded failed`: `failed` also where a signal ended it that is not excused."""
    started: datetime | None = None
    """None before its start."""
    ended: datetime | None = None
    """None until its end."""
    exit_status: int | None = None
    """0 to 255; None until its end, and where a signal ended it."""
    signal: str | None = None
    """The name of the signal that ended it, such as `PIPE`."""
    reason: str | None = None
    """How it ended, or why it could not start, in words."""
    cpu_percent: float | None = None
    """Of one core, over the last tick; its own process's, without children. None unless it runs."""
    cpu_seconds: float | None = None
    """User and system time of its process until now."""
    memory_bytes: int | None = None
    """Resident memory of its process. None unless it runs."""
    read_bytes: int | None = None
    """What its process has read, from anything (`rchar` of proc(5))."""
    written_bytes: int | None = None
    """What its process has written, to anything (`wchar` of proc(5))."""
    stderr_bytes: int = 0
    """All that was written to its stderr, dropped or not."""
    stderr_dropped_bytes: int = 0
    """Of these the oldest, which `max_output` left no room for."""
    stderr_truncated_bytes: int = 0
    """At least so much of it is lost, because a program made the file shorter."""
    waits: str | None = None
    """What it does now in a few words, such as `waits to read`; None where not observed."""
    time: StageTime | None = None
    """None for a single stage, for an ended one, and where not measured."""


class Pipe(Struct, frozen=True, kw_only=True):
    """The OS pipe that leaves stage `number`. `bytes_per_second` is over the last 5 s."""

    number: int
    """From 1 on."""
    from_stage: int
    """The number of the stage that writes to it."""
    to_stage: int
    """The number of the stage that reads from it."""
    fill_bytes: int | None = None
    """Bytes in it now; None if no process has it open, or it cannot be seen."""
    capacity_bytes: int | None = None
    """What it holds at most."""
    bytes_per_second: float | None = None
    """Over the last 5 s."""
    bytes_total: int | None = None
    """All that has gone through, or an upper bound: see `exact`."""
    exact: bool = False
    """Whether `bytes_total` counts just this pipe, or the writer's every write."""
    limited_by: Limiter | None = None
    """Which side limits it: `reader`, `writer` or `none`."""


class Stopping(Struct, frozen=True, kw_only=True):
    """How far the stop sequence of a job in state `stopping` is."""

    since: datetime
    """When the sequence began."""
    signal: str
    """The last signal sent, such as `TERM`."""
    total: int
    """How many processes it found."""
    left: int
    """How many of these are alive."""
    kill_at: datetime | None
    """When KILL follows; None once it was sent."""


class Job(Struct, frozen=True, kw_only=True):
    """One run of a pipeline, as seen at one moment."""

    id: str
    """Its number, as text."""
    name: str | None
    """What it was called at its start."""
    command: str
    """What was typed, or the argv quoted; for showing."""
    cwd: str
    """Its directory, absolute."""
    pty: bool = False
    """Whether it has a terminal of its own."""
    state: State = "queued"
    """Where it is in its life; the last five are ends: `queued running paused stopping succeeded failed stopped timed_out lost`."""
    health: Health | None = None
    """None unless running, or where the system does not tell."""
    parent: str | None = None
    """The id of the job that it was started within."""
    after: tuple[str, ...] = ()
    """The ids of the jobs that have to succeed first."""
    from_: str | None = field(default=None, name="from")
    """The id of the job whose stdout is its stdin."""
    restarted_from: str | None = None
    """The id of the job that it runs again."""
    created: datetime
    """When it was asked for."""
    started: datetime | None = None
    """None before its first process."""
    ended: datetime | None = None
    """None until its end."""
    elapsed: float | None = None
    """Seconds from its start to now, or to its end; pauses count."""
    exit_status: int | None = None
    """Of the last stage where that failed, else of the first that did; 128 + n for signal n, 124 for a time limit. None until its end, and if unknown."""
    signal: str | None = None
    """The name of the signal that ended it."""
    reason: str | None = None
    """How it ended, in words."""
    timeout: float | None = None
    """Its time limit in seconds; None for none."""
    stop_signal: str = "TERM"
    """The first signal of its stop sequence."""
    stop_grace: float = DEFAULT_STOP_GRACE
    """Seconds from that to KILL."""
    stuck_after: float = 60.0
    """Seconds without any progress until it may count as stuck."""
    on_stuck: str = "mark"
    """`mark stop`: what happens then."""
    cpu_percent: float | None = None
    """100 is one core; of its whole tree, over the last tick. None unless it runs."""
    cpu_seconds: float | None = None
    """User and system time of its whole tree, of ended processes too."""
    memory_bytes: int | None = None
    """Resident memory of its tree, summed. None unless it runs."""
    peak_memory_bytes: int | None = None
    """The most that was seen of it."""
    processes: int = 0
    """How many are alive in its tree."""
    leftovers: int = 0
    """How many processes of the ended job are still alive."""
    stdout_bytes: int = 0
    """All that was written to its stdout, dropped or not."""
    stderr_bytes: int = 0
    """All that was written, dropped or not."""
    stdout_dropped_bytes: int = 0
    """Of these the oldest, which `max_output` left no room for."""
    stderr_dropped_bytes: int = 0
    """Of these the oldest, which `max_output` left no room for."""
    output_bytes_per_second: float | None = None
    """Of all its output, over the last 5 s. None once it has ended."""
    last_output: datetime | None = None
    """When its output last grew."""
    bottleneck: int | None = None
    """The number of the stage that holds up the rest."""
    origin: str = "library"
    """`dashboard command_line library`: what started it."""
    waiting_for: str | None = None
    """Why it is queued, a sentence."""
    stages: tuple[Stage, ...] = ()
    """One for each command of the pipeline."""
    pipes: tuple[Pipe, ...] = ()
    """One for each pair of neighbours among the stages."""
    # Beyond the contract's first list; keys are only ever added.
    health_since: datetime | None = None
    """Since when its `health` is what it is."""
    summary: str | None = None
    """The one sentence of its diagnosis while it runs, such as `cat waits for input …`."""
    paused_since: datetime | None = None
    """None unless it is paused."""
    stopping: Stopping | None = None
    """None unless it is being stopped."""
    hidden: bool = False
    """Taken off the dashboards' lists with `x`."""
    on_leftovers: str = "leave"
    """`leave stop`: what becomes of processes that outlive the job."""
    max_output: int | None = None
    """Bytes kept of each output stream; None keeps all."""
    stdin: str = "none"
    """`none file descriptor interactive job terminal`."""
    full_screen: bool = False
    """Whether it draws on the whole of its terminal at the moment (the alternate screen), as editors and pagers do."""
    terminal_size: tuple[int, int] | None = None
    """Columns and rows of its terminal when its program printed last; None without a terminal, or if unknown."""
    disk_full: datetime | None = None
    """When the disk of its output was found full last, as it wrote or ended: what it wrote then may be missing. Of one that
    prints on a terminal, which loses nothing: since when it waits for room."""
    cut: bool = False
    """Whether `command` and the stages' `argv` are too long for a list, and only their beginnings: `show` has all."""
    output: str = "file"
    """`file pipe`: whether it writes to the output files itself, or through a relay."""
    stdout_truncated_bytes: int = 0
    """At least so much of its stdout is lost, because its own program made the file shorter (`> /dev/stdout`)."""
    stderr_truncated_bytes: int = 0
    """At least so much of what it had written is lost, because its own program made the file shorter (`> /dev/stdout`)."""
    output_truncated: datetime | None = None
    """When that was noticed last; None where it never was."""
    in_doubt: int = 0
    """How many processes may be of the ended job, which nothing proves."""
    kind: Kind = "job"
    """`job batch`: a batch is one job for each of its inputs, and has no stages itself."""
    batch: str | None = None
    """The id of the batch that it is a job of."""
    input: str | None = None
    """What it was given there."""
    retries: int = 0
    """How often it is tried again when it fails."""
    retry_delay: float = DEFAULT_RETRY_DELAY
    """Seconds before the first of these; doubled each time, 300 at most."""
    attempt: int = 1
    """Which try this is, from 1 on."""
    attempts: tuple[Attempt, ...] = ()
    """Those before it."""
    batch_progress: BatchProgress | None = None
    """Of a batch: how far it is."""
    failures: tuple[FailureGroup, ...] = ()
    """Of a batch: what failed, by cause, most first."""
    stragglers: tuple[str, ...] = ()
    """Of a batch: the ids of jobs that run much longer than most did, longest first."""

    @property
    def title(self) -> str:
        """Its name, or its first program: what a person calls it."""
        return self.name or (self.stages[0].name if self.stages else self.command)

    @property
    def is_ended(self) -> bool:
        return self.state in ENDED_STATES

    @property
    def truncated_bytes(self) -> int:
        """At least so many bytes of all its output are lost, because a file of it was made shorter."""
        return self.stdout_truncated_bytes + self.stderr_truncated_bytes

    @property
    def was_ended_as_stuck(self) -> bool:
        """Whether `--on-stuck stop` has ended it: then its reason begins so, which is of the contract."""
        return self.state == "stopped" and self.reason is not None and self.reason.startswith("stuck: ")


class ProcessView(Struct, frozen=True, kw_only=True):
    """One process of a job's tree."""

    pid: int
    """In the daemon's namespace."""
    name: str
    """Of its program (`comm` of proc(5))."""
    command: str
    """Its argv, quoted; for showing."""
    parent_pid: int | None = None
    """None where it is not known."""
    stage: int | None = None
    """The stage it descends from, where the mark or the ancestry tells."""
    is_leader: bool = False
    """Whether it is the process of a stage itself."""
    where: str = "child"
    """`leader`, `child`, `its own session`, `its own session, forked off`: what a plain kill would miss."""
    state: str = "?"
    """The kernel's one letter: R S D T Z …"""
    cpu_percent: float | None = None
    """Of one core, over the last tick; None where not measured."""
    memory_bytes: int | None = None
    """Resident memory."""
    does: str | None = None
    """What it does, in words: `runs`, `waits to read: pipe 2`."""


class JobEvent(Struct, frozen=True):
    """One line of a job's life."""

    at: datetime
    """When it happened."""
    kind: str
    """What kind of event, one word."""
    text: str
    """What happened, in words."""
