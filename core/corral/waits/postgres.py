"""Which process of PostgreSQL keeps another waiting for a lock in the database, by the titles of the processes.

Each client has a process of its own at the server, a backend, and by its title that tells what it does (ps_status.c, unless
`update_process_title` is off): `postgres: USER DATABASE HOST COMMAND`, with ` waiting` at the end while it waits for a lock.
Which backend holds that lock only the server's own memory tells (`pg_blocking_pids()`), so all that may hold it are named.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from corral.platform.host.procfs import read_file
from corral.platform.inspect.fdinfo import children_of

PROGRAM = "postgres"
MOST_BACKENDS = 512
_WAITS = " waiting"
_IN_TRANSACTION = "idle in transaction"


class PostgresBackend(NamedTuple):
    """`database` is None for the server's own helpers; `does` is `UPDATE waiting`, `idle in transaction`, `idle`."""

    pid: int
    database: str | None
    does: str

    @property
    def waits_for_lock(self) -> bool:
        return self.database is not None and self.does.endswith(_WAITS)


class LockWait(NamedTuple):
    """A backend's wait for a lock, and who may hold that: those most likely first."""

    command: str
    holders: tuple[PostgresBackend, ...]


def parse_title(pid: int, title: str) -> PostgresBackend | None:
    """What the title of a process of PostgreSQL tells; None for one of another form."""
    words = title.split()
    if len(words) < 2 or words[0] != "postgres:":
        return None
    if words[1].endswith(":"):
        del words[1]  # `cluster_name`
    if len(words) < 5:
        return PostgresBackend(pid, None, " ".join(words[1:]))
    return PostgresBackend(pid, words[2], " ".join(words[4:]))


def backend(pid: int) -> PostgresBackend | None:
    """What a process of PostgreSQL does. 5 µs."""
    title = (read_file(f"/proc/{pid}/cmdline") or b"").partition(b"\0")[0]
    return parse_title(pid, title.decode("utf-8", "replace")) if title.startswith(b"postgres: ") else None


def backends_of(server: int) -> list[PostgresBackend]:
    """What all processes of a server do. 5 µs each."""
    found = (backend(pid) for pid in children_of(server)[:MOST_BACKENDS])
    return [one for one in found if one is not None]


def lock_wait(pid: int, backends: Iterable[PostgresBackend]) -> LockWait | None:
    """The wait of one of these for a lock; None where it waits for none."""
    several = list(backends)
    one = next((one for one in several if one.pid == pid), None)
    if one is None or not one.waits_for_lock:
        return None
    # A backend that waits for a lock may hold another one; one that is idle outside of a transaction holds none.
    able = [
        other
        for other in several
        if other.pid != pid and other.database == one.database and other.does != "idle"
    ]
    able.sort(key=_unlikely)
    likely = tuple(other for other in able if _unlikely(other) == _unlikely(able[0]))
    return LockWait(one.does.removesuffix(_WAITS), likely)


def _unlikely(other: PostgresBackend) -> int:
    """A backend that waits for its client keeps its locks for as long as that likes; one at work gives them back."""
    if other.does.startswith(_IN_TRANSACTION):
        return 0
    return 2 if other.waits_for_lock else 1
