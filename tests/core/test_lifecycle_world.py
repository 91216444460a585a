"""The state machine of a job in a small world that does what it asks for: whatever happens at once, it comes to one end.

The world has processes, a stop sequence and a daemon that may die. Its moves, their order and the time between them are
data. Answers to what was asked come late, or after something else has happened.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
from hypothesis import event, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from corral.lifecycle.state import (
    Adopted,
    BeginStop,
    Effect,
    EndStages,
    Event,
    JobEnded,
    Life,
    PauseRequested,
    PauseTree,
    Record,
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

AT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
STAGES = 2
TIMEOUT = 5.0


class World:
    """One job and its surroundings. Every method is one move; one that cannot be made now does nothing."""

    def __init__(self) -> None:
        self.life = Life(stages=tuple(StageLife(n, f"p{n}") for n in range(1, STAGES + 1)), timeout=TIMEOUT)
        self.now = 0.0
        self.leaders: set[int] = set()
        self.others = 0
        """Processes that are no stage's own."""
        self.must_spawn = False
        self.is_stopping = False
        """A stop sequence goes on."""
        self.is_killing = False
        self.has_signalled = False
        self.ends: list[JobEnded] = []
        self.starts = 0
        self.was_told_to_stop = False

    # ---- what the job asks for

    def tell(self, kind: type[Event], **what: object) -> None:
        before = self.life
        self.life, effects = advance(before, kind(at=AT + timedelta(seconds=self.now), now=self.now, **what))
        for effect in effects:
            self._do(effect, before)
        assert len(self.ends) == int(self.life.is_ended)
        if before.is_ended:
            assert (self.life.state, self.life.ending) == (before.state, before.ending)
        if self.life.sweeping or self.life.state == "stopping":
            assert self.is_stopping, "nobody is at it"

    def _do(self, effect: Effect, before: Life) -> None:
        match effect:
            case StartStages():
                assert before.state == "queued"
                assert not self.was_told_to_stop
                self.starts += 1
                self.must_spawn = True
            case BeginStop(signal, grace):
                self._begin(is_killing=signal == "KILL" or grace <= 0)
            case EndStages():
                self._begin(is_killing=True)
            case SkipGrace():
                assert self.is_stopping, "there is no grace to skip"
                self.is_killing = True
            case PauseTree():
                assert self.life.state == "paused"
            case ResumeTree():
                assert before.state == "paused"
            case JobEnded():
                assert not self.leaders
                assert before.state != "stopping" or not self.others
                self.ends.append(effect)
            case Record():
                assert effect.text

    def _begin(self, *, is_killing: bool) -> None:
        if not self.is_stopping:
            self.is_stopping, self.is_killing, self.has_signalled = True, is_killing, False

    # ---- moves of the daemon

    def grant(self) -> None:
        self.tell(SlotGranted)

    def spawn(self) -> None:
        if self.must_spawn:
            self.must_spawn = False
            self.leaders = set(range(1, STAGES + 1))
            self.tell(StagesSpawned)

    def fail_to_spawn(self) -> None:
        if self.must_spawn:
            self.must_spawn = False
            self.leaders = {1}
            self.tell(StartFailed, stage=2, status=127, message="no such program: p2", spawned=(1,))

    def step(self) -> None:
        """One look of the stop sequence."""
        if not self.is_stopping:
            return
        if not self.leaders and not self.others:
            self.is_stopping = False
            self.tell(TreeEmptied)
        elif self.is_killing:
            self.tell(SignalSent, signal="KILL")
            self.others = 0
            for number in sorted(self.leaders):
                self._end(number, signal="KILL")
        elif not self.has_signalled:
            self.has_signalled = True
            self.tell(SignalSent, signal=self.life.stop_signal)

    def run_out_of_grace(self) -> None:
        if self.is_stopping:
            self.is_killing = True

    def give_word(self) -> None:
        if self.is_stopping and self.is_killing:
            self.tell(SurvivorsFound, text="1 is left")

    def tick(self) -> None:
        self.tell(Ticked)

    def wait(self) -> None:
        self.now += 3.0

    def sweep(self) -> None:
        """What `--leftovers stop` does once it has looked."""
        if self.life.is_ended and self.others:
            self._ask("leftovers")

    def die(self) -> None:
        """The daemon dies, and the next one takes over what has started. Its stop sequence dies with it."""
        if self.life.is_started and not self.must_spawn:
            self.is_stopping = False
            self.life = msgspec.json.decode(msgspec.json.encode(self.life), type=Life)
            self.life = replace(self.life, is_starting=False)
            before = self.life
            # Not through `tell`: between the two daemons nobody is at it, and that is no fault.
            self.life, effects = advance(before, Adopted(at=AT + timedelta(seconds=self.now), now=self.now))
            for effect in effects:
                self._do(effect, before)

    # ---- moves of the processes

    def fork(self) -> None:
        if self.leaders or self.others:
            self.others += 1

    def end_other(self) -> None:
        self.others = max(0, self.others - 1)

    def end_first(self) -> None:
        self._end(1, exit_status=0)

    def end_second(self) -> None:
        self._end(2, exit_status=3)

    def crash_second(self) -> None:
        self._end(2, signal="SEGV")

    def _end(self, number: int, **how: object) -> None:
        if number in self.leaders:
            self.leaders.discard(number)
            self.tell(StageEnded, number=number, **how)

    # ---- moves of people

    def stop(self) -> None:
        self._ask("user")

    def kill(self) -> None:
        self._ask("user", grace=0.0)

    def shut_down(self) -> None:
        self._ask("shutdown")

    def stop_as_stuck(self) -> None:
        self._ask("stuck")

    def pause(self) -> None:
        self.tell(PauseRequested)

    def resume(self) -> None:
        self.tell(ResumeRequested)

    def signal(self) -> None:
        self.tell(StageSignalled, number=1, signal="USR1", by="corral signal")

    def _ask(self, cause: str, **what: object) -> None:
        if self.life.is_ended and not self.others:
            # The manager has looked, and there is nothing to end.
            return
        self.was_told_to_stop = True
        self.tell(StopRequested, cause=cause, reason=f"stopped by {cause}", **what)


MOVES = [name for name in vars(World) if not name.startswith("_") and name != "tell"]
histories = st.lists(st.sampled_from(MOVES), min_size=5, max_size=40)
beginnings = st.sampled_from([(), ("grant",), ("grant", "spawn"), ("grant", "spawn", "fork")])


@settings(max_examples=300, deadline=None)
@given(beginnings, histories)
def test_whatever_happens_at_once_a_stop_ends_it_all(beginning: tuple[str, ...], history: list[str]) -> None:
    world = World()
    for move in (*beginning, *history):
        getattr(world, move)()
        world.now += 0.1
    told_before = world.life.ending
    event(f"at the end of the moves: {world.life.state}")
    world.stop()
    # Late answers, then the rest of the sequence: as many looks as it takes, and no more than a few.
    world.spawn()
    world.run_out_of_grace()
    for _ in range(4):
        world.step()
    assert world.life.is_ended
    assert (world.leaders, world.others, world.is_stopping) == (set(), 0, False)
    assert not world.life.sweeping
    assert world.starts <= 1
    assert told_before in (None, world.life.ending)
    frozen = world.life
    for move in MOVES:
        getattr(world, move)()
    assert (world.life.state, world.life.ending, len(world.ends)) == (frozen.state, frozen.ending, 1)


@settings(max_examples=200, deadline=None)
@given(st.permutations(["stop", "tick", "end_first", "end_second", "step", "die", "kill", "shut_down"]))
def test_stop_timeout_exit_and_a_dying_daemon_at_the_same_moment(moves: list[str]) -> None:
    """All of it within one instant, at which the time limit has run out: the state is one of three, and says why."""
    world = World()
    world.grant()
    world.spawn()
    world.now = TIMEOUT
    for move in moves:
        getattr(world, move)()
    world.run_out_of_grace()
    for _ in range(4):
        world.step()
    ending = world.life.ending
    assert ending is not None
    assert ending.state in ("stopped", "timed_out", "failed")
    assert (ending.state == "timed_out") == (ending.exit_status == 124)
    first = min(moves.index(move) for move in ("stop", "tick", "kill", "shut_down"))
    if moves.index("end_first") > first or moves.index("end_second") > first:
        assert ending.state == ("timed_out" if moves[first] == "tick" else "stopped")
    else:
        assert ending.state == "failed"
