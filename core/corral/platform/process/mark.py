"""The mark: a number in RLIMIT_LOCKS that every descendant of a job carries.

Linux has ignored that limit since 2.4 (getrlimit(2)), yet each process inherits it through fork, exec, setsid and a
cleared environment, and prlimit(2) reads it from outside without root as long as uid and gid are ours.
"""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

from corral.platform.host.procfs import entries, read_file, users_of

RLIMIT_LOCKS = 10
"""From asm-generic/resource.h; the resource module does not name it."""
UNLIMITED = resource.RLIM_INFINITY
NONCE_BITS, JOB_BITS, STAGE_BITS = 22, 32, 8
MAX_STAGES = (1 << STAGE_BITS) - 1
_IS_MARK = 1 << 62
"""Set in every mark and below 2**63: Python's setrlimit takes a C long."""
APART = _IS_MARK - 1
"""Carried by a daemon, and inherited by what it starts for itself: no mark, and not a process that has lost one either."""


class Mark(NamedTuple):
    """What a marked process says of itself. `nonce` tells the CORRAL_HOME, `stage` counts from 1."""

    nonce: int
    job: int
    stage: int


def encode(mark: Mark) -> int:
    return _IS_MARK | mark.nonce << (JOB_BITS + STAGE_BITS) | mark.job << STAGE_BITS | mark.stage


def decode(value: int) -> Mark | None:
    """None for a limit that is no mark, an unlimited one above all."""
    if value < 0 or not value & _IS_MARK or value >> 63:
        return None
    return Mark(
        value >> (JOB_BITS + STAGE_BITS) & ((1 << NONCE_BITS) - 1),
        value >> STAGE_BITS & ((1 << JOB_BITS) - 1),
        value & MAX_STAGES,
    )


def value_of(pid: int) -> int | None:
    """RLIMIT_LOCKS of a process, whatever it holds; None where the process is gone. Raises PermissionError.

    prlimit(2) wants all three uids and gids to be ours, so it refuses set-uid and set-gid programs too;
    /proc/PID/limits is open to everybody (proc(5), Linux 2.6.36), unless /proc hides the process (hidepid). A mark there
    is believed of a process that our user or root has started: anybody else may have copied it from there.
    """
    try:
        return resource.prlimit(pid, RLIMIT_LOCKS)[0]
    except ProcessLookupError:
        return None
    except PermissionError:
        text = read_file(f"/proc/{pid}/limits")
        if text is None:
            raise
        row = text.partition(b"Max file locks")[2].split(None, 1)
        if not row:
            return None  # it ended while it was read
        value = int(row[0]) if row[0].isdigit() else UNLIMITED
        if decode(value) is not None and _was_started_by_others(pid):
            raise
        return value


def _was_started_by_others(pid: int) -> bool:
    """Whether neither our user nor root did: a set-uid program keeps the real user (credentials(7))."""
    users = users_of(pid)
    return users is None or users[0] not in (0, os.getuid())


def read(pid: int) -> Mark | None:
    """The mark of a process; None where it has none. Raises PermissionError where that is not told."""
    value = value_of(pid)
    return None if value is None else decode(value)


def put(pid: int, mark: Mark) -> tuple[int, int]:
    """Mark a process from outside; the limits that it had. For `Signaller.restore_mark` alone, which knows what it marks.

    Raises:
        PermissionError: another uid or gid (prlimit(2)), or it has lowered its hard limit, which only root could raise.
        ProcessLookupError: it is gone.
    """
    hard = resource.prlimit(pid, RLIMIT_LOCKS)[1]
    value = encode(mark)
    if hard != UNLIMITED and hard < value:
        raise PermissionError(f"pid {pid} has lowered its hard limit RLIMIT_LOCKS, so it cannot carry a mark")
    return resource.prlimit(pid, RLIMIT_LOCKS, (value, hard))


def put_back(pid: int, mark: Mark, before: tuple[int, int]) -> None:
    """Undo `put` where the pid went to somebody else meanwhile."""
    with suppress(ProcessLookupError, PermissionError):
        if resource.prlimit(pid, RLIMIT_LOCKS)[0] == encode(mark):
            resource.prlimit(pid, RLIMIT_LOCKS, before)


def remove_own() -> None:
    """Remove the mark of this very process, which a daemon started inside a job has inherited, and say that it is meant."""
    if sys.platform != "linux":
        return
    hard = resource.getrlimit(RLIMIT_LOCKS)[1]
    resource.setrlimit(RLIMIT_LOCKS, (APART if hard == UNLIMITED else hard, hard))


@contextmanager
def applied(mark: Mark | None) -> Iterator[None]:
    """Carry `mark` during a spawn. The whole process carries it: no other thread may start a process meanwhile."""
    if mark is None:
        yield
        return
    before = resource.getrlimit(RLIMIT_LOCKS)
    resource.setrlimit(RLIMIT_LOCKS, (encode(mark), before[1]))
    try:
        yield
    finally:
        resource.setrlimit(RLIMIT_LOCKS, before)


def set_on(pid: int, mark: Mark) -> None:
    """Mark a process of ours, and what it starts from now on (prlimit(2)). Raises OSError."""
    hard = resource.prlimit(pid, RLIMIT_LOCKS)[1]
    resource.prlimit(pid, RLIMIT_LOCKS, (encode(mark), hard))


def why_not() -> str | None:
    """None where marks work, else the reason. Tried with a real child, since only that proves it."""
    if sys.platform != "linux":
        return f"{sys.platform} has no RLIMIT_LOCKS"
    if resource.getrlimit(RLIMIT_LOCKS)[1] != UNLIMITED:
        return "the hard limit RLIMIT_LOCKS is finite here, so it cannot carry a mark"
    probe = Mark(1, 2, 3)
    reader, writer = os.pipe()
    try:
        with applied(probe):
            child = os.fork()
            if child == 0:
                os.close(writer)
                os.read(reader, 1)
                os._exit(0)
        try:
            found = read(child)
        except PermissionError:
            found = None
    finally:
        os.close(writer)
        os.close(reader)
    os.waitpid(child, 0)
    return None if found == probe else "a child did not inherit RLIMIT_LOCKS"


def scan(nonce: int, others: list[tuple[int, int]] | None = None) -> list[tuple[int, int, int]]:
    """Pid, job and stage of every process of the machine whose mark of this home prlimit(2) tells us. 0.7 µs a process.

    `others` gets the pids of all the rest, and the inodes of their folders (`procfs.entries`): without a mark, with
    another one, or of another uid or gid.
    """
    prefix = _IS_MARK >> (JOB_BITS + STAGE_BITS) | nonce
    found = []
    prlimit = resource.prlimit
    for entry in entries():
        pid = int(entry.name)
        try:
            value = prlimit(pid, RLIMIT_LOCKS)[0]
        except ProcessLookupError:
            continue
        except PermissionError:
            value = 0
        if value >= _IS_MARK and value >> (JOB_BITS + STAGE_BITS) == prefix:
            found.append((pid, value >> STAGE_BITS & ((1 << JOB_BITS) - 1), value & MAX_STAGES))
        elif others is not None:
            others.append((pid, entry.inode()))
    return found
