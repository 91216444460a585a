"""Reading the journal's file: what is committed. `corral.journal.reader` adds what is not."""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, cast

import msgspec
from msgspec.structs import replace

from corral.commandline.abbreviation import with_full_command
from corral.journal.history_rows import HistoryRow, decode_history, history_of
from corral.journal.opening import as_journal_error
from corral.journal.rows import (
    StageRow,
    damaged_job,
    decode_cwd,
    decode_job,
    decode_spec,
    decode_stop,
    decode_surroundings,
    new_job,
    to_time,
    with_state,
    withdrawn,
)
from corral.lifecycle.job_reference import resolve
from corral.model.errors import NotSoError, UnknownJobError
from corral.model.home import Home
from corral.model.job import UNENDED_STATES, Job, JobEvent, State
from corral.model.reports import Detail, StopReport, Story
from corral.model.spec import FileInput, JobSpec, Surroundings
from corral.model.wire import to_wire

_BATCH = 500
"""Ids in one statement: SQLite takes 999 variables at least."""
_LARGEST_ID = (1 << 63) - 1
_EARLIER_RUNS_AMONG = 10_000
"""How many of the newest jobs are searched for earlier runs of a command."""
_COLUMNS = (
    "jobs.id, jobs.state, jobs.hidden, jobs.created, jobs.started, jobs.ended, jobs.name, jobs.command, jobs.spec, "
    "jobs.snapshot, surroundings.content FROM jobs LEFT JOIN surroundings ON surroundings.number = jobs.surroundings"
)
_UNENDED = (
    "SELECT jobs.id, jobs.starting, jobs.hidden, jobs.created, jobs.spec, jobs.name, jobs.command, jobs.life, "
    "surroundings.content, environments.content FROM jobs "
    "LEFT JOIN surroundings ON surroundings.number = jobs.surroundings "
    "LEFT JOIN environments ON environments.hash = surroundings.environment WHERE jobs.ended IS NULL"
)
_BEGUN = "SELECT id FROM jobs WHERE ended IS NULL AND (starting OR life IS NOT NULL) ORDER BY id"
_WAITING = (
    "SELECT id, created, spec, name, command FROM jobs "
    "WHERE ended IS NULL AND NOT starting AND life IS NULL ORDER BY id"
)
_TITLE = "id, name, command, state FROM jobs"
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, ValueError, OverflowError, TypeError, zlib.error)
"""What decoding a damaged row raises."""


class _Row(NamedTuple):
    id: int
    state: State
    hidden: int
    created: float
    started: float | None
    ended: float | None
    name: str | None
    command: str
    spec: bytes | None
    snapshot: bytes | None
    surroundings: bytes | None


class FileReader:
    """Read-only. Every method raises JournalError where the file cannot be read."""

    def __init__(self, home: Home, connection: sqlite3.Connection) -> None:
        self.home = home
        self._connection = connection

    def close(self) -> None:
        self._connection.close()

    # -- which jobs there are ---------------------------------------------------------------------------------------

    def unended_ids(self) -> list[int]:
        return [row[0] for row in self._all("SELECT id FROM jobs WHERE ended IS NULL ORDER BY id")]

    def ids(self) -> set[int]:
        return {row[0] for row in self._all("SELECT id FROM jobs")}

    def ends(self) -> list[tuple[int, float]]:
        """(id, seconds since the epoch) of every job that has ended, in no order."""
        return self._all("SELECT id, ended FROM jobs WHERE ended IS NOT NULL")

    def titles(self, jobs: Iterable[int]) -> dict[int, tuple[str | None, str, str]]:
        """(name, command, state) by id. Reading whole jobs takes twenty times as long."""
        wanted, found = list(jobs), {}
        for start in range(0, len(wanted), _BATCH):
            ids = wanted[start : start + _BATCH]
            marks = ",".join("?" * len(ids))
            rows = self._all(f"SELECT {_TITLE} WHERE id IN ({marks})", *ids)
            found.update({job: (name, command, state) for job, name, command, state in rows})
        return found

    def exists(self, job: int) -> bool:
        return self._one("SELECT 1 FROM jobs WHERE id = ?", job) is not None

    def newest(self) -> int | None:
        return cast("int | None", self._scalar("SELECT max(id) FROM jobs"))

    def newest_ended(self, name: str) -> int | None:
        return cast(
            "int | None",
            self._scalar("SELECT max(id) FROM jobs WHERE name = ? AND ended IS NOT NULL", name),
        )

    def resolve(self, reference: str) -> int:
        """The id of a number, a name or `@`. Raises UnknownJobError, or NotSoError where it is not one job."""
        return resolve(
            reference,
            self._all("SELECT id, name FROM jobs WHERE ended IS NULL"),
            exists=self.exists,
            newest_ended=self.newest_ended,
            newest=self.newest,
        )

    # -- jobs -------------------------------------------------------------------------------------------------------

    def jobs(self, ids: Iterable[int] | None = None, *, limit: int | None = None) -> list[Job]:
        """Snapshots in order of id: of these jobs or of all, or of the newest `limit`. Unknown ids are left out."""
        if ids is None:
            count = -1 if limit is None else limit
            rows = self._all(f"SELECT {_COLUMNS} ORDER BY jobs.id DESC LIMIT ?", count)
            return [self._job(_Row(*row)) for row in reversed(rows)]
        wanted = sorted(set(ids))
        return [
            job for start in range(0, len(wanted), _BATCH) for job in self._batch(wanted[start:][:_BATCH])
        ]

    def unended_jobs(self) -> list[Job]:
        """As last written; a daemon that runs them knows more."""
        rows = self._all(f"SELECT {_COLUMNS} WHERE jobs.ended IS NULL ORDER BY jobs.id")
        return [self._job(_Row(*row)) for row in rows]

    def ended(self, limit: int) -> list[Job]:
        """The newest that have ended, in order of id."""
        rows = self._all(
            f"SELECT {_COLUMNS} WHERE jobs.ended IS NOT NULL ORDER BY jobs.id DESC LIMIT ?",
            limit,
        )
        return [self._job(_Row(*row)) for row in reversed(rows)]

    def ids_after(self, job: int, count: int) -> list[int]:
        """The next ids of all jobs, at most so many."""
        return [
            row[0] for row in self._all("SELECT id FROM jobs WHERE id > ? ORDER BY id LIMIT ?", job, count)
        ]

    def job(self, job: int) -> Job:
        """One snapshot. Raises UnknownJobError."""
        found = self._batch([job])
        if not found:
            raise UnknownJobError(f"no job {job}; corral ps -a lists all")
        return found[0]

    def _batch(self, ids: Sequence[int]) -> list[Job]:
        marks = ",".join("?" * len(ids))
        rows = self._all(f"SELECT {_COLUMNS} WHERE jobs.id IN ({marks}) ORDER BY jobs.id", *ids)
        return [self._job(_Row(*row)) for row in rows]

    def _job(self, row: _Row) -> Job:
        try:
            if row.snapshot is not None:
                return decode_job(row.snapshot, bool(row.hidden))
            created = to_time(row.created)
            is_unended = row.ended is None and row.state in UNENDED_STATES
            was_withdrawn = row.ended is not None and row.state == "stopped" and row.started is None
            if row.spec is not None and created is not None and (is_unended or was_withdrawn):
                job = new_job(row.id, decode_spec(row.spec), decode_cwd(row.surroundings), created)
                if row.ended is not None:
                    return withdrawn(replace(job, hidden=bool(row.hidden)), row.ended)
                if row.state == "queued":
                    return job
                return with_state(job, row.state, to_time(row.started), self.stages(row.id))
        except UNREADABLE:
            # Reported in the job's own line, so that one bad row does not hide the others.
            pass
        return damaged_job(row.id, row.name, row.command, row.created, row.ended)

    # -- all of one job ---------------------------------------------------------------------------------------------

    def unended_rows(self) -> Iterator[tuple[Any, ...]]:
        """Undecoded, for `corral.journal.unfinished_jobs`, which names the columns. One at a time: some may be long."""
        with self._readable():
            yield from self._connection.execute(f"{_UNENDED} ORDER BY jobs.id")

    def begun_ids(self) -> list[int]:
        """Of the unended ones those that were about to be started, or further."""
        return [row[0] for row in self._all(_BEGUN)]

    def waiting_rows(self) -> Iterator[tuple[int, float, bytes, str | None, str]]:
        """Id, created, specification, name and command of the others, in order of id. There may be very many."""
        with self._readable():
            yield from self._connection.execute(_WAITING)

    def unended_row(self, job: int) -> tuple[Any, ...] | None:
        """The same of one of them."""
        return cast("tuple[Any, ...] | None", self._one(f"{_UNENDED} AND jobs.id = ?", job))

    def stages(self, job: int) -> list[StageRow]:
        """Those that were started, in order."""
        rows = self._all(
            "SELECT number, pid, started_ticks, started, ended, exit_status, signal, cpu_seconds "
            "FROM stages WHERE job = ? ORDER BY number",
            job,
        )
        return [
            StageRow(number, pid, ticks, to_time(started), to_time(ended), exit_status, signal, cpu)
            for number, pid, ticks, started, ended, exit_status, signal, cpu in rows
        ]

    def events(self, job: int) -> tuple[JobEvent, ...]:
        """Its recorded events, oldest first; `corral.lifecycle.outcome.all_events` adds the rest."""
        rows = self._all("SELECT at, kind, text FROM events WHERE job = ? ORDER BY at, rowid", job)
        return tuple(
            JobEvent(at, kind, text) for when, kind, text in rows if (at := to_time(when)) is not None
        )

    def stop_report(self, job: int) -> StopReport | None:
        raw = self._scalar("SELECT stop FROM jobs WHERE id = ?", job)
        try:
            return decode_stop(cast("bytes | None", raw))
        except UNREADABLE:
            return None

    def history_row(self, job: int) -> HistoryRow | None:
        """What is stored of it; None if there is nothing, or it is damaged."""
        raw = self._scalar("SELECT content FROM stories WHERE job = ?", job)
        try:
            return None if raw is None else decode_history(cast("bytes", raw))
        except UNREADABLE:
            return None

    def history(self, job: Job) -> Story:
        """Of a job that has ended."""
        return history_of(job, self.history_row(int(job.id)))

    def origin(self, job: int) -> tuple[JobSpec, Surroundings]:
        """What it was started with.

        Raises:
            UnknownJobError: no such job.
            NotSoError: it is not known, or can no longer be read.
        """
        row = self._one(
            "SELECT jobs.spec, surroundings.content, environments.content FROM jobs "
            "LEFT JOIN surroundings ON surroundings.number = jobs.surroundings "
            "LEFT JOIN environments ON environments.hash = surroundings.environment WHERE jobs.id = ?",
            job,
        )
        if row is None:
            raise UnknownJobError(f"no job {job}; corral ps -a lists all")
        spec, surroundings, environment = row
        try:
            if spec is not None and surroundings is not None and environment is not None:
                return decode_spec(spec), decode_surroundings(surroundings, environment)
        except UNREADABLE:
            pass
        raise NotSoError(f"what job {job} was started with is not known: start it with corral run")

    def detail(self, job: int) -> Detail:
        """All that the journal knows about one job. Raises UnknownJobError."""
        snapshot = self.job(job)
        command, environment, stdin_path = snapshot.command, {}, None
        try:
            spec, surroundings = self.origin(job)
        except NotSoError:
            pass
        else:
            snapshot, environment = with_full_command(snapshot, spec), surroundings.environment
            stdin_path = spec.stdin.path if isinstance(spec.stdin, FileInput) else None
        kept = self.history(snapshot)
        return Detail(
            job=snapshot,
            life=kept.life,
            diagnosis=kept.diagnosis,
            diagnosed=kept.diagnosed,
            events=self.events(job),
            stop=self.stop_report(job),
            environment=environment,
            stdin_path=stdin_path,
            earlier_runs=self.earlier_runs(to_wire(command), before=job),
        )

    def earlier_runs(
        self, command: str, *, before: int | None = None, limit: int = 8
    ) -> tuple[tuple[str, State, float], ...]:
        """(id, state, elapsed) of ended runs of the same command, newest first."""
        newest = self.newest() or 0
        rows = self._all(
            "SELECT id, state, started, ended FROM jobs WHERE id > ? AND id < ? AND command = ? "
            "AND started IS NOT NULL AND ended IS NOT NULL ORDER BY id DESC LIMIT ?",
            newest - _EARLIER_RUNS_AMONG,
            newest + 1 if before is None else before,
            command,
            limit,
        )
        return tuple((str(job), state, max(0.0, ended - started)) for job, state, started, ended in rows)

    # -- SQL --------------------------------------------------------------------------------------------------------

    def _all(self, statement: str, *values: object) -> list[Any]:
        with self._readable():
            return self._connection.execute(statement, values).fetchall()

    def _one(self, statement: str, *values: object) -> Any:
        with self._readable():
            return self._connection.execute(statement, values).fetchone()

    def _scalar(self, statement: str, *values: object) -> object:
        row = self._one(statement, *values)
        return None if row is None else row[0]

    @contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise as_journal_error(error, self.home.journal) from error
