"""The journal: every job, its stages and its life, in SQLite. The daemon is its only writer.

Writes are collected and go to the file with `commit`, once for everything that one pass of the daemon's loop did.
A committed write survives SIGKILL of the daemon (WAL, synchronous=NORMAL: sqlite.org/pragma.html); the machine's own
crash may cost the newest ones, never the file. What could not be written is kept and tried again.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from corral.decide import compaction, homeidentity, remaking, unwritten
from corral.decide.damagedlog import LostWrites, save_damaged_wal
from corral.decide.homedir import prepare_home, private_file
from corral.decide.life import Life
from corral.decide.pending import EndedRow, Pending
from corral.decide.reader import JournalReader
from corral.decide.rows import (
    encode,
    encode_environment,
    encode_job,
    encode_spec,
    encode_surroundings,
    to_seconds,
)
from corral.decide.schema import (
    DamagedJournalError,
    JournalError,
    LockedJournalError,
    NoSpaceError,
    as_journal_error,
    open_for_writing,
    set_aside,
)
from corral.decide.storyrows import StoryRow, encode_story
from corral.system import boot, mark
from corral.values.errors import CorralError
from corral.values.home import Home
from corral.values.jobs import Job
from corral.values.reports import StopReport
from corral.values.spec import JobSpec, Surroundings
from corral.values.wire import to_wire

_BOOT, _NONCE, _FOLDER, _COPY_OF, _UNMARKED = "boot", "nonce", "folder", "copy_of", "unmarked"
_LOCK_SECONDS = 0.01
"""After a lock was found it is not asked for again: a thousand events may come at once, and each wants to be written."""
_MOST_JOBS = 1 << mark.JOB_BITS
"""An id beyond does not fit into a mark; only damage or somebody's own folder looks like one."""


class StageStart(NamedTuple):
    """A stage's process, by number from 1. `started_ticks` is of its identity."""

    number: int
    pid: int
    started_ticks: int


class Journal(JournalReader):
    """Reads and writes. What it reads of a job that was accepted is what was noted, committed or not.

    `nonce` is this home's part of the mark. `notices` are sentences for the daemon's log and its next client: what
    was found damaged, and where it is now.
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
        """Until when nobody asks again, and what was said."""
        self._spill = unwritten.SpillFiles(home.journal)
        self._files = remaking.files_of(home)
        self._surroundings: dict[bytes, int] = {}
        self._last_surroundings: tuple[Surroundings, int] | None = None
        with self._readable():
            self._spill.reserve()
            self._pending = self._spill.read(self._meta(unwritten.NUMBER))
            self.nonce = self._settle_identity(is_itself)
            self.copy_of = self._meta(_COPY_OF) or None
            """The home that this one was made a copy of: the jobs that have not ended are that one's."""
            self.boot = boot.parse(self._meta(_BOOT))
            """Under which the pids in it were noted."""
            self.unmarked = self._meta(_UNMARKED)
            """As it was noted last."""
            largest = max((self._largest_id(), *self._pending.jobs))
            self._next_id = 1 + largest + (0 if lost is None else lost.ids)
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
        """The journal of a home, made where there is none; a damaged one is set aside, with a notice.

        `is_itself`: the home is known to be no copy, since its daemon is this very process.

        Raises:
            CorralError: the home cannot be used, or belongs to somebody else.
            JournalError: a newer Corral wrote it, or it cannot be opened.
        """
        prepare_home(home)
        notices: list[str] = []
        try:
            return cls._open_once(home, notices, is_itself)
        except NoSpaceError:
            if not unwritten.release_reserve(home.journal):
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
        """Commit and close. Raises JournalError where that fails and nothing can be kept for the next daemon either; it is
        closed then too."""
        try:
            self.commit()
        except JournalError:
            if not self.spill():
                raise
        finally:
            super().close()

    # -- jobs come --------------------------------------------------------------------------------------------------

    def add_jobs(self, specs: Sequence[JobSpec], surroundings: Surroundings, created: datetime) -> list[int]:
        """Accept jobs; they are accepted once committed. Their ids, in order; an id is never used twice."""
        number = self._number_of(surroundings)
        at = to_seconds(created)
        first = self._next_id
        self._next_id += len(specs)
        for job, spec in enumerate(specs, first):
            self._pending.jobs[job] = (
                job, at, spec.name, to_wire(spec.command), number, encode_spec(spec)
            )  # fmt: skip
        return list(range(first, self._next_id))

    def take_back(self, jobs: Sequence[int]) -> bool:
        """Forget jobs of one `add_jobs`, unless they are committed; whether they were not."""
        if not jobs or jobs[0] not in self._pending.jobs:
            return False
        self.remove(jobs)
        if self._next_id == jobs[-1] + 1:
            # Nobody has seen these ids.
            self._next_id = jobs[0]
        return True

    def add_recovered(self, job: Job) -> None:
        """A job that only its processes tell of: an ended row under its own id, without specification."""
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

    def note_boot(self, now: boot.Boot) -> None:
        """From this commit on all pids in the journal are of this boot: what is of another one has been ended."""
        self.boot = now
        self._pending.meta[_BOOT] = now.text

    def note_disowned(self) -> None:
        """From this commit on no job in it is of the home that this one was a copy of."""
        self.copy_of = None
        self._pending.meta[_COPY_OF] = ""

    def note_unmarked(self, text: str) -> None:
        """Processes that belong to jobs and do not say so."""
        self.unmarked = self._pending.meta[_UNMARKED] = text

    def mark_starting(self, jobs: Iterable[int], is_starting: bool = True) -> None:
        """To be committed before the first process exists, so that no job is started twice; False takes it back."""
        self._pending.starting.update(dict.fromkeys(jobs, is_starting))

    def stages_started(self, job: int, stages: Iterable[StageStart], at: datetime) -> None:
        """Processes exist; the job runs."""
        when = to_seconds(at)
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
        """Paused, resumed, stopping, signalled: what a next daemon must know beside the stages. Not for the end."""
        if not life.is_ended:
            self._pending.lives[job] = (life.state, encode(life), job)

    def keep_usage(self, job: int, usage: bytes) -> None:
        """What was observed of a job that runs. Not read again once it has ended."""
        self._pending.usages[job] = usage

    def keep_story(self, job: int, story: StoryRow) -> None:
        """What is told of a job for good; a later one replaces it."""
        self._pending.stories[job] = encode_story(story)

    def record(self, job: int, at: datetime, kind: str, text: str) -> None:
        """One line of the job's life."""
        self._pending.events.append((job, to_seconds(at), kind, to_wire(text)))

    def set_hidden(self, jobs: Iterable[int], hidden: bool) -> None:
        self._pending.hidden.update(dict.fromkeys(jobs, hidden))

    # -- jobs end and go --------------------------------------------------------------------------------------------

    def job_ended(self, job: Job, stop: StopReport | None = None) -> None:
        """The last snapshot of a job; from now on this is what is read of it."""
        number = int(job.id)
        self._pending.lives.pop(number, None)
        ended = job.created if job.ended is None else job.ended
        started = None if job.started is None else to_seconds(job.started)
        report = None if stop is None else encode(stop)
        self._pending.ended[number] = EndedRow(
            job.state, started, to_seconds(ended), encode_job(job), report, job.name, number
        )

    def update_ended(self, job: Job) -> None:
        """Change the snapshot of a job that has ended: its leftovers are gone, say."""
        self._pending.snapshots[int(job.id)] = encode_job(job)

    def stop_reported(self, job: int, stop: StopReport) -> None:
        """What a stop did to the leftovers of a job that has ended."""
        self._pending.stops[job] = encode(stop)

    def remove(self, jobs: Iterable[int]) -> None:
        """Delete jobs and all that is known of them; ones that were not committed yet are just forgotten."""
        self._pending.remove(jobs)
        self._last_surroundings = None

    # -- the file ---------------------------------------------------------------------------------------------------

    @property
    def is_dirty(self) -> bool:
        return not self._pending.is_empty

    def commit(self) -> None:
        """Write all that was collected, or nothing of it.

        Raises:
            JournalError: it could not be written; it is kept, and the next commit tries again.
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
                # If even that fails the next commit begins with it.
                self._roll_back()
            raise self._not_written(error) from error
        self._locked = None
        for key in self._pending.forgotten:
            self._surroundings.pop(key, None)
        self._pending = Pending()
        self._spill.clear()

    def spill(self) -> bool:
        """Keep beside the journal what it could not take, for the next daemon; whether that was possible."""
        return self._pending.is_empty or self._spill.write(self._pending)

    def incremental_vacuum(self, pages: int) -> bool:
        """Give the room of deleted rows back, a few pages at a time; whether there is more. Raises JournalError."""
        with self._readable():
            return compaction.incremental_vacuum(self._connection, pages)

    def _not_written(self, error: sqlite3.Error) -> JournalError:
        found = as_journal_error(error, self.home.journal)
        if isinstance(found, LockedJournalError):
            self._locked = (time.monotonic() + _LOCK_SECONDS, found)
        return found

    def drop_unused(self) -> None:
        """Drop what no job uses. Raises JournalError."""
        self.commit()
        with self._readable():
            compaction.drop_unused(self._connection)
            self._surroundings = dict(self._connection.execute("SELECT hash, number FROM surroundings"))

    @property
    def changes(self) -> int:
        """Rows that were written so far."""
        return self._connection.total_changes

    def check_lock(self) -> None:
        """Raises LockedJournalError where another program lets nobody write."""
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
        """Of all that was ever accepted, as far as anything tells: in folders lies output that is not to be written into.

        A log that was damaged, or that the machine's crash cut short, takes the newest rows with it, not their folders.
        """
        rows = self._connection.execute(
            "SELECT seq FROM sqlite_sequence WHERE name = 'jobs' UNION ALL SELECT max(id) FROM jobs"
        ).fetchall()
        known = [row[0] for row in rows if isinstance(row[0], int)]
        known += [int(name) for name in os.listdir(self.home.jobs) if name.isdecimal()]
        return max((job for job in known if 0 < job < _MOST_JOBS), default=0)

    def is_in_place(self) -> bool:
        """Whether its path still leads to what is written here. Raises OSError where that cannot be seen."""
        now = remaking.files_of(self.home)
        if not remaking.is_in_place(self._files, now):
            return False
        self._files = now
        return True

    def rewrite(self) -> str | None:
        """Write all of it again where it was removed or replaced; the path of what had replaced it. Raises CorralError."""
        self._roll_back()
        self._connection, kept = remaking.rewrite(self.home, self._files, self._connection)
        self._files = remaking.files_of(self.home)
        self.note_identity()
        return kept

    def note_identity(self) -> None:
        """Note in both places which folder it is, which may be a new one, of the same home. Raises CorralError."""
        with self._readable():
            self._note(homeidentity.of(self.home, self.nonce))

    def _settle_identity(self, is_itself: bool) -> int:
        """The nonce. A new one is in the journal with the reason for it, or not at all."""
        known = {key: self._meta(key) for key in (_NONCE, _FOLDER)}
        found = homeidentity.settle(self.home, known[_NONCE], known[_FOLDER], is_itself=is_itself)
        self._note(found)
        return found.nonce

    def _note(self, found: homeidentity.Identity) -> None:
        noted = {_NONCE: str(found.nonce), _FOLDER: found.folder}
        if found.copy_of is not None:
            noted[_COPY_OF] = to_wire(found.copy_of)
        changed = {key: value for key, value in noted.items() if self._meta(key) != value}
        self._pending.meta.update(changed)
        if found.copy_of is not None:
            # Under the old one the jobs of the original would be this home's: it is not used before this is written.
            self.commit()
        homeidentity.note(self.home, found)


def _opened(home: Home) -> tuple[sqlite3.Connection, LostWrites | None, str | None]:
    """The connection, what of its log could not be read, and where a copy of it is that was of an earlier Corral."""
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
