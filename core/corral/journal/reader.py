"""Reading the journal: for commands while no daemon runs, and for the daemon to look up ended jobs.

Reads the file, and on top of it what could not be written yet: while the disk is full or another program locks the file,
jobs still end, and readers see that. Only a job that is not accepted yet is not seen: it is accepted once it is written. Imports neither asyncio nor psutil.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any, cast

from msgspec.structs import replace

from corral.home.directory import check_home
from corral.journal import spill_files
from corral.journal.file_reader import UNREADABLE, FileReader
from corral.journal.history_rows import HistoryRow, decode_history
from corral.journal.opening import BUSY_SECONDS, open_for_reading
from corral.journal.rows import StageRow, decode_job, decode_stop, to_time, withdrawn
from corral.journal.write_buffer import Pending
from corral.model.home import Home
from corral.model.job import Job, JobEvent
from corral.model.reports import StopReport


class JournalReader(FileReader):
    """Read-only. Every method raises JournalError where the file cannot be read."""

    def __init__(self, home: Home, connection: sqlite3.Connection) -> None:
        super().__init__(home, connection)
        self._pending = Pending()

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

    def unended_ids(self) -> list[int]:
        return [job for job in super().unended_ids() if self._is_unended(job)]

    def ids(self) -> set[int]:
        return (super().ids() | self._pending.ended.keys()) - self._pending.removed

    def ends(self) -> list[tuple[int, float]]:
        gone = self._pending.removed
        written = [(job, ended) for job, ended in super().ends() if job not in gone]
        return [*written, *((job, row.ended) for job, row in self._pending.ended.items())]

    def _is_unended(self, job: int) -> bool:
        return job not in self._pending.ended and job not in self._pending.removed

    def exists(self, job: int) -> bool:
        return job in self._pending.ended or (job not in self._pending.removed and super().exists(job))

    def newest(self) -> int | None:
        gone = self._pending.removed
        rows = self._all("SELECT id FROM jobs ORDER BY id DESC LIMIT ?", len(gone) + 1)
        return max((*self._pending.ended, *(row[0] for row in rows if row[0] not in gone)), default=None)

    def newest_ended(self, name: str) -> int | None:
        gone = self._pending.removed
        query = "SELECT id FROM jobs WHERE name = ? AND ended IS NOT NULL ORDER BY id DESC LIMIT ?"
        rows = self._all(query, name, len(gone) + 1)
        unwritten = (job for job, row in self._pending.ended.items() if row.name == name)
        return max((*unwritten, *(row[0] for row in rows if row[0] not in gone)), default=None)

    def ended(self, limit: int) -> list[Job]:
        known = {int(job.id): job for job in super().ended(limit)}
        known.update((job, found) for job in self._pending.ended if (found := self._unwritten_end(job)))
        known = {job: found for job, found in known.items() if job not in self._pending.removed}
        return [self._with_pending(known[job]) for job in sorted(known)[-limit:]] if limit else []

    # -- jobs -------------------------------------------------------------------------------------------------------

    def jobs(self, ids: Iterable[int] | None = None, *, limit: int | None = None) -> list[Job]:
        found = super().jobs(ids, limit=limit)
        if ids is not None:
            return found
        known = {
            int(job.id): self._with_pending(job) for job in found if int(job.id) not in self._pending.removed
        }
        known.update((job, ended) for job in self._pending.ended if (ended := self._unwritten_end(job)))
        return [known[job] for job in sorted(known)][-limit if limit else 0 :]

    def ids_after(self, job: int, count: int) -> list[int]:
        found = super().ids_after(job, count)
        if self._pending.is_empty:
            return found
        last = found[-1] if len(found) == count else None
        new = (each for each in self._pending.ended if each > job and (last is None or each <= last))
        known = sorted({*found, *new} - self._pending.removed)
        # A whole page of removed ones must not look like the end.
        return known or (self.ids_after(found[-1], count) if found else [])

    def unended_jobs(self) -> list[Job]:
        return [self._with_pending(job) for job in super().unended_jobs() if self._is_unended(int(job.id))]

    def _batch(self, ids: Sequence[int]) -> list[Job]:
        found = {job: unwritten for job in ids if (unwritten := self._unwritten_end(job))}
        written = super()._batch(
            [job for job in ids if job not in found and job not in self._pending.removed]
        )
        known = {**{int(job.id): self._with_pending(job) for job in written}, **found}
        return [known[job] for job in sorted(known)]

    def _unwritten_end(self, job: int) -> Job | None:
        row = self._pending.ended.get(job)
        if row is None:
            return None
        snapshot = self._pending.snapshots.get(job, row.snapshot)
        if snapshot is None:
            return next((withdrawn(queued, row.ended) for queued in super()._batch([job])), None)
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
        for row in super().unended_rows():
            if self._is_unended(row[0]):
                yield self._row_with_pending(*row)

    def begun_ids(self) -> list[int]:
        begun = self._pending.lives.keys() | self._pending.starting.keys()
        return [job for job in sorted({*super().begun_ids(), *begun}) if self._is_unended(job)]

    def waiting_rows(self) -> Iterator[tuple[int, float, bytes, str | None, str]]:
        begun = self._pending.lives.keys() | self._pending.starting.keys()
        yield from (row for row in super().waiting_rows() if self._is_unended(row[0]) and row[0] not in begun)

    def _row_with_pending(self, job: int, starting: int, hidden: int, *rest: Any) -> tuple[Any, ...]:
        pending = self._pending
        *middle, life, place, environment = rest
        if job in pending.lives:
            life = pending.lives[job][1]
        starting = pending.starting.get(job, starting)
        return (job, starting, pending.hidden.get(job, hidden), *middle, life, place, environment)

    def unended_row(self, job: int) -> tuple[Any, ...] | None:
        row = super().unended_row(job) if self._is_unended(job) else None
        return None if row is None else self._row_with_pending(*row)

    def stages(self, job: int) -> list[StageRow]:
        known = {stage.number: stage for stage in super().stages(job)}
        for (of, number), row in self._pending.stages.items():
            if of == job:
                ended, status, signal, cpu, _, _, pid, ticks, started = row
                known[number] = StageRow(
                    number, pid, ticks, to_time(started), to_time(ended), status, signal, cpu
                )
        for (of, number), (ended, status, signal, cpu, *_) in self._pending.stage_ends.items():
            if of == job and number in known:
                known[number] = known[number]._replace(
                    ended=to_time(ended), exit_status=status, signal=signal, cpu_seconds=cpu
                )
        return [known[number] for number in sorted(known)]

    def events(self, job: int) -> tuple[JobEvent, ...]:
        new = (
            JobEvent(at, kind, text)
            for of, when, kind, text in self._pending.events
            if of == job and (at := to_time(when)) is not None
        )
        return (*super().events(job), *new)

    def stop_report(self, job: int) -> StopReport | None:
        row = self._pending.ended.get(job)
        raw = self._pending.stops.get(job, None if row is None else row.stop)
        try:
            return super().stop_report(job) if raw is None else decode_stop(raw)
        except UNREADABLE:
            return None

    def usage(self, job: int) -> bytes | None:
        """The newest one; None without any."""
        written = self._scalar("SELECT usage FROM jobs WHERE id = ?", job)
        return self._pending.usages.get(job) or cast("bytes | None", written)

    def history_row(self, job: int) -> HistoryRow | None:
        raw = self._pending.stories.get(job)
        return super().history_row(job) if raw is None else decode_history(raw)

    def _meta(self, key: str) -> str | None:
        value = self._pending.meta.get(key) or self._scalar("SELECT value FROM meta WHERE key = ?", key)
        return None if value is None else str(value)
