"""What a job inherits is its client's, whatever the daemon has: limits, umask, nice value, CPUs, policies, signals."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import psutil
import pytest

import forkserver
from corral.platform.spawn import resource_limits
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
    "blocked": int(status["SigBlk"], 16), "ignored": int(status["SigIgn"], 16) & ~(1 << 12 | 1 << 24),
    "stdin": os.readlink("/proc/self/fd/0"),
}))
"""
"""Python itself ignores SIGPIPE and SIGXFSZ, signals 13 and 25."""


def seen(corral: Corral, prepare: Callable[[], None] | None = None) -> dict[str, Any]:
    ended = corral("run", "--wait", "--", sys.executable, "-E", "-c", LOOK, preexec_fn=prepare)
    assert (ended.returncode, ended.stderr) == (0, ""), ended
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


def own() -> dict[str, Any]:
    """This process's, as `LOOK` says it."""
    return {
        "limits": {str(number): list(pair) for number, pair in resource_limits.current().items()},
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


WHERE = "import json, os; print(json.dumps([os.environ.get('PWD'), os.getcwd(), os.environ.get('OLDPWD')]))"


def test_a_job_is_where_its_pwd_says(corral: Corral) -> None:
    """As after `cd` in sh: the directory as typed, made absolute, symlinks kept."""
    real, link = str(corral.directory / "real"), str(corral.directory / "link")
    os.makedirs(real + "/in")
    os.symlink(real, link)

    def where(*options: str, **env: str) -> list[str | None]:
        words = ("run", "-w", *options, "--", sys.executable, "-c", WHERE)
        found: list[str | None] = json.loads(corral.ok(*words, cwd=real, env=env))
        return found

    assert where("-C", "in", PWD=link, OLDPWD="/usr") == [link + "/in", real + "/in", "/usr"]
    assert where("-C", "in/..", PWD=link) == [link, real, None]
    assert where("-C", link, PWD="/usr") == [link, real, None]
    assert where("-C", ".", PWD="/usr") == [real, real, None]
    assert where("-C", "in") == [real + "/in", real + "/in", None]
    # Without it, nothing is added, and what is wrong is put right.
    assert where() == [None, real, None]
    assert where(PWD=link) == [link, real, None]
    assert where(PWD=link + "/./in/..") == where(PWD="link") == where(PWD="/nowhere") == [real, real, None]
    assert where("-C", "in", "-e", "PWD=/mine", PWD=link) == ["/mine", real + "/in", None]
    again = corral.ok("restart", corral.ok("run", "-C", link, "--", sys.executable, "-c", WHERE))
    corral.ok("wait", again)
    assert json.loads(corral.ok("logs", again)) == [link, real, None]


def test_a_program_says_where_its_jobs_are(corral: Corral) -> None:
    code = (
        "import asyncio, corral, json, os, sys\n"
        f"look = [sys.executable, '-c', {WHERE!r}]\n"
        "async def main():\n"
        "    async with corral.open() as manager:\n"
        "        os.chdir('/usr')\n"
        "        for options in ({}, {'cwd': '/etc'}, {'cwd': 'lib', 'env': dict(os.environ)}, {'cwd': '/', 'env': {'A': '1'}}):\n"
        "            print((await manager.run(look, **options)).stdout.decode().strip())\n"
        "asyncio.run(main())\n"
    )
    environment = corral.environment | {"PWD": str(corral.directory)}
    ended = forkserver.run(
        [sys.executable, "-c", code], env=environment, cwd=corral.directory, text=True, timeout=30
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    found = [tuple(json.loads(line)[:2]) for line in ended.stdout.splitlines()]
    lib = os.path.realpath("/usr/lib")
    assert found == [("/usr", "/usr"), ("/etc", os.path.realpath("/etc")), ("/usr/lib", lib), (None, "/")]


LOCALE = ("LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE", "PYTHONUTF8", "PYTHONCOERCECLOCALE")


def test_a_job_has_its_clients_variables_and_three_more(corral: Corral) -> None:
    """Whatever Python does to its own environment where the locale is "C" (PEP 538)."""

    def added(*options: str, **env: str) -> dict[str, str]:
        given = {name: value for name, value in corral.environment.items() if name not in LOCALE} | env
        ended = subprocess.run(
            [*corral.argv, "run", "-w", "-q", *options, "env"],
            env=given,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (ended.returncode, ended.stderr) == (0, "")
        found = dict(line.split("=", 1) for line in ended.stdout.splitlines())
        assert given.items() <= found.items()
        return {name: value for name, value in found.items() if name not in given and name[:7] != "CORRAL_"}

    assert added() == added(LANG="C") == added(LANG="nowhere.UTF-8") == added(LC_ALL="C") == {}
    assert added("-e", "A=1", LANG="C") == {"A": "1"}
    assert added("-e", "LC_CTYPE=C.UTF-8", LANG="C") == {"LC_CTYPE": "C.UTF-8"}
    assert added(LC_CTYPE="C.UTF-8") == {}
