"""A damaged write-ahead log: SQLite reads it up to the first bad frame and silently ignores the rest.

The format is that of sqlite.org/fileformat2.html#walformat: a header of 32 bytes, then frames of 24 bytes and a page.
All frames that were written since the log was last restarted carry the same two salts; the last one of a transaction
holds the size of the database.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import struct
from collections import Counter
from datetime import UTC, datetime
from typing import NamedTuple

from corral.model.errors import CorralError

_HEADER = struct.Struct(">8I")
_FRAME = struct.Struct(">6I")
_JOBS_A_FRAME = 64
"""At most: no row of a job is shorter than 64 bytes, and a page has 4 KiB."""


class LostWrites(NamedTuple):
    """The copy of a log that SQLite could not read to its end, and how many job ids may be in the lost part."""

    kept: str
    ids: int


class _WalFrame(NamedTuple):
    salts: tuple[int, int]
    is_commit: bool


def save_damaged_wal(connection: sqlite3.Connection, path: str) -> LostWrites | None:
    """Copy the log aside if committed entries in it can no longer be read; None if all can.

    Call it before anything is written: a write continues after the last good frame.

    Raises:
        CorralError: it could not be copied.
        sqlite3.Error: the database cannot be read.
    """
    log = path + "-wal"
    frames = _frames(log)
    if not frames:
        return None
    # PASSIVE leaves the file of the log as it is (sqlite.org/pragma.html#pragma_wal_checkpoint).
    read: int = max(0, connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()[1])
    unread = frames[read:]
    # The very last frame may have been cut off by the end of the daemon itself.
    if not any(frame.is_commit for frame in unread[:-1]):
        return None
    kept = f"{log}.damaged-{datetime.now(UTC):%Y%m%dT%H%M%S.%f}"
    try:
        shutil.copy(log, kept)
    except OSError as error:
        raise CorralError(f"cannot keep a copy of the damaged log {log}: {error.strerror}") from None
    return LostWrites(kept, _JOBS_A_FRAME * len(unread))


def _frames(log: str) -> list[_WalFrame]:
    """Frames written since the log's last restart, in order, without older ones that are not yet overwritten."""
    try:
        with open(log, "rb") as file:
            head = file.read(_HEADER.size)
            if len(head) < _HEADER.size:
                return []
            _, _, page_size, _, *salts, _, _ = _HEADER.unpack(head)
            size = os.fstat(file.fileno()).st_size
            found = _read_frames(file.fileno(), size, page_size if 512 <= page_size <= 65536 else 4096)
    except FileNotFoundError:
        return []
    # Any one of these may be damaged, so the majority decides.
    votes = Counter([(salts[0], salts[1]), *(frame.salts for frame in found[:3])])
    ours = votes.most_common(1)[0][0]
    newest = max((index for index, frame in enumerate(found) if frame.salts == ours), default=-1)
    return found[: newest + 1]


def _read_frames(descriptor: int, size: int, page_size: int) -> list[_WalFrame]:
    frames = []
    step = _FRAME.size + page_size
    for offset in range(_HEADER.size, size - step + 1, step):
        _, pages, first, second, _, _ = _FRAME.unpack(os.pread(descriptor, _FRAME.size, offset))
        frames.append(_WalFrame((first, second), pages != 0))
    return frames
