"""The mark: a number in RLIMIT_LOCKS that every descendant of a job carries.

Linux has ignored that limit since 2.4 (getrlimit(2)), yet each process inherits it through fork, exec, setsid and a
cleared environment, and prlimit(2) reads it from outside without root as long as uid and gid are ours.
"""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from corral.system.procfs import pids

RLIMIT_LOCKS = 10
"""From asm-generic/resource.h; the resource module does not name it."""
UNLIMITED = resource.RLIM_INFINITY
NONCE_BITS, JOB_BITS, STAGE_BITS = 22, 32, 8
MAX_STAGES = (1 << STAGE_BITS) - 1
_IS_MARK = 1 << 62
"""Set in every mark and below 2**63: Python's setrlimit takes a C long."""


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


def read(pid: int) -> Mark | None:
    """The mark of a process; None where it has none. Raises PermissionError for another uid or gid."""
    try:
        return decode(resource.prlimit(pid, RLIMIT_LOCKS)[0])
    except ProcessLookupError:
        return None


def take_off() -> None:
    """Remove the mark of this very process, which a daemon started inside a job has inherited."""
    if sys.platform != "linux":
        return
    hard = resource.getrlimit(RLIMIT_LOCKS)[1]
    resource.setrlimit(RLIMIT_LOCKS, (hard, hard))


@contextmanager
def worn(mark: Mark | None) -> Iterator[None]:
    """Wear `mark` around a spawn. The whole process wears it: no other thread may start a process meanwhile."""
    if mark is None:
        yield
        return
    before = resource.getrlimit(RLIMIT_LOCKS)
    resource.setrlimit(RLIMIT_LOCKS, (encode(mark), before[1]))
    try:
        yield
    finally:
        resource.setrlimit(RLIMIT_LOCKS, before)


def put_on(pid: int, mark: Mark) -> None:
    """Let a process of ours wear it, and what it starts from now on (prlimit(2)). Raises OSError."""
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
        with worn(probe):
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


class Found(NamedTuple):
    """One marked process."""

    pid: int
    job: int
    stage: int


def scan(nonce: int, others: list[int] | None = None) -> list[Found]:
    """Every process of the machine that carries a mark of this home. 1.7 µs a process.

    `others` gets the pids whose limits we may not read, those of another uid or gid; root reads them all.
    """
    prefix = _IS_MARK >> (JOB_BITS + STAGE_BITS) | nonce
    found = []
    prlimit = resource.prlimit
    for pid in pids():
        try:
            value = prlimit(pid, RLIMIT_LOCKS)[0]
        except ProcessLookupError:
            continue
        except PermissionError:
            # prlimit(2) wants all three uids and gids to be ours: a set-gid program is out of its reach already.
            if others is not None:
                others.append(pid)
            continue
        if value >= _IS_MARK and value >> (JOB_BITS + STAGE_BITS) == prefix:
            found.append(Found(pid, value >> STAGE_BITS & ((1 << JOB_BITS) - 1), value & MAX_STAGES))
    return found
