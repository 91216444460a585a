"""Who keeps the journal locked: told by the locks that SQLite takes, and /proc/locks shows (proc_locks(5)).

In WAL mode they are single bytes of the `-shm` file (sqlite.org/walformat.html#locks): 120 of who writes, 121 of who
empties the log, 122 of who reads it in after a crash, 123 to 127 of who reads. In the database itself bytes from 2^30 on
are locked, for reading by all who are connected, for writing by one who wants it for itself alone.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from corral.system.file_locks import HeldLock, locks_on
from corral.system.procfs import read_stat
from corral.values.text import one_line

_READS = (123, 127)


def describe_writers(path: str) -> str:
    """Whoever keeps others from writing or reading, and what helps; `another program` where the system does not tell."""
    held = [lock for lock in (*locks_on(path), *locks_on(f"{path}-shm")) if lock.access == "WRITE"]
    names = _names(held)
    return f"{names}: end its transaction, or that program" if names else "another program"


def describe_readers(path: str) -> str | None:
    """Whoever reads the journal in a transaction now, so that its log cannot be emptied; None where nobody else does."""
    return _names(lock for lock in locks_on(f"{path}-shm") if lock.covers(*_READS)) or None


def _names(locks: Iterable[HeldLock]) -> str:
    pids = dict.fromkeys(lock.pid for lock in locks if lock.pid not in (os.getpid(), 0, -1))
    return " and ".join(map(_name, pids))


def _name(pid: int) -> str:
    stat = read_stat(pid)
    return f"pid {pid}" if stat is None else f"{one_line(stat.name)} (pid {pid})"
