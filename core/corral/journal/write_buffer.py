"""What the next commit writes to the journal, in an order that is correct for every job."""

from __future__ import annotations

import sqlite3
from collections.abc import Container, Iterable, Mapping
from typing import Any, NamedTuple

from msgspec import Struct

from corral.model.batch import FIRST_RUN

_ADD_ENVIRONMENT = "INSERT OR IGNORE INTO environments (hash, content) VALUES (?, ?)"
_ADD_SURROUNDINGS = "INSERT INTO surroundings (number, hash, environment, content) VALUES (?, ?, ?, ?)"
_ADD_JOB = "INSERT INTO jobs (id, created, name, command, surroundings, spec, state) VALUES (?, ?, ?, ?, ?, ?, 'queued')"
_IS_BATCH = "UPDATE jobs SET batch = ? WHERE id = ?"
_KEEP_RUN = "INSERT OR REPLACE INTO runs (life, id) VALUES (?, ?)"
_FORGET_RUN = (
    "DELETE FROM runs WHERE id = ?",
    "DELETE FROM stages WHERE job = ?",
    "DELETE FROM events WHERE job = ?",
)
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


class Pending(Struct):
    """Rows by job; a later write of the same fact replaces the earlier one, so that a full disk costs no memory."""

    environments: dict[bytes, bytes] = {}
    surroundings: dict[int, tuple[Any, ...]] = {}
    jobs: dict[int, tuple[Any, ...]] = {}
    starting: dict[int, bool] = {}
    started: dict[int, float] = {}
    stages: dict[tuple[int, int], tuple[Any, ...]] = {}
    stage_ends: dict[tuple[int, int], tuple[Any, ...]] = {}
    lives: dict[int, tuple[Any, ...]] = {}
    ended: dict[int, EndedRow] = {}
    snapshots: dict[int, bytes] = {}
    stops: dict[int, bytes] = {}
    usages: dict[int, bytes] = {}
    stories: dict[int, bytes] = {}
    events: list[tuple[int, float, str, str]] = []
    hidden: dict[int, bool] = {}
    removed: set[int] = set()
    batches: dict[int, bytes] = {}
    runs: dict[int, bytes] = {}
    """Lives of running jobs of batches."""
    runs_over: set[int] = set()
    forgotten: list[bytes] = []
    """Hashes of surroundings that were deleted with the last of their jobs; filled by `write`."""
    meta: dict[str, str] = {}

    @property
    def is_empty(self) -> bool:
        return not any(getattr(self, name) for name in self.__struct_fields__)

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
        for name in _BY_JOB:
            rows = getattr(self, name)
            for job in gone & rows.keys():
                del rows[job]
        for staged in (self.stages, self.stage_ends):
            for key in [key for key in staged if key[0] in gone]:
                del staged[key]
        self.events = [event for event in self.events if event[0] not in gone]

    def drop_run(self, run: int, stages: int) -> None:
        """Drop what is not yet written about a job of a batch."""
        self.runs.pop(run, None)
        for number in range(1, stages + 1):
            self.stages.pop((run, number), None)
            self.stage_ends.pop((run, number), None)
        if self.events:
            self.events = [event for event in self.events if event[0] != run]

    def runs_written(self) -> set[int]:
        """The jobs of batches of which `write` writes something."""
        found = {job for job, _ in self.stages if job >= FIRST_RUN} | self.runs.keys()
        return found.union(event[0] for event in self.events if event[0] >= FIRST_RUN)

    def write(self, connection: sqlite3.Connection) -> None:
        """Within the transaction of the caller. Raises sqlite3.Error."""
        for statement, rows in (
            (_ADD_ENVIRONMENT, self.environments.items()),
            (_ADD_SURROUNDINGS, self.surroundings.values()),
            (_ADD_JOB, self.jobs.values()),
            (_IS_BATCH, _value_first(self.batches)),
            (_KEEP_RUN, _value_first(self.runs)),
            (_MARK_STARTING, _value_first(self.starting, self.ended)),
            (_MARK_RUNNING, _value_first(self.started, self.ended)),
            (_ADD_STAGE, self.stages.values()),
            (_END_STAGE, self.stage_ends.values()),
            (_END_JOB, self.ended.values()),
            (_RECORD, self.events),
            (_KEEP_META, self.meta.items()),
            (_KEEP_LIFE, self.lives.values()),
            (_KEEP_SNAPSHOT, _value_first(self.snapshots)),
            (_KEEP_USAGE, _value_first(self.usages)),
            (_KEEP_STORY, _value_first(self.stories)),
            (_KEEP_STOP, _value_first(self.stops)),
            (_HIDE, _value_first(self.hidden)),
        ):
            if rows:
                connection.executemany(statement, rows)
        if self.removed:
            self._remove(connection)
        for statement in _FORGET_RUN if self.runs_over else ():
            connection.executemany(statement, ((run,) for run in self.runs_over))

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


_BY_JOB = (
    "jobs",
    "starting",
    "started",
    "lives",
    "ended",
    "snapshots",
    "stops",
    "usages",
    "stories",
    "hidden",
    "batches",
)


def _value_first(rows: Mapping[int, object], left_out: Container[int] = ()) -> list[tuple[object, int]]:
    return [(value, job) for job, value in rows.items() if job not in left_out]
