"""Making the files of the journal smaller: the pages of deleted rows go back to the file system, the log into the database.

A journal is made with `auto_vacuum = INCREMENTAL`, so that pages are given back a few at a time between other work
(sqlite.org/pragma.html#pragma_incremental_vacuum). One that was made without it can only be vacuumed as a whole,
which also turns the mode on (sqlite.org/lang_vacuum.html) and blocks every other writer meanwhile: for an idle hour.

What may take long (fsync(2) of a busy disk, the log of a day) runs in a thread, on a connection of its own: all
functions that take a path.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from corral.journal.opening import as_journal_error, configure, connect

_INCREMENTAL = 2
_SLACK_PAGES = 256
_SLACK_SHARE = 4
"""Free pages are kept where the next jobs will need them: 256, or a quarter of those in use."""
_WORTH_A_VACUUM = 512
_LONG_LOG = 4096
"""Pages: 16 MB."""

_UNUSED = (
    # Of a journal that was made without it.
    "CREATE INDEX IF NOT EXISTS surroundings_by_environment ON surroundings (environment)",
    "DELETE FROM surroundings WHERE NOT EXISTS (SELECT 1 FROM jobs WHERE jobs.surroundings = surroundings.number)",
    "DELETE FROM environments WHERE NOT EXISTS "
    "(SELECT 1 FROM surroundings WHERE surroundings.environment = environments.hash)",
)


def drop_unused(connection: sqlite3.Connection) -> None:
    """Delete surroundings and environments that no job uses: their job was dropped before it was written. Raises sqlite3.Error."""
    for statement in _UNUSED:
        connection.execute(statement)


def incremental_vacuum(connection: sqlite3.Connection, pages: int) -> bool:
    """Give at most `pages` back to the file system; whether there are more. Raises sqlite3.Error."""
    surplus = _surplus(connection)
    if surplus <= 0 or not _is_incremental(connection):
        return False
    # The pragma frees one page per step, and Python steps a statement without columns only once; a script runs to its end.
    connection.executescript(f"PRAGMA incremental_vacuum({min(pages, surplus)})")
    return surplus > pages


def vacuum(path: str) -> bool:
    """VACUUM the whole file if that is the only way and much of it is free; whether it was done. Raises JournalError."""
    with _own_connection(path) as connection:
        if _is_incremental(connection) or _surplus(connection) < _WORTH_A_VACUUM:
            return False
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("VACUUM")
        return True


class Checkpoint(NamedTuple):
    """The pages of the write-ahead log, and how many of them are in the database too. Once all are, and no reader holds
    the log open, the next writer restarts it from the beginning."""

    pages: int
    done: int


def checkpoint(path: str) -> Checkpoint:
    """Copy the log into the database. Blocks writers only if the log is long, and then briefly, so that it can restart.
    Raises JournalError."""
    with _own_connection(path) as connection:
        log = _checkpoint(connection, "PASSIVE")
        return _checkpoint(connection, "RESTART") if log.pages > _LONG_LOG and log.done < log.pages else log


def truncate(path: str) -> None:
    """Shorten the database file to its pages and empty the log, unless another connection is busy. Raises JournalError."""
    with _own_connection(path) as connection:
        _checkpoint(connection, "PASSIVE")
        _checkpoint(connection, "TRUNCATE")


def _checkpoint(connection: sqlite3.Connection, mode: str) -> Checkpoint:
    _, pages, done = connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()
    return Checkpoint(max(0, pages), max(0, done))


@contextmanager
def _own_connection(path: str) -> Iterator[sqlite3.Connection]:
    """A connection separate from the daemon's."""
    connection = connect(path, path, uri=False)
    try:
        configure(connection)
        connection.execute("PRAGMA busy_timeout = 0").fetchall()
        yield connection
    except sqlite3.Error as error:
        raise as_journal_error(error, path) from error
    finally:
        connection.close()


def _surplus(connection: sqlite3.Connection) -> int:
    free = _number(connection, "freelist_count")
    used = _number(connection, "page_count") - free
    return free - max(_SLACK_PAGES, used // _SLACK_SHARE)


def _is_incremental(connection: sqlite3.Connection) -> bool:
    return _number(connection, "auto_vacuum") == _INCREMENTAL


def _number(connection: sqlite3.Connection, pragma: str) -> int:
    return int(connection.execute(f"PRAGMA {pragma}").fetchone()[0])
