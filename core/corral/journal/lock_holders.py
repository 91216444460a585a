"""Which processes lock the journal, from the locks that SQLite takes as /proc/locks shows them (proc_locks(5)).

In WAL mode they are single bytes of the `-shm` file (sqlite.org/walformat.html#locks): 120 for the writer, 121 for a
checkpoint, 122 for recovery after a crash, 123 to 127 for readers. In the database itself bytes from 2^30 on are locked:
shared by every connection, exclusively by one in exclusive mode.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from corral.model.text import one_line
from corral.platform.host.procfs import read_stat
from corral.platform.inspect.file_locks import HeldLock, locks_on

_READS = (123, 127)


def describe_writers(path: str) -> str:
    """The processes with a write lock, and what to do; `another program` if the system does not show them."""
    held = [lock for lock in (*locks_on(path), *locks_on(f"{path}-shm")) if lock.access == "WRITE"]
    names = _names(held)
    return f"{names}: end its transaction, or that program" if names else "another program"


def describe_readers(path: str) -> str | None:
    """Other processes in a read transaction, which keep the log from being emptied; None without any."""
    return _names(lock for lock in locks_on(f"{path}-shm") if lock.covers(*_READS)) or None


def _names(locks: Iterable[HeldLock]) -> str:
    pids = dict.fromkeys(lock.pid for lock in locks if lock.pid not in (os.getpid(), 0, -1))
    return " and ".join(map(_name, pids))


def _name(pid: int) -> str:
    stat = read_stat(pid)
    return f"pid {pid}" if stat is None else f"{one_line(stat.name)} (pid {pid})"
