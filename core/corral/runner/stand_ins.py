"""A job whose start could make us wait: a process goes ahead of each stage, looks up and opens, and waits for the word.

So nothing that a job names, a FIFO without another end or a file on a server that is gone, holds up anybody but the job.
The processes carry no mark and are none of the job's before the word: a daemon that finds them has started nothing.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Callable, Iterable
from typing import Literal

from msgspec import Struct, field

from corral.jobs.managed_job import ManagedJob
from corral.model.errors import CannotStartError
from corral.platform.process.identity import ProcessIdentity, is_alive
from corral.platform.process.pidfd import open_pidfd_to_keep
from corral.platform.process.signalling import end_own_child
from corral.platform.spawn import stand_in
from corral.platform.spawn.stand_in_launcher import StartedStandIn, moved_high, receive
from corral.processes.local_run import InheritedChild, handle_of
from corral.runner.preparation import StartError

DEADLINE_SECONDS = 30.0
"""For one look-up, opening or start on a file system that may hang. One that is slow, a disk that spins up or a server
that is being switched over, takes some seconds."""
NOTABLE_SECONDS = 1.0
"""After which it is said what is waited for."""

StandInPhase = Literal["looks", "waits", "ready", "told", "started", "failed"]
_IS_STAGE: frozenset[StandInPhase] = frozenset(("told", "started"))
"""What has the word is a stage, though it may not be its program yet: to be ended as one, with all that it starts."""


class HandedStandIn(Struct, frozen=True):
    """One on its way to the program that takes our place."""

    stage: int
    identity: ProcessIdentity
    line: int
    phase: StandInPhase
    step: str
    heard: bytes = b""


class StandIn(Struct, eq=False):
    """The process ahead of one stage."""

    stage: int
    identity: ProcessIdentity
    line: socket.socket
    pidfd: int | None
    phase: StandInPhase = "looks"
    step: str = ""
    """The path that it is at."""
    since: float = 0.0
    """When it came there."""
    heard: bytes = b""
    timer: asyncio.TimerHandle | None = None


class StandIns(Struct, eq=False):
    """The processes ahead of one job's stages. Owns them until they have become the stages."""

    _job: ManagedJob
    changed: Callable[[], None]
    """Called when it waits for something else."""
    ready: Callable[[], None]
    """All have opened what they need, and wait for the word."""
    over: Callable[[StartError | None], None]
    """After the word: all have become their programs, or, with an error, one could not; before it: one failed."""
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)
    _is_over: bool = False
    all: list[StandIn] = []

    def add(self, stage: int, spawned: StartedStandIn) -> None:
        """One that was just started. They are added in the order of the stages."""
        one = StandIn(stage, spawned.identity, spawned.line, spawned.pidfd)
        one.since = time.monotonic()
        self.all.append(one)
        self._loop.add_reader(one.line, self._hear, one)
        self._arm(one)

    def handed(self) -> tuple[HandedStandIn, ...]:
        """All of them, for the program that takes our place."""
        return tuple(
            HandedStandIn(one.stage, one.identity, one.line.fileno(), one.phase, one.step, one.heard)
            for one in self.all
        )

    def take_back(self, handed: Iterable[HandedStandIn]) -> None:
        """Go on with those of the program before."""
        for entry in handed:
            one = StandIn(
                entry.stage,
                entry.identity,
                moved_high(socket.socket(fileno=entry.line)),
                open_pidfd_to_keep(entry.identity.pid) if is_alive(entry.identity) else None,
                entry.phase,
                entry.step,
                time.monotonic(),
                entry.heard,
            )
            self.all.append(one)
            if one.phase != "started":
                self._loop.add_reader(one.line, self._hear, one)
            if one.phase in ("looks", "told"):
                self._arm(one)
        self._loop.call_soon(self._note_if_ready)

    # ---- what they wait for

    @property
    def waiting_for(self) -> str | None:
        """In words."""
        at = [_in_words(one) for one in self.all if one.phase in ("looks", "waits", "told") and one.step]
        return ", ".join(dict.fromkeys(at)) or None

    @property
    def has_to_wait(self) -> bool:
        """Whether it will take longer than a client should be kept waiting."""
        return any(one.phase == "waits" or _is_late(one) for one in self.all)

    # ---- what they say

    def _hear(self, one: StandIn) -> None:
        said = receive(one.line)
        if said is None:
            return
        if not said:
            self._note_end_of_line(one)
            return
        *messages, one.heard = (one.heard + said).split(stand_in.END)
        for message in messages:
            if self._is_over:
                return
            self._note(one, message)

    def _note(self, one: StandIn, message: bytes) -> None:
        kind, _, rest = message.partition(b"\n")
        if kind == stand_in.FAILED:
            status, _, why = rest.partition(b"\n")
            self._fail(one, CannotStartError(os.fsdecode(why), int(status)))
            return
        one.since = time.monotonic()
        if kind == stand_in.READY:
            one.phase = "ready"
        else:
            one.phase = "waits" if kind == stand_in.WAITS else "looks"
            one.step = os.fsdecode(rest)
        self._arm(one)
        self.changed()
        self._note_if_ready()

    def _note_if_ready(self) -> None:
        if not self._is_over and all(one.phase == "ready" for one in self.all):
            self.ready()

    def _note_end_of_line(self, one: StandIn) -> None:
        """It has become its program: the line was close-on-exec. Or another process has ended it."""
        self._loop.remove_reader(one.line)
        if one.phase != "told":
            self._fail(one, CannotStartError("the process that opened its files was ended"))
            return
        one.phase = "started"
        self._disarm(one)
        if all(each.phase == "started" for each in self.all):
            self._end(None)

    # ---- the word

    def note_told(self, one: StandIn) -> None:
        """It has the word. Only its start could still make us wait."""
        one.phase, one.since = "told", time.monotonic()
        one.step = self._job.stages[one.stage - 1].argv[0]
        self._arm(one)

    # ---- time

    def _arm(self, one: StandIn) -> None:
        self._disarm(one)
        if one.phase in ("looks", "told"):
            one.timer = self._loop.call_later(NOTABLE_SECONDS, self._note_late, one)

    def _disarm(self, one: StandIn) -> None:
        if one.timer is not None:
            one.timer.cancel()
            one.timer = None

    def _note_late(self, one: StandIn) -> None:
        left = one.since + DEADLINE_SECONDS - time.monotonic()
        if left > 0:
            one.timer = self._loop.call_later(left, self._note_late, one)
            self.changed()
            return
        what = one.step or "the process that opens its files"
        self._fail(
            one,
            CannotStartError(f"{what} has not answered for {DEADLINE_SECONDS:g} s: its file system hangs"),
        )

    # ---- the end

    def _fail(self, one: StandIn, cause: CannotStartError) -> None:
        one.phase = "failed"
        self._end(StartError(one.stage, cause))

    def fail(self, error: StartError) -> None:
        """It cannot be started after all."""
        self._end(error)

    def _end(self, error: StartError | None) -> None:
        if self._is_over:
            return
        started = self.give_up()
        if error is not None:
            error.spawned = started
        self.over(error)

    def give_up(self) -> tuple[int, ...]:
        """End those that have not become a stage. The numbers of those that have, whose stages have their processes now.

        One that waits in the kernel ends once that lets it go.
        """
        if self._is_over:
            return ()
        self._is_over = True
        for one in self.all:
            self._disarm(one)
            self._loop.remove_reader(one.line)
            one.line.close()
            if one.phase not in _IS_STAGE:
                end_own_child(one.identity, one.pidfd)
        started = self._fill_in()
        for one in self.all:
            if one.pidfd is not None:
                os.close(one.pidfd)
        self.all.clear()
        return started

    def _fill_in(self) -> tuple[int, ...]:
        started = [one for one in self.all if one.phase in _IS_STAGE]
        for one in started:
            handle = handle_of(self._job.stages[one.stage - 1])
            handle.popen, handle.identity = InheritedChild(one.identity.pid), one.identity
            handle.pidfd, one.pidfd = one.pidfd, None
        return tuple(one.stage for one in started)


def _is_late(one: StandIn) -> bool:
    return one.phase in ("looks", "told") and time.monotonic() - one.since > NOTABLE_SECONDS


def _in_words(one: StandIn) -> str:
    if one.phase == "waits":
        return f"{one.step} to be opened at its other end"
    return f"{one.step}, whose file system does not answer" if _is_late(one) else one.step
