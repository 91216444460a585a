"""What the journal has of batches, running or ended."""

from __future__ import annotations

from contextlib import suppress

from corral.journal.reader import JournalReader
from corral.journal.rows import UNREADABLE, decode_batch, decode_surroundings
from corral.model.batch import BatchSpec
from corral.model.spec import Surroundings

BATCH_ROW = (
    "SELECT jobs.id, jobs.created, jobs.hidden, jobs.name, jobs.command, jobs.life, jobs.batch, "
    "surroundings.content, environments.content FROM jobs "
    "LEFT JOIN surroundings ON surroundings.number = jobs.surroundings "
    "LEFT JOIN environments ON environments.hash = surroundings.environment WHERE jobs.batch IS NOT NULL"
)


def batch_origin(journal: JournalReader, batch: int) -> tuple[BatchSpec, Surroundings] | None:
    """What a batch was started with; None where it is none, or that can no longer be read."""
    for row in journal.select(f"{BATCH_ROW} AND jobs.id = ?", batch):
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
