"""What the next commit writes to the journal, in an order that is correct for every job."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple

_ADD_ENVIRONMENT = "INSERT OR IGNORE INTO environments (hash, content) VALUES (?, ?)"
_ADD_SURROUNDINGS = "INSERT INTO surroundings (number, hash, environment, content) VALUES (?, ?, ?, ?)"
_ADD_JOB = "INSERT INTO jobs (id, created, name, command, surroundings, spec, state) VALUES (?, ?, ?, ?, ?, ?, 'queued')"
_MARK_STARTING = "UPDATE jobs SET starting = ? WHERE id = ?"
_KEEP_META = "INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)"
_MARK_RUNNING = "UPDATE jobs SET state = 'running', started = coalesce(started, ?) WHERE id = ?"
_ADD_STAGE = (
    "INSERT OR REPLACE INTO stages "
    "(ended, exit_status, signal, cpu_seconds, job, number, pid, started_ticks, started) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_END_STAGE = (
    "UPDATE stages SET ended = ?, exit_status = ?, signal = ?, cpu_seconds = ? WHERE job = ? AND number = ?"
)
_KEEP_LIFE = "UPDATE jobs SET state = ?, life = ? WHERE id = ?"
_END_JOB = (
    "UPDATE jobs SET state = ?, started = ?, ended = ?, snapshot = ?, stop = ?, name = ?, life = NULL, starting = 0 "
    "WHERE id = ?"
)
_KEEP_SNAPSHOT = "UPDATE jobs SET snapshot = ? WHERE id = ? AND ended IS NOT NULL"
_KEEP_USAGE = "UPDATE jobs SET usage = ? WHERE id = ? AND ended IS NULL"
_KEEP_STOP = "UPDATE jobs SET stop = ? WHERE id = ?"
_KEEP_STORY = "INSERT OR REPLACE INTO stories (content, job) SELECT ?, id FROM jobs WHERE id = ?"
_RECORD = "INSERT INTO events (job, at, kind, text) VALUES (?, ?, ?, ?)"
_HIDE = "UPDATE jobs SET hidden = ? WHERE id = ?"
_REMOVE = (
    "DELETE FROM stages WHERE job = ?",
    "DELETE FROM events WHERE job = ?",
    "DELETE FROM jobs WHERE id = ?",
)
_SURROUNDINGS_OF = "SELECT surroundings FROM jobs WHERE id = ? AND surroundings IS NOT NULL"
_UNUSED_NOW = (
    "SELECT hash, environment FROM surroundings WHERE number = :number "
    "AND NOT EXISTS (SELECT 1 FROM jobs WHERE surroundings = :number)"
)
_FORGET_SURROUNDINGS = "DELETE FROM surroundings WHERE number = ?"
_FORGET_ENVIRONMENT = (
    "DELETE FROM environments WHERE hash = :hash "
    "AND NOT EXISTS (SELECT 1 FROM surroundings WHERE environment = :hash)"
)


class EndedRow(NamedTuple):
    """The end of a job; times in seconds since the epoch."""

    state: str
    started: float | None
    ended: float
    snapshot: bytes | None
    """None of one that never began: its specification tells all."""
    stop: bytes | None
    name: str | None
    id: int


@dataclass(slots=True)
class Pending:
    """Rows by job; a later write of the same fact replaces the earlier one, so that a full disk costs no memory."""

    environments: dict[bytes, bytes] = field(default_factory=dict)
    surroundings: dict[int, tuple[Any, ...]] = field(default_factory=dict)
    jobs: dict[int, tuple[Any, ...]] = field(default_factory=dict)
    starting: dict[int, bool] = field(default_factory=dict)
    started: dict[int, float] = field(default_factory=dict)
    stages: dict[tuple[int, int], tuple[Any, ...]] = field(default_factory=dict)
    stage_ends: dict[tuple[int, int], tuple[Any, ...]] = field(default_factory=dict)
    lives: dict[int, tuple[Any, ...]] = field(default_factory=dict)
    ended: dict[int, EndedRow] = field(default_factory=dict)
    snapshots: dict[int, bytes] = field(default_factory=dict)
    stops: dict[int, bytes] = field(default_factory=dict)
    usages: dict[int, bytes] = field(default_factory=dict)
    stories: dict[int, bytes] = field(default_factory=dict)
    events: list[tuple[int, float, str, str]] = field(default_factory=list)
    hidden: dict[int, bool] = field(default_factory=dict)
    removed: set[int] = field(default_factory=set)
    forgotten: list[bytes] = field(default_factory=list)
    """Hashes of surroundings that were deleted with the last of their jobs; filled by `write`."""
    meta: dict[str, str] = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        return not any(getattr(self, name) for name in _FIELDS)

    def start_stage(self, job: int, number: int, pid: int, started_ticks: int, at: float) -> None:
        self.stages[job, number] = (None, None, None, None, job, number, pid, started_ticks, at)

    def end_stage(
        self, job: int, number: int, end: tuple[float, int | None, str | None, float | None]
    ) -> None:
        """`end`: when, exit status, signal, CPU seconds. A stage that started and ended since the last commit is one row."""
        start = self.stages.get((job, number))
        if start is None:
            self.stage_ends[job, number] = (*end, job, number)
        else:
            self.stages[job, number] = (*end, *start[4:])

    def remove(self, jobs: Iterable[int]) -> None:
        """Drop what is not yet written about these jobs, and delete what is."""
        gone = set(jobs)
        self.removed |= gone - self.jobs.keys()
        for rows in (
            self.jobs,
            self.starting,
            self.started,
            self.lives,
            self.ended,
            self.snapshots,
            self.stops,
            self.usages,
            self.stories,
            self.hidden,
        ):
            for job in gone & rows.keys():
                del rows[job]
        for staged in (self.stages, self.stage_ends):
            for key in [key for key in staged if key[0] in gone]:
                del staged[key]
        self.events = [event for event in self.events if event[0] not in gone]

    def write(self, connection: sqlite3.Connection) -> None:
        """Within the transaction of the caller. Raises sqlite3.Error."""
        many = connection.executemany
        if self.surroundings:
            many(_ADD_ENVIRONMENT, self.environments.items())
            many(_ADD_SURROUNDINGS, self.surroundings.values())
        if self.jobs:
            many(_ADD_JOB, self.jobs.values())
        if self.starting:
            flags = ((flag, job) for job, flag in self.starting.items() if job not in self.ended)
            many(_MARK_STARTING, flags)
        if self.started:
            rows = ((at, job) for job, at in self.started.items() if job not in self.ended)
            many(_MARK_RUNNING, rows)
        if self.stages:
            many(_ADD_STAGE, self.stages.values())
        if self.stage_ends:
            many(_END_STAGE, self.stage_ends.values())
        if self.ended:
            many(_END_JOB, self.ended.values())
        if self.events:
            many(_RECORD, self.events)
        self._write_rare(connection)

    def _write_rare(self, connection: sqlite3.Connection) -> None:
        many = connection.executemany
        if self.meta:
            many(_KEEP_META, self.meta.items())
        if self.lives:
            many(_KEEP_LIFE, self.lives.values())
        if self.snapshots:
            many(_KEEP_SNAPSHOT, ((raw, job) for job, raw in self.snapshots.items()))
        if self.usages:
            many(_KEEP_USAGE, ((raw, job) for job, raw in self.usages.items()))
        if self.stories:
            many(_KEEP_STORY, ((raw, job) for job, raw in self.stories.items()))
        if self.stops:
            many(_KEEP_STOP, ((raw, job) for job, raw in self.stops.items()))
        if self.hidden:
            many(_HIDE, ((hidden, job) for job, hidden in self.hidden.items()))
        if self.removed:
            self._remove(connection)

    def _remove(self, connection: sqlite3.Connection) -> None:
        """Delete jobs, and what only they used: every look-up uses an index, since thousands are removed in small batches."""
        ask = connection.execute
        used = {row[0] for job in self.removed for row in ask(_SURROUNDINGS_OF, (job,))}
        for statement in _REMOVE:
            connection.executemany(statement, ((job,) for job in self.removed))
        self.forgotten.clear()
        for number in used:
            for key, environment in ask(_UNUSED_NOW, {"number": number}).fetchall():
                ask(_FORGET_SURROUNDINGS, (number,))
                ask(_FORGET_ENVIRONMENT, {"hash": environment})
                self.forgotten.append(key)


_FIELDS = tuple(each.name for each in fields(Pending))
