"""The journal's tables, and how those of an earlier Corral are upgraded.

A new column that may be null or has a default needs only a line in `TABLES`, and so does an index: it is added to files
that lack it, and an earlier Corral ignores it. Only if an earlier Corral would misread the rows does the format version
change, which is the file's `user_version`: add 1 to `VERSION`, and define in `_MIGRATIONS` how rows of the format before are
converted.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from functools import cache

VERSION = 1
"""A Corral reads older formats and refuses newer ones."""
LAST_VERSION = 1000
"""A larger number is damage."""

TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE environments (hash BLOB PRIMARY KEY, content BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE surroundings (
    number INTEGER PRIMARY KEY, hash BLOB NOT NULL UNIQUE, environment BLOB NOT NULL, content BLOB NOT NULL
);
CREATE INDEX surroundings_by_environment ON surroundings (environment);
CREATE TABLE jobs (
    id INTEGER PRIMARY KEY AUTOINCREMENT, state TEXT NOT NULL, starting INTEGER NOT NULL DEFAULT 0,
    hidden INTEGER NOT NULL DEFAULT 0, created REAL NOT NULL, started REAL, ended REAL, name TEXT,
    command TEXT NOT NULL, surroundings INTEGER, spec BLOB, life BLOB, snapshot BLOB, stop BLOB, usage BLOB, batch BLOB
);
CREATE INDEX jobs_unended ON jobs (id) WHERE ended IS NULL;
CREATE INDEX jobs_by_name ON jobs (name, id) WHERE name IS NOT NULL;
CREATE INDEX jobs_by_surroundings ON jobs (surroundings);
CREATE TABLE stages (
    job INTEGER NOT NULL, number INTEGER NOT NULL, pid INTEGER, started_ticks INTEGER, started REAL, ended REAL,
    exit_status INTEGER, signal TEXT, cpu_seconds REAL, PRIMARY KEY (job, number)
) WITHOUT ROWID;
CREATE TABLE events (job INTEGER NOT NULL, at REAL NOT NULL, kind TEXT NOT NULL, text TEXT NOT NULL);
CREATE INDEX events_by_job ON events (job);
"""
ADDED_TABLES = {
    "stories": "CREATE TABLE stories (job INTEGER PRIMARY KEY, content BLOB NOT NULL)",
    "forget_story": "CREATE TRIGGER forget_story AFTER DELETE ON jobs BEGIN DELETE FROM stories WHERE job = old.id; END",
    "runs": "CREATE TABLE runs (id INTEGER PRIMARY KEY, life BLOB NOT NULL)",
}
"""Added after the first release. Recreated if a definition differs: a damaged one would block all writes, and no running job
needs what is in it: of a running job of a batch the table `runs` has more than the marks of its processes tell. The trigger is for an earlier Corral, which does not delete these rows along with a job."""

Migration = Callable[[sqlite3.Connection], None]
_MIGRATIONS: Mapping[int, Migration] = {}
"""Converts the rows of a format, by its number, to the next one."""
_NAMES = frozenset(re.findall(r"CREATE TABLE (\w+)", TABLES))
_INDEXES = re.findall(r"CREATE INDEX[^;]*", TABLES)


def user_version(connection: sqlite3.Connection) -> int:
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return version


def create(connection: sqlite3.Connection) -> None:
    """Today's tables in an empty file, in one transaction. Raises sqlite3.Error."""
    later = ";".join(ADDED_TABLES.values())
    connection.executescript(f"BEGIN IMMEDIATE;{TABLES}{later};PRAGMA user_version = {VERSION};COMMIT;")


def table_names(connection: sqlite3.Connection) -> set[str]:
    return {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def are_ours(connection: sqlite3.Connection) -> bool:
    """Whether these are the tables of a Corral of today or before.

    What SQLite itself checks is that the definitions of tables can be read, not that they are the ones that were written.
    So an unknown column takes the place of a missing one. A column missing without one was not there yet.
    """
    if not table_names(connection) >= _NAMES:
        return False
    for table, wanted in _wanted().items():
        found = _columns(connection, table)
        missing = wanted.keys() - found.keys()
        if missing and (found.keys() - wanted.keys() or None in map(wanted.get, missing)):
            return False
    return True


def is_current(connection: sqlite3.Connection) -> bool:
    """Whether all that is read and written today is there."""
    has_columns = all(
        _columns(connection, table).keys() >= wanted.keys() for table, wanted in _wanted().items()
    )
    return user_version(connection) == VERSION and has_columns and _added_tables(connection) == ADDED_TABLES


def upgrade(connection: sqlite3.Connection) -> None:
    """Make today's tables of an earlier format's, in one transaction: all of it or nothing. Raises sqlite3.Error."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        _add_missing(connection)
        for version in range(user_version(connection), VERSION):
            if version in _MIGRATIONS:
                _MIGRATIONS[version](connection)
        connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        # A full disk may have rolled it back already (sqlite.org/lang_transaction.html).
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _add_missing(connection: sqlite3.Connection) -> None:
    for table, wanted in _wanted().items():
        for name in wanted.keys() - _columns(connection, table).keys():
            connection.execute(f"ALTER TABLE {table} ADD COLUMN {wanted[name]}")
    for index in _INDEXES:
        connection.execute(index.replace("CREATE INDEX", "CREATE INDEX IF NOT EXISTS"))
    found = _added_tables(connection)
    for name, definition in ADDED_TABLES.items():
        if found.get(name) != definition:
            kind = definition.split()[1]
            connection.execute(f"DROP {kind} IF EXISTS {name}")
            connection.execute(definition)


def _added_tables(connection: sqlite3.Connection) -> dict[str, str]:
    rows = connection.execute("SELECT name, sql FROM sqlite_master")
    return {name: definition for name, definition in rows if name in ADDED_TABLES}


@cache
def _wanted() -> dict[str, dict[str, str | None]]:
    with closing(sqlite3.connect(":memory:")) as fresh:
        fresh.executescript(TABLES)
        return {table: _columns(fresh, table) for table in _NAMES}


def _columns(connection: sqlite3.Connection, table: str) -> dict[str, str | None]:
    """The columns of a table, each with how it is added to a table that has rows; None where it cannot be."""
    rows = connection.execute(f"PRAGMA table_info({table})").fetchall()
    return {name: _definition(name, *rest) for _, name, *rest in rows}


def _definition(name: str, kind: str, not_null: int, default: str | None, key: int) -> str | None:
    if key or (not_null and default is None):
        return None
    return f"{name} {kind} NOT NULL DEFAULT {default}" if not_null else f"{name} {kind}"
