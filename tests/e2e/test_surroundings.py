"""What a job inherits is its client's, whatever the daemon has: limits, umask, nice value, CPUs, policies, signals."""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from collections.abc import Callable
from typing import Any

import psutil
import pytest

from corral.system import limits
from e2e.command import Corral

LOOK = """
import json, os, resource, signal, sys
import psutil
me = psutil.Process()
names = sorted(name for name in vars(resource) if name.startswith("RLIMIT_"))
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
umask = os.umask(0)
print(json.dumps({
    "limits": {str(getattr(resource, name)): resource.getrlimit(getattr(resource, name)) for name in names},
    "umask": umask, "nice": os.nice(0), "cpus": sorted(os.sched_getaffinity(0)),
    "policy": os.sched_getscheduler(0), "io": [int(part) for part in me.ionice()],
    "blocked": int(status["SigBlk"], 16), "ignored": int(status["SigIgn"], 16) & ~(1 << 12 | 1 << 24 | 3 << 31),
    "stdin": os.readlink("/proc/self/fd/0"),
}))
"""
"""Python itself ignores SIGPIPE and SIGXFSZ, signals 13 and 25; 32 and 33 are the C library's own (nptl(7))."""


def seen(corral: Corral, prepare: Callable[[], None] | None = None) -> dict[str, Any]:
    ended = corral("run", "--wait", "--", sys.executable, "-E", "-c", LOOK, preexec_fn=prepare)
    assert (ended.returncode, ended.stderr) == (0, ""), ended
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


def own() -> dict[str, Any]:
    """This process's, as `LOOK` says it."""
    return {
        "limits": {str(number): list(pair) for number, pair in limits.current().items()},
        "umask": 0o022,
        "nice": os.nice(0),
        "cpus": sorted(os.sched_getaffinity(0)),
        "policy": os.SCHED_OTHER,
        "io": [int(part) for part in psutil.Process().ionice()],
        "blocked": 0,
        "ignored": 0,
        "stdin": "/dev/null",
    }


LOWER = {
    resource.RLIMIT_CPU: (500, 600),
    resource.RLIMIT_FSIZE: (1 << 30, 1 << 31),
    resource.RLIMIT_AS: (1 << 33, 1 << 34),
    resource.RLIMIT_DATA: (1 << 33, 1 << 34),
    resource.RLIMIT_CORE: (0, 0),
    resource.RLIMIT_STACK: (4 << 20, 8 << 20),
    resource.RLIMIT_NOFILE: (200, 900),
}
"""Soft and hard of a frugal shell."""


def plainly() -> None:
    os.umask(0o022)


def frugally(*, keeps_hard: bool = False) -> None:
    """The shell of somebody who wants little of the machine."""
    for number, (soft, hard) in LOWER.items():
        resource.setrlimit(number, (soft, resource.getrlimit(number)[1] if keeps_hard else hard))
    os.umask(0o027)
    os.nice(0 if keeps_hard else 3)
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    psutil.Process().ionice(psutil.IOPRIO_CLASS_IDLE)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # nohup
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])


def as_frugal(plain: dict[str, Any]) -> dict[str, Any]:
    lower = {str(number): list(pair) for number, pair in LOWER.items()}
    return plain | {
        "limits": plain["limits"] | lower,
        "umask": 0o027,
        "nice": plain["nice"] + 3,
        "cpus": plain["cpus"][:1],
        "policy": os.SCHED_BATCH,
        "io": [3, 0],
    }


@pytest.mark.skipif(sys.platform != "linux", reason="the policies are Linux's")
def test_a_job_has_what_its_client_has(corral: Corral) -> None:
    plain = own()
    assert seen(corral, plainly) == plain
    assert seen(corral, frugally) == as_frugal(plain)
    # The daemon has put all of it back.
    assert seen(corral, plainly) == plain


@pytest.mark.skipif(sys.platform != "linux", reason="the policies are Linux's")
def test_what_the_first_shell_wants_is_not_the_daemons(corral: Corral) -> None:
    """Soft limits that end a process do not end the daemon that a shell under them starts, nor reach other jobs."""
    found = seen(corral, lambda: frugally(keeps_hard=True))
    assert found["limits"][str(resource.RLIMIT_CPU)][0] == 500
    daemon = psutil.Process(int(corral.ok("daemon", "status").split("pid")[1].split()[0]))
    for number in (resource.RLIMIT_CPU, resource.RLIMIT_FSIZE, resource.RLIMIT_AS, resource.RLIMIT_DATA):
        soft, hard = daemon.rlimit(number)
        assert soft == hard
    assert seen(corral, plainly) == own()
