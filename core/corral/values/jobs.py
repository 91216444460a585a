"""Snapshots of jobs, as JSON and every client see them. The keys are a contract (DESIGN: the contract, JSON).

Times are aware UTC datetimes (ISO 8601 on the wire), durations seconds, sizes bytes; what is not known is None.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from msgspec import Struct, field

State = Literal[
    "queued", "running", "paused", "stopping", "succeeded", "failed", "stopped", "timed_out", "lost"
]
Health = Literal["active", "waiting", "stuck"]
Limiter = Literal["reader", "writer", "none"]

ENDED_STATES: frozenset[State] = frozenset({"succeeded", "failed", "stopped", "timed_out", "lost"})
UNENDED_STATES: frozenset[State] = frozenset({"queued", "running", "paused", "stopping"})
STARTED_STATES: frozenset[State] = frozenset({"running", "paused", "stopping"})
"""States in which processes of the job may be alive because it has not ended."""


class Stage(Struct, frozen=True, kw_only=True):
    """One command of a pipeline: one child process. `exit_status` is None where a signal ended it."""

    number: int
    name: str
    argv: tuple[str, ...]
    pid: int | None = None
    state: str = "queued"
    """`queued running succeeded failed`: `failed` also where a signal ended it that is not excused."""
    started: datetime | None = None
    ended: datetime | None = None
    exit_status: int | None = None
    signal: str | None = None
    reason: str | None = None
    cpu_percent: float | None = None
    cpu_seconds: float | None = None
    memory_bytes: int | None = None
    read_bytes: int | None = None
    written_bytes: int | None = None
    stderr_bytes: int = 0
    stderr_dropped_bytes: int = 0
    stderr_truncated_bytes: int = 0
    waits: str | None = None
    """What it does now in a few words, such as `waits to read`; None where not observed."""


class Pipe(Struct, frozen=True, kw_only=True):
    """The OS pipe that leaves stage `number`. `bytes_per_second` is over the last 5 s."""

    number: int
    from_stage: int
    to_stage: int
    fill_bytes: int | None = None
    capacity_bytes: int | None = None
    bytes_per_second: float | None = None
    bytes_total: int | None = None
    exact: bool = False
    """Whether `bytes_total` counts just this pipe, or the writer's every write."""
    limited_by: Limiter | None = None


class Stopping(Struct, frozen=True, kw_only=True):
    """How far the stop sequence of a job in state `stopping` is."""

    since: datetime
    signal: str
    """The last signal sent, such as `TERM`."""
    total: int
    left: int
    kill_at: datetime | None
    """When KILL follows; None once it was sent."""


class Job(Struct, frozen=True, kw_only=True):
    """One run of a pipeline, as seen at one moment."""

    id: str
    name: str | None
    command: str
    cwd: str
    pty: bool = False
    state: State = "queued"
    health: Health | None = None
    """None unless running, or where the system does not tell."""
    parent: str | None = None
    after: tuple[str, ...] = ()
    from_: str | None = field(default=None, name="from")
    restarted_from: str | None = None
    created: datetime
    started: datetime | None = None
    ended: datetime | None = None
    elapsed: float | None = None
    exit_status: int | None = None
    signal: str | None = None
    reason: str | None = None
    timeout: float | None = None
    stop_signal: str = "TERM"
    stop_grace: float = 5.0
    stuck_after: float = 60.0
    on_stuck: str = "mark"
    cpu_percent: float | None = None
    cpu_seconds: float | None = None
    memory_bytes: int | None = None
    peak_memory_bytes: int | None = None
    processes: int = 0
    leftovers: int = 0
    """How many processes of the ended job are still alive."""
    stdout_bytes: int = 0
    stderr_bytes: int = 0
    """All that was written, dropped or not."""
    stdout_dropped_bytes: int = 0
    stderr_dropped_bytes: int = 0
    """Of these the oldest, which `max_output` left no room for."""
    output_bytes_per_second: float | None = None
    last_output: datetime | None = None
    bottleneck: int | None = None
    origin: str = "library"
    waiting_for: str | None = None
    stages: tuple[Stage, ...] = ()
    pipes: tuple[Pipe, ...] = ()
    # Beyond the contract's first list; keys are only ever added.
    health_since: datetime | None = None
    summary: str | None = None
    """The one sentence of its diagnosis while it runs, such as `cat waits for input …`."""
    paused_since: datetime | None = None
    stopping: Stopping | None = None
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
    """Columns and rows of its terminal when its program printed last; None without a terminal, or where nobody knows."""
    disk_full: datetime | None = None
    """When the disk of its output was found full last, as it wrote or ended: what it wrote then may be missing. Of one that
    prints on a terminal, which loses nothing: since when it waits for room."""
    cut: bool = False
    """Whether `command` and the stages' `argv` are too long for a list, and only their beginnings: `show` has all."""
    output: str = "file"
    """`file pipe`: whether it writes to the output files itself, or through a relay."""
    stdout_truncated_bytes: int = 0
    stderr_truncated_bytes: int = 0
    """At least so much of what it had written is lost, because its own program made the file shorter (`> /dev/stdout`)."""
    output_truncated: datetime | None = None
    """When that was noticed last; None where it never was."""
    in_doubt: int = 0
    """How many processes may be of the ended job, which nothing proves."""

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
    name: str
    command: str
    parent_pid: int | None = None
    stage: int | None = None
    """The stage it descends from, where the mark or the ancestry tells."""
    is_leader: bool = False
    where: str = "child"
    """`leader`, `child`, `its own session`, `its own session, forked off`: what a plain kill would miss."""
    state: str = "?"
    """The kernel's one letter: R S D T Z …"""
    cpu_percent: float | None = None
    memory_bytes: int | None = None
    does: str | None = None
    """What it does, in words: `runs`, `waits to read: pipe 2`."""


class JobEvent(Struct, frozen=True):
    """One line of a job's life."""

    at: datetime
    kind: str
    text: str
