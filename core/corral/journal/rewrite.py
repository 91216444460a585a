"""Detects that a journal's file was removed or replaced while open, and rewrites it from the open connection.

SQLite keeps using the files that it has open (how-to-corrupt, section 4.3, at sqlite.org): what it writes is lost.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from datetime import UTC, datetime
from typing import NamedTuple

from corral.home.directory import private_file
from corral.journal.opening import as_journal_error, open_for_writing
from corral.model.errors import CorralError
from corral.model.home import Home

FileId = tuple[int, int]


class Files(NamedTuple):
    """Which files the paths of a journal lead to. `log` is None until it is first written."""

    journal: FileId | None
    log: FileId | None


def file_id(path: str) -> FileId | None:
    """Device and inode, of a symlink itself; None if nothing is there. Raises OSError if that cannot be determined."""
    try:
        found = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_dev, found.st_ino


def files_of(home: Home) -> Files:
    return Files(file_id(home.journal), file_id(f"{home.journal}-wal"))


def is_in_place(opened: Files, now: Files) -> bool:
    """Whether the paths still lead to the files that were opened; the log may have been created since."""
    return now.journal == opened.journal and opened.log in (None, now.log)


def rewrite(
    home: Home, opened: Files, connection: sqlite3.Connection
) -> tuple[sqlite3.Connection, str | None]:
    """Write all that `connection` holds to the journal's path, and open that; also returns where a file found there was moved.

    Raises:
        CorralError: it cannot be written; `connection` stays open.
    """
    draft = f"{home.journal}.new"
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(draft)
        private_file(draft)
        with contextlib.closing(sqlite3.connect(draft)) as target:
            connection.backup(target)
        kept = _set_aside(home, opened)
        os.rename(draft, home.journal)
    except sqlite3.Error as error:
        raise as_journal_error(error, home.journal) from error
    except OSError as error:
        raise CorralError(f"cannot rewrite the journal {home.journal}: {error.strerror}") from None
    fresh, _ = open_for_writing(home.journal)
    # The last connection to close removes the log at its path (sqlite.org/wal.html), unless the journal was moved: as here.
    connection.close()
    return fresh, kept


def _set_aside(home: Home, opened: Files) -> str | None:
    """Rename a file that is not ours. Leave no log, which SQLite would take for the new journal's."""
    kept = None
    now = files_of(home)
    if now.journal not in (None, opened.journal):
        kept = f"{home.journal}.replaced-{datetime.now(UTC):%Y%m%dT%H%M%S.%f}"
        os.rename(home.journal, kept)
        if now.log not in (None, opened.log):
            os.rename(f"{home.journal}-wal", f"{kept}-wal")
    for suffix in ("-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(home.journal + suffix)
    return kept
