"""What the journal has of batches, and of those of their jobs that had not ended. The rest is in the batches' files."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import Struct

from corral.commandline.program_name import program_name
from corral.journal.journal import Journal
from corral.journal.reader import JournalReader
from corral.journal.rows import UNREADABLE, decode_batch, decode_batch_life, decode_surroundings
from corral.journal.unfinished_jobs import StoredJob, lose, surroundings_of, with_rows
from corral.lifecycle.batch_life import BatchLife
from corral.lifecycle.state import Life
from corral.lifecycle.state_machine import new_life
from corral.model.batch import BatchSpec
from corral.model.spec import JobSpec, Surroundings

_BATCH_ROW = (
    "SELECT jobs.id, jobs.created, jobs.hidden, jobs.name, jobs.command, jobs.life, jobs.batch, "
    "surroundings.content, environments.content FROM jobs "
    "LEFT JOIN surroundings ON surroundings.number = jobs.surroundings "
    "LEFT JOIN environments ON environments.hash = surroundings.environment WHERE jobs.batch IS NOT NULL"
)
_lives = msgspec.json.Decoder(Life)


class StoredBatch(Struct, frozen=True, kw_only=True):
    """A batch that had not ended when the last daemon committed for the last time. What became of its inputs is in its files."""

    id: int
    spec: BatchSpec
    surroundings: Surroundings
    created: datetime
    life: BatchLife
    hidden: bool = False


def unended_batches(journal: Journal) -> Iterator[StoredBatch]:
    """In order of id. One whose row cannot be read is ended as `lost`, with a notice."""
    for batch, created, hidden, name, command, raw_life, raw, content, environment in _unended_rows(journal):
        try:
            spec = decode_batch(raw)
            yield StoredBatch(
                id=batch,
                spec=spec,
                surroundings=surroundings_of(content, environment),
                created=datetime.fromtimestamp(created, UTC),
                life=decode_batch_life(raw_life, spec),
                hidden=bool(hidden),
            )
        except UNREADABLE:
            lose(journal, batch, created, name, command)


def stored_run(
    journal: Journal, run: int, spec: JobSpec, surroundings: Surroundings, created: datetime
) -> StoredJob:
    """A job of a batch that was being started, or further."""
    stages = tuple(journal.stages(run))
    raw = _run_life(journal, run)
    life = new_life(spec, [program_name(each.argv) for each in spec.pipeline.stages])
    with suppress(*UNREADABLE):
        life = life if raw is None else _lives.decode(raw)
    return StoredJob(
        id=run,
        spec=spec,
        surroundings=surroundings,
        created=created,
        is_starting=True,
        stages=stages,
        life=with_rows(life, stages, True, time.monotonic(), True),
    )


def _unended_rows(journal: Journal) -> list[Any]:
    return [
        row
        for row in journal.select(f"{_BATCH_ROW} AND jobs.ended IS NULL ORDER BY jobs.id")
        if journal.is_unended(row[0])
    ]


def _run_life(journal: Journal, run: int) -> bytes | None:
    """Where more than its processes is to be known."""
    rows = journal.select("SELECT life FROM runs WHERE id = ?", run)
    return rows[0][0] if rows else None


def batch_origin(journal: JournalReader, batch: int) -> tuple[BatchSpec, Surroundings] | None:
    """What a batch was started with; None where it is none, or that can no longer be read."""
    for row in journal.select(f"{_BATCH_ROW} AND jobs.id = ?", batch):
        with suppress(*UNREADABLE):
            return decode_batch(row[6]), decode_surroundings(row[7], row[8])
    return None


def newest_batch(journal: JournalReader, *, name: str | None, template: str, before: int) -> int | None:
    """The newest batch of that name, or where that is None of that template, with an id below `before`."""
    rows = journal.select(
        "SELECT id FROM jobs WHERE batch IS NOT NULL AND id < ? AND (? IS NULL OR name = ?) ORDER BY id DESC",
        before,
        name,
        name,
    )
    for (batch,) in rows:
        origin = batch_origin(journal, batch)
        if origin is not None and (name is not None or origin[0].template == template):
            return int(batch)
    return None
