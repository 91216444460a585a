"""Giving the pages of deleted rows back to the file system.

A journal is made with `auto_vacuum = INCREMENTAL`, so that pages are given back a few at a time between other work
(sqlite.org/pragma.html#pragma_incremental_vacuum). One that was made without it can only be written anew as a whole,
which also turns the mode on (sqlite.org/lang_vacuum.html) and keeps every other writer waiting: for an idle hour.
"""

from __future__ import annotations

import sqlite3

_INCREMENTAL = 2
_SLACK_PAGES = 256
_SLACK_SHARE = 4
"""Free pages are kept where the next jobs will need them: 256, or a quarter of those in use."""
_WORTH_WRITING_ANEW = 512


_UNUSED = (
    # Of a journal that was made without it.
    "CREATE INDEX IF NOT EXISTS surroundings_by_environment ON surroundings (environment)",
    "DELETE FROM surroundings WHERE NOT EXISTS (SELECT 1 FROM jobs WHERE jobs.surroundings = surroundings.number)",
    "DELETE FROM environments WHERE NOT EXISTS "
    "(SELECT 1 FROM surroundings WHERE surroundings.environment = environments.hash)",
)


def drop_unused(connection: sqlite3.Connection) -> None:
    """Surroundings and environments without a job: of one that was forgotten before it was written. Raises sqlite3.Error."""
    for statement in _UNUSED:
        connection.execute(statement)


def give_back_some(connection: sqlite3.Connection, pages: int) -> bool:
    """Give at most `pages` back. Whether there are more to give. Raises sqlite3.Error."""
    surplus = _surplus(connection)
    if surplus <= 0 or not _is_incremental(connection):
        return False
    # It gives back one page a step, and Python steps a statement without columns once; a script is stepped to its end.
    connection.executescript(f"PRAGMA incremental_vacuum({min(pages, surplus)})")
    return surplus > pages


def write_anew(connection: sqlite3.Connection) -> bool:
    """The whole file, where that is the only way and much of it is free. Whether it was done. Raises sqlite3.Error."""
    if _is_incremental(connection) or _surplus(connection) < _WORTH_WRITING_ANEW:
        return False
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    connection.execute("VACUUM")
    return True


def shorten(connection: sqlite3.Connection) -> None:
    """Make the file as short as its pages are, and the write-ahead log empty; not where a reader would be waited for."""
    patience = _number(connection, "busy_timeout")
    connection.execute("PRAGMA busy_timeout = 0")
    try:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    finally:
        connection.execute(f"PRAGMA busy_timeout = {patience}")


def _surplus(connection: sqlite3.Connection) -> int:
    free = _number(connection, "freelist_count")
    used = _number(connection, "page_count") - free
    return free - max(_SLACK_PAGES, used // _SLACK_SHARE)


def _is_incremental(connection: sqlite3.Connection) -> bool:
    return _number(connection, "auto_vacuum") == _INCREMENTAL


def _number(connection: sqlite3.Connection, pragma: str) -> int:
    return int(connection.execute(f"PRAGMA {pragma}").fetchone()[0])
