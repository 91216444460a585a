"""Batches: one job for each input. Values only; of `batch_progress` and `failures` the keys are a contract."""

from __future__ import annotations

from datetime import datetime
from typing import Literal, NamedTuple

from msgspec import Struct

from corral.model.spec import JobSpec

HaltWhen = Literal["never", "soon", "now"]

FIRST_RUN = 1 << 31
"""Numbers of jobs from here on are those of runs within batches: the upper half of what fits into a mark."""
DEFAULT_REPLACE = "{}"
DEFAULT_RETRY_DELAY = 1.0


class BatchJobId(int):
    """The id of a job in a batch. Its text is `12.3`; as a number it is unlike that of any other job.

    Of one that has been started the number is that of its run, which the marks of its processes carry; each attempt has
    another one.
    """

    batch: int
    number: int
    """Of its input, from 1 on."""

    def __new__(cls, run: int, batch: int, number: int) -> BatchJobId:
        self = int.__new__(cls, run)
        self.batch, self.number = batch, number
        return self

    def __str__(self) -> str:
        return f"{self.batch}.{self.number}"

    def is_of(self, batch: int, number: int) -> bool:
        """Whether it is the job of that input."""
        return self.batch == batch and self.number == number

    @property
    def is_run(self) -> bool:
        return self < FIRST_RUN * 2


def not_running(batch: int, number: int) -> BatchJobId:
    """The id of a job in a batch of which no run is meant."""
    return BatchJobId(1 << 62 | batch << 31 | number, batch, number)


class BatchInput(NamedTuple):
    """What one job of a batch is given, in wire form."""

    text: str
    """All of it."""
    columns: tuple[str, ...]
    """Its parts, `{1}` and on; of an input without parts just `text`."""


class HaltRule(Struct, frozen=True):
    """When a batch is given up: once so many of its jobs have failed, or so many percent of those that ended."""

    when: HaltWhen = "never"
    """`soon`: start no more; `now`: stop what runs, too."""
    fail: float = 1
    is_percent: bool = False
    """Counts once three have ended."""


class BatchSpec(Struct, frozen=True, kw_only=True):
    """How the jobs of a batch are made and run. Durations in seconds."""

    job: JobSpec
    """Of each, with replacement words such as `{}` in its pipeline; its name is the batch's."""
    shell: bool = False
    """The pipeline is a line for sh: inputs are quoted for that."""
    replace: str = DEFAULT_REPLACE
    """What stands for the whole input."""
    lines: bool = False
    """Inputs are lines, of which the columns are parts."""
    jobs: int = 1
    """How many run at a time."""
    retries: int = 0
    retry_delay: float = DEFAULT_RETRY_DELAY
    """Before the second attempt; doubled before each further one, 300 at most."""
    halt: HaltRule = HaltRule()
    timeout_percent: float | None = None
    """A time limit for each, as so much of the median of those that succeeded, once there are three."""
    delay: float = 0.0
    """At least so long between two starts."""
    load: float | None = None
    """No start while the machine's load average is above it."""
    memfree: int | None = None
    """No start while fewer bytes of memory are free."""
    resume: bool = False
    """Leave out inputs with which the newest batch of this command, or of this name, has succeeded."""
    joblog: str | None = None
    """Absolute path, in wire form: a line for each end."""
    template: str = ""
    """The command as it was typed: batches of the same one are the same to `resume`."""


class BatchProgress(Struct, frozen=True, kw_only=True):
    """How far a batch is. The counts of jobs add up to `total`."""

    total: int | None
    """None while inputs still come."""
    queued: int
    """Waiting for their turn, or for another attempt."""
    running: int
    """Paused and stopping ones too."""
    succeeded: int
    """Ended well."""
    failed: int
    """Timed out and lost ones too."""
    stopped: int
    """Ended by somebody."""
    skipped: int
    """Never started, and never will be."""
    retried: int
    """How many attempts were made again."""
    per_second: float | None
    """Ends a second, of the last minute; None before the first."""
    seconds_left: float | None
    """Until its end, at that rate; None where unknown, and once it has ended."""
    jobs_at_a_time: int
    """How many may run at a time."""


class FailureGroup(Struct, frozen=True):
    """Jobs of a batch that failed alike."""

    cause: str
    """`exit 9: last line of stderr`, with N for each number in that line."""
    count: int
    """How many."""
    ids: tuple[str, ...]
    """The first three."""


class Attempt(Struct, frozen=True, kw_only=True):
    """One try of a job that was tried again."""

    number: int
    """From 1 on."""
    started: datetime | None = None
    """When it began."""
    ended: datetime | None = None
    """When it ended."""
    exit_status: int | None = None
    """None where a signal ended it, or it is unknown."""
    signal: str | None = None
    """The name of the signal that ended it."""
    reason: str | None = None
    """How it ended, in words."""


class BatchJobInput(Struct, kw_only=True):
    """What makes a job one of a batch."""

    text: str
    """Its input."""
    slot: int
    retries: int = 0
    retry_delay: float = DEFAULT_RETRY_DELAY
    attempt: int = 1
    attempts: tuple[Attempt, ...] = ()
    """Those before."""
