"""The one way in which a job's life goes on: an event, the pure state machine, and the handlers of its effects."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Protocol, TypeVar

from corral.jobs.job_table import JobTable
from corral.jobs.managed_job import ManagedJob
from corral.journal.journal import Journal
from corral.lifecycle.clock import moment
from corral.lifecycle.state import Effect, Event, Record, Ticked, must_be_journaled
from corral.lifecycle.state_machine import advance

Effect_ = TypeVar("Effect_", bound=Effect, contravariant=True)


class EffectHandler(Protocol[Effect_]):
    """Does what the state machine asks for."""

    def __call__(self, job: ManagedJob, effect: Effect_, /) -> None: ...


class Apply(Protocol):
    """`Transitions.apply`, as it is handed to those that have seen something happen to a job."""

    def __call__(self, job: ManagedJob, event: Event, /) -> None: ...


class Transitions:
    """Applies events to jobs. Each kind of effect has one handler."""

    def __init__(self, table: JobTable, journal: Journal) -> None:
        self._table = table
        self._journal = journal
        self._handlers: dict[type[Effect], EffectHandler[Any]] = {}
        self._loop = asyncio.get_running_loop()
        self.on_start: Callable[[ManagedJob], None] = lambda _: None
        """Called when the first process of a job runs."""
        self.handle(Record, self._record)

    def handle(self, kind: type[Effect_], handler: EffectHandler[Effect_]) -> None:
        """From now on `handler` does what effects of that kind ask for."""
        self._handlers[kind] = handler

    def apply(self, job: ManagedJob, event: Event) -> None:
        """Let the job's life go on by one event."""
        before = job.life
        job.life, effects = advance(before, event)
        if must_be_journaled(before, job.life):
            self._journal.state_changed(job.id, job.life)
        if job.spec.timeout is not None and job.life.deadline != before.deadline:
            self.arm_timeout(job)
        self._table.touch(job)
        if job.life.started is not None and before.started is None:
            self.on_start(job)
        for effect in effects:
            self._handlers[type(effect)](job, effect)

    def _record(self, job: ManagedJob, effect: Record) -> None:
        self._journal.record(job.id, datetime.now(UTC), effect.kind, effect.text)

    def arm_timeout(self, job: ManagedJob) -> None:
        """Have `Ticked` applied at the deadline, unless the job is paused first."""
        if job.timeout_timer is not None:
            job.timeout_timer.cancel()
            job.timeout_timer = None
        deadline = job.life.deadline
        if deadline is not None:
            delay = max(0.0, deadline - time.monotonic())
            job.timeout_timer = self._loop.call_later(delay, self._note_deadline, job)

    def _note_deadline(self, job: ManagedJob) -> None:
        job.timeout_timer = None
        self.apply(job, Ticked(**moment()))
        if job.life.deadline is not None and job.timeout_timer is None:
            self.arm_timeout(job)
