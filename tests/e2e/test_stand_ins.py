"""What a stand-in waited for starts as any other job does."""

from __future__ import annotations

import os
import subprocess
import sys

from e2e.command import Corral

TELLING = """
import os, resource, signal, sys
print(sorted(os.environ.items()), os.getcwd(), oct(os.umask(0)), os.getpriority(os.PRIO_PROCESS, 0))
print([resource.getrlimit(n) for n in range(16) if n != 10], os.sched_getaffinity(0), os.sched_getscheduler(0))
print(os.getsid(0) == os.getpid() == os.getpgid(0), sorted(os.listdir('/proc/self/fd')), sys.argv[1:])
for line in open('/proc/self/status'):
    if line.startswith(('Sig', 'Shd', 'CapEff')) and not line.startswith('SigQ'):
        print(line, end='')
"""


def told(corral: Corral, *redirection: str, terminal: bool = False) -> str:
    """What a job finds, started from a shell with limits, a nice value and a umask of its own."""
    (corral.directory / "tell.py").write_text(TELLING)
    line = " ".join((sys.executable, "-S", "tell.py", "'a b'", "''", "\\*", *redirection))
    options = ["--pty"] if terminal else []
    argv = [*corral.argv, "run", "--wait", "--env", "CORRAL_TESTED=\udcff", *options, line]
    limits = (
        'umask 027; ulimit -S -n 700; ulimit -S -c 0; ulimit -S -f 1000; exec nice -n 3 taskset -c 0 "$@"'
    )
    ended = subprocess.run(
        ["sh", "-c", limits, "sh", *argv],
        cwd=corral.directory,
        env=corral.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, b""), ended
    return os.fsdecode(ended.stdout).replace("'CORRAL_JOB_ID', '2'", "'CORRAL_JOB_ID', '1'")


def test_its_surroundings_are_the_same(corral: Corral) -> None:
    assert told(corral) == told(corral, "<", "/proc/self/comm")


def test_its_terminal_is_its_own(corral: Corral) -> None:
    assert told(corral, terminal=True) == told(corral, "2>", "/proc/self/comm", terminal=True)
    assert corral.ok("run", "--wait", "--pty", "sh -c 'echo there > /dev/tty' < /proc/self/comm") == "there"


def test_what_the_kernel_refuses_is_said_as_for_any_other(corral: Corral) -> None:
    (corral.directory / "noise").write_bytes(b"\x00\x01 no program")
    (corral.directory / "noise").chmod(0o755)
    for line, status in (("./noise", 126), ("no-such-program", 127), ("./tell.py", 126)):
        (corral.directory / "tell.py").write_text("")
        plain, waited = corral("run", line), corral("run", f"{line} < /proc/self/comm")
        assert (
            (waited.returncode, waited.stderr) == (plain.returncode, plain.stderr) == (status, plain.stderr)
        )
        assert plain.stderr
