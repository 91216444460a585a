"""Processes that may not be looked into: what is told of them, and that nothing is guessed."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from corral.platform.host.procfs import HAS_PROCFS, read_file
from corral.platform.inspect import ptrace_access, py_spy
from corral.waits import threads, unreadable
from corral.waits.process_wait import ProcessWait, wait_of
from e2e.users import as_ordinary_user, his_folder, why_no_ordinary_user
from until import python, running, until

__all__ = ["his_folder"]
pytestmark = pytest.mark.skipif(not HAS_PROCFS, reason="there is no /proc to be shut out from")

PROBE = r"""
import ctypes, fcntl, json, os, signal, subprocess, sys, time
from corral.measure.stuck_rule import Progress, health_of
from corral.diagnosis.wait_chains import Observations, WaitGraph, is_benign
from corral.diagnosis.diagnose import diagnose
from corral.waits.process_wait import wait_of
from corral.model.job import Job, Stage
from datetime import UTC, datetime

HIDES = "import ctypes, os, sys, time, fcntl, signal\nctypes.CDLL(None).prctl(4, 0, 0, 0, 0)\nos.write(1, b'x')\n"
path = sys.argv[1] + "/lock"
lock = open(path, "w")
fcntl.flock(lock, fcntl.LOCK_EX)
programs = {
    "sleeps": "time.sleep(60)",
    "reads": "r, w = os.pipe(); os.read(r, 1)",
    "locks": f"fcntl.flock(open({path!r}), fcntl.LOCK_EX)",
    "stops": "os.kill(os.getpid(), signal.SIGSTOP)",
    "computes": "while True: pass",
}
children = {
    name: subprocess.Popen([sys.executable, "-S", "-E", "-c", HIDES + code], stdout=subprocess.PIPE)
    for name, code in programs.items()
}
told = {}
for name, child in children.items():
    child.stdout.read(1)
    deadline = time.monotonic() + 20
    while True:
        wait = wait_of(child.pid)
        if (wait.kind == "running") == (name == "computes") and (name != "locks" or wait.kind == "file_lock"):
            break
        assert time.monotonic() < deadline, (name, wait)
    stage = Stage(number=1, name="x", argv=("x",), pid=child.pid, state="running")
    job = Job(id="1", name=None, command="x", cwd="/", state="running", created=datetime.now(UTC), stages=(stage,))
    seen = Observations((wait,))
    benign = is_benign(WaitGraph(job, seen))
    health = health_of(Progress(0.0), 100.0, 60.0, benign)[0]
    told[name] = (wait.kind, health, diagnose(job, seen).summary, wait.reason)
for child in children.values():
    child.kill()
    child.wait()
    child.stdout.close()
print(json.dumps(told))
"""


@pytest.mark.skipif(why_no_ordinary_user() is not None, reason="no ordinary user to be shut out")
def test_programs_that_hide_are_not_guessed_at(his_folder):
    argv = [*as_ordinary_user(), sys.executable, "-c", PROBE, str(his_folder)]
    found = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False, cwd=his_folder)
    assert found.returncode == 0, found.stderr
    told = json.loads(found.stdout)
    shut_out = "it has rights of its own, or hides its memory, so only root may see what it waits for"
    for name in ("sleeps", "reads"):
        assert told[name] == ["unknown", None, "x sleeps; what it waits for cannot be seen", shut_out]
    assert told["locks"] == ["file_lock", "stuck", "x waits for a file lock (flock)", None]
    assert told["stops"][:2] == ["suspended", "stuck"]
    assert told["computes"][0] == "running"


def shut(monkeypatch: pytest.MonkeyPatch) -> None:
    """As under ptrace_scope 1 for who did not start it: the system call is hidden, the rest is not."""
    monkeypatch.setattr(
        threads, "read_file", lambda path: None if path.endswith("/syscall") else read_file(path)
    )
    monkeypatch.setattr(ptrace_access, "ptrace_scope", lambda: 1)
    monkeypatch.setattr(py_spy, "ptrace_scope", lambda: 1)


def seen(pid: int, kind: str) -> ProcessWait:
    def told() -> ProcessWait | None:
        wait = wait_of(pid)
        return wait if wait is not None and wait.kind == kind else None

    return until(told, f"the process to be told as {kind}")


@pytest.mark.skipif(not (read_file("/proc/self/wchan") or b"").strip(), reason="this kernel has no wchan")
def test_kernel_function_and_descriptors_tell_after_a_crash(monkeypatch):
    shut(monkeypatch)
    ours, theirs = os.pipe()
    try:
        with running("cat", stdin=ours, stdout=subprocess.DEVNULL) as one_pipe:
            wait = seen(one_pipe.pid, "pipe_read")
            assert (wait.fd, wait.pipe) == (0, os.fstat(ours).st_ino)
            assert wait.reason is not None
            assert wait.reason.startswith("only a program that started it may see what it waits for")
            assert "(ptrace_scope 1); it sleeps in the kernel function " in wait.reason
        code = "import os; r, w = os.pipe(); os.read(r, 1)"
        with running(*python(code), stdin=ours) as two_pipes:
            wait = seen(two_pipes.pid, "pipe_read")
            assert (wait.fd, wait.pipe, wait.detail) == (None, None, "waits to read from a pipe")
        with running("sleep", "60") as sleeps:
            assert seen(sleeps.pid, "timer").reason is None
    finally:
        os.close(ours)
        os.close(theirs)


def test_words_for_what_the_kernel_refuses(monkeypatch):
    for scope, words in ((0, "the kernel does not show"), (2, "only root"), (3, "nobody")):
        monkeypatch.setattr(ptrace_access, "ptrace_scope", lambda scope=scope: scope)
        assert words in unreadable.reason(os.getpid(), None)
    monkeypatch.setattr(os, "geteuid", lambda: 65534 if os.getuid() != 65534 else 65533)
    assert ptrace_access.why_closed(os.getpid()) == f"it belongs to {ptrace_access.user_name(os.getuid())}"
    shut(monkeypatch)
    assert "py-spy" not in (ptrace_access.why_closed(1 << 22) or "")
    assert "ptrace_scope 1" in py_spy.why_refused(1 << 22)


def test_words_for_a_set_uid_program(monkeypatch):
    me, other = 65534, 0
    monkeypatch.setattr(os, "geteuid", lambda: me)
    monkeypatch.setattr(ptrace_access, "users_of", lambda _: (me, other))
    name = ptrace_access.user_name(other)
    assert unreadable.reason(1 << 22, None) == (
        f"it has the rights of {name} (set-uid), so only root may see what it waits for"
    )
