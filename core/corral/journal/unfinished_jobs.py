"""What a new daemon finds in the journal of its predecessor: the jobs that have not ended, as last written."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from corral.commandline.abbreviation import with_short_argv
from corral.commandline.program_name import program_name
from corral.journal.journal import Journal
from corral.journal.rows import (
    DAMAGED_ROW,
    UNREADABLE,
    StageRow,
    damaged_job,
    decode_spec,
    decode_surroundings,
)
from corral.lifecycle.state import Life, StageEnd
from corral.lifecycle.state_machine import new_life
from corral.model.spec import JobSpec, Surroundings
from corral.platform.process.boot_id import age
from corral.platform.process.identity import ProcessIdentity

_lives = msgspec.json.Decoder(Life)


class StoredJob(Struct, frozen=True, kw_only=True):
    """A job that had not ended when the last daemon committed for the last time.

    `life` holds what was committed. Its stages may have ended since; where `is_starting` and no stage is known, the
    processes may or may not exist: their marks tell.
    """

    id: int
    spec: JobSpec
    surroundings: Surroundings
    created: datetime
    is_starting: bool
    stages: tuple[StageRow, ...]
    life: Life
    hidden: bool = False

    @property
    def is_queued(self) -> bool:
        return self.life.state == "queued" and not self.is_starting


class WaitingJob(NamedTuple):
    """A job that the last daemon had not begun to start."""

    id: int
    spec: JobSpec
    created: datetime


def unended_jobs(journal: Journal, now: float, *, is_same_boot: bool = True) -> Iterator[StoredJob]:
    """In order of id, one at a time. `now` is monotonic, of the same boot as the journal if `is_same_boot`.

    A job whose row cannot be read is ended as `lost`, with a notice.
    """
    return _readable(journal, journal.unended_rows(), now, is_same_boot)


def begun_jobs(journal: Journal, now: float, *, is_same_boot: bool = True) -> Iterator[StoredJob]:
    """The same, without those that the last daemon had not begun to start."""
    rows = (journal.unended_row(job) for job in journal.begun_ids())
    return _readable(journal, (row for row in rows if row is not None), now, is_same_boot)


def waiting_jobs(journal: Journal) -> Iterator[WaitingJob]:
    """Those that it had not, in order of id. There may be very many: 3 µs each."""
    raw, spec = b"", None
    for job, created, content, name, command in journal.waiting_rows():
        try:
            if spec is None or content != raw:  # thousands are alike
                raw, spec = content, decode_spec(content)
            at = datetime.fromtimestamp(created, UTC)
        except UNREADABLE:
            lose(journal, job, created, name, command)
            spec = None
        else:
            yield WaitingJob(job, spec, at)


def _readable(
    journal: Journal, rows: Iterable[tuple[Any, ...]], now: float, is_same_boot: bool
) -> Iterator[StoredJob]:
    for row in rows:
        try:
            yield _stored(journal, row, now, is_same_boot)
        except UNREADABLE:
            lose(journal, row[0], row[3], row[5], row[6])


def lose(journal: Journal, job: int, created: float, name: str | None, command: str) -> None:
    journal.job_ended(damaged_job(job, name, command, created, datetime.now(UTC).timestamp()))
    journal.notices.append(f"job {job} is lost: {DAMAGED_ROW}")


def unended_job(journal: Journal, job: int) -> StoredJob | None:
    """One of them, of this boot; None where its row cannot be read. Raises JournalError."""
    row = journal.unended_row(job)
    try:
        return None if row is None else _stored(journal, row, time.monotonic(), True)
    except UNREADABLE:
        return None


def _stored(journal: Journal, row: tuple[Any, ...], now: float, is_same_boot: bool) -> StoredJob:
    job, starting, hidden, created, raw_spec, _, _, raw_life, content, environment = row
    spec = with_short_argv(decode_spec(raw_spec))
    stages = tuple(journal.stages(job))
    life = (
        new_life(spec, [program_name(command.argv) for command in spec.pipeline.stages])
        if raw_life is None
        else _lives.decode(raw_life)
    )
    return StoredJob(
        id=job,
        spec=spec,
        surroundings=surroundings_of(content, environment),
        created=datetime.fromtimestamp(created, UTC),
        is_starting=bool(starting),
        stages=stages,
        life=with_rows(life, stages, bool(starting), now, is_same_boot),
        hidden=bool(hidden),
    )


@lru_cache(maxsize=16)
def surroundings_of(content: bytes, environment: bytes) -> Surroundings:
    """Decoded once: most of thousands of jobs share the same surroundings."""
    return decode_surroundings(content, environment)


def with_rows(life: Life, rows: tuple[StageRow, ...], starting: bool, now: float, is_same_boot: bool) -> Life:
    """`life` updated from the rows of its stages, which are written more often."""
    known = {row.number: row for row in rows}
    stages = tuple(
        replace(stage, started=row.started, end=_end(row)) if (row := known.get(stage.number)) else stage
        for stage in life.stages
    )
    is_starting = starting and any(stage.started is None for stage in stages)
    life = replace(life, stages=stages, is_starting=is_starting and life.start_failure is None)
    began = min((stage.started for stage in stages if stage.started is not None), default=None)
    if began is None:
        return life
    if life.state == "queued":
        life = replace(life, state="running")
    # A journal from before boots were noted may still be from another boot.
    is_same_boot = is_same_boot and not (life.started_now is not None and life.started_now > now)
    if life.started_now is None or not is_same_boot:
        life = replace(life, started=began, started_now=now - _age(rows, began, is_same_boot))
    return life


def _age(rows: tuple[StageRow, ...], began: datetime, is_same_boot: bool) -> float:
    """Seconds since the job was started: by the start ticks of its processes, which setting the clock does not change."""
    processes = [
        ProcessIdentity(row.pid, row.started_ticks)
        for row in rows
        if row.pid is not None and row.started_ticks is not None
    ]
    if processes and is_same_boot:
        return max(map(age, processes))
    return max(0.0, (datetime.now(UTC) - began).total_seconds())


def _end(row: StageRow) -> StageEnd | None:
    return None if row.ended is None else StageEnd(row.ended, row.exit_status, row.signal)
