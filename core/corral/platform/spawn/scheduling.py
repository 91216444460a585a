"""Giving a job its client's share of the machine: the CPUs it may run on, its scheduling policy, its I/O priority.

All three are inherited through fork and exec (sched(7), ioprio_set(2)), so a job would have the daemon's. Only Linux has
them; elsewhere nothing is known and nothing is done.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from corral.model.errors import CannotStartError
from corral.model.spec import Scheduling

_HAS_SCHEDULING = sys.platform == "linux"
IDLE = getattr(os, "SCHED_IDLE", -1)
REAL_TIME = frozenset(getattr(os, name, -1) for name in ("SCHED_FIFO", "SCHED_RR"))
_NO_POLICIES = ("SCHED_RESET_ON_FORK",)
_MOST_CPUS = 1024
_SCHED_DEADLINE = 6
"""A thread under it may not fork (sched(7)), so no job has it from anybody."""


def of(pid: int) -> Scheduling | None:
    """That of a process; None where it has gone or the system does not tell."""
    if not _HAS_SCHEDULING or pid <= 0:
        return None
    import psutil

    try:
        cpus = tuple(sorted(os.sched_getaffinity(pid)))
        policy, priority = os.sched_getscheduler(pid), os.sched_getparam(pid).sched_priority
        io = psutil.Process(pid).ionice()
    except (OSError, psutil.Error):
        return None
    if policy & os.SCHED_RESET_ON_FORK or policy == _SCHED_DEADLINE:
        # What the client started itself would not have it either.
        policy, priority = os.SCHED_OTHER, 0
    # Only of real-time and best effort the value means anything; the idle class keeps a stale one.
    value = int(io.value) if io.ioclass in (psutil.IOPRIO_CLASS_RT, psutil.IOPRIO_CLASS_BE) else 0
    return Scheduling(cpus, policy, priority, int(io.ioclass), value)


def plan(wanted: Scheduling | None, own: Scheduling | None) -> tuple[Scheduling | None, dict[str, Any]]:
    """What a child is to have that this process has not. First what is set here during the spawn, and put back; then what
    is set in the child, since not everybody may take a policy back (`corral.platform.spawn.child_setup`)."""
    if wanted is None or own is None or wanted == own:
        return None, {}
    policy = (wanted.policy, wanted.priority)
    is_elsewhere = (wanted.cpus, wanted.io_class, wanted.io_value) != (own.cpus, own.io_class, own.io_value)
    return wanted if is_elsewhere else None, {} if policy == (own.policy, own.priority) else {
        "policy": policy
    }


def policy_name(of: Scheduling) -> str:
    """Such as SCHED_IDLE."""
    names = {
        getattr(os, name): name for name in dir(os) if name.startswith("SCHED_") and name not in _NO_POLICIES
    }
    return names.get(of.policy, str(of.policy)) + (f" {of.priority}" if of.priority else "")


def be_ordinary() -> None:
    """Take off what the shell wanted for its commands: nice, chrt, taskset, ionice. As far as the kernel lets us."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, 0)
    if not _HAS_SCHEDULING:
        return
    import psutil

    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    with contextlib.suppress(OSError):
        # The kernel takes of them what there is, and what the control group allows (sched_setaffinity(2)).
        os.sched_setaffinity(0, range(_MOST_CPUS))
    with contextlib.suppress(OSError, psutil.Error):
        psutil.Process().ionice(psutil.IOPRIO_CLASS_NONE)


@contextmanager
def applied(wanted: Scheduling | None) -> Iterator[None]:
    """Run on those CPUs, with that I/O priority, during a spawn. Both are the thread's own; a few µs.

    Raises:
        CannotStartError: 125; for example, the machine does not have those CPUs any more.
    """
    if wanted is None:
        yield
        return
    import psutil

    before = of(os.getpid())
    assert before is not None
    this = psutil.Process()
    try:
        try:
            os.sched_setaffinity(0, wanted.cpus)
            this.ionice(wanted.io_class, wanted.io_value)
        except (OSError, psutil.Error) as error:
            raise CannotStartError(
                f"its share of the machine cannot be given to it (CPUs {_shown(wanted.cpus)}): {error}", 125
            ) from None
        yield
    finally:
        os.sched_setaffinity(0, before.cpus)
        this.ionice(before.io_class, before.io_value)


def _shown(cpus: tuple[int, ...]) -> str:
    return ",".join(map(str, cpus))
