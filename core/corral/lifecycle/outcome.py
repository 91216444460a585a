"""How a job ends: its state, exit status, signal and reason, from how its stages ended. Pure functions."""

from __future__ import annotations

import signal
from collections.abc import Sequence

from msgspec import Struct

from corral.lifecycle.state import Ending, Life, StageLife, StartFailure, StopCause
from corral.model.job import Job, JobEvent, State
from corral.model.units import format_duration, parse_signal

NEVER_STARTED = "never started"
LOST = "ended while no daemon ran"
HALF_STARTED = "the daemon ended while it was starting this job"
RESTARTED = "the machine was restarted"
OUT_OF_SIGHT = "it ran in another pid namespace (a container), whose processes cannot be seen from here"
BROKEN_PIPE_STATUS = 128 + int(signal.SIGPIPE)
TIMED_OUT_STATUS = 124
OWN_FAILURE_STATUS = 125
"""The exit status where Corral, not the job's program, failed."""

_DEPENDENCY_ENDS: dict[State, str] = {"stopped": "was stopped", "timed_out": "timed out", "lost": "was lost"}


class StageOutcome(Struct, frozen=True):
    """How a stage stands: the fields `state` and `reason` of a snapshot's stage."""

    state: str
    """`queued running succeeded failed`."""
    reason: str | None
    is_excused: bool = False


def dependency_failure(job: int | str, state: State) -> str:
    """The reason of a job that waited for one that did not succeed."""
    return f"job {job}, which it waited for, {_DEPENDENCY_ENDS.get(state, 'failed')}"


# ---- stages -------------------------------------------------------------------------------------------------------


def excused_stages(stages: Sequence[StageLife]) -> frozenset[int]:
    """Numbers of the stages that ended because of a broken pipe, whose reader succeeded or is itself excused.

    A reader that still runs counts as one that succeeded, until it ends.
    """
    excused: set[int] = set()
    for writer, reader in zip(reversed(stages[:-1]), reversed(stages[1:]), strict=True):
        reader_is_well = reader.end is None or reader.end.exit_status == 0 or reader.number in excused
        if reader_is_well and _broke_its_pipe(writer):
            excused.add(writer.number)
    return frozenset(excused)


def view_stages(life: Life) -> tuple[StageOutcome, ...]:
    """One per stage, in order."""
    excused = excused_stages(life.stages) if len(life.stages) > 1 else frozenset[int]()
    return tuple(_outcome(stage, stage.number in excused, life) for stage in life.stages)


def _outcome(stage: StageLife, is_excused: bool, life: Life) -> StageOutcome:
    failure = life.start_failure
    if failure is not None and failure.stage == stage.number and stage.started is None:
        return StageOutcome("failed", failure.message)
    if stage.started is None:
        return StageOutcome("queued", None)
    if stage.end is None:
        return StageOutcome("running", None)
    if is_excused:
        return StageOutcome("succeeded", "ended by SIGPIPE: its reader was done", is_excused=True)
    if stage.end.exit_status == 0:
        return StageOutcome("succeeded", None)
    return StageOutcome("failed", end_text(stage))


def end_text(stage: StageLife) -> str:
    """`exited with 1`, `was ended by SIGSEGV`, `was ended by SIGTERM from corral signal`. The stage has ended."""
    end = stage.end
    if end is None or not end.is_known:
        return LOST
    if end.signal is None:
        return f"exited with {end.exit_status}"
    sender = _sender(stage)
    return f"was ended by SIG{end.signal}" + (f" from {sender}" if sender else "")


def _sender(stage: StageLife) -> str | None:
    """Which of our commands sent the signal that ended the stage: the last one that did."""
    if stage.end is None:
        return None
    return next((by for sent, by in reversed(stage.signalled) if sent == stage.end.signal), None)


def _broke_its_pipe(stage: StageLife) -> bool:
    """Ended by SIGPIPE, or with the exit status that shells report for it; a PIPE that we sent does not count."""
    end = stage.end
    if end is None:
        return False
    return (end.signal == "PIPE" and _sender(stage) is None) or end.exit_status == BROKEN_PIPE_STATUS


def _has_failed(stage: StageLife) -> bool:
    return stage.end is not None and (stage.end.signal is not None or bool(stage.end.exit_status))


def _decisive(stages: Sequence[StageLife]) -> StageLife | None:
    """The stage whose end is the job's: the last one if it failed, else the first that failed. None: all succeeded.

    A stage whose end is unknown decides if all others succeeded. A writer whose reader we ended with a signal, or whose
    reader's end is unknown, is not the cause: the reader decides.
    """
    last = stages[-1]
    if _has_failed(last) or _is_unknown(last):
        return last
    excused = excused_stages(stages) | _broken_by_reader(stages)
    failed = [stage for stage in stages if _has_failed(stage) and stage.number not in excused]
    return next(iter(failed), None) or next(filter(_is_unknown, stages), None)


def _is_unknown(stage: StageLife) -> bool:
    return stage.end is not None and not stage.end.is_known


def _broken_by_reader(stages: Sequence[StageLife]) -> frozenset[int]:
    broken: set[int] = set()
    for writer, reader in zip(reversed(stages[:-1]), reversed(stages[1:]), strict=True):
        reader_decides = _sender(reader) is not None or _is_unknown(reader) or reader.number in broken
        if reader_decides and _broke_its_pipe(writer):
            broken.add(writer.number)
    return frozenset(broken)


# ---- the table ----------------------------------------------------------------------------------------------------


def ending_of(life: Life) -> Ending:
    """How a job whose stages have all ended has ended."""
    if life.start_failure is not None:
        return ending_of_failed_start(life.start_failure)
    started = [stage for stage in life.stages if stage.started is not None]
    if life.stop is not None:
        return _of_stopped(life, started)
    if len(started) < len(life.stages):
        return Ending("lost", None, None, HALF_STARTED)
    return _of_itself(started)


def ending_of_failed_start(failure: StartFailure) -> Ending:
    where = "" if failure.stage is None else f"stage {failure.stage}: "
    return Ending("failed", failure.status, None, where + failure.message)


def _of_itself(stages: Sequence[StageLife]) -> Ending:
    stage = _decisive(stages)
    if stage is None:
        return Ending("succeeded", 0, None, None)
    if _is_unknown(stage):
        return Ending("lost", None, None, LOST)
    reason = f"stage {stage.number} ({stage.name}) {end_text(stage)}"
    state: State = "stopped" if _sender(stage) else "failed"
    return Ending(state, *_status(stage), reason)


def _of_stopped(life: Life, stages: Sequence[StageLife]) -> Ending:
    stop = life.stop
    if stop is None:
        raise ValueError("the job was not stopped")
    if stop.cause == "timeout":
        return Ending("timed_out", TIMED_OUT_STATUS, stop.signal, stop.reason)
    if stop.cause == "feed":
        return Ending("failed", OWN_FAILURE_STATUS, None, stop.reason)
    stage = _decisive(stages) if stages else None
    return Ending("stopped", *((0, None) if stage is None else _status(stage)), stop.reason)


def _status(stage: StageLife) -> tuple[int | None, str | None]:
    """The job's `exit_status` and `signal` if this stage decides."""
    end = stage.end
    if end is None or end.signal is None:
        return (None if end is None else end.exit_status), None
    return 128 + parse_signal(end.signal), end.signal


def stop_text(cause: StopCause, reason: str, first: str, grace: float) -> str:
    """One line of the job's life: why it is being stopped, and how."""
    why = f"{reason} is over" if cause == "timeout" else reason
    if first == "KILL" or grace <= 0:
        return f"{why}: KILL"
    return f"{why}: {first}, KILL after {format_duration(grace)}"


def all_events(job: Job, recorded: Sequence[JobEvent]) -> tuple[JobEvent, ...]:
    """The recorded events, and those that follow from the job itself: created, started, ends. Oldest first."""
    life = [JobEvent(job.created, "created", "created"), *recorded]
    if job.started is not None:
        life.append(JobEvent(job.started, "started", "started"))
    for stage in job.stages:
        if stage.ended is not None and len(job.stages) > 1:
            ended = stage.reason or "exited with 0"
            life.append(JobEvent(stage.ended, "stage_ended", f"stage {stage.number} ({stage.name}) {ended}"))
    if job.ended is not None:
        between = " after " if job.state == "timed_out" else ": "
        text = job.state.replace("_", " ") + (f"{between}{job.reason}" if job.reason else "")
        life.append(JobEvent(job.ended, "ended", text))
    return tuple(sorted(life, key=lambda event: event.at))
