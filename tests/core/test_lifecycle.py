"""The state machine of a job: every order of events keeps it truthful."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corral.lifecycle.state import (
    Adopted,
    BeginStop,
    DeclaredLost,
    DependencyFailed,
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
    StageEnded,
    StageLife,
    StageSignalled,
    StagesSpawned,
    StartFailed,
    StartStages,
    StopRequested,
    SurvivorsFound,
    Ticked,
    TreeEmptied,
)
from corral.lifecycle.state_machine import advance
from corral.model.job import State

LEGAL_TRANSITIONS: frozenset[tuple[State, State]] = frozenset(
    {
        # The slot was granted and every process exists.
        ("queued", "running"),
        # A later stage could not start.
        ("queued", "stopping"),
        # Could not start; what it waited for failed.
        ("queued", "failed"),
        # Taken from the queue.
        ("queued", "stopped"),
        ("queued", "lost"),
        ("running", "paused"),
        ("running", "stopping"),
        ("running", "succeeded"),
        ("running", "failed"),
        # A stage died of a signal that `corral signal` sent.
        ("running", "stopped"),
        ("running", "lost"),
        ("paused", "running"),
        ("paused", "stopping"),
        # Somebody else's KILL or CONT.
        ("paused", "succeeded"),
        ("paused", "failed"),
        ("paused", "stopped"),
        ("paused", "lost"),
        ("stopping", "stopped"),
        ("stopping", "timed_out"),
        # The start had failed, or the feed.
        ("stopping", "failed"),
        ("stopping", "lost"),
    }
)

AT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
STAGES = 2
TIMEOUT = 10.0


def fresh(stages: int = 1, timeout: float | None = None) -> Life:
    return Life(
        stages=tuple(StageLife(number, f"p{number}") for number in range(1, stages + 1)), timeout=timeout
    )


def of(kind: type[Event], now: float = 0.0, **what: object) -> Event:
    return kind(at=AT + timedelta(seconds=now), now=now, **what)


def after(life: Life, *events: Event) -> Life:
    for event in events:
        life, _ = advance(life, event)
    return life


def running(stages: int = 1, timeout: float | None = None) -> Life:
    return after(fresh(stages, timeout), of(SlotGranted), of(StagesSpawned))


def stop(cause: str = "user", now: float = 0.0, **what: object) -> Event:
    return of(StopRequested, now, cause=cause, reason=f"stopped by {cause}", **what)


# ---- any order of events ------------------------------------------------------------------------------------------

numbers = st.sampled_from([1, 2, 1, 2, 1, 2, 0, STAGES + 1])
signals = st.sampled_from(["TERM", "KILL", "PIPE", "SEGV"])
some_stages = st.sets(st.integers(1, STAGES)).map(tuple)


def stage_end() -> st.SearchStrategy[dict[str, object]]:
    exits = st.sampled_from([0, 0, 0, 1, 141]).map(lambda status: {"exit_status": status})
    deaths = signals.map(lambda signal: {"signal": signal})
    return st.one_of(exits, deaths, st.just({}))


# Ends and stops are what lives are about, so they come more often than the rest.
ended = st.tuples(
    st.just(StageEnded), st.builds(lambda number, end: {"number": number, **end}, numbers, stage_end())
)
stopped = st.tuples(
    st.just(StopRequested),
    st.fixed_dictionaries(
        {
            "cause": st.sampled_from(["user", "shutdown", "timeout", "stuck", "feed", "leftovers"]),
            "reason": st.just("stopped"),
            "signal": st.none() | signals,
            "grace": st.none() | st.just(0.0),
        }
    ),
)
happenings = st.one_of(
    st.just((SlotGranted, {})),
    st.tuples(st.just(StagesSpawned), st.fixed_dictionaries({"numbers": st.none() | some_stages})),
    st.tuples(
        st.just(StartFailed),
        st.fixed_dictionaries(
            {
                "stage": st.none() | st.integers(1, STAGES),
                "status": st.sampled_from([125, 126, 127]),
                "message": st.just("no such program: x"),
                "spawned": some_stages,
            }
        ),
    ),
    ended,
    ended,
    ended,
    stopped,
    stopped,
    st.tuples(
        st.just(StageSignalled),
        st.builds(
            lambda n, s, g: {"number": n, "signal": s, "by": "us", "grace": g},
            numbers,
            signals,
            st.none() | st.just(5.0),
        ),
    ),
    st.tuples(st.just(SignalSent), st.fixed_dictionaries({"signal": signals})),
    st.sampled_from(
        [
            (TreeEmptied, {}),
            (SurvivorsFound, {"text": "1 is left"}),
            (PauseRequested, {}),
            (ResumeRequested, {}),
            (Ticked, {}),
            (DependencyFailed, {"message": "job 1, which it waited for, failed"}),
            (RemovedFromQueue, {}),
            (FeedFailed, {"reason": "fed nothing"}),
            (Adopted, {}),
            (DeclaredLost, {"reason": "ended while no daemon ran"}),
        ]
    ),
)
# Hypothesis draws short lists unless told.
# The wall clock may be set back; the monotonic one may not.
histories = st.lists(st.tuples(happenings, st.floats(0, 4), st.floats(-50, 50)), min_size=8, max_size=25)
beginnings = st.sampled_from([0, 1, 2])


def told(history: list[tuple[tuple[type[Event], dict[str, object]], float, float]]) -> list[Event]:
    now, events = 0.0, []
    for (kind, what), later, jump in history:
        now += later
        events.append(kind(at=AT + timedelta(seconds=now + jump), now=now, **what))
    return events


def opening(beginning: int) -> list[Event]:
    return [of(SlotGranted), of(StagesSpawned)][:beginning]


def check_values(life: Life) -> None:
    started = [stage for stage in life.stages if stage.started is not None]
    assert (life.ending is not None) == life.is_ended
    assert (life.paused_now is not None) == (life.state == "paused")
    assert life.paused_for >= 0
    assert (life.started is not None) == bool(started)
    if life.is_ended:
        check_end(life, started)
    else:
        assert life.ended is None
    if life.state == "queued":
        assert not started
    for stage in started:
        assert stage.end is None or stage.end.at >= (stage.started or stage.end.at)


def check_end(life: Life, started: list[StageLife]) -> None:
    ending = life.ending
    assert ending is not None
    assert life.state == ending.state
    assert not life.is_starting
    assert not any(stage.is_running for stage in started)
    assert life.ended is not None
    assert life.started is None or life.ended >= life.started
    if ending.state == "succeeded":
        assert (ending.exit_status, ending.signal, ending.reason) == (0, None, None)
        assert len(started) == STAGES
    else:
        assert ending.reason
    if ending.state == "failed":
        assert ending.exit_status
    if ending.state == "timed_out":
        assert ending.exit_status == 124
    if ending.state == "lost":
        assert ending.exit_status is None
    if life.stop is not None and ending.state != "lost":
        assert life.tree_is_empty


@settings(max_examples=600, deadline=None)
@given(histories, beginnings)
def test_no_order_of_events_breaks_the_rules(history: list[object], beginning: int) -> None:
    life, ends = fresh(STAGES, TIMEOUT), 0
    for event in [*opening(beginning), *told(history)]:  # type: ignore[arg-type]
        before = life
        life, effects = advance(before, event)
        ends += sum(isinstance(effect, JobEnded) for effect in effects)
        if life.state != before.state:
            assert (before.state, life.state) in LEGAL_TRANSITIONS
        if before.is_ended:
            assert (life.ending, life.ended, life.stages) == (before.ending, before.ended, before.stages)
        if isinstance(event, Ticked) and before.state != "running":
            assert (life, effects) == (before, ())
        if any(isinstance(effect, BeginStop) for effect in effects):
            assert life.state == "stopping" or life.is_ended
        assert ends == int(life.is_ended)
        check_values(life)
    assert msgspec.json.decode(msgspec.json.encode(life), type=Life) == life


@settings(max_examples=200, deadline=None)
@given(histories)
def test_once_all_is_over_the_job_has_ended(history: list[object]) -> None:
    """Whatever happened before: stop it, let every stage end, find the tree empty."""
    life = after(running(STAGES), *told(history))  # type: ignore[arg-type]
    life = after(
        life, stop(now=500.0), *(of(StageEnded, 500.0, number=n, signal="KILL") for n in range(1, STAGES + 1))
    )
    assert after(life, of(TreeEmptied, 500.0)).is_ended


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.floats(0.01, 3)), max_size=20))
def test_a_timeout_counts_no_paused_time(steps: list[tuple[bool, float]]) -> None:
    life, now, ran = running(timeout=TIMEOUT), 0.0, 0.0
    for is_paused, seconds in steps:
        life = after(life, of(PauseRequested if is_paused else ResumeRequested, now))
        now += seconds
        ran += 0.0 if is_paused else seconds
        life = after(life, of(Ticked, now))
        if abs(ran - TIMEOUT) > 1e-6:
            assert (life.state == "stopping") == (ran > TIMEOUT)
        if life.state == "stopping":
            return


# ---- starting -----------------------------------------------------------------------------------------------------


def test_a_job_starts_once() -> None:
    life, effects = advance(fresh(), of(SlotGranted))
    assert effects == (StartStages(),)
    assert life.is_starting
    assert advance(life, of(SlotGranted)) == (life, ())


def test_a_job_whose_first_stages_have_ended_does_not_end_before_the_others_were_started() -> None:
    life = after(
        fresh(2), of(SlotGranted), of(StagesSpawned, numbers=(1,)), of(StageEnded, number=1, exit_status=0)
    )
    assert life.state == "running"
    life = after(life, of(StagesSpawned, numbers=(2,)), of(StageEnded, number=2, exit_status=0))
    assert life.state == "succeeded"


def test_processes_that_come_after_the_job_was_stopped_are_ended() -> None:
    life = after(fresh(2), of(SlotGranted), stop())
    assert advance(life, of(StagesSpawned)) == (life, (EndStages(),))
    failed = of(StartFailed, stage=2, status=127, message="no such program: x", spawned=(1,))
    assert advance(life, failed) == (life, (EndStages(),))


def test_stages_that_started_are_ended_when_another_cannot() -> None:
    failed = of(StartFailed, stage=2, status=127, message="no such program: x", spawned=(1,))
    life, effects = advance(after(fresh(2), of(SlotGranted)), failed)
    assert effects == (EndStages(), Record("start_failed", "stage 2: no such program: x"))
    assert life.state == "stopping"
    assert after(life, of(TreeEmptied), of(StageEnded, number=1, signal="KILL")).state == "failed"


# ---- stopping -----------------------------------------------------------------------------------------------------


def test_a_stop_uses_the_job_s_own_sequence_unless_told() -> None:
    assert advance(running(), stop())[1][0] == BeginStop("TERM", 5.0, "user")
    assert advance(running(), stop(signal="INT", grace=1.0))[1][0] == BeginStop("INT", 1.0, "user")


def test_a_stopping_job_ends_when_both_its_stages_have_ended_and_its_tree_is_empty() -> None:
    life = after(running(2), stop(), of(StageEnded, number=1, signal="TERM"), of(TreeEmptied))
    assert life.state == "stopping"
    assert after(life, of(StageEnded, number=2, signal="TERM")).state == "stopped"
    life = after(running(1), stop(), of(StageEnded, number=1, signal="TERM"))
    assert life.state == "stopping"
    assert after(life, of(SurvivorsFound, text="4711 is left")).state == "stopping"
    assert after(life, of(TreeEmptied)).state == "stopped"


def test_a_second_request_by_a_person_skips_the_grace() -> None:
    life = after(running(), stop())
    life, effects = advance(life, stop())
    assert effects[0] == SkipGrace()
    assert life.stop is not None
    assert life.stop.grace_skipped


@pytest.mark.parametrize("cause", ["timeout", "stuck", "shutdown"])
def test_nothing_else_skips_the_grace(cause: str) -> None:
    life = after(running(), stop())
    assert advance(life, stop(cause)) == (life, ())


def test_a_person_hurries_a_timeout_and_it_stays_one() -> None:
    life = after(running(timeout=1), of(Ticked, 1.0))
    life, effects = advance(life, stop(now=2.0))
    assert effects[0] == SkipGrace()
    life = after(life, of(StageEnded, 2.0, number=1, signal="KILL"), of(TreeEmptied, 2.0))
    assert life.state == "timed_out"


def test_a_paused_job_can_be_stopped() -> None:
    life, effects = advance(after(running(), of(PauseRequested, 1.0)), stop(now=3.0))
    assert isinstance(effects[0], BeginStop)
    assert (life.state, life.paused_for) == ("stopping", 2.0)


def test_a_job_that_ended_is_not_stopped_again_but_its_leftovers_are() -> None:
    life = after(running(), of(StageEnded, number=1, exit_status=0))
    life, effects = advance(life, stop())
    said = Record("sweeping", "leftovers: stopped by user: TERM, KILL after 5s")
    assert effects == (BeginStop("TERM", 5.0, "user"), said)
    assert advance(life, stop())[1] == (SkipGrace(),)
    life, effects = advance(life, of(TreeEmptied))
    assert life.state == "succeeded"
    assert advance(life, stop())[1] == (BeginStop("TERM", 5.0, "user"), said)


def test_leftovers_are_stopped_once_and_only_of_what_has_ended() -> None:
    assert advance(running(), stop("leftovers")) == (running(), ())
    life = after(running(), of(StageEnded, number=1, exit_status=0))
    life, effects = advance(life, stop("leftovers"))
    assert effects[0] == BeginStop("TERM", 5.0, "leftovers")
    assert advance(life, stop("leftovers")) == (life, ())
    assert advance(life, stop())[1] == (SkipGrace(),)


def test_a_kill_from_outside_ends_a_paused_job() -> None:
    life = after(running(), of(PauseRequested, 1.0), of(StageEnded, 4.0, number=1, signal="KILL"))
    assert (life.state, life.paused_since, life.paused_for) == ("failed", None, 3.0)


# ---- time ---------------------------------------------------------------------------------------------------------


def test_pause_and_resume_reach_the_tree() -> None:
    life, effects = advance(running(), of(PauseRequested))
    assert effects[0] == PauseTree()
    life, effects = advance(life, of(ResumeRequested))
    assert effects[0] == ResumeTree()
    assert life.state == "running"


def test_deadline_moves_with_pauses() -> None:
    life = running(timeout=TIMEOUT)
    assert life.deadline == 10.0
    life = after(life, of(PauseRequested, 2.0))
    assert life.deadline is None
    assert after(life, of(ResumeRequested, 7.0)).deadline == 15.0


def test_a_clock_that_was_set_back_makes_no_end_before_its_start() -> None:
    early = StageEnded(at=AT - timedelta(hours=1), now=5.0, number=1, exit_status=0)
    life = after(running(), early)
    assert life.ended == life.started
    assert life.elapsed(99.0) == 5.0


# ---- a new daemon -------------------------------------------------------------------------------------------------


def test_a_new_daemon_goes_on_with_the_rest_of_the_grace() -> None:
    life = after(running(), stop(grace=5.0), of(SignalSent, signal="TERM"))
    assert advance(life, of(Adopted, 2.0))[1] == (BeginStop("TERM", 3.0, "user"),)
    assert advance(life, of(Adopted, 60.0))[1] == (BeginStop("TERM", 0.0, "user"),)
    pressed = after(life, stop())
    assert advance(pressed, of(Adopted, 2.0))[1] == (BeginStop("TERM", 0.0, "user"),)


def test_a_new_daemon_goes_on_with_a_start_that_failed() -> None:
    failed = of(StartFailed, stage=2, status=127, message="no such program: x", spawned=(1,))
    life = after(fresh(2), of(SlotGranted), failed)
    assert advance(life, of(Adopted))[1] == (EndStages(),)
