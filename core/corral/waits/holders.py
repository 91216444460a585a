"""The processes that can end a wait: those with the other end of a pipe, FIFO or socket, and holders of locks.

First the job's own processes are asked, then the whole machine, as far as this user may look. What the machine told is
kept for a moment, since many jobs are looked at in one tick.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from itertools import islice
from typing import NamedTuple

from corral.platform.host.procfs import read_stat
from corral.platform.inspect.fdinfo import children_of, process_of_pidfd, terminal_of_master
from corral.platform.inspect.file_locks import (
    HeldLock,
    awaited_by,
    has_by_inheritance,
    holders_by_descriptor,
    in_the_way,
)
from corral.platform.inspect.ipc import semaphore_state, shared_memory, shares
from corral.platform.inspect.open_files import End, OpenFile, descriptors_of, ends_of, modes, open_file
from corral.platform.inspect.process_mounts import Mount, servers_of
from corral.platform.inspect.sockets import Socket, SocketTables, forget_tables, tables_of
from corral.platform.process.cpu_clock import cpu_nanoseconds
from corral.waits.machine_files import KEPT_SECONDS, MOST_DESCRIPTORS, SHARED_LINKS, MachineFiles
from corral.waits.postgres import PROGRAM, lock_wait
from corral.waits.process_wait import ProcessWait
from corral.waits.socket_peers import (
    address_of,
    describe_other_end,
    is_answer_due,
    pid_and_name,
    silent_for,
    unsent_text,
)

FEWEST_DESCRIPTORS = 16
"""Those of each process of a job that are looked at however many processes there are."""
WORKS = 0.005
"""The share of a core beyond which somebody else's process is at work."""
FORGOTTEN_AFTER = 60.0
MOST_TRIED = 256
"""Descriptors of a process that tries a lock; 13 µs each."""
MOST_PASSED_ON = 64
"""Descriptors of a process that passes on what others ask of it; one with more has many clients, and nothing tells which."""
MOST_SHARING = 32
"""Processes of a job that are asked whether they share a piece of memory."""


class WaitHolders(NamedTuple):
    """The processes that can end one wait.

    `pids` may hold the waiting process itself, which then has the other end, and this daemon. `detail` says it better
    than the wait does. `is_complete`: everybody who could was found; where processes of other users may not be looked
    at, that is not known. `silent_for`: seconds since the other side of a TCP connection has sent anything; None where not told.
    """

    pids: tuple[int, ...]
    detail: str | None = None
    is_complete: bool = False
    silent_for: float | None = None
    brings_news: bool = False
    """Whether the other side is there to tell of what happens, such as a display, and owes no answer."""


class _Clock(NamedTuple):
    """What is known of the CPU time of somebody else's process. Monotonic seconds, nanoseconds."""

    seen_at: float
    used: int
    still_since: float
    """It was first seen then, or was seen to have moved."""


class JobProcesses:
    """The processes of one job while it is looked at once, and what they have open, read when first asked for."""

    def __init__(self, members: Collection[int]) -> None:
        self.pids = frozenset(members)
        self.is_cut = False
        self.has_asked = False
        """Whether all the machine was looked at for one of them."""
        self._order = tuple(members)
        self._open: dict[str, list[tuple[int, int]]] | None = None
        self._ends: dict[str, list[End]] = {}
        self._answers: dict[tuple[str, bool], WaitHolders] = {}

    def ends(self, link: str) -> list[End]:
        """The descriptors by which they have it open."""
        if self._open is None:
            self._open = self._index()
        if link not in self._ends:
            self._ends[link] = [End(pid, fd, *modes(pid, fd)) for pid, fd in self._open.get(link, ())]
        return self._ends[link]

    def remember(self, question: tuple[str, bool], find: Callable[[], WaitHolders]) -> WaitHolders:
        """The answer to a question that many of them have: who has the other end of a pipe."""
        if question not in self._answers:
            self._answers[question] = find()
        return self._answers[question]

    def _index(self) -> dict[str, list[tuple[int, int]]]:
        found: dict[str, list[tuple[int, int]]] = {}
        share = max(FEWEST_DESCRIPTORS, MOST_DESCRIPTORS // max(1, len(self._order)))
        for pid in self._order:
            for number, (fd, link) in enumerate(descriptors_of(pid)):
                if number == share:
                    self.is_cut = True
                    break
                if link.startswith(SHARED_LINKS):
                    found.setdefault(link, []).append((pid, fd))
        return found


class Holders:
    """Answers for the waits of many jobs. `own_pid`: this daemon, whose ends are known by other means."""

    def __init__(self, own_pid: int) -> None:
        self._own_pid = own_pid
        self._machine = MachineFiles()
        self._clocks: dict[int, _Clock] = {}

    def begin(self, members: Collection[int]) -> JobProcesses:
        """Begin to look at a job with these processes; what is known of the machine is not renewed while it is looked at."""
        self._machine.renew(time.monotonic())
        return JobProcesses(members)

    def at_work(self, found: ProcessWait) -> ProcessWait:
        """Somebody else's process, as one that runs where it used the CPU since it was looked at before.

        It may sit in any wait at the moment that we look, such as a database at its disk, and answer all the same.
        """
        now, used = time.monotonic(), cpu_nanoseconds(found.pid)
        self._clocks = {
            pid: seen for pid, seen in self._clocks.items() if now - seen.seen_at < FORGOTTEN_AFTER
        }
        if used is None:
            return found
        before = self._clocks.get(found.pid, _Clock(now, used, now))
        since = before.still_since if used == before.used else now
        if found.pid not in self._clocks or now - before.seen_at > KEPT_SECONDS:
            self._clocks[found.pid] = _Clock(now, used, since)
        elif since == now:
            self._clocks[found.pid] = before._replace(still_since=now)
        if used - before.used <= WORKS * 1e9 * (now - before.seen_at):
            return found
        return found._replace(kind="running", detail="is at work", reason=None)

    def still_for(self, pid: int) -> float:
        """Seconds for which somebody else's process, looked at just now, has not used the CPU as far as was seen."""
        clock = self._clocks.get(pid)
        return 0.0 if clock is None else time.monotonic() - clock.still_since

    def forget(self) -> None:
        """Forget all; the next question looks again."""
        self._machine = MachineFiles()
        forget_tables()

    def forget_locks(self) -> None:
        """Forget the locks: those of processes that move change quickly."""
        self._machine.forget_locks()

    def cuts(self, family: JobProcesses) -> tuple[str, ...]:
        """What was left out, in words, because there is too much of it."""
        found = []
        if family.is_cut:
            found.append(
                f"some of the descriptors of its processes: there are more than {MOST_DESCRIPTORS:,}"
            )
        if family.has_asked and self._machine.is_cut:
            found.append("some processes of this machine: there are too many open descriptors")
        return tuple(found)

    def of(self, wait: ProcessWait, family: JobProcesses) -> WaitHolders | None:
        """The processes that can end this wait; None where there are none to ask about. `family`: those of its job."""
        if wait.kind == "file_lock":
            return self._of_lock(wait, family)
        if wait.kind in ("pipe_read", "pipe_write") and wait.file is not None:
            return self._of_pipe(wait, family)
        if wait.kind in ("socket_read", "socket_write", "socket_connect") and wait.file is not None:
            return self._of_socket(wait, family)
        if wait.mount is not None and wait.mount.is_fuse:
            return self._of_file_system(wait.mount, family)
        if wait.call in ("semop", "semtimedop"):
            return self._of_semaphore(wait)
        if wait.kind == "event_loop" and wait.several:
            return self._of_several(wait, family)
        if wait.kind == "futex" and wait.shared is not None and not wait.ring:
            return self._of_memory(wait, family)
        return None

    # ---- pipes

    def _of_pipe(self, wait: ProcessWait, family: JobProcesses) -> WaitHolders:
        assert wait.file is not None
        link = wait.file.name
        if wait.file.fd < 0:
            return WaitHolders((), is_complete=False)
        reads = wait.kind == "pipe_read"
        return family.remember((link, reads), lambda: self._at_other_end(link, family, reads=reads))

    def _at_other_end(self, link: str, family: JobProcesses, *, reads: bool) -> WaitHolders:
        wanted, is_complete = self._other_ends(link, family, reads=reads)
        if link.startswith("pipe:["):
            # It has no name, so it spreads by inheritance: whoever has it is of the family of who does.
            is_complete = is_complete or any(end.pid in family.pids for end in wanted)
        who = tuple(sorted({end.pid for end in wanted}))
        return WaitHolders(who, is_complete=is_complete and not family.is_cut)

    def _other_ends(self, link: str, family: JobProcesses, *, reads: bool) -> tuple[list[End], bool]:
        """The other end of a pipe or a FIFO that is read, or written. For a pipe the job itself is searched first."""
        wanted = [end for end in family.ends(link) if (end.writes if reads else end.reads)]
        if wanted and link.startswith("pipe:["):
            return wanted, False
        ends, is_complete = self._ends(link, family)
        return [end for end in ends if (end.writes if reads else end.reads)], is_complete

    def _ends(self, link: str, family: JobProcesses) -> tuple[list[End], bool]:
        """Everybody on this machine who has it open. Processes of the job are read again, the others as kept."""
        own = family.ends(link)
        if own and link.startswith("socket:["):
            return own, False
        family.has_asked = True
        others, is_complete = self._machine.holders_of(link)
        strangers = [pid for pid in others if pid not in family.pids]
        return own + ends_of(link, strangers), is_complete

    # ---- locks

    def as_lock_retry(self, wait: ProcessWait) -> ProcessWait:
        """The same of one that polls, as a wait for the lock of somebody else that it tries to get.

        sqlite tries so ten times a second. It has the file open, and others may not read or write it.
        """
        locks = [lock for lock in self._machine.locks() if lock.kind != "lease"]
        numbers = {lock.file.rpartition(":")[2] for lock in locks if lock.pid != wait.pid}
        for fd, link in islice(descriptors_of(wait.pid), MOST_TRIED) if numbers else ():
            file = open_file(wait.pid, fd) if link.startswith("/") else None
            if file is None or file.kind != "file" or str(file.inode) not in numbers:
                continue
            lock = in_the_way(wait.pid, file.inode, file.device, locks)
            if lock is not None and not has_by_inheritance(wait.pid, fd, link, lock):
                detail = f"waits for the lock on {file.name} ({lock.kind}), and tries again and again"
                return wait._replace(kind="file_lock", detail=detail, fd=fd, file=file, tried=lock)
        return wait

    def _of_database(self, wait: ProcessWait) -> WaitHolders | None:
        stat = read_stat(wait.pid)
        found = None if stat is None else lock_wait(wait.pid, self._machine.backends(stat.ppid))
        if found is None:
            return None
        what = f"waits for a lock in the database ({found.command})"
        if not found.holders:
            return WaitHolders((), f"{what}; only the database knows who holds it (pg_blocking_pids)")
        first = found.holders[0]
        count = len(found.holders)
        whose = f"{pid_and_name(first.pid)}, {first.does}," + (
            f" or one of {count - 1} others" if count > 1 else ""
        )
        return WaitHolders((first.pid,), f"{what}, which {whose} seems to hold")

    def _of_lock(self, wait: ProcessWait, family: JobProcesses) -> WaitHolders | None:
        if wait.name == PROGRAM and wait.file is None:
            return self._of_database(wait)
        lock = wait.tried or awaited_by(wait.pid, self._machine.locks())
        if lock is None:
            return None
        what = f"the lock on {wait.file.name}" if wait.file else "a file lock"
        holders = [lock.pid] if lock.pid > 0 and read_stat(lock.pid) is not None else []
        if lock.kind != "fcntl":
            link = wait.file.name if wait.file else ""
            holders = holders_by_descriptor(lock, family.ends(link)) or holders or self._elsewhere(lock, link)
        if not holders:
            return WaitHolders((), f"waits for {what} ({lock.kind}); who holds it cannot be seen")
        return WaitHolders(
            tuple(holders), f"waits for {what} ({lock.kind}), which {pid_and_name(holders[0])} holds", True
        )

    def _elsewhere(self, lock: HeldLock, link: str) -> list[int]:
        return holders_by_descriptor(lock, ends_of(link, self._machine.holders_of(link)[0]))

    # ---- sockets

    def _of_socket(self, wait: ProcessWait, family: JobProcesses) -> WaitHolders | None:
        assert wait.file is not None
        if wait.file.inode is None:
            return None
        tables = tables_of(wait.pid, wait.file.inode)
        one = tables.find(wait.file.inode)
        if one is None:
            return None
        if wait.kind == "socket_connect":
            return self._of_connection(wait, one, tables, family)
        who, is_accepted = self._peers(wait, one, tables, family)
        verb = "waits for data from" if wait.kind == "socket_read" else "waits to send to"
        told = describe_other_end(wait, one, tables, who, is_accepted=is_accepted)
        held = WaitHolders(who, f"{verb} {told}{unsent_text(one)} (fd {wait.fd})", bool(who))
        other = tables.other_end(one) if one.kind == "unix" else None
        server = tables.find(other) if other else None
        held = held._replace(brings_news=server is not None and server.brings_news)
        return held._replace(silent_for=silent_for(one)) if wait.kind == "socket_read" else held

    def _peers(
        self, wait: ProcessWait, one: Socket, tables: SocketTables, family: JobProcesses
    ) -> tuple[tuple[int, ...], bool]:
        """The processes at the other end, and whether they have accepted the connection: else those that listen for it."""
        other = tables.other_end(one)
        inodes = [other] if other else tables.listeners_for(one) if other == 0 else []
        ends = [end for inode in inodes for end in self._ends(f"socket:[{inode}]", family)[0]]
        return _ordered(ends, wait.pid), other != 0

    def _of_connection(
        self, wait: ProcessWait, one: Socket, tables: SocketTables, family: JobProcesses
    ) -> WaitHolders:
        inodes = tables.listeners_for(one) if one.kind == "tcp" else []
        ends = [end for inode in inodes for end in self._ends(f"socket:[{inode}]", family)[0]]
        who = _ordered(ends, wait.pid)
        is_own = who == (wait.pid,)
        listener_is = (
            "it listens there itself" if is_own else f"{pid_and_name(who[0])} listens there" if who else ""
        )
        holder = f"; {listener_is} and does not accept" if who else ""
        return WaitHolders(
            who, f"waits to be connected to {address_of(one)}{holder} (fd {wait.fd})", bool(who)
        )

    # ---- proxies

    def behind_proxy(
        self, wait: ProcessWait, family: JobProcesses, asking: Collection[int]
    ) -> WaitHolders | None:
        """The processes that have to answer first, behind a proxy that those in `asking` wait for.

        By the connections that it made itself, those first on which it was the last to send, or by children that it talks
        to. None for who has none of these.
        """
        links = {link: fd for fd, link in islice(descriptors_of(wait.pid), MOST_PASSED_ON + 1)}
        if len(links) > MOST_PASSED_ON:
            return None
        children = {pid for pid in children_of(wait.pid) if pid not in asking}
        due: dict[str, tuple[int, ...]] = {}
        others: dict[str, tuple[int, ...]] = {}
        for link, fd in links.items():
            for pid in self._behind_child(wait, link, fd, family) & children if children else ():
                due[f"its child {pid_and_name(pid)}"] = (pid,)
            tables = tables_of(wait.pid) if link.startswith("socket:[") else None
            one = None if tables is None else tables.find(int(link[8:-1]))
            if tables is None or one is None or not tables.is_outgoing(one):
                continue
            who, is_accepted = self._peers(wait, one, tables, family)
            if not set(who) & set(asking):
                told = describe_other_end(wait, one, tables, who, is_accepted=is_accepted)
                (due if is_answer_due(one) else others)[told] = who
        found = due or (others if wait.kind == "event_loop" else {})
        if not found:
            return None
        pids = tuple(sorted({pid for who in found.values() for pid in who}))
        words = " or ".join(list(found)[:2]) + (" or others" if len(found) > 2 else "")
        return WaitHolders(pids, f"waits for data from {words}", all(found.values()))

    def _behind_child(self, wait: ProcessWait, link: str, fd: int, family: JobProcesses) -> set[int]:
        """The processes at the other side of a descriptor that children inherit."""
        if link.startswith("pipe:["):
            return {end.pid for end in self._other_ends(link, family, reads=True)[0]}
        if link.startswith("socket:["):
            tables = tables_of(wait.pid)
            one = tables.find(int(link[8:-1]))
            is_pair = one is not None and one.kind == "unix" and one.local is None
            return set(self._peers(wait, one, tables, family)[0]) if one is not None and is_pair else set()
        terminal = terminal_of_master(wait.pid, fd) if link.endswith("ptmx") else None
        return set(self._machine.holders_of(terminal)[0]) if terminal else set()

    # ---- event loops

    def _of_several(self, wait: ProcessWait, family: JobProcesses) -> WaitHolders | None:
        """The processes of its own job that can wake an event loop; complete where nobody else can.

        What only a person could write, the job's terminal and the input that Corral keeps open, counts for nobody.
        """
        found: dict[int, None] = {}
        is_complete = True
        for file, reads in wait.several:
            behind = self._behind(wait, file, family, reads=reads)
            inside = [pid for pid in behind if pid in family.pids and pid != wait.pid]
            found.update(dict.fromkeys(inside))
            is_complete = is_complete and bool(inside or self._own_pid in behind)
        # A process of somebody else has others to serve, unless all that it watches leads here.
        is_ours = wait.pid in family.pids or is_complete
        return WaitHolders(tuple(sorted(found)), is_complete=is_complete) if found and is_ours else None

    def _behind(
        self, wait: ProcessWait, file: OpenFile, family: JobProcesses, *, reads: bool
    ) -> tuple[int, ...]:
        if file.kind in ("pipe", "fifo"):
            return tuple(end.pid for end in self._other_ends(file.name, family, reads=reads)[0])
        if file.kind == "socket" and file.inode is not None:
            tables = tables_of(wait.pid, file.inode)
            one = tables.find(file.inode)
            return () if one is None else self._peers(wait, one, tables, family)[0]
        if file.kind == "master":
            terminal = terminal_of_master(wait.pid, file.fd)
            return tuple(end.pid for end in family.ends(terminal or "") if end.pid != wait.pid)
        target = process_of_pidfd(wait.pid, file.fd)
        return () if target is None else (target,)

    # ---- file systems

    def _of_file_system(self, mount: Mount, family: JobProcesses) -> WaitHolders:
        what = f"waits for the file system {mount.point} ({mount.kind})"
        servers = servers_of(mount, dict.fromkeys(end.pid for end in self._ends("/dev/fuse", family)[0]))
        if not servers:
            return WaitHolders((), f"{what}; the program that serves it cannot be seen")
        return WaitHolders(tuple(servers), f"{what}, which {pid_and_name(servers[0])} serves", True)

    # ---- memory

    def _of_semaphore(self, wait: ProcessWait) -> WaitHolders | None:
        """A semaphore of System V: the kernel knows who changed it last, and that is all that it knows of a holder."""
        seen = None if wait.semaphore is None else semaphore_state(*wait.semaphore)
        if seen is None or wait.semaphore is None:
            return None
        number, place = wait.semaphore
        what = f"waits for the semaphore {place} of set {number}, which is at {seen.value}"
        if seen.last_pid == wait.pid or read_stat(seen.last_pid) is None:
            return WaitHolders((), f"{what}; who changed it last is gone")
        return WaitHolders((seen.last_pid,), f"{what} and which {pid_and_name(seen.last_pid)} changed last")

    def _of_memory(self, wait: ProcessWait, family: JobProcesses) -> WaitHolders | None:
        """A lock or a semaphore in memory that others of the job share: any of them may let it go."""
        assert wait.shared is not None
        memory = shared_memory(wait.pid, wait.shared)
        if memory is None:
            return None
        others = sorted(family.pids - {wait.pid})[:MOST_SHARING]
        sharing = tuple(pid for pid in others if shares(pid, memory))
        what = f"a lock in memory that processes share{f' ({memory.path})' if memory.path else ''}"
        if wait.owner is not None and wait.owner in sharing:
            return WaitHolders(
                (wait.owner,), f"waits for {what}, which {pid_and_name(wait.owner)} holds (futex)", True
            )
        if not sharing:
            return WaitHolders((), f"waits for {what}; no other process of the job has it (futex)")
        return WaitHolders(sharing, f"waits for {what} (futex)")


def _ordered(ends: Collection[End], own: int) -> tuple[int, ...]:
    """Each process once, the waiting one last."""
    return tuple(sorted(dict.fromkeys(end.pid for end in ends), key=lambda pid: (pid == own, pid)))
