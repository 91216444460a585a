"""How the journal's file is opened, checked, brought up to date, and set aside where it is damaged."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from datetime import UTC, datetime
from urllib.parse import quote

from corral.decide import tables
from corral.decide.homedir import private_file
from corral.system.disk_usage import is_full
from corral.values.errors import CorralError
from corral.values.home import Home

BUSY_SECONDS = 1.0
"""How long an opening waits for a lock of another program: the first reading of a journal that was not closed."""
_CHECKED_BYTES = 32 << 20
"""Up to this size every page is checked at the start of a daemon (15 ms for 17 MB); beyond, only what it reads."""
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_LOCKED = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


class JournalError(CorralError):
    """The journal cannot be written or read now. What was to be written is kept for the next `commit`."""


class DamagedJournalError(JournalError):
    """The journal's file holds no intact journal."""


class NoSpaceError(JournalError):
    """Its disk is full."""


class LockedJournalError(JournalError):
    """Another program keeps it locked, by SQLite or otherwise."""


def open_for_writing(
    path: str, before_writing: Callable[[sqlite3.Connection], None] = lambda _: None
) -> tuple[sqlite3.Connection, str | None]:
    """A connection to an intact journal, its tables made where the file is empty; and where a copy of it as it was is.

    `before_writing` is called with it while the files are as they were found. A journal of an earlier Corral is brought
    up to date, once a copy of it is kept. From then on nothing waits for a lock: what is locked is an error at once.

    Raises:
        DamagedJournalError: no database, one that is damaged, or another program's.
        JournalError: written by a newer Corral, or it cannot be opened or brought up to date; it is as it was.
    """
    connection = connect(path, path, uri=False)
    kept = None
    try:
        check(connection, path)
        before_writing(connection)
        is_empty = not tables.user_version(connection)
        if is_empty:
            # Before the first page is written; on a file that has pages it does nothing but ask for a lock.
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        configure(connection)
        if is_empty:
            tables.create(connection)
        connection.execute("PRAGMA busy_timeout = 0").fetchall()
        _check_writable(connection)
        if not tables.is_current(connection):
            kept = _upgraded(connection, path)
    except sqlite3.Error as error:
        connection.close()
        raise as_journal_error(error, path) from error
    except CorralError:
        connection.close()
        raise
    return connection, kept


def configure(connection: sqlite3.Connection) -> None:
    """The settings of every connection that writes. Raises sqlite3.Error."""
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA journal_size_limit = 8388608").fetchall()
    # The log is worked off by a thread (corral.decide.compaction), which waits for the disk: nobody who commits does.
    connection.execute("PRAGMA wal_autocheckpoint = 0").fetchall()
    # What is deleted is overwritten with zeros: environments hold secrets (sqlite.org/pragma.html#pragma_secure_delete).
    connection.execute("PRAGMA secure_delete = ON").fetchall()


def _check_writable(connection: sqlite3.Connection) -> None:
    """Raises sqlite3.Error where a damaged head lets nobody write. That somebody else writes just now is for later."""
    try:
        connection.execute("BEGIN IMMEDIATE")
        try:
            # It takes a change to find out: a transaction alone begins anyway.
            connection.execute(f"PRAGMA user_version = {tables.user_version(connection)}")
        finally:
            connection.execute("ROLLBACK")
    except sqlite3.Error as error:
        if _primary(error) not in _LOCKED:
            raise


def _upgraded(connection: sqlite3.Connection, path: str) -> str:
    """Where the copy is kept. Raises sqlite3.Error, JournalError."""
    kept = f"{path}.earlier"
    size = os.path.getsize(path)
    try:
        _copy(connection, f"{kept}.new")
        os.rename(f"{kept}.new", kept)
        tables.upgrade(connection)
    except (sqlite3.Error, OSError) as error:
        if _primary(error) in (*_DAMAGED, *_LOCKED):
            raise
        with suppress(OSError):
            os.unlink(kept)
        why = "no space left" if _is_out_of_space(error) else str(error)
        raise JournalError(
            f"cannot bring the journal {path} up to date, of which a copy ({size} bytes) is made first: {why};"
            " it is as it was"
        ) from None
    return kept


def _copy(connection: sqlite3.Connection, path: str) -> None:
    """All that is committed, the log's part included. By SQLite: who opens and closes the file itself lets go of all locks
    that its process holds on it (fcntl_locking(2)). Half a copy does not stay."""
    try:
        private_file(path)
        with closing(sqlite3.connect(path, isolation_level=None)) as copy:
            connection.backup(copy)
    except BaseException:
        with suppress(OSError):
            os.unlink(path)
        raise


def _is_out_of_space(error: Exception) -> bool:
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    return _primary(error) == sqlite3.SQLITE_FULL


def open_for_reading(path: str, patience: float = BUSY_SECONDS) -> sqlite3.Connection:
    """A read-only connection; to an empty journal where there is none yet. Raises as `open_for_writing` does.

    `patience`: seconds to wait for a lock of another program.

    What a killed writer left in the write-ahead log is read too, which needs the `-shm` file: SQLite makes it where
    the directory can be written (sqlite.org/wal.html). Where not, or on a full disk, only a journal without such a log can
    be read.
    """
    if not os.path.exists(path) or not os.path.getsize(path):
        return _empty()
    location = f"file:{quote(os.fsencode(path))}?mode=ro"
    try:
        return _read_only(location, path, patience)
    except DamagedJournalError:
        raise
    except JournalError as error:
        log = path + "-wal"
        may_make = os.access(os.path.dirname(path), os.W_OK) and not isinstance(error, NoSpaceError)
        if may_make or (os.path.exists(log) and os.path.getsize(log)):
            raise
        return _read_only(location + "&immutable=1", path, patience)


def _empty() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    tables.create(connection)
    return connection


def _read_only(location: str, path: str, patience: float) -> sqlite3.Connection:
    connection = connect(location, path, uri=True, patience=patience)
    try:
        _check_kind(connection, path)
        if not tables.user_version(connection):
            connection.close()
            return _empty()
        if not tables.is_current(connection):
            return _upgraded_copy(connection, path)
    except sqlite3.Error as error:
        connection.close()
        raise as_journal_error(error, path) from error
    except CorralError:
        connection.close()
        raise
    return connection


def _upgraded_copy(earlier: sqlite3.Connection, path: str) -> sqlite3.Connection:
    """A journal of an earlier Corral, as today's: the file itself is for the next daemon to change."""
    # One without a name is kept in memory, and in a file that nobody sees where it is large (sqlite.org/inmemorydb.html).
    connection = connect("", path, uri=False)
    with closing(earlier):
        earlier.backup(connection)
    tables.upgrade(connection)
    return connection


def connect(location: str, path: str, *, uri: bool, patience: float = BUSY_SECONDS) -> sqlite3.Connection:
    try:
        connection = sqlite3.connect(
            location, timeout=patience, isolation_level=None, cached_statements=64, uri=uri
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
    version = tables.user_version(connection)
    known = tables.table_names(connection)
    is_newer = tables.VERSION < version < tables.LAST_VERSION and "meta" in known
    is_ours = is_newer or (0 < version <= tables.VERSION and tables.are_ours(connection))
    if not is_ours and (version or known):
        raise DamagedJournalError(f"the journal {path} is damaged: it holds no jobs of Corral")
    if is_newer:
        raise JournalError(
            f"the journal {path} was written by a newer Corral (format {version}, known here: {tables.VERSION}): "
            "use that version, or set CORRAL_HOME to another directory"
        )


def as_journal_error(error: sqlite3.Error, path: str) -> JournalError:
    """`error` as one line for a person: damaged, full, or whatever it is."""
    primary = _primary(error)
    if primary in _DAMAGED or _is_damaged_head(error, path):
        return DamagedJournalError(f"the journal {path} is damaged: {error}")
    # A log or an index of it that cannot be made on a full disk is an error of input and output to SQLite.
    if primary == sqlite3.SQLITE_FULL or (primary == sqlite3.SQLITE_IOERR and is_full(os.path.dirname(path))):
        return NoSpaceError(f"no space left for the journal {path}: free some; nothing is lost meanwhile")
    if primary in _LOCKED:
        # Imported where it is needed: no command that only reads has to know of locks.
        from corral.decide.lockholders import describe_writers

        return LockedJournalError(
            f"the journal {path} is locked by {describe_writers(path)}; nothing is lost meanwhile"
        )
    return JournalError(f"cannot use the journal {path}: {error}")


def _primary(error: Exception) -> int:
    # Extended codes carry the primary one in their low byte (sqlite.org/rescode.html).
    return (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF


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
