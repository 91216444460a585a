"""The history of a job as bytes of the journal and back: small, whatever was diagnosed."""

from __future__ import annotations

import zlib
from datetime import datetime

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from corral.journal.rows import encode
from corral.model.history import FIRST_CELL_SECONDS, MOST_CELLS, LifePast
from corral.model.job import Job
from corral.model.reports import Diagnosis, Frame, PythonStack, Story, Wait

MOST_WAITS = 50
"""Processes of a stored diagnosis: of a tree of thousands the first are as good as all."""
MOST_STACKS = 16
"""Stacks in it."""
MOST_TEXT = 500
"""Characters of one sentence in it: paths in them may be long."""
_WORTH_PACKING = 300
_END = 1 << 60
"""No number of seconds or bytes is beyond it."""
_MOST_BYTES = 1 << 20
"""Of what is unpacked: more is damage."""


class HistoryRow(Struct, frozen=True, array_like=True):
    """What the journal keeps beyond the end of a job. `age` is the job's at the last look, in seconds; None once it has ended."""

    life: LifePast
    diagnosis: Diagnosis | None = None
    diagnosed: datetime | None = None
    age: float | None = None


_rows = msgspec.json.Decoder(HistoryRow)


def encode_history(row: HistoryRow) -> bytes:
    """Level 1 takes 30 µs at least, and makes a long life a quarter of its size: a short one stays as it is."""
    raw = encode(row)
    return raw if len(raw) < _WORTH_PACKING else zlib.compress(raw, 1)


def decode_history(raw: bytes) -> HistoryRow:
    """Raises one of `corral.journal.rows.UNREADABLE` for what is damaged."""
    is_plain = raw.startswith(b"[")
    row = _rows.decode(raw if is_plain else zlib.decompressobj().decompress(raw, _MOST_BYTES))
    life = row.life
    is_life = len(life.cpu) == len(life.memory) <= MOST_CELLS and FIRST_CELL_SECONDS <= life.seconds < _END
    if not is_life or any(not 0 <= peak < _END for peak in life.memory if peak is not None):
        raise ValueError("no history of a job")
    return row


def history_of(job: Job, row: HistoryRow | None) -> Story:
    """Of a job that has ended."""
    if row is None:
        return Story(job.id, life=_in_one(job))
    return Story(job.id, row.diagnosis, row.diagnosed, row.life if row.life.cpu else _in_one(job))


def _in_one(job: Job) -> LifePast:
    """Of one that ended too soon to be watched: its mean and its peak, as far as they are known."""
    if not job.elapsed or job.cpu_seconds is None:
        return LifePast()
    return LifePast(
        job.elapsed, (round(100 * job.cpu_seconds / job.elapsed, 1),), (job.peak_memory_bytes,)
    )  # fmt: skip


def shortened(diagnosis: Diagnosis) -> Diagnosis:
    """The same, of a size that can be kept. What it advises is for a job that runs: left out."""
    named = {pid for pid in (*diagnosis.cycle, diagnosis.root and diagnosis.root.pid) if pid is not None}
    first = {wait.pid for wait in diagnosis.waits[:MOST_WAITS]}
    kept = tuple(_cut_wait(wait) for wait in diagnosis.waits if wait.pid in first or wait.pid in named)
    unseen = tuple(cut(reason) for reason in diagnosis.not_looked_at[:MOST_WAITS])
    missing = len(diagnosis.waits) - len(kept)
    if missing:
        unseen += (f"{missing} more processes: only the first {MOST_WAITS} are kept",)
    stacks = tuple(map(_cut_stack, diagnosis.stacks[:MOST_STACKS]))
    if len(stacks) < len(diagnosis.stacks):
        unseen += (
            f"{len(diagnosis.stacks) - MOST_STACKS} more stacks: only the first {MOST_STACKS} are kept",
        )
    return replace(
        diagnosis,
        summary=cut(diagnosis.summary),
        waits=kept,
        advice=(),
        not_looked_at=unseen,
        stacks=stacks,
    )


def _cut_stack(stack: PythonStack) -> PythonStack:
    frames = (Frame(cut(each.file), each.line, cut(each.function)) for each in stack.frames)
    name = None if stack.thread_name is None else cut(stack.thread_name)
    return replace(stack, frames=tuple(frames), thread_name=name)


def _cut_wait(wait: Wait) -> Wait:
    return replace(wait, detail=cut(wait.detail))


def cut(text: str) -> str:
    """At most `MOST_TEXT` characters of it; where it was longer, `…` stands at the end."""
    return text if len(text) <= MOST_TEXT else f"{text[: MOST_TEXT - 1]}…"
