"""Who can end a wait: who has the other end of a pipe, a FIFO or a socket, who holds the lock.

First the job's own processes are asked, then the whole machine, as far as this user may look. What the machine told is
kept for a moment, since many jobs are looked at in one tick.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import NamedTuple

from corral.observe.waits import ProcessWait
from corral.system.filelocks import HeldLock, awaited_by, holders_by_descriptor, read_locks
from corral.system.openfiles import End, descriptors_of, ends_of
from corral.system.procfs import pids, read_stat
from corral.system.sockets import Socket, SocketTables

KEPT_SECONDS = 2.0
"""How long the open files of the machine, its locks and its sockets are believed."""
_SHARED = ("pipe:[", "socket:[")


class Held(NamedTuple):
    """Who can end one wait.

    `pids` may hold the waiting process itself, which then has the other end, and this daemon. `detail` says it better
    than the wait does. `is_complete`: everybody who could was found; where processes of other users may not be looked
    at, that is not known.
    """

    pids: tuple[int, ...]
    detail: str | None = None
    is_complete: bool = False


class _Machine:
    """What was read of the whole machine, for a moment."""

    def __init__(self) -> None:
        self.read_at = 0.0
        self._ends: dict[str, list[int]] | None = None
        self._hidden = False
        self._locks: list[HeldLock] | None = None
        self._sockets: dict[int, SocketTables] = {}

    def renew(self, now: float) -> None:
        if now - self.read_at > KEPT_SECONDS:
            self.read_at = now
            self._ends = self._locks = None
            self._sockets = {}

    def who_has(self, link: str) -> tuple[list[int], bool]:
        """The processes that have it open, and whether all could be looked at."""
        if self._ends is None:
            self._ends, self._hidden = _index()
        return self._ends.get(link, []), not self._hidden

    def locks(self) -> list[HeldLock]:
        if self._locks is None:
            self._locks = read_locks()
        return self._locks

    def sockets_of(self, pid: int) -> SocketTables:
        if pid not in self._sockets:
            self._sockets[pid] = SocketTables(pid)
        return self._sockets[pid]


def _index() -> tuple[dict[str, list[int]], bool]:
    """Link to the processes that have it open, of pipes, sockets and FIFOs; whether some could not be looked at."""
    found: dict[str, list[int]] = {}
    hidden = False
    for pid in pids():
        links = {link for _, link in descriptors_of(pid)}
        if not links and _may_be_hidden(pid):
            hidden = True
        for link in links:
            if link.startswith(_SHARED) or link.startswith("/"):
                found.setdefault(link, []).append(pid)
    return found, hidden


def _may_be_hidden(pid: int) -> bool:
    """Kernel threads have no descriptors; who else shows none may not be looked at, or has ended."""
    stat = read_stat(pid)
    return stat is not None and stat.resident_bytes > 0


class Holders:
    """Answers for the waits of many jobs. `own_pid`: this daemon, whose ends are known by other means."""

    def __init__(self, own_pid: int) -> None:
        self._own_pid = own_pid
        self._machine = _Machine()

    def of(self, wait: ProcessWait, family: Collection[int]) -> Held | None:
        """Who can end this wait; None where nobody is to be asked for it. `family`: the processes of its job."""
        self._machine.renew(time.monotonic())
        if wait.kind == "file_lock":
            return self._of_lock(wait, family)
        if wait.kind in ("pipe_read", "pipe_write") and wait.file is not None:
            return self._of_pipe(wait, family)
        if wait.kind in ("socket_read", "socket_write", "socket_connect") and wait.file is not None:
            return self._of_socket(wait, family)
        return None

    # ---- pipes

    def _of_pipe(self, wait: ProcessWait, family: Collection[int]) -> Held:
        assert wait.file is not None
        link = wait.file.name
        if wait.file.fd < 0:
            return Held((), is_complete=False)
        ends, is_complete = self._ends(link, family)
        wanted = [end for end in ends if (end.writes if wait.kind == "pipe_read" else end.reads)]
        if wait.file.kind == "pipe":
            # It has no name, so it spreads by inheritance: whoever has it is of the family of who does.
            is_complete = is_complete or any(end.pid in family for end in wanted)
        return Held(_ordered(wanted, wait.pid), is_complete=is_complete)

    def _ends(self, link: str, family: Collection[int]) -> tuple[list[End], bool]:
        """Everybody on this machine who has it open. Processes of the job are asked anew, the others as kept."""
        others, is_complete = self._machine.who_has(link)
        return ends_of(link, {*family, *others}), is_complete

    # ---- locks

    def _of_lock(self, wait: ProcessWait, family: Collection[int]) -> Held | None:
        lock = awaited_by(wait.pid, self._machine.locks())
        if lock is None:
            return None
        what = f"the lock on {wait.file.name}" if wait.file else "a file lock"
        holders = [lock.pid] if lock.pid > 0 and read_stat(lock.pid) is not None else []
        if lock.kind != "fcntl":
            holders = holders_by_descriptor(lock, family) or holders or self._holders_elsewhere(lock, wait)
        if not holders:
            return Held((), f"waits for {what} ({lock.kind}); who holds it may not be seen")
        return Held(tuple(holders), f"waits for {what} ({lock.kind}), which {_named(holders[0])} holds", True)

    def _holders_elsewhere(self, lock: HeldLock, wait: ProcessWait) -> list[int]:
        others = self._machine.who_has(wait.file.name)[0] if wait.file else []
        return holders_by_descriptor(lock, others)

    # ---- sockets

    def _of_socket(self, wait: ProcessWait, family: Collection[int]) -> Held | None:
        assert wait.file is not None
        if wait.file.inode is None:
            return None
        tables = self._machine.sockets_of(wait.pid)
        one = tables.find(wait.file.inode)
        if one is None:
            return None
        if wait.kind == "socket_connect":
            return self._of_connection(wait, one, tables, family)
        other = tables.other_end(one)
        ends = [] if other is None else self._ends(f"socket:[{other}]", family)[0]
        who = _ordered(ends, wait.pid)
        verb = "waits for data from" if wait.kind == "socket_read" else "waits to send to"
        whose = "itself" if who == (wait.pid,) else _named(who[0]) if who else ""
        told = f"{whose} by {_peer(one)}" if whose else _peer(one)
        return Held(who, f"{verb} {told}{_queued(one)} (fd {wait.fd})", bool(who))

    def _of_connection(
        self, wait: ProcessWait, one: Socket, tables: SocketTables, family: Collection[int]
    ) -> Held:
        listener = tables.listener_at(one.remote) if one.remote else None
        ends = [] if listener is None else self._ends(f"socket:[{listener}]", family)[0]
        who = _ordered(ends, wait.pid)
        listener_is = (
            "it listens there itself"
            if who == (wait.pid,)
            else f"{_named(who[0])} listens there"
            if who
            else ""
        )
        holder = f"; {listener_is} and does not accept" if who else ""
        return Held(who, f"waits to be connected to {_peer(one)}{holder} (fd {wait.fd})", bool(who))


def _ordered(ends: Collection[End], own: int) -> tuple[int, ...]:
    """Each process once, the waiting one last."""
    return tuple(sorted(dict.fromkeys(end.pid for end in ends), key=lambda pid: (pid == own, pid)))


def _named(pid: int) -> str:
    stat = read_stat(pid)
    return f"{pid}" if stat is None else f"{pid} ({stat.name})"


def _peer(one: Socket) -> str:
    where = one.remote or (f"the unix socket {one.local}" if one.local else "a unix socket")
    return f"{where} ({one.kind}, {one.state})" if one.kind != "unix" else where


def _queued(one: Socket) -> str:
    return f", {one.unsent} bytes unacknowledged" if one.unsent else ""
