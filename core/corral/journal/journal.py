"""The journal: every job, its stages and its life, in SQLite. The daemon is its only writer.

Writes are collected, and `commit` writes them to the file once per pass of the daemon's loop. A committed write survives
SIGKILL of the daemon (WAL, synchronous=NORMAL: sqlite.org/pragma.html); a crash of the machine may lose the newest ones,
but never the file. A failed write is kept and retried.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from corral.home import identity
from corral.home.directory import prepare_home, private_file
from corral.journal import rewrite, shrink, spill_files
from corral.journal.history_rows import HistoryRow, encode_history
from corral.journal.opening import (
    DamagedJournalError,
    JournalError,
    LockedJournalError,
    NoSpaceError,
    as_journal_error,
    open_for_writing,
    set_aside,
)
from corral.journal.reader import JournalReader
from corral.journal.rows import (
    encode,
    encode_environment,
    encode_job,
    encode_surroundings,
    to_seconds,
)
from corral.journal.wal_recovery import LostWrites, save_damaged_wal
from corral.journal.write_buffer import EndedRow, Pending
from corral.lifecycle.batch_life import BatchLife
from corral.lifecycle.state import Life
from corral.model.batch import FIRST_RUN, BatchSpec
from corral.model.errors import CorralError
from corral.model.home import Home
from corral.model.job import Job
from corral.model.reports import StopReport
from corral.model.spec import JobSpec, Surroundings
from corral.model.wire import to_wire
from corral.platform.process import boot_id

_BOOT, _NONCE, _FOLDER, _COPY_OF, _UNMARKED = "boot", "nonce", "folder", "copy_of", "unmarked"
_RUNS = "runs"
"""Numbers of runs up to this one may have been given away."""
_RUNS_AT_ONCE = 10_000
_WRITTEN_RUNS = "SELECT id FROM runs UNION SELECT job FROM stages WHERE job >= ?"
_LOCK_SECONDS = 0.01
"""How long a lock is not tried again once it was found taken: a thousand events may each want to commit at once."""


class StageStart(NamedTuple):
    """A stage's process, by number from 1. `started_ticks` is of its identity."""

    number: int
    pid: int
    started_ticks: int


class Journal(JournalReader):
    """Reads and writes. Reads include what is not yet committed, except for jobs that are not accepted yet.

    `nonce` is this home's part of the mark. `notices` are sentences for the daemon's log and its next client: what
    was damaged, and where it is now.
    """

    def __init__(
        self,
        home: Home,
        connection: sqlite3.Connection,
        notices: list[str],
        lost: LostWrites | None,
        *,
        is_itself: bool = False,
    ) -> None:
        super().__init__(home, connection)
        self.notices = notices
        self._locked: tuple[float, LockedJournalError] | None = None
        """Until when a lock is not tried again, and the error to raise until then."""
        self._spill = spill_files.SpillFiles(home.journal)
        self._files = rewrite.files_of(home)
        self._surroundings: dict[bytes, int] = {}
        self._last_surroundings: tuple[Surroundings, int] | None = None
        self._written_runs: set[int] = set()
        """Jobs of batches of which something is in the file."""
        with self._readable():
            self._spill.reserve()
            self._pending = self._spill.read(self._meta(spill_files.NUMBER))
            self.nonce = self._settle_identity(is_itself)
            self.copy_of = self._meta(_COPY_OF) or None
            """The home that this one was made a copy of: the jobs that have not ended are that one's."""
            self.boot = boot_id.parse(self._meta(_BOOT))
            """Under which the pids in it were noted."""
            self.unmarked = self._meta(_UNMARKED)
            """As it was noted last."""
            largest = max((self._largest_id(), *self._pending.jobs))
            self._next_id = 1 + largest + (0 if lost is None else lost.ids)
            self._next_run = self._runs_reserved = int(self._meta(_RUNS) or 0)
            self._written_runs.update(row[0] for row in connection.execute(_WRITTEN_RUNS, (FIRST_RUN,)))
            if lost is not None:
                notices.append(
                    f"the log of the journal {home.journal} is damaged, and what was noted last is lost;"
                    f" a copy was set aside as {lost.kept}"
                )
            self._next_surroundings = 1 + int(
                connection.execute("SELECT coalesce(max(number), 0) FROM surroundings").fetchone()[0]
            )
            self._surroundings.update(connection.execute("SELECT hash, number FROM surroundings"))

    @classmethod
    def open(cls, home: Home, *, is_itself: bool = False) -> Journal:
        """The journal of a home, created if there is none; a damaged one is set aside, with a notice.

        `is_itself`: the home is certainly not a copy, since its daemon is this very process.

        Raises:
            CorralError: the home cannot be used, or belongs to another user.
            JournalError: a newer Corral wrote it, or it cannot be opened.
        """
        prepare_home(home)
        notices: list[str] = []
        try:
            return cls._open_once(home, notices, is_itself)
        except NoSpaceError:
            if not spill_files.release_reserve(home.journal):
                raise
        except DamagedJournalError as error:
            kept = set_aside(home)
            notices.append(f"{error}; it was set aside as {kept} and a new one begun")
        return cls._open_once(home, notices, is_itself)

    @classmethod
    def _open_once(cls, home: Home, notices: list[str], is_itself: bool) -> Journal:
        connection, lost, kept = _opened(home)
        if kept is not None:
            notices.append(
                f"the journal {home.journal} is of an earlier Corral and was brought up to date; as it was it is kept as {kept}"
            )
        try:
            return cls(home, connection, notices, lost, is_itself=is_itself)
        except BaseException:
            connection.close()
            raise

    def close(self) -> None:
        """Commit and close. Raises JournalError if the writes can neither be committed nor spilled for the next daemon; it is
        closed in any case."""
        try:
            self.commit()
        except JournalError:
            if not self.spill():
                raise
        finally:
            super().close()

    # -- jobs come --------------------------------------------------------------------------------------------------

    def add_jobs(self, specs: Sequence[JobSpec], surroundings: Surroundings, created: datetime) -> list[int]:
        """Add jobs; they are accepted once committed. Returns their ids, in order; an id is never used twice."""
        number = self._number_of(surroundings)
        at = to_seconds(created)
        first = self._next_id
        self._next_id += len(specs)
        for job, spec in enumerate(specs, first):
            self._pending.jobs[job] = (
                job, at, spec.name, to_wire(spec.command), number, encode(spec)
            )  # fmt: skip
        return list(range(first, self._next_id))

    def add_batch(self, spec: BatchSpec, surroundings: Surroundings, created: datetime) -> int:
        """The same for a batch. It has no specification of a job, so that an earlier Corral does not run its template."""
        (batch,) = self.add_jobs([spec.job], surroundings, created)
        self._pending.jobs[batch] = (*self._pending.jobs[batch][:-1], None)
        self._pending.batches[batch] = encode(spec)
        return batch

    def take_run(self) -> int:
        """A number for a job of a batch, which marks its processes; other ones have it only after two thousand million."""
        if self._next_run >= self._runs_reserved:
            self._runs_reserved = self._next_run + _RUNS_AT_ONCE
            self._pending.meta[_RUNS] = str(self._runs_reserved)
        self._next_run += 1
        return FIRST_RUN | (self._next_run & (FIRST_RUN - 1))

    def take_back(self, jobs: Sequence[int]) -> bool:
        """Drop the jobs of one `add_jobs` if they are not yet committed; whether they were not."""
        if not jobs or jobs[0] not in self._pending.jobs:
            return False
        self.remove(jobs)
        if self._next_id == jobs[-1] + 1:
            # These ids were never given out.
            self._next_id = jobs[0]
        return True

    def add_recovered(self, job: Job) -> None:
        """Add a job that is known only from its processes: an ended row under its own id, without specification."""
        number = int(job.id)
        self._next_id = max(self._next_id, number + 1)
        created = to_seconds(job.created)
        self._pending.jobs[number] = (number, created, job.name, to_wire(job.command), None, None)
        self.job_ended(job)

    def _number_of(self, surroundings: Surroundings) -> int:
        if self._last_surroundings is not None and self._last_surroundings[0] is surroundings:
            return self._last_surroundings[1]
        environment, content = encode_environment(surroundings.environment)
        key, rest = encode_surroundings(surroundings, environment)
        number = self._surroundings.get(key)
        if number is None:
            number = self._surroundings[key] = self._next_surroundings
            self._next_surroundings += 1
            self._pending.environments[environment] = content
            self._pending.surroundings[number] = (number, key, environment, rest)
        self._last_surroundings = (surroundings, number)
        return number

    # -- jobs live --------------------------------------------------------------------------------------------------

    def note_boot(self, now: boot_id.Boot) -> None:
        """From this commit on all pids in the journal are of this boot: jobs of another one have been ended."""
        self.boot = now
        self._pending.meta[_BOOT] = now.text

    def note_disowned(self) -> None:
        """From this commit on no job in it belongs to the home that this one was a copy of."""
        self.copy_of = None
        self._pending.meta[_COPY_OF] = ""

    def note_unmarked(self, text: str) -> None:
        """Store the processes that belong to jobs without carrying their mark."""
        self.unmarked = self._pending.meta[_UNMARKED] = text

    def mark_starting(self, jobs: Iterable[int], is_starting: bool = True) -> None:
        """Must be committed before the first process exists, so that no job is started twice; False undoes it."""
        self._pending.starting.update(dict.fromkeys(jobs, is_starting))

    @property
    def has_starting(self) -> bool:
        """Whether some of these are not committed yet."""
        return bool(self._pending.starting)

    def stages_started(self, job: int, stages: Iterable[StageStart], at: datetime) -> None:
        """Processes exist; the job runs."""
        when = to_seconds(at)
        if job < FIRST_RUN:
            self._pending.started.setdefault(job, when)
        for number, pid, ticks in stages:
            self._pending.start_stage(job, number, pid, ticks, when)

    def stage_ended(
        self,
        job: int,
        number: int,
        at: datetime,
        exit_status: int | None,
        signal: str | None,
        cpu_seconds: float | None = None,
    ) -> None:
        self._pending.end_stage(job, number, (to_seconds(at), exit_status, signal, cpu_seconds))

    def state_changed(self, job: int, life: Life) -> None:
        """Paused, resumed, stopping, signalled: what the next daemon must know besides the stages. Not for the end."""
        if life.is_ended:
            return
        if job >= FIRST_RUN:
            self._pending.runs[job] = encode(life)
        else:
            self._pending.lives[job] = (life.state, encode(life), job)

    def batch_changed(self, batch: int, life: BatchLife) -> None:
        """What the next daemon must know of a batch besides its files."""
        self._pending.lives[batch] = (life.state, encode(life), batch)
        if life.started is not None:
            self._pending.started.setdefault(batch, to_seconds(life.started))

    def run_ended(self, run: int, stages: int) -> None:
        """A job of a batch has ended: what is left of it is in the batch's files."""
        self._pending.drop_run(run, stages)
        if run in self._written_runs:
            self._written_runs.discard(run)
            self._pending.runs_over.add(run)

    def keep_usage(self, job: int, usage: bytes) -> None:
        """Store what was observed of a running job. Not read once it has ended. Nothing is kept of those of a batch."""
        if job < FIRST_RUN:
            self._pending.usages[job] = usage

    def keep_history(self, job: int, history: HistoryRow) -> None:
        """Store the history of a job; it replaces an earlier one. Nothing is kept of those of a batch."""
        if job < FIRST_RUN:
            self._pending.stories[job] = encode_history(history)

    def record(self, job: int, at: datetime, kind: str, text: str) -> None:
        """One line of the job's life."""
        self._pending.events.append((job, to_seconds(at), kind, to_wire(text)))

    def set_hidden(self, jobs: Iterable[int], hidden: bool) -> None:
        self._pending.hidden.update(dict.fromkeys(jobs, hidden))

    # -- jobs end and go --------------------------------------------------------------------------------------------

    def job_ended(self, job: Job, stop: StopReport | None = None) -> None:
        """Store the last snapshot of a job, which is what readers see from now on."""
        number = int(job.id)
        self._pending.lives.pop(number, None)
        ended = job.created if job.ended is None else job.ended
        started = None if job.started is None else to_seconds(job.started)
        report = None if stop is None else encode(stop)
        self._pending.ended[number] = EndedRow(
            job.state, started, to_seconds(ended), encode_job(job), report, job.name, number
        )

    def job_withdrawn(self, job: int, name: str | None, at: datetime) -> None:
        """It has left the queue and never began."""
        self._pending.ended[job] = EndedRow("stopped", None, to_seconds(at), None, None, name, job)

    def update_ended(self, job: Job) -> None:
        """Replace the snapshot of an ended job, for example once its leftovers are gone."""
        self._pending.snapshots[int(job.id)] = encode_job(job)

    def stop_reported(self, job: int, stop: StopReport) -> None:
        """Store what a stop did to the leftovers of an ended job."""
        self._pending.stops[job] = encode(stop)

    def remove(self, jobs: Iterable[int]) -> None:
        """Delete jobs and everything about them; those not yet committed are just dropped."""
        self._pending.remove(jobs)
        self._last_surroundings = None

    # -- the file ---------------------------------------------------------------------------------------------------

    @property
    def is_dirty(self) -> bool:
        return not self._pending.is_empty

    def commit(self) -> None:
        """Write everything that was collected, or nothing.

        Raises:
            JournalError: it could not be written; the next commit tries again.
        """
        if self._pending.is_empty:
            return
        if self._locked is not None and time.monotonic() < self._locked[0]:
            raise self._locked[1]
        connection = self._connection
        try:
            self._roll_back()
            connection.execute("BEGIN IMMEDIATE")
            self._pending.write(connection)
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            with contextlib.suppress(sqlite3.Error):
                # If even that fails, the next commit tries it first.
                self._roll_back()
            raise self._not_written(error) from error
        self._locked = None
        self._written_runs |= self._pending.runs_written()
        for key in self._pending.forgotten:
            self._surroundings.pop(key, None)
        self._pending = Pending()
        self._spill.clear()

    def spill(self) -> bool:
        """Save what the journal could not take to files beside it, for the next daemon; whether that was possible."""
        return self._pending.is_empty or self._spill.write(self._pending)

    def incremental_vacuum(self, pages: int) -> bool:
        """Give pages of deleted rows back, a few at a time; whether there are more. Raises JournalError."""
        with self._readable():
            return shrink.incremental_vacuum(self._connection, pages)

    def _not_written(self, error: sqlite3.Error) -> JournalError:
        found = as_journal_error(error, self.home.journal)
        if isinstance(found, LockedJournalError):
            self._locked = (time.monotonic() + _LOCK_SECONDS, found)
        return found

    def drop_unused(self) -> None:
        """Delete surroundings and environments that no job uses. Raises JournalError."""
        self.commit()
        with self._readable():
            shrink.drop_unused(self._connection)
            self._surroundings = dict(self._connection.execute("SELECT hash, number FROM surroundings"))

    @property
    def changes(self) -> int:
        """How many rows were written so far."""
        return self._connection.total_changes

    def check_lock(self) -> None:
        """Raises LockedJournalError if another program locks it."""
        try:
            self._roll_back()
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.execute("ROLLBACK")
        except sqlite3.Error as error:
            raise as_journal_error(error, self.home.journal) from error

    def _roll_back(self) -> None:
        # A full disk may have rolled it back already (sqlite.org/lang_transaction.html).
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def _largest_id(self) -> int:
        """The largest id ever accepted, by rows and by folders: a folder's output must not be written to by another job.

        A log that was damaged, or cut short by a crash of the machine, loses the newest rows, but not their folders.
        """
        rows = self._connection.execute(
            "SELECT seq FROM sqlite_sequence WHERE name = 'jobs' UNION ALL SELECT max(id) FROM jobs"
        ).fetchall()
        known = [row[0] for row in rows if isinstance(row[0], int)]
        known += [int(name) for name in os.listdir(self.home.jobs) if name.isdecimal()]
        return max((job for job in known if 0 < job < FIRST_RUN), default=0)

    def is_in_place(self) -> bool:
        """Whether its path still leads to the file that is open here. Raises OSError if that cannot be determined."""
        now = rewrite.files_of(self.home)
        if not rewrite.is_in_place(self._files, now):
            return False
        self._files = now
        return True

    def rewrite(self) -> str | None:
        """Write all of it to its path, after it was removed or replaced; returns where a replacement was moved. Raises
        CorralError."""
        self._roll_back()
        self._connection, kept = rewrite.rewrite(self.home, self._files, self._connection)
        self._files = rewrite.files_of(self.home)
        self.note_identity()
        return kept

    def note_identity(self) -> None:
        """Store the home's folder, which may be a new one, in the journal and in `home.json`. Raises CorralError."""
        with self._readable():
            self._note(identity.of(self.home, self.nonce))

    def _settle_identity(self, is_itself: bool) -> int:
        """The nonce. A new one is committed together with the reason for it, or not at all."""
        known = {key: self._meta(key) for key in (_NONCE, _FOLDER)}
        found = identity.settle(self.home, known[_NONCE], known[_FOLDER], is_itself=is_itself)
        self._note(found)
        return found.nonce

    def _note(self, found: identity.Identity) -> None:
        noted = {_NONCE: str(found.nonce), _FOLDER: found.folder}
        if found.copy_of is not None:
            noted[_COPY_OF] = to_wire(found.copy_of)
        changed = {key: value for key, value in noted.items() if self._meta(key) != value}
        self._pending.meta.update(changed)
        if found.copy_of is not None:
            # With the old nonce the original's jobs would count as ours: commit before the new one is used.
            self.commit()
        identity.note(self.home, found)


def _opened(home: Home) -> tuple[sqlite3.Connection, LostWrites | None, str | None]:
    """The connection, what was lost with a damaged log, and the path of the copy made before an upgrade."""
    try:
        for suffix in ("", "-wal", "-shm"):
            if not suffix or os.path.exists(home.journal + suffix):
                private_file(home.journal + suffix)
    except OSError as error:
        raise CorralError(f"cannot write the journal {home.journal}: {error.strerror}") from None
    lost: list[LostWrites | None] = []
    connection, kept = open_for_writing(
        home.journal, lambda fresh: lost.append(save_damaged_wal(fresh, home.journal))
    )
    return connection, lost[0], kept
