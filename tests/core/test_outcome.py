"""Each row of the table "How a job ends" in the design's contract, and what lies between the rows."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from msgspec.structs import replace

from corral.lifecycle.outcome import all_events, dependency_failure, view_stages
from corral.lifecycle.state import (
    DeclaredLost,
    DependencyFailed,
    Ending,
    Event,
    FeedFailed,
    JobEnded,
    Life,
    RemovedFromQueue,
    SignalSent,
    SlotGranted,
    StageEnded,
    StageLife,
    StageSignalled,
    StagesSpawned,
    StartFailed,
    StopRequested,
    Ticked,
    TreeEmptied,
)
from corral.lifecycle.state_machine import advance
from corral.model.job import Job, JobEvent, Stage

AT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def of(kind: type[Event], now: float = 0.0, **what: object) -> Event:
    return kind(at=AT, now=now, **what)


def queued(*names: str, timeout: float | None = None) -> Life:
    return Life(
        stages=tuple(StageLife(number, name) for number, name in enumerate(names, 1)), timeout=timeout
    )


def running(*names: str, timeout: float | None = None) -> Life:
    return after(queued(*names, timeout=timeout), of(SlotGranted), of(StagesSpawned))


def after(life: Life, *events: Event) -> Life:
    for event in events:
        life, _ = advance(life, event)
    return life


def ends(*how: int | str | None) -> tuple[Event, ...]:
    """One end per stage: an exit status, a signal, or None where nobody knows."""
    return tuple(
        of(
            StageEnded,
            number=number,
            exit_status=end if isinstance(end, int) else None,
            signal=end if isinstance(end, str) else None,
        )
        for number, end in enumerate(how, 1)
    )


NAMES = ("tar", "gzip", "ssh")
STOP = of(StopRequested, cause="user", reason="stopped from the dashboard")
EMPTY = of(TreeEmptied)
TERM = of(SignalSent, signal="TERM")
KILL = of(SignalSent, signal="KILL")


@pytest.mark.parametrize(
    ("how", "ending"),
    [
        ((0, 0, 0), Ending("succeeded", 0, None, None)),
        (("PIPE", 0, 0), Ending("succeeded", 0, None, None)),
        ((141, 0, 0), Ending("succeeded", 0, None, None)),
        (("PIPE", "PIPE", 0), Ending("succeeded", 0, None, None)),
        ((141, "PIPE", 0), Ending("succeeded", 0, None, None)),
        ((0, 1, 0), Ending("failed", 1, None, "stage 2 (gzip) exited with 1")),
        ((3, 4, 5), Ending("failed", 5, None, "stage 3 (ssh) exited with 5")),
        ((3, 4, 0), Ending("failed", 3, None, "stage 1 (tar) exited with 3")),
        ((0, "SEGV", 0), Ending("failed", 139, "SEGV", "stage 2 (gzip) was ended by SIGSEGV")),
        ((0, 0, "KILL"), Ending("failed", 137, "KILL", "stage 3 (ssh) was ended by SIGKILL")),
        ((0, 0, "PIPE"), Ending("failed", 141, "PIPE", "stage 3 (ssh) was ended by SIGPIPE")),
        ((0, 0, 141), Ending("failed", 141, None, "stage 3 (ssh) exited with 141")),
        (("PIPE", 1, 0), Ending("failed", 141, "PIPE", "stage 1 (tar) was ended by SIGPIPE")),
        (("PIPE", 0, 2), Ending("failed", 2, None, "stage 3 (ssh) exited with 2")),
        ((None, 0, 0), Ending("lost", None, None, "ended while no daemon ran")),
        ((0, 0, None), Ending("lost", None, None, "ended while no daemon ran")),
        ((1, 0, None), Ending("lost", None, None, "ended while no daemon ran")),
        ((None, 0, 7), Ending("failed", 7, None, "stage 3 (ssh) exited with 7")),
        (("PIPE", None, 0), Ending("lost", None, None, "ended while no daemon ran")),
    ],
)
def test_a_job_ends_as_its_stages_do(how: tuple[int | str | None, ...], ending: Ending) -> None:
    assert after(running(*NAMES), *ends(*how)).ending == ending


def test_the_end_does_not_depend_on_the_order_in_which_stages_are_reaped() -> None:
    first = after(running(*NAMES), *ends("PIPE", 0, 2))
    last = after(running(*NAMES), *reversed(ends("PIPE", 0, 2)))
    assert first.ending == last.ending


def test_a_single_command_is_stage_1() -> None:
    life = after(running("false"), *ends(1))
    assert life.ending == Ending("failed", 1, None, "stage 1 (false) exited with 1")


@pytest.mark.parametrize(
    ("how", "status", "signal"),
    [
        (("TERM", "TERM", "TERM"), 143, "TERM"),
        (("KILL", 0, 0), 137, "KILL"),
        ((0, 0, 0), 0, None),
        ((0, 0, 143), 143, None),
        ((0, 9, 0), 9, None),
        (("PIPE", 0, 0), 0, None),
        ((None, None, None), None, None),
    ],
)
def test_a_stopped_job_keeps_its_own_status(
    how: tuple[int | str | None, ...], status: int | None, signal: str | None
) -> None:
    life = after(running(*NAMES), STOP, TERM, *ends(*how), EMPTY)
    assert life.ending == Ending("stopped", status, signal, "stopped from the dashboard")


@pytest.mark.parametrize(
    ("how", "sent_to", "ending"),
    [
        (
            (0, "TERM", 0),
            2,
            Ending("stopped", 143, "TERM", "stage 2 (gzip) was ended by SIGTERM from corral signal"),
        ),
        (
            ("PIPE", "TERM", 0),
            2,
            Ending("stopped", 143, "TERM", "stage 2 (gzip) was ended by SIGTERM from corral signal"),
        ),
        (("TERM", 0, 2), 1, Ending("failed", 2, None, "stage 3 (ssh) exited with 2")),
        ((0, "KILL", 0), 2, Ending("failed", 137, "KILL", "stage 2 (gzip) was ended by SIGKILL")),
        ((0, 143, 0), 2, Ending("failed", 143, None, "stage 2 (gzip) exited with 143")),
    ],
)
def test_a_stage_that_died_of_our_signal(
    how: tuple[int | str | None, ...], sent_to: int, ending: Ending
) -> None:
    sent = of(StageSignalled, number=sent_to, signal="TERM", by="corral signal")
    assert after(running(*NAMES), sent, *ends(*how)).ending == ending


def test_a_broken_pipe_that_we_sent_ourselves_is_no_excuse() -> None:
    sent = of(StageSignalled, number=1, signal="PIPE", by="corral signal")
    life = after(running("yes", "cat"), sent, *ends("PIPE", 0))
    assert life.ending == Ending(
        "stopped", 141, "PIPE", "stage 1 (yes) was ended by SIGPIPE from corral signal"
    )


def test_a_real_time_signal_has_a_number_too() -> None:
    assert after(running("x"), *ends("RTMIN+3")).ending == Ending(
        "failed", 128 + 37, "RTMIN+3", "stage 1 (x) was ended by SIGRTMIN+3"
    )


def test_a_timeout_is_124_with_the_last_signal_sent() -> None:
    life = after(running("sleep", timeout=300), of(Ticked, now=300.0), TERM, KILL, *ends("KILL"), EMPTY)
    assert life.ending == Ending("timed_out", 124, "KILL", "5m")


def test_stopped_for_being_stuck() -> None:
    stuck = of(StopRequested, cause="stuck", reason="stuck: cat waits for input")
    life = after(running("cat"), stuck, TERM, *ends("TERM"), EMPTY)
    assert life.ending == Ending("stopped", 143, "TERM", "stuck: cat waits for input")


def test_a_lost_feed_fails_the_job() -> None:
    life = after(
        running("cat"), of(FeedFailed, reason="bytes of job 3 were dropped"), TERM, *ends("TERM"), EMPTY
    )
    assert life.ending == Ending("failed", 125, None, "bytes of job 3 were dropped")


@pytest.mark.parametrize("status", [125, 126, 127])
def test_could_not_start(status: int) -> None:
    failed = of(StartFailed, stage=3, status=status, message="no such program: gzipp")
    life = after(queued(*NAMES), of(SlotGranted), failed)
    assert life.ending == Ending("failed", status, None, "stage 3: no such program: gzipp")
    assert [view.state for view in view_stages(life)] == ["queued", "queued", "failed"]


def test_a_start_that_failed_half_way_ends_once_nothing_is_left() -> None:
    failed = of(StartFailed, stage=3, status=127, message="no such program: gzipp", spawned=(1, 2))
    life = after(queued(*NAMES), of(SlotGranted), failed)
    assert life.state == "stopping"
    life = after(life, *ends("KILL", "KILL"))
    assert life.state == "stopping"
    life = after(life, EMPTY)
    assert life.ending == Ending("failed", 127, None, "stage 3: no such program: gzipp")


def test_no_stage_is_named_where_none_is_at_fault() -> None:
    failed = of(StartFailed, stage=None, status=125, message="no such directory: /nowhere")
    life = after(queued("ls"), of(SlotGranted), failed)
    assert life.ending == Ending("failed", 125, None, "no such directory: /nowhere")


def test_what_it_waited_for_failed() -> None:
    life = after(queued("ls"), of(DependencyFailed, message=dependency_failure(3, "failed")))
    assert life.ending == Ending("failed", 125, None, "job 3, which it waited for, failed")


@pytest.mark.parametrize("event", [of(RemovedFromQueue), STOP])
@pytest.mark.parametrize("before", [(), (of(SlotGranted),)])
def test_taken_from_the_queue(event: Event, before: tuple[Event, ...]) -> None:
    life = after(queued("ls"), *before, event)
    assert life.ending == Ending("stopped", None, None, "never started")
    assert life.started is None


def test_nobody_knows() -> None:
    life = after(running("ls"), of(DeclaredLost, reason="ended while no daemon ran"))
    assert life.ending == Ending("lost", None, None, "ended while no daemon ran")


def test_a_job_of_which_not_every_stage_was_started_has_not_succeeded() -> None:
    """The daemon was killed between two stages; the next one found the first."""
    life = after(queued("tar", "gzip"), of(SlotGranted), of(StagesSpawned, numbers=(1,)))
    life = after(replace(life, is_starting=False), *ends(0))
    assert life.ending == Ending("lost", None, None, "the daemon ended while it was starting this job")


@pytest.mark.parametrize(
    ("state", "text"),
    [("stopped", "was stopped"), ("timed_out", "timed out"), ("lost", "was lost"), ("failed", "failed")],
)
def test_a_dependency_says_how_it_ended(state: str, text: str) -> None:
    assert dependency_failure(3, state) == f"job 3, which it waited for, {text}"  # type: ignore[arg-type]


def test_stages_say_what_became_of_them() -> None:
    sent = of(StageSignalled, number=3, signal="TERM", by="corral signal")
    life = after(running("yes", "head", "x", "y"), sent, *ends("PIPE", 0, "TERM"))
    assert [(view.state, view.reason, view.is_excused) for view in view_stages(life)] == [
        ("succeeded", "ended by SIGPIPE: its reader was done", True),
        ("succeeded", None, False),
        ("failed", "was ended by SIGTERM from corral signal", False),
        ("running", None, False),
    ]


def test_ending_is_said_once() -> None:
    life, effects = advance(running("true"), ends(0)[0])
    assert effects == (JobEnded(Ending("succeeded", 0, None, None)),)
    assert advance(life, ends(0)[0]) == (life, ())


def test_the_whole_life_is_in_order_of_time() -> None:
    def at(minute: int) -> datetime:
        return AT.replace(minute=minute)

    stages = tuple(
        Stage(number=number, name="x", argv=("x",), ended=at(5), exit_status=number - 1, reason=reason)
        for number, reason in ((1, None), (2, "exited with 1"))
    )
    job = Job(
        id="1", name=None, command="x | x", cwd="/", state="failed", created=at(1), started=at(2), ended=at(6),
        reason="stage 2 (x) exited with 1", stages=stages,
    )  # fmt: skip
    events = all_events(job, [JobEvent(at(3), "paused", "paused"), JobEvent(at(4), "resumed", "resumed")])
    assert [event.text for event in events] == [
        "created", "started", "paused", "resumed", "stage 1 (x) exited with 0", "stage 2 (x) exited with 1",
        "failed: stage 2 (x) exited with 1",
    ]  # fmt: skip
