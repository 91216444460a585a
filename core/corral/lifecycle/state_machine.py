"""The state machine of a job: takes an event, returns the new life and the effects; no I/O, no clock.

`advance` is the only place where a job changes its state. An event that makes no sense in a state (a late reply, a second
end of a stage, a pause of a job that has ended) changes nothing and has no effects.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from msgspec.structs import replace

from corral.lifecycle.outcome import (
    HALF_STARTED,
    LOST,
    NEVER_STARTED,
    ending_of,
    ending_of_failed_start,
    stop_text,
)
from corral.lifecycle.state import (
    Adopted,
    BeginStop,
    DeclaredLost,
    DependencyFailed,
    Effect,
    Ending,
    EndStages,
    Event,
    FeedFailed,
    JobEnded,
    Life,
    PauseRequested,
    PauseTree,
    Record,
    RemovedFromQueue,
    ResumeRequested,
    ResumeTree,
    SignalSent,
    SkipGrace,
    SlotGranted,
    StageEnd,
    StageEnded,
    StageLife,
    StageSignalled,
    StagesSpawned,
    StageStop,
    StartFailed,
    StartFailure,
    StartStages,
    Step,
    Stop,
    StopRequested,
    SurvivorsFound,
    Ticked,
    TreeEmptied,
)
from corral.model.job import State
from corral.model.spec import JobSpec
from corral.model.units import format_duration

_NOTHING: tuple[Effect, ...] = ()


def new_life(spec: JobSpec, stage_names: Sequence[str]) -> Life:
    """The life of a newly accepted job."""
    return Life(
        stages=tuple(StageLife(number, name) for number, name in enumerate(stage_names, 1)),
        timeout=spec.timeout,
        stop_signal=spec.stop_signal,
        stop_grace=spec.stop_grace,
    )


def advance(life: Life, event: Event) -> Step:
    """The life after `event`, and the effects to carry out, in this order."""
    return _HANDLERS[type(event)](life, event)


# ---- starting -----------------------------------------------------------------------------------------------------


def _grant_slot(life: Life, event: SlotGranted) -> Step:
    if life.state != "queued" or life.is_starting:
        return life, _NOTHING
    return replace(life, is_starting=True), (StartStages(),)


def _note_spawned(life: Life, event: StagesSpawned) -> Step:
    if life.is_ended:
        # It was stopped while a redirection was still being opened.
        return life, (EndStages(),)
    stages = _started(life.stages, event.numbers, event)
    if not life.is_starting or stages == life.stages:
        return life, _NOTHING
    state: State = "running" if life.state == "queued" else life.state
    is_starting = any(stage.started is None for stage in stages)
    life = replace(
        _with_start(life, event), stages=stages, state=state, is_starting=is_starting, tree_is_empty=False
    )
    return (life, _NOTHING) if is_starting else _end_if_done(life, event)


def _note_failed_start(life: Life, event: StartFailed) -> Step:
    if life.is_ended:
        return life, ((EndStages(),) if event.spawned else _NOTHING)
    if not life.is_starting:
        return life, _NOTHING
    life = replace(life, is_starting=False)
    if event.spawned:
        life = replace(_with_start(life, event), stages=_started(life.stages, event.spawned, event))
    if life.state == "stopping":
        return _end_if_done(life, event)
    failure = StartFailure(event.stage, event.status, event.message)
    life = replace(life, start_failure=failure)
    if life.started is None:
        return _end(life, event, ending_of_failed_start(failure))
    record = Record("start_failed", ending_of_failed_start(failure).reason or "")
    return _end_if_done(_unpaused(replace(life, state="stopping"), event), event, (EndStages(), record))


def _with_start(life: Life, event: Event) -> Life:
    return life if life.started is not None else replace(life, started=event.at, started_now=event.now)


def _started(
    stages: tuple[StageLife, ...], numbers: tuple[int, ...] | None, event: Event
) -> tuple[StageLife, ...]:
    return tuple(
        replace(stage, started=event.at)
        if stage.started is None and (numbers is None or stage.number in numbers)
        else stage
        for stage in stages
    )


# ---- waiting in the queue -----------------------------------------------------------------------------------------


def _fail_for_dependency(life: Life, event: DependencyFailed) -> Step:
    if life.state != "queued" or life.is_starting:
        return life, _NOTHING
    failure = StartFailure(None, 125, event.message)
    return _end(replace(life, start_failure=failure), event, ending_of_failed_start(failure))


def _remove_from_queue(life: Life, event: RemovedFromQueue) -> Step:
    if life.state != "queued":
        return life, _NOTHING
    return _end(life, event, Ending("stopped", None, None, NEVER_STARTED))


# ---- the ends of stages -------------------------------------------------------------------------------------------


def _note_end_of_stage(life: Life, event: StageEnded) -> Step:
    stage = _stage(life, event.number)
    if stage is None or not stage.is_running or life.is_ended:
        return life, _NOTHING
    end = StageEnd(_not_before(stage.started, event), event.exit_status, event.signal)
    return _end_if_done(_with_stage(life, replace(stage, end=end)), event)


def _note_signalled_stage(life: Life, event: StageSignalled) -> Step:
    stage = _stage(life, event.number)
    if stage is None or not stage.is_running or life.is_ended:
        return life, _NOTHING
    stop = stage.stop if event.grace is None else StageStop(event.at, event.grace)
    stage = replace(stage, signalled=(*stage.signalled, (event.signal, event.by)), stop=stop)
    text = f"{event.signal} sent to stage {stage.number} ({stage.name}) from {event.by}"
    return _with_stage(life, stage), (Record("signal", text),)


def _declare_lost(life: Life, event: DeclaredLost) -> Step:
    if life.is_ended:
        return life, _NOTHING
    stages = tuple(
        replace(stage, end=StageEnd(_not_before(stage.started, event))) if stage.is_running else stage
        for stage in life.stages
    )
    life = replace(life, stages=stages, is_starting=False)
    return _end(life, event, Ending("lost", None, None, event.reason or LOST))


def _stage(life: Life, number: int) -> StageLife | None:
    return life.stages[number - 1] if 0 < number <= len(life.stages) else None


def _with_stage(life: Life, stage: StageLife) -> Life:
    stages = (*life.stages[: stage.number - 1], stage, *life.stages[stage.number :])
    return replace(life, stages=stages)


# ---- stopping -----------------------------------------------------------------------------------------------------


def _request_stop(life: Life, event: StopRequested) -> Step:
    signal = life.stop_signal if event.signal is None else event.signal
    grace = life.stop_grace if event.grace is None else event.grace
    begin = BeginStop(signal, grace, event.cause)
    if life.is_ended:
        if event.cause not in ("user", "shutdown", "leftovers"):
            return life, _NOTHING
        return _end_leftovers(life, event, begin)
    if event.cause == "leftovers":
        return life, _NOTHING
    if life.state == "queued" and life.started is None:
        return _end(life, event, Ending("stopped", None, None, NEVER_STARTED))
    if life.state == "stopping":
        return _skip_grace(life, event)
    stop = Stop(event.cause, event.reason, event.at, signal, grace)
    life = _unpaused(replace(life, state="stopping", stop=stop, tree_is_empty=False), event)
    return life, (begin, Record("stopping", stop_text(event.cause, event.reason, signal, grace)))


def _skip_grace(life: Life, event: StopRequested) -> Step:
    """A second request by a user skips the grace period; a timeout changes nothing about a stop in progress."""
    if event.cause != "user" or life.start_failure is not None:
        return life, _NOTHING
    if life.stop is None or life.stop.grace_skipped:
        return life, (SkipGrace(),)
    life = replace(life, stop=replace(life.stop, grace_skipped=True))
    return life, (SkipGrace(), Record("grace_skipped", f"{event.reason}: KILL now"))


def _end_leftovers(life: Life, event: StopRequested, begin: BeginStop) -> Step:
    """Stop the processes that an ended job left behind. Its state does not change."""
    if life.sweeping:
        return life, ((SkipGrace(),) if event.cause == "user" else _NOTHING)
    text = stop_text(event.cause, f"leftovers: {event.reason}", begin.signal, begin.grace)
    return replace(life, sweeping=True), (begin, Record("sweeping", text))


def _note_sent_signal(life: Life, event: SignalSent) -> Step:
    if life.stop is None or life.is_ended:
        return life, _NOTHING
    life = replace(life, stop=replace(life.stop, signal=event.signal))
    return life, (Record("signal", f"{event.signal} sent"),)


def _note_empty_tree(life: Life, event: TreeEmptied) -> Step:
    if life.sweeping:
        return replace(life, sweeping=False), (Record("swept", "leftovers are gone"),)
    if life.state != "stopping":
        return life, _NOTHING
    return _end_if_done(replace(life, tree_is_empty=True), event)


def _note_survivors(life: Life, event: SurvivorsFound) -> Step:
    if life.state == "stopping":
        life = replace(life, tree_is_empty=False)
    elif not life.sweeping:
        return life, _NOTHING
    return life, (Record("survivors", event.text),)


def _fail_for_feed(life: Life, event: FeedFailed) -> Step:
    if life.state == "queued" and life.started is None:
        failure = StartFailure(None, 125, event.reason)
        return _end(replace(life, start_failure=failure), event, ending_of_failed_start(failure))
    if life.is_ended or life.state == "stopping":
        return life, _NOTHING
    return _request_stop(life, StopRequested(at=event.at, now=event.now, cause="feed", reason=event.reason))


def _continue_after_adoption(life: Life, event: Adopted) -> Step:
    """Continue where the last daemon was, such as with the rest of a stop's grace period."""
    if life.state == "queued" or life.is_ended:
        return life, _NOTHING
    if life.state != "stopping" and any(stage.started is None for stage in life.stages):
        return _end_half_started(life, event)
    life, effects = _end_if_done(life, event)
    if life.state == "paused":
        # The daemon may have died between noting the pause and suspending the processes, so suspend them again.
        return life, (*effects, PauseTree())
    if life.state != "stopping":
        return life, effects
    stop = life.stop
    if stop is None:
        return life, (EndStages(),)
    is_killing = stop.grace_skipped or stop.signal == "KILL"
    grace = 0.0 if is_killing else grace_left(stop, event.at)
    return life, (BeginStop(stop.first_signal, grace, stop.cause),)


def grace_left(stop: Stop | StageStop, at: datetime) -> float:
    """Seconds of its grace that are left at that time; never more than it had, wherever the clock was set."""
    spent = max(0.0, (at - stop.since).total_seconds())
    return max(0.0, stop.grace - spent)


def _end_half_started(life: Life, event: Event) -> Step:
    """A pipeline without all of its stages is useless: what runs of it is ended, as after a failed start."""
    life = _unpaused(replace(life, state="stopping", tree_is_empty=False), event)
    return life, (EndStages(), Record("half_started", f"{HALF_STARTED}: what runs of it is ended"))


# ---- time ---------------------------------------------------------------------------------------------------------


def _pause(life: Life, event: PauseRequested) -> Step:
    if life.state != "running":
        return life, _NOTHING
    life = replace(life, state="paused", paused_since=event.at, paused_now=event.now)
    return life, (PauseTree(), Record("paused", "paused"))


def _resume(life: Life, event: ResumeRequested) -> Step:
    if life.state != "paused":
        return life, _NOTHING
    return _unpaused(replace(life, state="running"), event), (ResumeTree(), Record("resumed", "resumed"))


def _unpaused(life: Life, event: Event) -> Life:
    if life.paused_now is None:
        return life
    paused_for = life.paused_for + max(0.0, event.now - life.paused_now)
    return replace(life, paused_since=None, paused_now=None, paused_for=paused_for)


def _check_timeout(life: Life, event: Ticked) -> Step:
    deadline = life.deadline
    if deadline is None or life.timeout is None or event.now < deadline:
        return life, _NOTHING
    reason = format_duration(life.timeout)
    return _request_stop(life, StopRequested(at=event.at, now=event.now, cause="timeout", reason=reason))


# ---- the end ------------------------------------------------------------------------------------------------------


def _end_if_done(life: Life, event: Event, effects: tuple[Effect, ...] = ()) -> Step:
    """The job ends once every stage has; while stopping, its process tree must be empty too."""
    if life.is_starting and life.state != "stopping":
        return life, effects
    if any(stage.is_running for stage in life.stages):
        return life, effects
    if life.state == "stopping" and not life.tree_is_empty:
        return life, effects
    return _end(life, event, ending_of(life), effects)


def _end(life: Life, event: Event, ending: Ending, effects: tuple[Effect, ...] = ()) -> Step:
    life = replace(
        _unpaused(life, event),
        state=ending.state,
        ending=ending,
        is_starting=False,
        ended=_not_before(life.started, event),
        ended_now=event.now,
    )
    return life, (*effects, JobEnded(ending))


def _not_before(start: Any, event: Event) -> Any:
    """The event's wall-clock time, but no earlier than `start`: the clock may have been set back."""
    return event.at if start is None else max(start, event.at)


_HANDLERS: dict[type[Event], Callable[[Life, Any], Step]] = {
    SlotGranted: _grant_slot,
    StagesSpawned: _note_spawned,
    StartFailed: _note_failed_start,
    StageEnded: _note_end_of_stage,
    StopRequested: _request_stop,
    StageSignalled: _note_signalled_stage,
    SignalSent: _note_sent_signal,
    TreeEmptied: _note_empty_tree,
    SurvivorsFound: _note_survivors,
    PauseRequested: _pause,
    ResumeRequested: _resume,
    Ticked: _check_timeout,
    DependencyFailed: _fail_for_dependency,
    RemovedFromQueue: _remove_from_queue,
    FeedFailed: _fail_for_feed,
    DeclaredLost: _declare_lost,
    Adopted: _continue_after_adoption,
}
