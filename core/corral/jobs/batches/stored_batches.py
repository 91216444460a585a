"""What the journal has of batches, and of those of their jobs that had not ended. The rest is in the batches' files."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import Struct

from corral.batch.batch_rows import BATCH_ROW
from corral.commandline.program_name import program_name
from corral.journal.journal import Journal
from corral.journal.rows import UNREADABLE, decode_batch, decode_batch_life
from corral.journal.unfinished_jobs import StoredJob, lose, surroundings_of, with_rows
from corral.lifecycle.batch_life import BatchLife
from corral.lifecycle.state import Life
from corral.lifecycle.state_machine import new_life
from corral.model.batch import BatchSpec
from corral.model.spec import JobSpec, Surroundings

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
        for row in journal.select(f"{BATCH_ROW} AND jobs.ended IS NULL ORDER BY jobs.id")
        if journal.is_unended(row[0])
    ]


def _run_life(journal: Journal, run: int) -> bytes | None:
    """Where more than its processes is to be known."""
    rows = journal.select("SELECT life FROM runs WHERE id = ?", run)
    return rows[0][0] if rows else None
