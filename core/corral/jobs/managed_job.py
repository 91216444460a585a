"""What the engine holds of a job: the handles, and what was observed. Private; snapshots are what leaves."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import datetime

from corral.commandline.abbreviation import ShortCommand, short_command_of, with_short_argv
from corral.commandline.program_name import program_name
from corral.lifecycle.state import Life
from corral.lifecycle.state_machine import new_life
from corral.measure.history import History, OutputHistory, StageHistory
from corral.measure.pipe_flow import PipeFlow
from corral.measure.stuck_rule import PollingDetector
from corral.model.batch import BatchJobInput
from corral.model.job import Job, Pipe
from corral.model.reports import Diagnosis, StopReport
from corral.model.spec import Command, JobSpec, Surroundings
from corral.waits.process_wait import WaitClock


@dataclass(slots=True)
class ManagedStage:
    """One stage: what was observed of it."""

    number: int
    name: str
    argv: tuple[str, ...]
    held: object = None
    """What the executor holds of it, if anything: only the executor looks in."""
    started: datetime | None = None
    ended: datetime | None = None
    history: StageHistory = field(default_factory=StageHistory)


@dataclass(slots=True)
class Persisted:
    """What the journal has of a job's history (`corral.monitor.history_store`)."""

    usage: bytes = b""
    """The row of it."""
    peak_memory_bytes: int | None = None
    rests_since: float | None = None
    """Since when the job had not moved, where that is in the row."""
    until: float = 0.0
    """Up to when it has the lifetime (monotonic seconds)."""
    lacks_diagnosis: bool = False
    """It does not have `history.stuck` yet."""


@dataclass(slots=True, eq=False)
class ManagedJob:
    """One job that has not ended, or one whose leftovers are looked after."""

    id: int
    spec: JobSpec
    surroundings: Surroundings
    created: datetime
    life: Life
    stages: list[ManagedStage]
    held: object = None
    """What the executor holds of it, if anything: only the executor looks in."""
    shown: ShortCommand = field(init=False)
    """What lists have of its command."""
    history: History = field(default_factory=History)
    """What the executor has observed of it: all that a restart in place hands over."""
    persisted: Persisted = field(default_factory=Persisted)
    pipes: list[PipeFlow] = field(default_factory=list)
    pipe_views: tuple[Pipe, ...] = ()
    pipes_rest: bool = False
    """No stage has moved for so long that nothing about the pipes changes until one does."""
    wait_clock: WaitClock = field(default_factory=WaitClock)
    polling: PollingDetector | None = None
    """Since when it only polls, if it does."""
    diagnosis: Diagnosis | None = None
    """Of the time since it last moved; None until it is diagnosed, and again once it moves."""
    noted_diagnosis: Diagnosis | None = None
    """The diagnosis that `history.stuck` was made from."""
    is_benign: bool | None = None
    """Whether the waits in `diagnosis` resolve by themselves; None if that is unknown."""
    is_deadlocked: bool = False
    """Whether they are a ring that can never be resolved."""
    diagnosed_at: float = 0.0
    """When it was diagnosed last (monotonic seconds)."""
    look_again_at: float = float("inf")
    """When the diagnosis of a still job is renewed (monotonic seconds), if its waits end at processes outside it."""
    next_visit: int = 0
    """The tick at which the monitor looks at it again, unless somebody looks at it before."""
    bottleneck: int | None = None
    leftovers: int = 0
    in_doubt: int = 0
    is_full_screen: bool = False
    """Whether its program draws on the whole of its terminal."""
    terminal_size: tuple[int, int] | None = None
    """Columns and rows of its terminal when it printed last."""
    timeout_timer: asyncio.TimerHandle | None = None
    report: StopReport | None = None
    hidden: bool = False
    batch_input: BatchJobInput | None = None
    """What it was given, as a job of a batch."""
    snapshot: Job | None = None
    """The snapshot built last; None when something changed since."""

    def __post_init__(self) -> None:
        self.shown = short_command_of(self.spec)

    def use(self, spec: JobSpec) -> None:
        """From now on this is its specification: with all of a long command while it is being started, else without."""
        self.spec = spec
        for stage, command in zip(self.stages, spec.pipeline.stages, strict=True):
            stage.argv = command.argv

    @property
    def output(self) -> OutputHistory:
        return self.history.output

    @property
    def commands(self) -> tuple[Command, ...]:
        return self.spec.pipeline.stages

    @property
    def title(self) -> str:
        return self.spec.name or (self.stages[0].name if self.stages else self.spec.command)

    def stream_name(self, number: int) -> str:
        """What people call its output file of that number: `stdout`, `stderr of stage 2 (gzip)`."""
        if number == 0:
            return "stdout"
        return (
            f"stderr of stage {number} ({self.stages[number - 1].name})" if len(self.stages) > 1 else "stderr"
        )


def new_job(job_id: int, spec: JobSpec, surroundings: Surroundings, created: datetime) -> ManagedJob:
    """A job that has done nothing yet. Of a long command only what is shown of it is kept: the journal has all."""
    spec = with_short_argv(spec)
    stages = [
        ManagedStage(number, program_name(command.argv), command.argv)
        for number, command in enumerate(spec.pipeline.stages, 1)
    ]
    life = new_life(spec, [stage.name for stage in stages])
    return ManagedJob(job_id, spec, surroundings, created, life, stages)
