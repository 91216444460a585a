"""What one process waits for, from /proc/PID/{stat,status,wchan,syscall,fd}. Needs no root for one's own children.

First form: the kinds running, timer, child, pipe_read, pipe_write, suspended, disk and zombie. Everything else is
`unknown`, with a detail that names the call. Of several threads the first one counts, unless another one runs.
"""

from __future__ import annotations

import os
import signal
import stat as modes
from datetime import datetime
from typing import NamedTuple

from corral.observe.calls import Meaning, meaning_of
from corral.observe.pipeflow import WAITS_FOR_INPUT
from corral.system.cpuclock import cpu_nanoseconds
from corral.system.procfs import HAS_PROCFS, Stat, parse_stat, read_file, read_stat
from corral.system.syscalls import Call, parse_syscall
from corral.values.reports import WaitKind

THREADS_LOOKED_AT = 256


class ProcessWait(NamedTuple):
    """What one process does at this moment.

    `detail` completes a sentence that begins with its name: `waits for a timer`. `fd` is the descriptor that it reads
    or writes, `pipe` the inode of the pipe behind it (None for a FIFO, whose number is of another file system), `on_pid` the child that it waits for, where the call names one.
    `call` is the system call, `reason` why the kind is unknown because something could not be read, `pending` the length
    of the write it is blocked in.
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


def wait_of(pid: int) -> ProcessWait | None:
    """What `pid` waits for now; None where it is gone. 11 µs for one that runs, 39 µs for one that reads a pipe."""
    stat = read_stat(pid)
    if stat is None:
        return None
    by_letter = _by_letter(stat)
    if by_letter is not None:
        return by_letter
    if not HAS_PROCFS:
        return _unknown(stat, "sleeps", "this system does not tell what a process waits for")
    if _another_thread_runs(pid):
        return ProcessWait(pid, stat.name, "R", "running", "runs, in another thread than its first")
    return _blocked(stat)


def _by_letter(stat: Stat) -> ProcessWait | None:
    """What the state letter alone tells (proc(5))."""
    pid, name, letter = stat.pid, stat.name, stat.state
    if letter == "R":
        return ProcessWait(pid, name, letter, "running", "runs")
    if letter == "T":
        return ProcessWait(pid, name, letter, "suspended", "is suspended (state T)")
    if letter == "t":
        return ProcessWait(pid, name, letter, "suspended", "is held by a debugger (state t)")
    if letter in "ZX":
        return _ended(stat)
    return None


def _ended(stat: Stat) -> ProcessWait:
    # A process whose first thread has ended by itself reads Z while its other threads go on.
    others = _thread_count(stat.pid) - 1 if HAS_PROCFS else 0
    if others <= 0:
        return ProcessWait(stat.pid, stat.name, stat.state, "zombie", "has ended and was not collected yet")
    if _another_thread_runs(stat.pid):
        return ProcessWait(stat.pid, stat.name, "R", "running", "runs, in another thread than its first")
    return _unknown(
        stat, "waits in a thread other than its first, which has ended", "threads are not told apart yet"
    )


def _blocked(stat: Stat) -> ProcessWait:
    """For a process in state S or D."""
    pid = stat.pid
    text = read_file(f"/proc/{pid}/syscall")
    call = parse_syscall(text) if text else None
    if call == "running":
        return ProcessWait(pid, stat.name, "R", "running", "runs")
    wchan = _wchan(pid)
    name = call.name if call else None
    meaning = meaning_of(name, call.arguments if call else (), wchan)
    if stat.state == "D":
        return _uninterruptible(stat, name, wchan)
    if meaning.kind in ("pipe_read", "pipe_write"):
        return _transfer(stat, meaning, name)
    if name == "rt_sigsuspend" and _catches_end_of_child(pid):
        # dash waits so in its `wait`: asleep until any signal, with a handler for SIGCHLD.
        return ProcessWait(
            pid, stat.name, stat.state, "child", "waits for a child (by its signal)", call=name
        )
    reason = f"/proc/{pid}/syscall may not be read" if text is None and meaning.kind == "unknown" else None
    return ProcessWait(
        pid,
        stat.name,
        stat.state,
        meaning.kind,
        meaning.detail or _unlisted(call, wchan),
        fd=meaning.fd,
        on_pid=meaning.on_pid,
        call=name,
        reason=reason,
    )


def _uninterruptible(stat: Stat, call: str | None, wchan: str | None) -> ProcessWait:
    """State D: mostly a disk or a network file system, but the parent in vfork(2) sleeps so too, until exec."""
    if call in ("vfork", "clone", "clone3"):
        return ProcessWait(
            stat.pid, stat.name, "D", "child", "waits for the child it is starting (vfork)", call=call
        )
    where = call or wchan
    detail = f"waits for the disk (state D{', in ' + where if where else ''})"
    return ProcessWait(stat.pid, stat.name, "D", "disk", detail, call=call)


def _transfer(stat: Stat, meaning: Meaning, call: str | None) -> ProcessWait:
    """A read or a write: what it waits for depends on what the descriptor is."""
    is_read = meaning.kind == "pipe_read"
    verb = "read from" if is_read else "write to"
    if meaning.fd is None:
        # The kernel function says pipe, but the call that would name the descriptor is not to be read.
        return ProcessWait(
            stat.pid, stat.name, stat.state, meaning.kind, f"waits to {verb} a pipe", call=call
        )
    target = _target(stat.pid, meaning.fd)
    kind = meaning.kind if target.is_pipe else "unknown"
    detail = f"waits to {verb} {target.words} (fd {meaning.fd})"
    if is_read and target.is_terminal:
        kind, detail = "tty_input", f"waits for input from {target.words}"
    return ProcessWait(
        stat.pid,
        stat.name,
        stat.state,
        kind,
        detail,
        meaning.fd,
        target.inode,
        call=call,
        pending=meaning.pending,
    )


class _Target(NamedTuple):
    is_pipe: bool
    words: str
    inode: int | None = None
    is_terminal: bool = False


def _target(pid: int, fd: int) -> _Target:
    """What is behind a descriptor, without opening it."""
    path = f"/proc/{pid}/fd/{fd}"
    try:
        link = os.readlink(path)
        status = os.stat(path)
    except OSError:
        return _Target(False, "something that may not be looked at")
    if link.startswith("pipe:["):
        return _Target(True, "a pipe", status.st_ino)
    if modes.S_ISFIFO(status.st_mode):
        return _Target(True, f"the FIFO {link}")
    if modes.S_ISSOCK(status.st_mode):
        return _Target(False, "a socket")
    if modes.S_ISCHR(status.st_mode) and link.startswith(("/dev/pts/", "/dev/tty", "/dev/console")):
        return _Target(False, f"the terminal {link}", is_terminal=True)
    return _Target(False, link)


def _unlisted(call: Call | None, wchan: str | None) -> str:
    """Words for a wait that no table knows."""
    where = f"system call {call.number}" if call else None
    told = " in ".join(part for part in (wchan, where) if part)
    return f"waits in {told}" if told else "sleeps"


def _unknown(stat: Stat, detail: str, reason: str) -> ProcessWait:
    return ProcessWait(stat.pid, stat.name, stat.state, "unknown", detail, reason=reason)


def _wchan(pid: int) -> str | None:
    """The kernel function it sleeps in; `0` stands there for none, or where it may not be known."""
    text = read_file(f"/proc/{pid}/wchan")
    name = text.decode("ascii", "replace").partition(".")[0] if text else ""
    return name if name not in ("", "0") else None


def _thread_count(pid: int) -> int:
    """The link count of /proc/PID/task is 2 and the threads (proc_task_getattr in fs/proc/base.c). 2 µs."""
    try:
        return os.stat(f"/proc/{pid}/task").st_nlink - 2
    except OSError:
        return 0


def _another_thread_runs(pid: int) -> bool:
    if _thread_count(pid) < 2:
        return False
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return False
    for thread in threads[:THREADS_LOOKED_AT]:
        line = read_file(f"/proc/{pid}/task/{thread}/stat")
        if line and parse_stat(line).state == "R":
            return True
    return False


def _catches_end_of_child(pid: int) -> bool:
    """Whether it has a handler for SIGCHLD that may run now (SigCgt and SigBlk of /proc/PID/status)."""
    masks = {}
    for line in (read_file(f"/proc/{pid}/status") or b"").splitlines():
        key, _, value = line.partition(b":")
        if key in (b"SigCgt", b"SigBlk"):
            masks[key] = int(value, 16) >> (signal.SIGCHLD - 1) & 1
    return masks == {b"SigCgt": 1, b"SigBlk": 0}


def words(wait: ProcessWait, pipe_number: int | None = None, *, is_input: bool = False) -> str:
    """What it does, for a narrow column: `runs`, `waits to read: pipe 2`, `sleeps`.

    `pipe_number` is the job's pipe behind `wait.pipe`; `is_input`: that pipe is the job's stdin.
    """
    if wait.kind in ("pipe_read", "pipe_write"):
        if is_input:
            return WAITS_FOR_INPUT
        verb = "waits to read" if wait.kind == "pipe_read" else "waits to write"
        return verb if pipe_number is None else f"{verb}: pipe {pipe_number}"
    fixed = {
        "running": "runs",
        "timer": "sleeps",
        "child": "waits for a child",
        "tty_input": "waits for the terminal",
        "suspended": "is suspended",
        "disk": "waits for the disk",
        "zombie": "has ended",
    }
    return fixed.get(wait.kind) or (f"waits ({wait.call})" if wait.call else wait.detail)


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
