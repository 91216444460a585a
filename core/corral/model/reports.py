"""What Corral answers: a stop and its proof, a diagnosis, the state of the daemon. The keys are a contract."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from corral.model.history import LifePast
from corral.model.job import Health, Job, JobEvent, ProcessView, StageTime, State

WaitKind = Literal[
    "running",
    "pipe_read",
    "pipe_write",
    "tty_input",
    "file_lock",
    "futex",
    "child",
    "timer",
    "socket_read",
    "socket_write",
    "socket_connect",
    "socket_accept",
    "event_loop",
    "suspended",
    "disk",
    "zombie",
    "unknown",
]


class StoppedProcess(Struct, frozen=True, kw_only=True):
    """One process that the stop sequence dealt with, and how it ended.

    `ended_by` is the signal that ended it (`TERM`, `KILL`…), `exit N` where it exited with N after a signal,
    `itself` where it was gone before any signal was sent to it, None while it lives.
    `seconds` is counted from the first signal of the sequence.
    """

    pid: int
    """In the daemon's namespace."""
    name: str
    """Of its program."""
    stage: int | None
    """The number of the stage that it descends from, where that is known."""
    signals: tuple[str, ...]
    """The names of the signals sent to it, in order."""
    ended_by: str | None
    seconds: float | None
    """From the first signal of the sequence to its end; None while it lives."""
    where: str = "child"
    """As in `ProcessView`: what a plain kill would have missed."""


class Survivor(Struct, frozen=True, kw_only=True):
    """One process that is still there, and why."""

    pid: int
    """In the daemon's namespace."""
    name: str
    """Of its program."""
    stage: int | None
    """The number of the stage that it descends from, where that is known."""
    state: str
    """The kernel's one letter, such as D."""
    blocked_in: str | None
    """The function of the kernel that it is blocked in."""
    reason: str
    """Why it is still there, in words."""


class StopReport(Struct, frozen=True, kw_only=True):
    """What a stop did to one job. It is done when `survivors` is empty and every process has an end."""

    id: str
    """The job's."""
    state: State
    """The job's, afterwards."""
    seconds: float
    """From the first signal to the last look."""
    processes: tuple[StoppedProcess, ...] = ()
    """Each that the sequence dealt with."""
    survivors: tuple[Survivor, ...] = ()
    """Each that is still there."""
    note: str | None = None
    """`already ended`, `never started`, or the jobs started from within that were left alone."""
    kill_in: float | None = None
    """Seconds until KILL follows, while the sequence is going on."""
    grace: float | None = None
    """Seconds from the first signal to KILL."""
    looked_at: datetime | None = None
    """When the table of processes was last read and nothing of the job found."""
    in_doubt: tuple[Survivor, ...] = ()
    """What may be of the job and was not signalled, since nothing proves it."""

    @property
    def left(self) -> tuple[Survivor, ...]:
        """What is there once nothing more helps, proven or not."""
        return (*self.survivors, *self.in_doubt)

    @property
    def nothing_is_left(self) -> bool:
        return not self.left and self.state != "stopping"


class Wait(Struct, frozen=True, kw_only=True):
    """What one process waits for."""

    stage: int | None
    """The number of its stage, where that is known."""
    pid: int
    """Of the process that waits."""
    name: str
    """Of its program."""
    kind: WaitKind
    """What kind of wait."""
    detail: str
    """What for, in words."""
    on_pid: int | None = None
    """The process that it waits for."""
    on_stage: int | None = None
    """The stage at the other end."""
    since: datetime | None = None
    """When it was first seen to wait so."""


class Root(Struct, frozen=True, kw_only=True):
    """Where the chain of waits ends."""

    stage: int | None
    """The number of the stage, where it is one."""
    pid: int | None
    """The process, where it is one."""
    kind: WaitKind
    """What that waits for."""


class Advice(Struct, frozen=True):
    """One thing that can be done, and the very command for it."""

    text: str
    """What can be done, in words."""
    command: str | None = None
    """The command line for it, if there is one."""


class Frame(Struct, frozen=True):
    """One call on a Python stack: the function, and the line of the file that it stands at."""

    file: str
    """Its path."""
    line: int
    """From 1 on."""
    function: str
    """Its name."""


class PythonStack(Struct, frozen=True, kw_only=True):
    """Where one thread of a Python program stands, or of a Java one. `frames`: the innermost first, 8 at most."""

    pid: int
    """Of the program."""
    stage: int | None
    """The number of its stage, where that is known."""
    name: str
    """Of the program."""
    thread: int | None
    """The kernel's id of it, which for the first thread is the pid."""
    thread_name: str | None
    """As Python calls it."""
    frames: tuple[Frame, ...]
    """The innermost first, 8 at most."""
    left_out: int = 0
    """Frames that are not shown: of the libraries, or beyond the eighth."""
    language: Literal["python", "java"] = "python"
    """What the program is written in."""


def languages_of(stacks: tuple[PythonStack, ...]) -> str:
    """`PYTHON`, `JAVA` or both, for a heading."""
    return " AND ".join(sorted({stack.language.upper() for stack in stacks}))


class Diagnosis(Struct, frozen=True, kw_only=True):
    """Why a job does what it does: one sentence, and the evidence."""

    id: str
    """The job's."""
    health: Health | None
    """The job's: `active waiting stuck`; None unless it runs."""
    since: datetime | None
    """Since when the health is so."""
    summary: str
    """The one sentence."""
    root: Root | None = None
    """Where the chain of waits ends."""
    waits: tuple[Wait, ...] = ()
    """What each of its processes waits for."""
    cycle: tuple[int, ...] = ()
    """The pids of processes that wait for each other in a ring."""
    bottleneck: int | None = None
    """The number of the stage that holds up the rest."""
    advice: tuple[Advice, ...] = ()
    """What can be done, the best first."""
    not_looked_at: tuple[str, ...] = ()
    """What could not be seen, and why."""
    stacks: tuple[PythonStack, ...] = ()
    """Where its Python and Java programs stand, where py-spy or jcmd could tell; of a running job, and only when asked for."""
    ended: datetime | None = None
    """When the job ended; then all but `kept` is of the time after."""
    taken: datetime | None = None
    """Of a kept one: when it was taken. None: now."""
    kept: Diagnosis | None = None
    """Of an ended job: the diagnosis of the last time it was stuck, or of what it waited for when it was ended."""
    evidence: tuple[str, ...] = ()
    """Of a job that failed: what tells why, a line each: its last words, its signal, its last good run."""
    times: tuple[StageTime | None, ...] = ()
    """What each stage of a pipeline spends its time on, in their order; empty unless something moves in it."""
    stragglers: tuple[Diagnosis, ...] = ()
    """Of a batch: the diagnoses of the jobs that hold it up."""


class PeekedPipe(Struct, frozen=True, kw_only=True):
    """The fill of one pipe. `content`, base64 in JSON, are the oldest bytes in it; None unless asked for and possible."""

    number: int
    from_stage: int
    to_stage: int
    fill_bytes: int | None = None
    capacity_bytes: int | None = None
    note: str | None = None
    content: bytes | None = None


class OpenedInput(Struct, frozen=True):
    """What a copy of the way into a job is: the write end of a pipe, or a terminal."""

    is_terminal: bool = False
    modes: tuple[int, ...] = ()
    """Private modes of the terminal that its program has changed, such as 1049, the alternate screen."""
    printed: int = 0
    """Length of the stdout file at that moment."""


class DaemonStatus(Struct, frozen=True, kw_only=True):
    """The state of one daemon."""

    pid: int
    version: str
    socket: str
    home: str
    started: datetime
    jobs: dict[str, int]
    cpu_percent: float | None
    memory_bytes: int | None
    protocol: int | None = None
    """Its protocol number."""
    marks: str = "on"
    """`on`, or why the kernel's mark cannot be used here."""
    leftovers: dict[str, int] = {}
    """How many processes live on of each job that has ended, by id."""
    notices: tuple[str, ...] = ()
    """What keeps the journal from being written, and what of the user's settings makes no sense, a line each."""


class Detail(Struct, frozen=True, kw_only=True):
    """All of one job: what `show` prints, beside the job itself."""

    job: Job
    events: tuple[JobEvent, ...] = ()
    tree: tuple[ProcessView, ...] = ()
    stop: StopReport | None = None
    environment: dict[str, str] = {}
    stdin_path: str | None = None
    """The file that is its stdin."""
    life: LifePast = LifePast()
    diagnosis: Diagnosis | None = None
    """The last of the times that it was stuck; of an ended job also what it waited for when it was ended."""
    diagnosed: datetime | None = None
    earlier_runs: tuple[tuple[str, State, float], ...] = ()
    """(id, state, elapsed) of earlier runs of the same command, newest first."""
    slowest: tuple[tuple[str, float], ...] = ()
    """Of a batch: (id, seconds) of its jobs that took longest."""


class Story(Struct, frozen=True):
    """What is kept of one job, running or ended, beyond its end. `diagnosis` is as of `diagnosed`: the last of the times that it was stuck.

    Of a job that never was, it is what the job waited for when it was ended from outside; None where there is none.
    """

    id: str
    """The job's."""
    diagnosis: Diagnosis | None = None
    diagnosed: datetime | None = None
    """When the diagnosis was taken."""
    life: LifePast = LifePast()
    """CPU and memory over its whole life."""


def with_history(diagnosis: Diagnosis, job: Job, history: Story) -> Diagnosis:
    """What is said of a job that has ended, with what is kept of the time before."""
    kept = None if history.diagnosis is None else replace(history.diagnosis, taken=history.diagnosed)
    return replace(diagnosis, ended=job.ended, kept=kept)
