"""Reaping: how children and the orphans that came to us have ended. No SIGCHLD handler, no thread."""

from __future__ import annotations

import errno
import os
import resource
import sys
import time
from typing import NamedTuple

from corral.jobs.managed_job import ManagedStage
from corral.model.units import signal_name
from corral.platform.host.procfs import read_stat
from corral.platform.process.pidfd import wait_status_of_reaped
from corral.processes.local_run import handle_of

REAP_SECONDS = 10.0
"""How long init gets to reap a process whose status only its pidfd will tell."""


class ChildEnd(NamedTuple):
    """How a child ended: a status or a signal, both None where nobody knows. CPU with that of all it waited for.

    `peak_memory_bytes` is the most that it, or one of those it waited for, ever had resident; None where that is not told.
    """

    exit_status: int | None
    signal: str | None
    cpu_seconds: float
    peak_memory_bytes: int | None = None


def decode(status: int, cpu_seconds: float, peak: int | None = None) -> ChildEnd:
    """From what wait(2) gives."""
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        return ChildEnd(None, signal_name(-code), cpu_seconds, peak)
    return ChildEnd(code, None, cpu_seconds, peak)


def _peak(usage: resource.struct_rusage) -> int | None:
    """What getrusage(2) calls ru_maxrss, kilobytes but on macOS. It survives execve(2), and a child begins with what its
    parent had: only what is more than we have ever had ourselves is the child's own.
    """
    most = usage.ru_maxrss
    if most <= resource.getrusage(resource.RUSAGE_SELF).ru_maxrss:
        return None
    return most if sys.platform == "darwin" else most * 1024


def poll(stage: ManagedStage) -> ChildEnd | None:
    """Reap the child of a stage if it has ended, else None. Never blocks.

    wait4(2) instead of `Popen.poll`, which loses the usage. The result goes to `Popen.returncode` at once, so that
    the handle never waits for a pid that has been given back.
    """
    popen = handle_of(stage).popen
    if popen is None or popen.returncode is not None:
        return None
    try:
        pid, status, usage = os.wait4(popen.pid, os.WNOHANG)
    except ChildProcessError:
        # Somebody else reaped it, which only a foreign handler in this process could do.
        popen.returncode = 0
        return ChildEnd(None, None, 0.0)
    if pid == 0:
        return None
    popen.returncode = os.waitstatus_to_exitcode(status)
    return decode(status, usage.ru_utime + usage.ru_stime, _peak(usage))


class Orphan(NamedTuple):
    """A process that was nobody's stage, came to us as the subreaper and has ended."""

    pid: int
    end: ChildEnd


def next_zombie() -> int | None:
    """The pid of a child that has ended and was not reaped, which stays so.

    WNOWAIT names the same unreaped child again and again, so the caller reaps it before asking again.
    """
    try:
        found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    return found.si_pid if found is not None else None


def reap_orphan(pid: int) -> Orphan | None:
    """Reap a child that is no stage."""
    try:
        reaped, status, usage = os.wait4(pid, os.WNOHANG)
    except ChildProcessError:
        return None
    if reaped == 0:
        return None
    return Orphan(pid, decode(status, usage.ru_utime + usage.ru_stime))


def poll_adopted(stage: ManagedStage) -> ChildEnd | None:
    """The end of a process that an earlier daemon started; it is not our child, so another process reaps it.

    While it is a zombie its status stands in /proc/PID/stat (field 52), afterwards in its pidfd. None while it runs, and
    while only its pidfd will tell, once init has reaped it: in some containers that takes seconds.
    """
    handle = handle_of(stage)
    identity = handle.identity
    if identity is None:
        return None
    stat = read_stat(identity.pid)
    is_there = stat is not None and stat.started == identity.started
    if is_there and stat is not None:
        if not stat.has_ended:
            return None
        if not _tells_status(identity.pid):
            return None if _may_be_told_yet(stage) else ChildEnd(None, None, stat.cpu_seconds)
        return decode(stat.wait_status, stat.cpu_seconds)
    status = None if handle.pidfd is None else wait_status_of_reaped(handle.pidfd)
    if status is None:
        return ChildEnd(None, None, stage.history.cpu_seconds or 0.0)
    return decode(status, stage.history.cpu_seconds or 0.0)


def _tells_status(pid: int) -> bool:
    """Whether field 52 may be believed: it reads 0 where we may not trace the process, a set-gid program say (proc(5)).

    The kernel asks the same question (PTRACE_MODE_READ_FSCREDS) of who reads a link in /proc/PID/ns.
    """
    try:
        os.readlink(f"/proc/{pid}/ns/user")
    except OSError as error:
        return error.errno not in (errno.EACCES, errno.EPERM, errno.ESRCH)
    return True


def _may_be_told_yet(stage: ManagedStage) -> bool:
    """Whether it is worth waiting for the process that has to reap it."""
    handle = handle_of(stage)
    now = time.monotonic()
    if handle.untold_since is None:
        handle.untold_since = now
    return handle.pidfd is not None and now - handle.untold_since < REAP_SECONDS
