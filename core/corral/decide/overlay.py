"""The journal as it will be once all is written: what the file holds, and over it what it could not take yet.

While a disk is full or another program locks the file, jobs go on ending; nobody is told less of them for that. Only a job
that was not accepted yet is not seen: it is one once it is written.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any, cast

from msgspec.structs import replace

from corral.decide.pending import Pending
from corral.decide.reader import UNREADABLE, JournalReader
from corral.decide.rows import StoredStage, decode_job, decode_stop, to_time
from corral.decide.storyrows import StoryRow, decode_story
from corral.values.home import Home
from corral.values.jobs import Job, JobEvent
from corral.values.reports import StopReport


class OverlaidReader(JournalReader):
    """Reads what the daemon has to know of jobs that it does not have in hand. The lists for clients are of the file."""

    def __init__(self, home: Home, connection: sqlite3.Connection) -> None:
        super().__init__(home, connection)
        self._pending = Pending()

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
        return [self._brought_up(known[job]) for job in sorted(known)[-limit:]] if limit else []

    def _batch(self, ids: Sequence[int]) -> list[Job]:
        found = {job: unwritten for job in ids if (unwritten := self._unwritten_end(job))}
        written = super()._batch(
            [job for job in ids if job not in found and job not in self._pending.removed]
        )
        known = {**{int(job.id): self._brought_up(job) for job in written}, **found}
        return [known[job] for job in sorted(known)]

    def _unwritten_end(self, job: int) -> Job | None:
        row = self._pending.ended.get(job)
        if row is None:
            return None
        snapshot = self._pending.snapshots.get(job, row.snapshot)
        return decode_job(snapshot, self._pending.hidden.get(job, False))

    def _brought_up(self, job: Job) -> Job:
        number = int(job.id)
        raw = self._pending.snapshots.get(number)
        if raw is not None and job.ended is not None:
            job = decode_job(raw, job.hidden)
        hidden = self._pending.hidden.get(number, job.hidden)
        return job if hidden == job.hidden else replace(job, hidden=hidden)

    def unended_rows(self) -> list[tuple[Any, ...]]:
        pending = self._pending
        rows = super().unended_rows()
        return [
            self._as_will_be(*row) for row in rows if row[0] not in (pending.ended.keys() | pending.removed)
        ]

    def _as_will_be(self, job: int, starting: int, hidden: int, *rest: Any) -> tuple[Any, ...]:
        pending = self._pending
        *middle, life, place, environment = rest
        if job in pending.lives:
            life = pending.lives[job][1]
        starting = pending.starting.get(job, starting)
        return (job, starting, pending.hidden.get(job, hidden), *middle, life, place, environment)

    def stages(self, job: int) -> list[StoredStage]:
        known = {stage.number: stage for stage in super().stages(job)}
        for (of, number), row in self._pending.stages.items():
            if of == job:
                ended, status, signal, cpu, _, _, pid, ticks, started = row
                known[number] = StoredStage(
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
        """The last that was kept; None where there is none."""
        written = self._scalar("SELECT usage FROM jobs WHERE id = ?", job)
        return self._pending.usages.get(job) or cast("bytes | None", written)

    def story(self, job: int) -> StoryRow | None:
        raw = self._pending.stories.get(job)
        return super().story(job) if raw is None else decode_story(raw)
