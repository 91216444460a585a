"""Giving a job its client's resource limits without lowering those of the daemon for good."""

from __future__ import annotations

import contextlib
import resource
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

from corral.platform.process.mark import RLIMIT_LOCKS
from corral.platform.spawn.child_setup import LIMIT_NAMES

NOFILE = resource.RLIMIT_NOFILE
_SAFE_DURING_SPAWN = frozenset(
    getattr(resource, name)
    for name in ("RLIMIT_NOFILE", "RLIMIT_CORE", "RLIMIT_STACK", "RLIMIT_MEMLOCK", "RLIMIT_NPROC")
    if hasattr(resource, name)
)
"""Soft limits that this process can have during a spawn. CPU, FSIZE, AS, DATA and RSS would hit the daemon itself:
SIGXCPU, SIGXFSZ, or no memory for the fork."""

_IN_OUR_WAY = tuple(
    getattr(resource, name)
    for name in ("RLIMIT_NOFILE", "RLIMIT_CPU", "RLIMIT_FSIZE", "RLIMIT_AS", "RLIMIT_DATA")
    if hasattr(resource, name)
)

LEAST_NOFILE_DURING_SPAWN = 512
"""Soft NOFILE below which a child gets it inside instead: up to 256 kept descriptors stand at the bottom."""

_ENOUGH_FILES = 1 << 14
"""Hard NOFILE from which on a daemon can do its work."""

Limits = Mapping[int, tuple[int, int]]


def current() -> dict[int, tuple[int, int]]:
    """The limits of this process, -1 for unlimited, without RLIMIT_LOCKS."""
    return {number: resource.getrlimit(number) for number in LIMIT_NAMES if number != RLIMIT_LOCKS}


class LimitPlan(NamedTuple):
    """How a child gets its limits. `around`: soft limits that this process has during the spawn; `inside`: set in the
    child between fork and exec, which costs a real fork instead of a vfork."""

    around: tuple[tuple[int, tuple[int, int]], ...] = ()
    inside: tuple[tuple[int, tuple[int, int]], ...] = ()


def plan(wanted: Limits, own: Limits) -> LimitPlan:
    """Compare what the client had with what this process has."""
    around, inside = [], []
    for number, (soft, hard) in others(wanted, own):
        if hard == own[number][1] and number in _SAFE_DURING_SPAWN and not _leaves_too_few(number, soft):
            around.append((number, (soft, hard)))
        else:
            inside.append((number, (soft, hard)))
    return LimitPlan(tuple(around), tuple(inside))


def too_high(wanted: Limits, own: Limits) -> list[tuple[int, int, int]]:
    """Number, hard limit and ours of those that are above ours: only a privileged process may raise one (setrlimit(2))."""
    return [
        (number, hard, own[number][1])
        for number, (_, hard) in others(wanted, own)
        if _is_above(hard, own[number][1])
    ]


def others(wanted: Limits, own: Limits) -> list[tuple[int, tuple[int, int]]]:
    """Those of `wanted` that are not what this process has."""
    return [(number, pair) for number, pair in wanted.items() if own.get(number, pair) != pair]


def is_possible(soft: int, hard: int) -> bool:
    """Whether setrlimit(2) takes this pair; -1 is unlimited."""
    if min(soft, hard) < resource.RLIM_INFINITY or max(soft, hard) >= 1 << 63:
        return False
    return hard == resource.RLIM_INFINITY or 0 <= soft <= hard


def _leaves_too_few(number: int, soft: int) -> bool:
    """Whether Popen could not open its own pipe while this process has that limit: the low descriptors are taken."""
    return number == NOFILE and soft != resource.RLIM_INFINITY and soft < LEAST_NOFILE_DURING_SPAWN


def _is_above(one: int, other: int) -> bool:
    return other != resource.RLIM_INFINITY and (one == resource.RLIM_INFINITY or one > other)


def shown(value: int) -> str:
    """For a person."""
    return "unlimited" if value == resource.RLIM_INFINITY else str(value)


@contextmanager
def applied(limits: tuple[tuple[int, tuple[int, int]], ...]) -> Iterator[None]:
    """Have these soft limits during a spawn, then the own ones again."""
    before = [(number, resource.getrlimit(number)) for number, _ in limits]
    try:
        for number, pair in limits:
            resource.setrlimit(number, pair)
        yield
    finally:
        for number, pair in before:
            resource.setrlimit(number, pair)


def raise_soft_fsize() -> None:
    """Soft FSIZE to hard: the daemon's files are not those of the shell that it was started from."""
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))


def raise_own() -> None:
    """Soft limits of this process to hard, where they would end a daemon or keep it from its work.

    A thousand jobs keep about four thousand descriptors; a shell's `ulimit -S -t 60` is meant for its commands, not for
    a process that lives for weeks.
    """
    for number in _IN_OUR_WAY:
        _, hard = resource.getrlimit(number)
        enough = _ENOUGH_FILES if number == NOFILE else resource.RLIM_INFINITY
        if _is_above(enough, hard):
            # Nor is a hard one, where we may raise it (CAP_SYS_RESOURCE).
            with contextlib.suppress(ValueError, OSError):
                resource.setrlimit(number, (hard, enough))
                hard = enough
        soft = 1 << 20 if number == NOFILE and hard == resource.RLIM_INFINITY else hard
        resource.setrlimit(number, (soft, hard))
