"""Waits that the kernel passes on: a file system that is a program, a debugger, a semaphore of System V."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
from pathlib import Path

import pytest

from corral.platform.host.procfs import HAS_PROCFS
from corral.platform.inspect.process_mounts import Mount, mount_at, mount_in_call, mounts_of
from corral.waits.holders import Holders
from corral.waits.process_wait import ProcessWait, wait_of
from frozen import file_system
from until import python, running, until

pytestmark = pytest.mark.skipif(not HAS_PROCFS, reason="waits are read from /proc")

ROOT = Mount("/", "ext4", "/dev/sda1", 1)
HOME = Mount("/home", "fuse.sshfs", "me@far:", 39)


@pytest.mark.parametrize(
    ("path", "found"),
    [("/home", HOME), ("/home/me/x", HOME), ("/homes", ROOT), ("/", ROOT), ("relative", None)],
)
def test_the_innermost_mount_is_the_one_of_a_path(path, found):
    assert mount_at(path, [ROOT, HOME]) == found


def test_a_later_mount_covers_an_earlier_one():
    covers = HOME._replace(kind="tmpfs")
    assert mount_at("/home/x", [ROOT, HOME, covers]) == covers


def test_the_mount_of_a_call_by_its_path_or_its_descriptor(tmp_path: Path):
    path = ctypes.create_string_buffer(b"/proc/self/status")
    address, own = ctypes.addressof(path), os.getpid()
    for arguments in ((address, 0), (0xFFFFFF9C, address), ((1 << 64) - 100, address)):
        found = mount_in_call(own, arguments)
        assert found is not None
        assert found.point == "/proc"
    with open("/proc/self/status") as file:
        found = mount_in_call(own, (file.fileno(), 0))
    assert found is not None
    assert found.kind == "proc"
    assert mounts_of(1 << 30) == []


def _until(pid: int, kind: str) -> ProcessWait:
    def seen() -> ProcessWait | None:
        wait = wait_of(pid)
        return wait if wait is not None and wait.kind == kind else None

    return until(seen, f"the process to wait: {kind}")


def test_the_program_that_serves_a_file_system_is_named(tmp_path: Path):
    with file_system(tmp_path / "server") as files:
        files.freeze()
        with running("cat", str(tmp_path / "server" / "new"), stderr=subprocess.DEVNULL) as reads:
            wait = _until(reads.pid, "disk")
            assert wait.detail == f"waits for the file system {tmp_path}/server (fuse)"
            holders = Holders(os.getpid())
            held = holders.of(wait, holders.begin([reads.pid]))
            files.thaw()
    assert held is not None
    assert len(held.pids) == 1
    assert held.detail is not None
    assert held.detail.endswith(" serves")


def test_who_is_held_by_a_debugger():
    code = (
        "import ctypes, os, signal\n"
        "if os.fork() == 0:\n"
        "    ctypes.CDLL(None).ptrace(0, 0, 0, 0)\n    os.kill(os.getpid(), signal.SIGSTOP)\n    os._exit(0)\n"
        "pid, _ = os.waitpid(-1, os.WUNTRACED)\nprint(pid, flush=True)\ninput()"
    )
    with running(*python(code), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as tracer:
        assert tracer.stdout is not None
        pid = int(tracer.stdout.readline())
        wait = _until(pid, "suspended")
        os.kill(pid, signal.SIGKILL)
    assert wait.detail.startswith("is held by the debugger python")
    assert wait.detail.endswith(f" ({tracer.pid}) (state t)")


def test_who_changed_a_semaphore_last_is_named():
    libc = ctypes.CDLL(None)
    number = libc.semget(0, 1, 0o600 | 0o1000)  # IPC_PRIVATE, IPC_CREAT
    waits = f"import ctypes, struct\nctypes.CDLL(None).semop({number}, struct.pack('=Hhh', 0, -2, 0), 1)"
    try:
        libc.semop(number, b"\0\0\1\0\0\0", 1)
        with running(*python(waits)) as process:
            wait = until(lambda: _with_semaphore(process.pid), "it to wait for the semaphore")
            holders = Holders(os.getpid())
            held = holders.of(wait, holders.begin([process.pid]))
    finally:
        libc.semctl(number, 0, 0)  # IPC_RMID
    assert held is not None
    assert held.pids == (os.getpid(),)
    assert held.detail is not None
    assert held.detail.startswith(
        f"waits for the semaphore 0 of set {number}, which is at 1 and which {os.getpid()} ("
    )


def _with_semaphore(pid: int) -> ProcessWait | None:
    wait = wait_of(pid)
    return wait if wait is not None and wait.semaphore is not None else None
