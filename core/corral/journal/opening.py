"""Opens the journal's file, checks and upgrades it, sets a damaged one aside; the errors of a locked or full one."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from datetime import UTC, datetime
from urllib.parse import quote

from corral.home.directory import private_file
from corral.journal import tables
from corral.model.errors import CorralError
from corral.model.home import Home
from corral.platform.files.disk_usage import is_full

BUSY_SECONDS = 1.0
"""How long an opening waits for a lock of another program: the first reading of a journal that was not closed."""
_CHECKED_BYTES = 32 << 20
"""Up to this size every page is checked when a daemon starts (15 ms for 17 MB); above it, only what is read."""
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_LOCKED = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


class JournalError(CorralError):
    """The journal cannot be written or read now. Pending writes are kept for the next `commit`."""


class DamagedJournalError(JournalError):
    """The file does not contain an intact journal."""


class NoSpaceError(JournalError):
    """Its disk is full."""


class LockedJournalError(JournalError):
    """Another program has it locked, with SQLite or otherwise."""


def open_for_writing(
    path: str, before_writing: Callable[[sqlite3.Connection], None] = lambda _: None
) -> tuple[sqlite3.Connection, str | None]:
    """A connection to an intact journal, with its tables created if the file is empty; and the path of the copy made before an
    upgrade.

    `before_writing` is called with it while the files are as found. A journal of an earlier Corral is copied and then
    upgraded. The connection returned does not wait for locks: a locked file is an error at once.

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
            # Must precede the first page; on a file that has pages it only takes a lock.
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
    # A thread checkpoints the log (corral.journal.shrink) and waits for the disk, so that no commit does.
    connection.execute("PRAGMA wal_autocheckpoint = 0").fetchall()
    # Deleted data is overwritten with zeros: environments contain secrets (sqlite.org/pragma.html#pragma_secure_delete).
    connection.execute("PRAGMA secure_delete = ON").fetchall()


def _check_writable(connection: sqlite3.Connection) -> None:
    """Raises sqlite3.Error if a damaged header prevents writing. A lock of another writer is no reason."""
    try:
        connection.execute("BEGIN IMMEDIATE")
        try:
            # Only a change shows it: a transaction alone can be begun regardless.
            connection.execute(f"PRAGMA user_version = {tables.user_version(connection)}")
        finally:
            connection.execute("ROLLBACK")
    except sqlite3.Error as error:
        if _primary(error) not in _LOCKED:
            raise


def _upgraded(connection: sqlite3.Connection, path: str) -> str:
    """Copy and upgrade it; the path of the copy. Raises sqlite3.Error, JournalError."""
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
    """Copy all that is committed, including the log, with SQLite: opening and closing the file directly would release all
    locks that this process holds on it (fcntl_locking(2)). An incomplete copy is removed."""
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
    """A read-only connection, to an empty journal if there is none yet. Raises what `open_for_writing` raises.

    `patience`: seconds to wait for a lock of another program.

    Reading what a killed writer left in the write-ahead log needs the `-shm` file: SQLite creates it if the directory is
    writable (sqlite.org/wal.html). If not, or on a full disk, only a journal without such a log can be read.
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
    """An upgraded copy of an earlier Corral's journal: upgrading the file itself is left to the next daemon."""
    # A database without a name lives in memory, and spills to an unlinked file if large (sqlite.org/inmemorydb.html).
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
    # A job name that is not UTF-8 must not hide the rest of the list.
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
    """`error` as one line for users: damaged, full, locked, or SQLite's own text."""
    primary = _primary(error)
    if primary in _DAMAGED or _is_damaged_head(error, path):
        return DamagedJournalError(f"the journal {path} is damaged: {error}")
    # On a full disk, failing to create the log or its index is an I/O error to SQLite.
    if primary == sqlite3.SQLITE_FULL or (primary == sqlite3.SQLITE_IOERR and is_full(os.path.dirname(path))):
        return NoSpaceError(f"no space left for the journal {path}: free some; nothing is lost meanwhile")
    if primary in _LOCKED:
        # Imported here so that commands that only read do not load it.
        from corral.journal.lock_holders import describe_writers

        return LockedJournalError(
            f"the journal {path} is locked by {describe_writers(path)}; nothing is lost meanwhile"
        )
    return JournalError(f"cannot use the journal {path}: {error}")


def _primary(error: Exception) -> int:
    # Extended codes carry the primary one in their low byte (sqlite.org/rescode.html).
    return (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF


def _is_damaged_head(error: sqlite3.Error, path: str) -> bool:
    """A header that no SQLite supports: a schema format of 68, or a write version that forbids writing."""
    code = getattr(error, "sqlite_errorcode", None)
    if code == sqlite3.SQLITE_ERROR:
        return "unsupported file format" in str(error)
    return code == sqlite3.SQLITE_READONLY and os.access(path, os.W_OK)


def set_aside(home: Home, now: datetime | None = None) -> str:
    """Rename a damaged journal and its log; nothing is deleted. Returns the new path.

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
