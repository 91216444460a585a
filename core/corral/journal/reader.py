"""Reading the journal: for commands while no daemon runs, and for the daemon to look up ended jobs.

Reads the file, and on top of it what could not be written yet: while the disk is full or another program locks the file,
jobs still end, and readers see that. Only a job that is not accepted yet is not seen: it is accepted once it is written. Imports neither asyncio nor psutil.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple, cast

from msgspec.structs import replace

from corral.commandline.abbreviation import with_full_command
from corral.home.directory import check_home
from corral.journal import spill_files
from corral.journal.history_rows import HistoryRow, decode_history, history_of
from corral.journal.opening import BUSY_SECONDS, as_journal_error, open_for_reading
from corral.journal.rows import (
    UNREADABLE,
    StageRow,
    damaged_job,
    decode_cwd,
    decode_job,
    decode_spec,
    decode_stop,
    decode_surroundings,
    new_job,
    to_time,
    unended_batch,
    with_state,
    withdrawn,
)
from corral.journal.write_buffer import Pending
from corral.lifecycle.job_reference import resolve
from corral.model.errors import NotSoError, UnknownJobError
from corral.model.home import Home
from corral.model.job import UNENDED_STATES, Job, JobEvent, State
from corral.model.reports import Detail, StopReport, Story
from corral.model.spec import FileInput, JobSpec, Surroundings
from corral.model.wire import to_wire

_BATCH = 500
"""Ids in one statement: SQLite takes 999 variables at least."""
_EARLIER_RUNS_AMONG = 10_000
"""How many of the newest jobs are searched for earlier runs of a command."""
_COLUMNS = (
    "jobs.id, jobs.state, jobs.hidden, jobs.created, jobs.started, jobs.ended, jobs.name, jobs.command, jobs.spec, "
    "jobs.snapshot, surroundings.content, jobs.batch, jobs.life FROM jobs LEFT JOIN surroundings ON surroundings.number = jobs.surroundings"
)
_UNENDED = (
    "SELECT jobs.id, jobs.starting, jobs.hidden, jobs.created, jobs.spec, jobs.name, jobs.command, jobs.life, "
    "surroundings.content, environments.content FROM jobs "
    "LEFT JOIN surroundings ON surroundings.number = jobs.surroundings "
    "LEFT JOIN environments ON environments.hash = surroundings.environment WHERE jobs.ended IS NULL AND jobs.batch IS NULL"
)
_BEGUN = (
    "SELECT id FROM jobs WHERE ended IS NULL AND batch IS NULL AND (starting OR life IS NOT NULL) ORDER BY id"
)
_WAITING = (
    "SELECT id, created, spec, name, command FROM jobs "
    "WHERE ended IS NULL AND batch IS NULL AND NOT starting AND life IS NULL ORDER BY id"
)
_TITLE = "id, name, command, state FROM jobs"


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
    batch: bytes | None
    life: bytes | None


class JournalReader:
    """Read-only. Every method raises JournalError where the file cannot be read."""

    def __init__(self, home: Home, connection: sqlite3.Connection) -> None:
        self.home = home
        self._connection = connection
        self._pending = Pending()

    def close(self) -> None:
        self._connection.close()

    @classmethod
    def open(cls, home: Home) -> JournalReader:
        """The journal of a home, an empty one if there is none. Creates no file except those that SQLite needs to read.

        Raises:
            JournalError: damaged (DamagedJournalError), newer, or not readable.
            CorralError: the home is not ours alone, or cannot be used.
        """
        return JournalReader._opened(home, BUSY_SECONDS)

    @classmethod
    def open_at_once(cls, home: Home) -> JournalReader:
        """As `open`, but does not wait for a lock of another program: that is an error at once."""
        return JournalReader._opened(home, 0)

    @staticmethod
    def _opened(home: Home, patience: float) -> JournalReader:
        with suppress(FileNotFoundError):
            check_home(home)
        reader = JournalReader(home, open_for_reading(home.journal, patience))
        try:
            reader._pending = spill_files.SpillFiles(home.journal).read(reader._meta(spill_files.NUMBER))
        except BaseException:
            reader.close()
            raise
        return reader

    # -- which jobs there are ---------------------------------------------------------------------------------------

    def is_unended(self, job: int) -> bool:
        """Whether no end of a job that the file has as unended is still to be written."""
        return job not in self._pending.ended and job not in self._pending.removed

    def unended_ids(self) -> list[int]:
        rows = self.select("SELECT id FROM jobs WHERE ended IS NULL ORDER BY id")
        return [row[0] for row in rows if self.is_unended(row[0])]

    def ids(self) -> set[int]:
        written = {row[0] for row in self.select("SELECT id FROM jobs")}
        return (written | self._pending.ended.keys()) - self._pending.removed

    def ends(self) -> list[tuple[int, float]]:
        """(id, seconds since the epoch) of every job that has ended, in no order."""
        gone = self._pending.removed
        rows = self.select("SELECT id, ended FROM jobs WHERE ended IS NOT NULL")
        written = [(job, ended) for job, ended in rows if job not in gone]
        return [*written, *((job, row.ended) for job, row in self._pending.ended.items())]

    def titles(self, jobs: Iterable[int]) -> dict[int, tuple[str | None, str, str]]:
        """(name, command, state) by id. Reading whole jobs takes twenty times as long."""
        wanted, found = list(jobs), {}
        for start in range(0, len(wanted), _BATCH):
            ids = wanted[start : start + _BATCH]
            marks = ",".join("?" * len(ids))
            rows = self.select(f"SELECT {_TITLE} WHERE id IN ({marks})", *ids)
            found.update({job: (name, command, state) for job, name, command, state in rows})
        return found

    def exists(self, job: int) -> bool:
        if job in self._pending.ended or job in self._pending.removed:
            return job in self._pending.ended
        return self._one("SELECT 1 FROM jobs WHERE id = ?", job) is not None

    def newest(self) -> int | None:
        gone = self._pending.removed
        rows = self.select("SELECT id FROM jobs ORDER BY id DESC LIMIT ?", len(gone) + 1)
        return max((*self._pending.ended, *(row[0] for row in rows if row[0] not in gone)), default=None)

    def newest_ended(self, name: str) -> int | None:
        gone = self._pending.removed
        query = "SELECT id FROM jobs WHERE name = ? AND ended IS NOT NULL ORDER BY id DESC LIMIT ?"
        rows = self.select(query, name, len(gone) + 1)
        unwritten = (job for job, row in self._pending.ended.items() if row.name == name)
        return max((*unwritten, *(row[0] for row in rows if row[0] not in gone)), default=None)

    def resolve(self, reference: str) -> int:
        """The id of a number, a name or `@`. Raises UnknownJobError, or NotSoError where it is not one job."""
        return resolve(
            reference,
            self.select("SELECT id, name FROM jobs WHERE ended IS NULL"),
            exists=self.exists,
            newest_ended=self.newest_ended,
            newest=self.newest,
        )

    # -- jobs -------------------------------------------------------------------------------------------------------

    def jobs(self, ids: Iterable[int] | None = None, *, limit: int | None = None) -> list[Job]:
        """Snapshots in order of id: of these jobs or of all, or of the newest `limit`. Unknown ids are left out."""
        if ids is None:
            written = self._written("ORDER BY jobs.id DESC LIMIT ?", -1 if limit is None else limit)
            return self._as_of_now(written)[-limit if limit else 0 :]
        wanted = sorted(set(ids))
        return [
            job for start in range(0, len(wanted), _BATCH) for job in self._batch(wanted[start:][:_BATCH])
        ]

    def unended_jobs(self) -> list[Job]:
        """As last written; a daemon that runs them knows more."""
        written = self._written("WHERE jobs.ended IS NULL ORDER BY jobs.id")
        return [self._with_pending(job) for job in written if self.is_unended(int(job.id))]

    def ended(self, limit: int) -> list[Job]:
        """The newest that have ended, in order of id."""
        written = self._written("WHERE jobs.ended IS NOT NULL ORDER BY jobs.id DESC LIMIT ?", limit)
        return self._as_of_now(written)[-limit:] if limit else []

    def _as_of_now(self, written: Iterable[Job]) -> list[Job]:
        """Those of these jobs that are not removed, and all whose end is not written yet, in order of id."""
        gone = self._pending.removed
        known = {int(job.id): self._with_pending(job) for job in written if int(job.id) not in gone}
        known.update((job, ended) for job in self._pending.ended if (ended := self._unwritten_end(job)))
        return [known[job] for job in sorted(known)]

    def ids_after(self, job: int, count: int) -> list[int]:
        """The next ids of all jobs, at most so many."""
        rows = self.select("SELECT id FROM jobs WHERE id > ? ORDER BY id LIMIT ?", job, count)
        found = [row[0] for row in rows]
        if self._pending.is_empty:
            return found
        last = found[-1] if len(found) == count else None
        new = (each for each in self._pending.ended if each > job and (last is None or each <= last))
        known = sorted({*found, *new} - self._pending.removed)
        # A whole page of removed ones must not look like the end.
        return known or (self.ids_after(found[-1], count) if found else [])

    def job(self, job: int) -> Job:
        """One snapshot. Raises UnknownJobError."""
        found = self._batch([job])
        if not found:
            raise UnknownJobError(f"no job {job}; corral ps -a lists all")
        return found[0]

    def _batch(self, ids: Sequence[int]) -> list[Job]:
        found = {job: unwritten for job in ids if (unwritten := self._unwritten_end(job))}
        left = [job for job in ids if job not in found and job not in self._pending.removed]
        written = self._written(f"WHERE jobs.id IN ({','.join('?' * len(left))})", *left)
        known = {**{int(job.id): self._with_pending(job) for job in written}, **found}
        return [known[job] for job in sorted(known)]

    def _written(self, which: str, *values: object) -> list[Job]:
        """Those that the file has, as it has them."""
        return [self._job(_Row(*row)) for row in self.select(f"SELECT {_COLUMNS} {which}", *values)]

    def _job(self, row: _Row) -> Job:
        try:
            if row.snapshot is not None:
                return decode_job(row.snapshot, bool(row.hidden))
            created = to_time(row.created)
            if row.batch is not None and row.ended is None and created is not None:
                return unended_batch(row.id, row.batch, decode_cwd(row.surroundings), created, row.life)
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

    def _unwritten_end(self, job: int) -> Job | None:
        row = self._pending.ended.get(job)
        if row is None:
            return None
        snapshot = self._pending.snapshots.get(job, row.snapshot)
        if snapshot is None:
            return next(
                (withdrawn(queued, row.ended) for queued in self._written("WHERE jobs.id = ?", job)), None
            )
        return decode_job(snapshot, self._pending.hidden.get(job, False))

    def _with_pending(self, job: Job) -> Job:
        number, pending = int(job.id), self._pending
        if not job.is_ended and (number in pending.lives or number in pending.started):
            state = pending.lives[number][0] if number in pending.lives else "running"
            job = replace(job, state=state, started=job.started or to_time(pending.started.get(number)))
        raw = pending.snapshots.get(number)
        if raw is not None and job.ended is not None:
            job = decode_job(raw, job.hidden)
        hidden = pending.hidden.get(number, job.hidden)
        return job if hidden == job.hidden else replace(job, hidden=hidden)

    # -- all of one job ---------------------------------------------------------------------------------------------

    def unended_rows(self) -> Iterator[tuple[Any, ...]]:
        """Undecoded, for `corral.journal.unfinished_jobs`, which names the columns. One at a time: some may be long."""
        with self._readable():
            for row in self._connection.execute(f"{_UNENDED} ORDER BY jobs.id"):
                if self.is_unended(row[0]):
                    yield self._row_with_pending(*row)

    def begun_ids(self) -> list[int]:
        """Of the unended ones those that were about to be started, or further."""
        begun = {*(row[0] for row in self.select(_BEGUN)), *self._begun()}
        return [job for job in sorted(begun) if self.is_unended(job)]

    def _begun(self) -> set[int]:
        return self._pending.lives.keys() | self._pending.starting.keys()

    def waiting_rows(self) -> Iterator[tuple[int, float, bytes, str | None, str]]:
        """Id, created, specification, name and command of the others, in order of id. There may be very many."""
        begun = self._begun()
        with self._readable():
            for row in self._connection.execute(_WAITING):
                if self.is_unended(row[0]) and row[0] not in begun:
                    yield row

    def unended_row(self, job: int) -> tuple[Any, ...] | None:
        """The same as `unended_rows` of one of them."""
        row = self._one(f"{_UNENDED} AND jobs.id = ?", job) if self.is_unended(job) else None
        return None if row is None else self._row_with_pending(*row)

    def _row_with_pending(self, job: int, starting: int, hidden: int, *rest: Any) -> tuple[Any, ...]:
        pending = self._pending
        *middle, life, place, environment = rest
        if job in pending.lives:
            life = pending.lives[job][1]
        starting = pending.starting.get(job, starting)
        return (job, starting, pending.hidden.get(job, hidden), *middle, life, place, environment)

    def stages(self, job: int) -> list[StageRow]:
        """Those that were started, in order."""
        rows = self.select(
            "SELECT number, pid, started_ticks, started, ended, exit_status, signal, cpu_seconds "
            "FROM stages WHERE job = ?",
            job,
        )
        rows += [
            (number, pid, ticks, started, ended, status, signal, cpu)
            for (ended, status, signal, cpu, of, number, pid, ticks, started) in self._pending.stages.values()
            if of == job
        ]
        known = {
            number: StageRow(number, pid, ticks, to_time(started), to_time(ended), *rest)
            for number, pid, ticks, started, ended, *rest in rows
        }
        for (of, number), (ended, status, signal, cpu, *_) in self._pending.stage_ends.items():
            if of == job and number in known:
                known[number] = known[number]._replace(
                    ended=to_time(ended), exit_status=status, signal=signal, cpu_seconds=cpu
                )
        return [known[number] for number in sorted(known)]

    def events(self, job: int) -> tuple[JobEvent, ...]:
        """Its recorded events, oldest first; `corral.lifecycle.outcome.all_events` adds the rest."""
        rows = self.select("SELECT at, kind, text FROM events WHERE job = ? ORDER BY at, rowid", job)
        rows += [row for of, *row in self._pending.events if of == job]
        return tuple(
            JobEvent(at, kind, text) for when, kind, text in rows if (at := to_time(when)) is not None
        )

    def stop_report(self, job: int) -> StopReport | None:
        row = self._pending.ended.get(job)
        raw = self._pending.stops.get(job, None if row is None else row.stop)
        if raw is None:
            raw = cast("bytes | None", self._scalar("SELECT stop FROM jobs WHERE id = ?", job))
        try:
            return decode_stop(raw)
        except UNREADABLE:
            return None

    def usage(self, job: int) -> bytes | None:
        """The newest one; None without any."""
        written = self._scalar("SELECT usage FROM jobs WHERE id = ?", job)
        return self._pending.usages.get(job) or cast("bytes | None", written)

    def history_row(self, job: int) -> HistoryRow | None:
        """What is stored of it; None if there is nothing, or it is damaged."""
        raw = self._pending.stories.get(job) or self._scalar("SELECT content FROM stories WHERE job = ?", job)
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
        rows = self.select(
            "SELECT id, state, started, ended FROM jobs WHERE id > ? AND id < ? AND command = ? "
            "AND started IS NOT NULL AND ended IS NOT NULL ORDER BY id DESC LIMIT ?",
            newest - _EARLIER_RUNS_AMONG,
            newest + 1 if before is None else before,
            command,
            limit,
        )
        return tuple((str(job), state, max(0.0, ended - started)) for job, state, started, ended in rows)

    # -- SQL --------------------------------------------------------------------------------------------------------

    def select(self, statement: str, *values: object) -> list[Any]:
        """The rows that the file has."""
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

    def _meta(self, key: str) -> str | None:
        value = self._pending.meta.get(key) or self._scalar("SELECT value FROM meta WHERE key = ?", key)
        return None if value is None else str(value)
