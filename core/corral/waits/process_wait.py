"""What one process waits for, from /proc/PID/{stat,status,task,fd}. Needs no root for one's own children.

All its threads are looked at; one of them tells (see `threads.ranked_threads`). What holds it up is not asked
here: `holders` does that, for a whole job at a time.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from corral.model.reports import WaitKind
from corral.platform.host.procfs import HAS_PROCFS, Stat, read_file, read_stat, thread_count
from corral.platform.inspect.fdinfo import catches_end_of_child, has_signal
from corral.platform.inspect.file_locks import HeldLock
from corral.platform.inspect.ipc import semaphore_awaited
from corral.platform.inspect.open_files import OpenFile, absolute, open_file
from corral.platform.inspect.process_memory import owner_of_mutex, read_mask, read_path
from corral.platform.inspect.process_mounts import Mount, mount_in_call
from corral.platform.inspect.sockets import role_of
from corral.platform.inspect.suspension import is_frozen, stopped_by
from corral.platform.process.cpu_clock import cpu_nanoseconds
from corral.waits import postgres, unreadable
from corral.waits.polled_fds import polled_wait
from corral.waits.syscall_meanings import Meaning
from corral.waits.threads import (
    THREADS_LOOKED_AT,
    ThreadWait,
    first_thread,
    other_threads,
    ranked_threads,
)

_OF_THE_KERNEL = frozenset({"eventfd", "signalfd"})
"""What programs watch beside what they wait for, to be woken by themselves."""
_MOST_ASKED = 8
"""Threads of which each is woken from within, until that is taken to be so of all."""
_FROZEN_IN = (b"get_signal", b"do_freezer_trap")
_IN_FUSE = "request_wait_answer"
_IN_VFORK = ("vfork", "clone", "clone3")


class ProcessWait(NamedTuple):
    """What one process does at this moment.

    `detail` completes a sentence that begins with its name: `waits for a timer`. `fd` is the descriptor that it waits
    on, `pipe` the inode of the pipe behind it (None for a FIFO, whose number is of another file system), `file` all
    that is known of it. `on_pid` is the child that it waits for, where the call names one. `thread` is the one that
    tells, `threads` how many it has, `ring` threads of it that wait for each other's locks. `call` is the system call,
    `reason` why something could not be seen, `pending` the length of the write it is blocked in. `has_limit`: it goes on
    by itself after a time. `several` are the things of which any wakes an event loop, and whether it reads them, where
    a process stands behind each. `is_within`: nothing but the process itself, a signal or a time can wake it. `shared`
    is the address of a lock in memory that other processes may share, `owner` who holds that, where it tells. `tried` is
    the lock of somebody else that it tries to get again and again, `mount` the file system that does not answer, `semaphore` a
    set of semaphores and the number in it. `has_sleeper`: one of
    its threads sleeps until a time.
    """

    pid: int
    name: str
    state: str
    kind: WaitKind
    detail: str
    fd: int | None = None
    pipe: int | None = None
    on_pid: int | None = None
    call: str | None = None
    reason: str | None = None
    pending: int = 0
    file: OpenFile | None = None
    has_limit: bool = False
    thread: int | None = None
    threads: int = 1
    ring: tuple[int, ...] = ()
    several: tuple[tuple[OpenFile, bool], ...] = ()
    is_within: bool = False
    shared: int | None = None
    owner: int | None = None
    tried: HeldLock | None = None
    mount: Mount | None = None
    semaphore: tuple[int, int] | None = None
    has_sleeper: bool = False


def wait_of(pid: int) -> ProcessWait | None:
    """What `pid` waits for now; None where it is gone. 11 µs for one that runs, 45 µs for one that reads a pipe."""
    stat = read_stat(pid)
    if stat is None:
        return None
    by_letter = _by_letter(stat)
    if by_letter is not None:
        return by_letter
    if not HAS_PROCFS:
        return _plain(stat, "unknown", unreadable.sleeping(pid), reason=unreadable.REASON)
    first = first_thread(stat)
    others = other_threads(pid) if thread_count(pid) > 1 else []
    wait = _told(stat, first, others)
    if wait.kind == "futex":
        wait = _among_threads(wait, [first, *others])
    if stat.name == postgres.PROGRAM:
        wait = _in_database(wait)
    count = max(thread_count(pid), 1)
    if count > THREADS_LOOKED_AT and wait.reason is None:
        wait = wait._replace(reason=f"only {THREADS_LOOKED_AT} of its {count:,} threads were looked at")
    has_sleeper = any(thread.meaning.kind == "timer" for thread in (first, *others))
    return wait._replace(threads=count, has_sleeper=has_sleeper)


def _told(stat: Stat, first: ThreadWait, others: list[ThreadWait]) -> ProcessWait:
    """What the thread says that tells. One that is woken from within leaves it to another one, where that knows more."""
    ranked = ranked_threads(first, others)[:_MOST_ASKED]
    wait = wait_of_thread(stat, ranked[0])
    for thread in ranked[1:] if wait.is_within else ():
        another = wait_of_thread(stat, thread)
        if not another.is_within and another.kind != "futex":
            return another
    return wait


def _in_database(wait: ProcessWait) -> ProcessWait:
    """A backend that waits for a lock sleeps until it is woken from within; its title tells what for."""
    one = postgres.backend(wait.pid)
    if one is None or not one.waits_for_lock or wait.kind not in ("event_loop", "timer", "unknown"):
        return wait
    return wait._replace(
        kind="file_lock", detail=f"waits for a lock in the database ({one.does})", file=None, several=()
    )


def _by_letter(stat: Stat) -> ProcessWait | None:
    """What the state letter alone tells (proc(5))."""
    if stat.state == "R":
        return _plain(stat, "running", "runs")
    if stat.state == "T":
        return _plain(stat, "suspended", _suspended(stat.pid))
    if frozen := _frozen(stat):
        return frozen
    if stat.state == "t":
        return _plain(stat, "suspended", f"is held by {_tracer(stat.pid)} (state t)")
    # A process whose first thread has ended by itself reads Z while its other threads go on.
    if stat.state in "ZX" and (not HAS_PROCFS or thread_count(stat.pid) <= 1):
        return _plain(stat, "zombie", "has ended and was not collected yet")
    return None


def _frozen(stat: Stat) -> ProcessWait | None:
    """Held by the freezer of its control group: state D in version 1, in version 2 S, in the kernel's work on signals."""
    if stat.state not in "DS":
        return None
    if stat.state == "S" and read_file(f"/proc/{stat.pid}/wchan") not in _FROZEN_IN:
        return None
    return None if not is_frozen(stat.pid) else _plain(stat, "suspended", "is frozen by its control group")


def _tracer(pid: int) -> str:
    """The debugger that has stopped it, gdb or strace (TracerPid of proc_pid_status(5))."""
    found = re.search(rb"^TracerPid:\t(\d+)$", read_file(f"/proc/{pid}/status") or b"", re.MULTILINE)
    tracer = read_stat(int(found[1])) if found else None
    return "a debugger" if tracer is None else f"the debugger {tracer.name} ({tracer.pid})"


def _suspended(pid: int) -> str:
    """In words, by which signal where the kernel tells: SIGTTIN and SIGTTOU are a wish for the terminal (termios(3))."""
    number = stopped_by(pid)
    if number in (signal.SIGTTIN, signal.SIGTTOU):
        wish = "read" if number == signal.SIGTTIN else "write to"
        return f"is suspended by {signal.Signals(number).name}: it wants to {wish} the terminal from the background"
    return "is suspended (state T)"


def _plain(
    stat: Stat, kind: WaitKind, detail: str, *, call: str | None = None, reason: str | None = None
) -> ProcessWait:
    return ProcessWait(stat.pid, stat.name, stat.state, kind, detail, call=call, reason=reason)


def wait_of_thread(stat: Stat, thread: ThreadWait) -> ProcessWait:
    """The wait of one thread, as that of its process. 20 µs where it waits at a pipe."""
    stat = stat._replace(state=thread.state)
    meaning, call = thread.meaning, thread.call_name
    if meaning.kind == "running":
        where = "" if thread.tid == stat.pid else ", in another thread than its first"
        return _plain(stat, "running", f"runs{where}")
    if thread.wchan == _IN_FUSE:
        return _on_file_system(stat, thread)
    if thread.state == "D":
        return _uninterruptible(stat, thread)
    if _waits_for_end_of_child(stat.pid, thread):
        return _plain(stat, "child", "waits for a child (by its signal)", call=call)
    wait = ProcessWait(
        stat.pid,
        stat.name,
        stat.state,
        meaning.kind,
        meaning.detail or _unlisted(thread),
        fd=meaning.fd,
        on_pid=meaning.on_pid,
        call=call,
        reason=_hidden(stat.pid, thread),
        pending=meaning.pending,
        has_limit=meaning.has_limit,
        thread=thread.tid,
        shared=meaning.shared,
        owner=_owner(stat.pid, meaning),
        semaphore=_semaphore(stat.pid, thread),
    )
    if thread.hidden:
        return _deduced(wait)
    if meaning.kind == "event_loop":
        return _watching(wait, meaning)
    return _on_file(wait, meaning)


def _semaphore(pid: int, thread: ThreadWait) -> tuple[int, int] | None:
    if thread.call is None or thread.call_name not in ("semop", "semtimedop"):
        return None
    return semaphore_awaited(pid, thread.call.arguments)


def _deduced(wait: ProcessWait) -> ProcessWait:
    """What a wait is for, of which at most the kernel function may be seen."""
    lock = unreadable.lock_awaited(wait.pid) if wait.kind in ("unknown", "file_lock") else None
    if lock is not None:
        return wait._replace(kind="file_lock", detail=f"waits for a file lock ({lock})", reason=None)
    file = unreadable.only_file(wait.pid, wait.kind)
    if file is None:
        return _on_unseen(wait, Meaning(wait.kind)) if wait.kind in ("pipe_read", "pipe_write") else wait
    wait = wait._replace(fd=file.fd, file=file, pipe=file.inode if file.kind == "pipe" else None)
    if wait.kind == "tty_input":
        return wait._replace(detail=f"waits for input from the terminal {file.name}")
    return _transfer(wait, file) if wait.kind in ("pipe_read", "pipe_write") else _on_socket(wait)


def _waits_for_end_of_child(pid: int, thread: ThreadWait) -> bool:
    """dash waits so in its `wait`: asleep until any signal, with a handler for SIGCHLD. Others take it by sigwait(3)."""
    if thread.call_name == "rt_sigsuspend":
        return catches_end_of_child(pid)
    if thread.call_name != "rt_sigtimedwait" or thread.call is None:
        return False
    mask = read_mask(pid, thread.call.arguments[0])
    return mask is not None and has_signal(mask, signal.SIGCHLD)


def _hidden(pid: int, thread: ThreadWait) -> str | None:
    """Why we know less of a wait than there is to know."""
    if not thread.hidden or thread.meaning.kind in ("timer", "child"):
        return None
    return unreadable.reason(pid, thread.wchan)


def _on_file_system(stat: Stat, thread: ThreadWait) -> ProcessWait:
    """A file system that is a program (FUSE): the kernel waits for its answer."""
    mount = mount_in_call(stat.pid, thread.call.arguments if thread.call else (), is_fuse=True)
    if mount is None:
        return _plain(
            stat, "disk", "waits for a file system that a program serves (FUSE)", call=thread.call_name
        )
    detail = f"waits for the file system {mount.point} ({mount.kind})"
    return _plain(stat, "disk", detail, call=thread.call_name)._replace(mount=mount)


def _uninterruptible(stat: Stat, thread: ThreadWait) -> ProcessWait:
    """State D: mostly a disk or a network file system, but the parent in vfork(2) sleeps so too, until exec."""
    call = thread.call_name
    if call in _IN_VFORK:
        return _plain(stat, "child", "waits for the child it is starting (vfork)", call=call)
    where = call or thread.wchan
    mount = mount_in_call(stat.pid, thread.call.arguments) if thread.call else None
    at = f", the file system {mount.point} ({mount.kind})" if mount is not None and mount.point != "/" else ""
    return _plain(
        stat, "disk", f"waits for the disk (state D{', in ' + where if where else ''}){at}", call=call
    )


# ---- what stands behind a descriptor ------------------------------------------------------------------------------


def _on_file(wait: ProcessWait, meaning: Meaning) -> ProcessWait:
    """A wait on one file: what kind it is depends on what the descriptor is."""
    if wait.fd is None:
        if wait.kind in ("pipe_read", "pipe_write"):
            return _on_unseen(wait, meaning)
        return wait
    file = open_file(wait.pid, wait.fd)
    if file is None:
        is_transfer = wait.kind in ("pipe_read", "pipe_write")
        told = f"waits to {_verb(wait)} something that may not be looked at (fd {wait.fd})"
        return wait._replace(kind="unknown", detail=told) if is_transfer else wait
    wait = wait._replace(file=file, pipe=file.inode if file.kind == "pipe" else None)
    if wait.kind == "file_lock":
        return wait._replace(detail=f"waits for the lock on {file.name} ({wait.call})")
    if wait.kind in ("pipe_read", "pipe_write"):
        return _transfer(wait, file)
    return _on_socket(wait)


def _on_socket(wait: ProcessWait) -> ProcessWait:
    """A reader of a socket without a peer is a server, or waits for news."""
    if wait.kind != "socket_read" or wait.file is None or wait.file.inode is None:
        return wait
    role = role_of(wait.pid, wait.file.inode)
    if role == "serves":
        return wait._replace(kind="socket_accept", detail=f"waits for clients ({_by(wait)}fd {wait.fd})")
    if role == "hears":
        return wait._replace(kind="event_loop", detail=f"waits for kernel events ({_by(wait)}fd {wait.fd})")
    return wait


def _by(wait: ProcessWait) -> str:
    return f"{wait.call}, " if wait.call else ""


def _transfer(wait: ProcessWait, file: OpenFile) -> ProcessWait:
    is_read = wait.kind == "pipe_read"
    words = f"waits to {_verb(wait)} {_called(file)} (fd {wait.fd})"
    if file.kind in ("pipe", "fifo"):
        return wait._replace(detail=words)
    if file.kind == "socket":
        return _on_socket(wait._replace(kind="socket_read" if is_read else "socket_write", detail=words))
    if file.kind == "terminal" and is_read:
        return wait._replace(kind="tty_input", detail=f"waits for input from the terminal {file.name}")
    if file.kind == "timerfd":
        return wait._replace(kind="timer", detail="waits for a timer")
    if file.kind in _OF_THE_KERNEL:
        return wait._replace(kind="event_loop", detail=f"waits for an event ({file.kind})")
    if file.kind == "inotify":
        return wait._replace(kind="event_loop", detail="waits for files to change (inotify)")
    return wait._replace(kind="unknown", detail=words)


def _verb(wait: ProcessWait) -> str:
    return "read from" if wait.kind == "pipe_read" else "write to"


def _called(file: OpenFile) -> str:
    names = {
        "pipe": "a pipe",
        "fifo": f"the FIFO {file.name}",
        "socket": "a socket",
        "terminal": f"the terminal {file.name}",
    }
    return names.get(file.kind, file.name)


def _on_unseen(wait: ProcessWait, meaning: Meaning) -> ProcessWait:
    """An open(2) of a FIFO, or a pipe of which only the kernel function tells."""
    if not meaning.detail:
        return wait._replace(detail=f"waits to {_verb(wait)} a pipe")
    path = read_path(wait.pid, meaning.addresses[0]) if meaning.addresses else None
    if path is None:
        return wait
    path = absolute(wait.pid, path, meaning.folder)
    other = "write to" if wait.kind == "pipe_read" else "read from"
    words = f"waits for somebody to {other} the FIFO {path} ({wait.call})"
    return wait._replace(detail=words, file=OpenFile(wait.pid, -1, "fifo", path))


# ---- poll, select and epoll ---------------------------------------------------------------------------------------


def _watching(wait: ProcessWait, meaning: Meaning) -> ProcessWait:
    seen = polled_wait(wait.pid, wait.call, meaning)
    file = seen.file
    return wait._replace(
        kind=seen.kind,
        detail=seen.detail,
        fd=wait.fd if file is None else file.fd,
        pipe=file.inode if file is not None and file.kind == "pipe" else None,
        file=file,
        several=seen.several,
        is_within=seen.is_within,
    )


# ---- threads ------------------------------------------------------------------------------------------------------


def _among_threads(wait: ProcessWait, threads: list[ThreadWait]) -> ProcessWait:
    """All its threads wait for each other, or for a lock in memory: which, where the locks tell who holds them."""
    owners = {
        thread.tid: owner
        for thread in threads
        if thread.meaning.addresses and (owner := owner_of_mutex(wait.pid, thread.meaning.addresses[0]))
    }
    ring = _ring(owners)
    if len(ring) == 1:
        return wait._replace(ring=ring, detail="waits for a lock in memory that it holds itself (futex)")
    if ring:
        names = " and ".join(map(str, ring))
        detail = f"has {len(ring)} threads, {names}, that wait for each other's locks (futex)"
        return wait._replace(ring=ring, detail=detail)
    count = max(thread_count(wait.pid), len([thread for thread in threads if thread.state not in "ZX"]))
    if count > 1:
        return wait._replace(
            detail=f"has {count} threads that all wait for each other or for locks in memory (futex)"
        )
    return wait


def _owner(pid: int, meaning: Meaning) -> int | None:
    if meaning.shared is None or not meaning.addresses:
        return None
    return owner_of_mutex(pid, meaning.addresses[0])


def _ring(owners: dict[int, int]) -> tuple[int, ...]:
    """Threads of which each waits for a lock that the next one holds."""
    for start in owners:
        order: list[int] = []
        thread: int | None = start
        while thread is not None and thread not in order:
            order.append(thread)
            thread = owners.get(thread)
        if thread is not None:
            return tuple(order[order.index(thread) :])
    return ()


# ---- small --------------------------------------------------------------------------------------------------------


def _unlisted(thread: ThreadWait) -> str:
    """Words for a wait that no table knows."""
    where = f"system call {thread.call.number}" if thread.call else None
    told = " in ".join(part for part in (thread.wchan, where) if part)
    if told:
        return f"waits in {told}"
    return "sleeps; what it waits for cannot be seen" if thread.hidden else "sleeps"


_WORDS = {
    "running": "runs",
    "timer": "sleeps",
    "child": "waits for a child",
    "suspended": "is suspended",
    "disk": "waits for the disk",
    "zombie": "has ended",
    "tty_input": "waits for the terminal",
    "file_lock": "waits for a file lock",
    "futex": "waits for a thread",
    "socket_read": "waits for a socket",
    "socket_write": "waits to send",
    "socket_connect": "waits to connect",
    "socket_accept": "waits for clients",
    "event_loop": "waits for events",
}


def short_text(wait: ProcessWait, pipes: Mapping[int, int], input_pipe: int | None) -> str:
    """What it does, for a narrow column: `runs`, `waits to read: pipe 2`, `sleeps`.

    `pipes` are those of its job, inode to number; `input_pipe` is the inode of the one that is its stdin.
    """
    if wait.kind in ("pipe_read", "pipe_write"):
        if wait.kind == "pipe_read" and wait.pipe is not None and wait.pipe == input_pipe:
            return "waits for input"
        verb = "waits to read" if wait.kind == "pipe_read" else "waits to write"
        number = None if wait.pipe is None else pipes.get(wait.pipe)
        return verb if number is None else f"{verb}: pipe {number}"
    return _WORDS.get(wait.kind) or (f"waits ({wait.call})" if wait.call else wait.detail)


class WaitClock:
    """Since when each process has waited as it does: the first time it was seen so, its CPU clock standing still."""

    def __init__(self) -> None:
        self._seen: dict[int, tuple[tuple[object, ...], datetime]] = {}

    def since(self, wait: ProcessWait, now: datetime) -> datetime:
        """Note `wait`, seen at `now`; since when it goes on."""
        signature = (wait.kind, wait.fd, wait.pipe, wait.on_pid, wait.call, cpu_nanoseconds(wait.pid))
        known = self._seen.get(wait.pid)
        if known is not None and known[0] == signature:
            return known[1]
        self._seen[wait.pid] = (signature, now)
        return now

    def forget(self, pid: int) -> None:
        """Drop what is known of a process that has ended."""
        self._seen.pop(pid, None)
