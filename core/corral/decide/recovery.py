"""What a new daemon finds in the journal of the one before: jobs that have not ended, as they were last known."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from corral.decide.life import Life, StageEnd
from corral.decide.lifecycle import new_life
from corral.decide.reader import UNREADABLE
from corral.decide.rows import (
    DAMAGED_ROW,
    StoredStage,
    damaged_job,
    decode_spec,
    decode_surroundings,
    stage_name,
)
from corral.decide.store import Journal
from corral.values.spec import JobSpec, Surroundings

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
    stages: tuple[StoredStage, ...]
    life: Life
    hidden: bool = False


def unended_jobs(journal: Journal, now: float) -> list[StoredJob]:
    """By rising id. `now` is monotonic. A job whose row cannot be read is ended as `lost`, with a notice."""
    stored: list[StoredJob] = []
    for row in journal.unended_rows():
        try:
            stored.append(_stored(journal, row, now))
        except UNREADABLE:
            job, created, name, command = row[0], row[3], row[5], row[6]
            journal.job_ended(damaged_job(job, name, command, created, datetime.now(UTC).timestamp()))
            journal.notices.append(f"job {job} is lost: {DAMAGED_ROW}")
    return stored


def _stored(journal: Journal, row: tuple[Any, ...], now: float) -> StoredJob:
    job, starting, hidden, created, raw_spec, _, _, raw_life, content, environment = row
    spec = decode_spec(raw_spec)
    stages = tuple(journal.stages(job))
    life = (
        new_life(spec, [stage_name(command) for command in spec.pipeline.stages])
        if raw_life is None
        else _lives.decode(raw_life)
    )
    return StoredJob(
        id=job,
        spec=spec,
        surroundings=decode_surroundings(content, environment),
        created=datetime.fromtimestamp(created, UTC),
        is_starting=bool(starting),
        stages=stages,
        life=_brought_up(life, stages, bool(starting), now),
        hidden=bool(hidden),
    )


def _brought_up(life: Life, rows: tuple[StoredStage, ...], starting: bool, now: float) -> Life:
    """`life` with what the rows of its stages tell, which are written more often than it is."""
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
    if life.started_now is None or life.started_now > now:
        # Never noted, or on the monotonic clock of before the machine restarted.
        age = max(0.0, (datetime.now(UTC) - began).total_seconds())
        life = replace(life, started=began, started_now=now - age)
    return life


def _end(row: StoredStage) -> StageEnd | None:
    return None if row.ended is None else StageEnd(row.ended, row.exit_status, row.signal)
