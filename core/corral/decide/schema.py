"""The journal's tables, and how its file is opened, checked, and set aside where it is damaged."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from urllib.parse import quote

from corral.values.errors import CorralError
from corral.values.home import Home

VERSION = 1
"""In the file's `user_version`. A newer Corral refuses nothing older; an older one refuses what is newer."""

_LAST_VERSION = 1000
"""Beyond it a number is no format of ours but a damaged one."""
_ADDED_LATER = {"usage"}
"""Columns that a journal of this format may lack; they are added when it is opened."""
_STORIES = {
    "stories": "CREATE TABLE stories (job INTEGER PRIMARY KEY, content BLOB NOT NULL)",
    "forget_story": "CREATE TRIGGER forget_story AFTER DELETE ON jobs BEGIN DELETE FROM stories WHERE job = old.id; END",
}
"""What a journal of this format may lack, too: beside the tables that an older Corral knows, which goes on working. The
trigger is for such a one as well: it does not know that with a job there goes more."""

BUSY_SECONDS = 5.0
_CHECKED_BYTES = 32 << 20
"""Up to this size every page is checked at the start of a daemon (15 ms for 17 MB); beyond, only what it reads."""

_TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE environments (hash BLOB PRIMARY KEY, content BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE surroundings (
    number INTEGER PRIMARY KEY, hash BLOB NOT NULL UNIQUE, environment BLOB NOT NULL, content BLOB NOT NULL
);
CREATE INDEX surroundings_by_environment ON surroundings (environment);
CREATE TABLE jobs (
    id INTEGER PRIMARY KEY AUTOINCREMENT, state TEXT NOT NULL, starting INTEGER NOT NULL DEFAULT 0,
    hidden INTEGER NOT NULL DEFAULT 0, created REAL NOT NULL, started REAL, ended REAL, name TEXT,
    command TEXT NOT NULL, surroundings INTEGER, spec BLOB, life BLOB, snapshot BLOB, stop BLOB, usage BLOB
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
_TABLE_NAMES = frozenset({"meta", "environments", "surroundings", "jobs", "stages", "events"})


class JournalError(CorralError):
    """The journal cannot be written or read now. What was to be written is kept for the next `commit`."""


class DamagedJournalError(JournalError):
    """The journal's file holds no intact journal."""


def open_for_writing(
    path: str, before_writing: Callable[[sqlite3.Connection], None] = lambda _: None
) -> sqlite3.Connection:
    """A connection to an intact journal, its tables made where the file is empty.

    `before_writing` is called with it while the files are as they were found.

    Raises:
        DamagedJournalError: no database, one that is damaged, or another program's.
        JournalError: written by a newer Corral, or it cannot be opened.
    """
    connection = _connected(path, path, uri=False)
    try:
        check(connection, path)
        before_writing(connection)
        # Before the first page is written; on a file that has pages it does nothing.
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA journal_size_limit = 8388608")
        # What is deleted is overwritten with zeros: environments hold secrets (sqlite.org/pragma.html#pragma_secure_delete).
        connection.execute("PRAGMA secure_delete = ON").fetchall()
        if not _user_version(connection):
            _create(connection)
        elif "usage" not in _columns(connection, "jobs"):
            connection.execute("ALTER TABLE jobs ADD COLUMN usage BLOB")
        _make_stories(connection)
    except sqlite3.Error as error:
        connection.close()
        raise as_journal_error(error, path) from error
    except CorralError:
        connection.close()
        raise
    return connection


def open_for_reading(path: str) -> sqlite3.Connection:
    """A read-only connection; to an empty journal where there is none yet. Raises as `open_for_writing` does.

    What a killed writer left in the write-ahead log is read too, which needs the `-shm` file: SQLite makes it where
    the directory can be written (sqlite.org/wal.html). Where not, only a journal without such a log can be read.
    """
    if not os.path.exists(path) or not os.path.getsize(path):
        return _empty()
    location = f"file:{quote(os.fsencode(path))}?mode=ro"
    try:
        return _read_only(location, path)
    except DamagedJournalError:
        raise
    except JournalError:
        log = path + "-wal"
        if os.access(os.path.dirname(path), os.W_OK) or (os.path.exists(log) and os.path.getsize(log)):
            raise
        return _read_only(location + "&immutable=1", path)


def _empty() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    _create(connection)
    return connection


def _read_only(location: str, path: str) -> sqlite3.Connection:
    connection = _connected(location, path, uri=True)
    try:
        _check_kind(connection, path)
        if not _user_version(connection):
            connection.close()
            return _empty()
    except sqlite3.Error as error:
        connection.close()
        raise as_journal_error(error, path) from error
    except CorralError:
        connection.close()
        raise
    return connection


def _connected(location: str, path: str, *, uri: bool) -> sqlite3.Connection:
    try:
        connection = sqlite3.connect(
            location, timeout=BUSY_SECONDS, isolation_level=None, cached_statements=64, uri=uri
        )
    except sqlite3.Error as error:
        raise as_journal_error(error, path) from error
    # A damaged name must not hide the rest of the list.
    connection.text_factory = _tolerant_text
    return connection


def _tolerant_text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


def check(connection: sqlite3.Connection, path: str) -> None:
    """Raises DamagedJournalError, JournalError for a newer version, or sqlite3.Error."""
    if os.path.getsize(path) <= _CHECKED_BYTES:
        found: str = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if found != "ok":
            raise DamagedJournalError(f"the journal {path} is damaged: {' '.join(found.split())}")
    _check_kind(connection, path)


def _check_kind(connection: sqlite3.Connection, path: str) -> None:
    version = _user_version(connection)
    tables = _tables(connection)
    is_newer = VERSION < version < _LAST_VERSION and "meta" in tables
    is_ours = is_newer or (version == VERSION and tables >= _TABLE_NAMES and _has_our_columns(connection))
    if not is_ours and (version or tables):
        raise DamagedJournalError(f"the journal {path} is damaged: it holds no jobs of Corral")
    if version > VERSION:
        raise JournalError(
            f"the journal {path} was written by a newer Corral (format {version}, known here: {VERSION}): "
            "use that version, or set CORRAL_HOME to another directory"
        )


def _tables(connection: sqlite3.Connection) -> set[str]:
    return {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def _has_our_columns(connection: sqlite3.Connection) -> bool:
    """What SQLite checks is that the definitions of tables can be read, not that they are the ones that were written."""
    with closing(sqlite3.connect(":memory:")) as fresh:
        fresh.executescript(_TABLES)
        return all(
            _columns(connection, table) >= _columns(fresh, table) - _ADDED_LATER for table in _TABLE_NAMES
        )


def _columns(connection: sqlite3.Connection, table: str) -> set[str]:
    return {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}


def _user_version(connection: sqlite3.Connection) -> int:
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return version


def _create(connection: sqlite3.Connection) -> None:
    connection.executescript(f"BEGIN IMMEDIATE;{_TABLES}PRAGMA user_version = {VERSION};COMMIT;")


def _make_stories(connection: sqlite3.Connection) -> None:
    """Where they are not as they should be, they are made anew: a damaged definition would let nothing be written."""
    found = dict(connection.execute("SELECT name, sql FROM sqlite_master WHERE name IN (?, ?)", [*_STORIES]))
    if found != _STORIES:
        makes = "".join(f"{statement};" for statement in _STORIES.values())
        drops = "DROP TRIGGER IF EXISTS forget_story;DROP TABLE IF EXISTS stories;"
        connection.executescript(f"BEGIN IMMEDIATE;{drops}{makes}COMMIT;")


def has_stories(connection: sqlite3.Connection) -> bool:
    return _columns(connection, "stories") >= {"job", "content"}


def as_journal_error(error: sqlite3.Error, path: str) -> JournalError:
    """`error` as one line for a person: damaged, full, or whatever it is."""
    # Extended codes carry the primary one in their low byte (sqlite.org/rescode.html).
    primary = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
    if primary in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB) or _is_damaged_head(error, path):
        return DamagedJournalError(f"the journal {path} is damaged: {error}")
    if primary == sqlite3.SQLITE_FULL:
        return JournalError(f"no space left for the journal {path}: free some; nothing is lost meanwhile")
    return JournalError(f"cannot use the journal {path}: {error}")


def _is_damaged_head(error: sqlite3.Error, path: str) -> bool:
    """A header that asks for what no SQLite does: schema format 68, or a write version that lets nobody write."""
    code = getattr(error, "sqlite_errorcode", None)
    if code == sqlite3.SQLITE_ERROR:
        return "unsupported file format" in str(error)
    return code == sqlite3.SQLITE_READONLY and os.access(path, os.W_OK)


def set_aside(home: Home, now: datetime | None = None) -> str:
    """Rename a damaged journal, its log with it; nothing is deleted. The new path.

    Raises:
        CorralError: it cannot be renamed.
    """
    stamp = (now or datetime.now(UTC)).strftime("%Y%m%dT%H%M%S")
    target = f"{home.journal}.damaged-{stamp}"
    count = 1
    while os.path.lexists(target):
        count += 1
        target = f"{home.journal}.damaged-{stamp}.{count}"
    try:
        for suffix in ("-wal", "-shm", ""):
            if os.path.lexists(home.journal + suffix):
                os.rename(home.journal + suffix, target + suffix)
    except OSError as error:
        raise CorralError(f"cannot set the damaged journal {home.journal} aside: {error.strerror}") from None
    return target
