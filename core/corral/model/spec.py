"""What is to run: commands, pipelines and job specifications. Values only: no handles, no I/O."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

RedirectionMode = Literal["read", "write", "append", "merge"]
OnStuck = Literal["mark", "stop"]
OnLeftovers = Literal["leave", "stop"]
OutputMode = Literal["file", "pipe"]
Origin = Literal["dashboard", "command_line", "library"]

DEFAULT_STOP_SIGNAL = "TERM"
DEFAULT_STOP_GRACE = 5.0
DEFAULT_STUCK_AFTER = 60.0
DEFAULT_TERMINAL_SIZE = (80, 24)
DEFAULT_MAX_OUTPUT = 1 << 30
"""Bytes kept of each output stream: 1 GiB."""


class Redirection(Struct, frozen=True):
    """One redirection, applied in the order written, as POSIX sh does.

    `fd` is 0, 1 or 2. `merge` is `2>&1`: the descriptor becomes what stdout is at that moment; it has no path.
    """

    fd: int
    """The stage's descriptor: 0, 1 or 2."""
    mode: RedirectionMode
    """`read` of 0; `write`, `append` or `merge` of the others."""
    path: str | None = None
    """Relative to the job's directory; None with `merge`."""


class Command(Struct, frozen=True):
    """A stage to run: an argv, `NAME=value` assignments before it, redirections."""

    argv: tuple[str, ...]
    """The program and its arguments."""
    assignments: tuple[tuple[str, str], ...] = ()
    """(name, value), for this stage alone."""
    redirections: tuple[Redirection, ...] = ()
    """In the order in which they are applied."""
    merges_stderr_into_pipe: bool = False
    """Written `|&`: applied after all other redirections, as bash does."""


class Pipeline(Struct, frozen=True):
    """Commands joined by OS pipes; a single command is a pipeline of one stage."""

    stages: tuple[Command, ...]
    """One at least."""


class NullInput(Struct, frozen=True, tag="null", tag_field="kind"):
    """stdin is /dev/null."""


class FileInput(Struct, frozen=True, tag="file", tag_field="kind"):
    """stdin is a file, opened by the manager; relative to the job's directory."""

    path: str


class DescriptorInput(Struct, frozen=True, tag="descriptor", tag_field="kind"):
    """stdin is the descriptor that travels with the request (SCM_RIGHTS)."""


class InteractiveInput(Struct, frozen=True, tag="interactive", tag_field="kind"):
    """stdin is a pipe that stays open for `send`."""


class JobInput(Struct, frozen=True, tag="job", tag_field="kind"):
    """stdin is the stdout of another job, from its first kept byte, followed live."""

    job: str


StdinSource = NullInput | FileInput | DescriptorInput | InteractiveInput | JobInput


class Scheduling(Struct, frozen=True):
    """A process's share of the machine on Linux: the CPUs it may run on; policy and static priority as in
    sched_setscheduler(2); class and value as in ioprio_set(2)."""

    cpus: tuple[int, ...]
    policy: int = 0
    priority: int = 0
    io_class: int = 0
    io_value: int = 0


class Standing(Struct, frozen=True):
    """What a process is to the Linux kernel beside its user: group and supplementary groups (credentials(7)), sets of
    capabilities as masks (capabilities(7)), no_new_privs (prctl(2)) and oom_score_adj (proc(5))."""

    group: int
    groups: tuple[int, ...] = ()
    inheritable: int = 0
    bounding: int = 0
    ambient: int = 0
    no_new_privs: bool = False
    oom_score_adj: int = 0


class Surroundings(Struct, frozen=True):
    """Where a job runs: what the client had at the moment of the command.

    `limits` maps RLIMIT numbers to (soft, hard), -1 is unlimited; RLIMIT_LOCKS is not among them, it carries
    the mark. `nice` is the absolute nice value. Text with undecodable bytes is in wire form (`corral.model.wire`).
    """

    environment: dict[str, str]
    cwd: str
    umask: int
    limits: dict[int, tuple[int, int]] = {}
    nice: int = 0
    scheduling: Scheduling | None = None
    """The daemon fills it in, since it can ask the kernel about its client; None where it cannot."""
    standing: Standing | None = None
    namespaces: dict[str, str] = {}
    """Where the client looks from (`corral.platform.spawn.credentials`); compared with the daemon's, and not kept."""


class JobSpec(Struct, frozen=True):
    """One job to run. Durations in seconds; `None` means no limit."""

    pipeline: Pipeline
    command: str
    """What the user typed, or the argv quoted; for showing, never for running."""
    name: str | None = None
    stdin: StdinSource = NullInput()
    pty: bool = False
    """It has a terminal of its own. It has one stage then, and `stdin` is `NullInput`."""
    terminal_size: tuple[int, int] = DEFAULT_TERMINAL_SIZE
    """Columns and rows at the start."""
    timeout: float | None = None
    stop_signal: str = DEFAULT_STOP_SIGNAL
    stop_grace: float = DEFAULT_STOP_GRACE
    stuck_after: float = DEFAULT_STUCK_AFTER
    on_stuck: OnStuck = "mark"
    leftovers: OnLeftovers = "leave"
    """What becomes of processes that are alive when every stage has ended by itself."""
    max_output: int | None = DEFAULT_MAX_OUTPUT
    """Bytes kept of stdout, and of each stage's stderr: the newest. None keeps all."""
    output: OutputMode = "file"
    """What its stdout and stderr are: the files themselves, or pipes to a relay that writes these. No pipes with `pty`."""
    after: tuple[str, ...] = ()
    origin: Origin = "library"
    parent: str | None = None
    restarted_from: str | None = None
    instead_of: tuple[str, ...] = ()
    """Jobs by number that are being stopped so that this one can take their place: it starts once they are gone."""
    cut: bool = False
    """Whether `command` is only the beginning of what the user typed, or `pipeline` of what the journal has of it."""
