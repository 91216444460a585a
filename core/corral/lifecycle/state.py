"""What the state machine of a job works on: the life so far, what may happen to it, and what is to be done then.

Values only. Every event carries the time twice: `at` by the wall clock, for people, and `now` by the monotonic clock
(`time.monotonic()`, seconds), for measuring: the wall clock may jump. Signals are names without SIG, such as `TERM`.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from msgspec import Struct

from corral.model.job import ENDED_STATES, STARTED_STATES, State
from corral.model.spec import DEFAULT_STOP_GRACE, DEFAULT_STOP_SIGNAL

StopCause = Literal["user", "shutdown", "timeout", "stuck", "feed", "leftovers"]
"""Why a job is to stop. `user`: a person or program asked for this job. `shutdown`: the daemon ends with its jobs,
or the owner of a private one went away. `feed`: what it was to read is lost. `leftovers`: it has ended, processes of it
have not, and `--leftovers stop` was given."""


class StageEnd(Struct, frozen=True):
    """How a child process ended; unknown if there is neither a status nor a signal."""

    at: datetime
    exit_status: int | None = None
    signal: str | None = None

    @property
    def is_known(self) -> bool:
        return self.exit_status is not None or self.signal is not None


class StageStop(Struct, frozen=True):
    """The stop sequence of one stage: when its last signal was sent, and the grace that it left from then on."""

    since: datetime
    grace: float


class StageLife(Struct, frozen=True):
    """One stage. Not started: no `started`. Running: no `end`."""

    number: int
    name: str
    started: datetime | None = None
    end: StageEnd | None = None
    signalled: tuple[tuple[str, str], ...] = ()
    """(signal, by whom) of what `corral signal` and `corral stop --stage` sent it, in order."""
    stop: StageStop | None = None
    """None also in the journal of an earlier Corral."""

    @property
    def is_running(self) -> bool:
        return self.started is not None and self.end is None


class Stop(Struct, frozen=True):
    """The stop sequence in progress, or the one that was in progress when the job ended."""

    cause: StopCause
    reason: str
    since: datetime
    first_signal: str
    grace: float
    signal: str | None = None
    """The last one sent, other than CONT."""
    grace_skipped: bool = False


class StartFailure(Struct, frozen=True):
    """Why the job could not start. `stage` is None if no single stage is to blame."""

    stage: int | None
    status: int
    message: str


class Ending(Struct, frozen=True):
    """How a job ended."""

    state: State
    exit_status: int | None
    signal: str | None
    reason: str | None


class Life(Struct, frozen=True, kw_only=True):
    """The state of a job and what led to it. Serialisable; its monotonic times are valid until the machine restarts."""

    stages: tuple[StageLife, ...]
    timeout: float | None = None
    stop_signal: str = DEFAULT_STOP_SIGNAL
    stop_grace: float = DEFAULT_STOP_GRACE
    state: State = "queued"
    is_starting: bool = False
    """From the moment before the first process is started until the last has been."""
    started: datetime | None = None
    ended: datetime | None = None
    started_now: float | None = None
    ended_now: float | None = None
    paused_since: datetime | None = None
    paused_now: float | None = None
    paused_for: float = 0.0
    """Seconds of pauses that are over."""
    start_failure: StartFailure | None = None
    stop: Stop | None = None
    tree_is_empty: bool = False
    """While stopping: no process of the job was left when the process table was last read."""
    sweeping: bool = False
    """Ended, and its leftover processes are being stopped."""
    ending: Ending | None = None

    @property
    def is_ended(self) -> bool:
        return self.state in ENDED_STATES

    @property
    def is_started(self) -> bool:
        return self.state in STARTED_STATES

    @property
    def deadline(self) -> float | None:
        """When the time limit is reached (monotonic) unless the job is paused first; None without one, or while not running."""
        if self.timeout is None or self.started_now is None or self.state != "running":
            return None
        return self.started_now + self.paused_for + self.timeout

    def elapsed(self, now: float) -> float | None:
        """Seconds since its start, pauses included; to its end once it ended. None before the start."""
        if self.started_now is None:
            return None
        return max(0.0, (now if self.ended_now is None else self.ended_now) - self.started_now)


# ---- events -------------------------------------------------------------------------------------------------------


class Event(Struct, frozen=True, kw_only=True):
    """Something happened, or was asked for."""

    at: datetime
    now: float


class SlotGranted(Event, frozen=True, kw_only=True):
    """The scheduler lets the job start. The journal must know before the first process exists."""


class StagesSpawned(Event, frozen=True, kw_only=True):
    """Processes exist. `numbers` None: of every stage."""

    numbers: tuple[int, ...] | None = None


class StartFailed(Event, frozen=True, kw_only=True):
    """The job cannot start. `status` 127 not found, 126 not executable, else 125; `spawned`: stages that run already.

    `message` does not name the stage: `no such program: gzipp`.
    """

    stage: int | None
    status: int
    message: str
    spawned: tuple[int, ...] = ()


class StageEnded(Event, frozen=True, kw_only=True):
    """A child process was reaped. With neither status nor signal its end is unknown."""

    number: int
    exit_status: int | None = None
    signal: str | None = None


class StopRequested(Event, frozen=True, kw_only=True):
    """The job is to stop. `reason` becomes the job's, such as `stopped by Ctrl-C`.

    `signal` and `grace` None: those of the job.
    """

    cause: StopCause
    reason: str
    signal: str | None = None
    grace: float | None = None


class StageSignalled(Event, frozen=True, kw_only=True):
    """`corral signal` or `corral stop --stage` (`by`) sent a signal to the leader of a stage.

    `grace`: of a stop, the seconds until KILL.
    """

    number: int
    signal: str
    by: str
    grace: float | None = None


class SignalSent(Event, frozen=True, kw_only=True):
    """The stop sequence sent a signal; not sent for CONT, which only lets a suspended process react."""

    signal: str


class TreeEmptied(Event, frozen=True, kw_only=True):
    """The table of processes was read and nothing of the job was alive."""


class SurvivorsFound(Event, frozen=True, kw_only=True):
    """Processes that are alive although KILL was sent to all. `text` names them."""

    text: str


class PauseRequested(Event, frozen=True, kw_only=True):
    pass


class ResumeRequested(Event, frozen=True, kw_only=True):
    pass


class Ticked(Event, frozen=True, kw_only=True):
    """Time passed; checks the time limit."""


class DependencyFailed(Event, frozen=True, kw_only=True):
    """A job that this one waited for ended otherwise. `message`: `corral.lifecycle.outcome.dependency_failure`."""

    message: str


class RemovedFromQueue(Event, frozen=True, kw_only=True):
    pass


class Adopted(Event, frozen=True, kw_only=True):
    """A new daemon has taken the job over, its stages as the journal and the system tell."""


class FeedFailed(Event, frozen=True, kw_only=True):
    """What the job was to read is lost: bytes of its source were dropped before they could be fed."""

    reason: str


class DeclaredLost(Event, frozen=True, kw_only=True):
    """How the job ended can no longer be found out."""

    reason: str


# ---- effects ------------------------------------------------------------------------------------------------------


class Effect(Struct, frozen=True):
    """Something to do now."""


class StartStages(Effect, frozen=True):
    """Commit `starting`, then spawn every stage; answer with StagesSpawned or StartFailed."""


class BeginStop(Effect, frozen=True):
    """Run the stop sequence on the whole tree; answer with SignalSent, StageEnded, TreeEmptied or SurvivorsFound."""

    signal: str
    grace: float
    cause: StopCause


class SkipGrace(Effect, frozen=True):
    """Send KILL now."""


class PauseTree(Effect, frozen=True):
    """STOP the whole tree."""


class ResumeTree(Effect, frozen=True):
    """CONT the whole tree."""


class EndStages(Effect, frozen=True):
    """The start failed or came too late: KILL what was spawned; reply with StageEnded and TreeEmptied."""


class JobEnded(Effect, frozen=True):
    """The job has ended; sent once."""

    ending: Ending


class Record(Effect, frozen=True):
    """Record an event of the job. Its start and ends are not recorded: they are fields of the job."""

    kind: str
    text: str


Step = tuple[Life, tuple[Effect, ...]]


def must_be_journaled(before: Life, after: Life) -> bool:
    """Whether the change must be written to the journal. Starts and ends have rows of their own."""
    if after is before or after.is_ended:
        return False
    if "queued" in (before.state, after.state):
        # The monotonic time that a time limit counts from is stored nowhere else.
        return after.timeout is not None and before.started is None and after.started is not None
    if after.state != before.state or after.stop != before.stop:
        return True
    return any(new.signalled != old.signalled for new, old in zip(after.stages, before.stages, strict=True))
