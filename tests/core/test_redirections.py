"""Opening what redirections name: nothing emptied early, nothing blocked, the umask of the job."""

from __future__ import annotations

import fcntl
import os
import resource
import signal
import sys
from pathlib import Path

import pytest

from corral.model.errors import CannotStartError
from corral.model.spec import Redirection
from corral.output.job_files import open_own
from corral.platform.files.descriptors import Reserve, move_high
from corral.platform.files.redirections import empty, may_block, open_redirection
from corral.platform.spawn import resource_limits
from corral.platform.spawn.executables import find_program
from corral.platform.spawn.resource_limits import NOFILE


def test_opening_for_writing_keeps_what_is_there_until_it_is_emptied(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"kept")
    descriptor = open_redirection(Redirection(1, "write", "f"), str(path), 0)
    try:
        assert path.read_bytes() == b"kept"
        empty(descriptor)
        assert path.read_bytes() == b""
        assert fcntl.fcntl(descriptor, fcntl.F_GETFD) & fcntl.FD_CLOEXEC
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("umask", [0, 0o022, 0o077, 0o777])
def test_a_new_file_gets_the_umask_of_its_job_and_not_ours(tmp_path: Path, umask: int) -> None:
    path = tmp_path / "new"
    os.close(open_redirection(Redirection(1, "append", "new"), str(path), umask))
    assert path.stat().st_mode & 0o777 == 0o666 & ~umask


def test_a_dangling_link_makes_its_target(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "target")
    os.close(open_redirection(Redirection(1, "write", "link"), str(tmp_path / "link"), 0o022))
    assert (tmp_path / "target").exists()


def test_what_may_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "file").touch()
    assert may_block(str(tmp_path / "fifo"))
    assert not any(map(may_block, (str(tmp_path / "file"), str(tmp_path), "/dev/null", "/no/such")))


# ---- descriptors and limits


def test_low_descriptors_stay_and_scarce_ones_move_up() -> None:
    reader, writer = os.pipe()
    assert move_high(reader) == reader
    room = resource.getrlimit(NOFILE)
    resource.setrlimit(NOFILE, (room[1], room[1]))
    try:
        middle = fcntl.fcntl(writer, fcntl.F_DUPFD_CLOEXEC, 300)
        moved = move_high(middle)
        assert moved >= 1024
        assert fcntl.fcntl(moved, fcntl.F_GETFD) & fcntl.FD_CLOEXEC
        with pytest.raises(OSError):
            os.fstat(middle)
        assert move_high(moved) == moved
        os.close(moved)
    finally:
        resource.setrlimit(NOFILE, room)
        os.close(reader)
        os.close(writer)


def test_a_reserve_is_let_go_and_taken_again() -> None:
    before = len(os.listdir("/proc/self/fd"))
    reserve = Reserve(3)
    assert len(os.listdir("/proc/self/fd")) == before + 3
    reserve.release()
    assert len(os.listdir("/proc/self/fd")) == before
    reserve.take()
    reserve.take()
    assert len(os.listdir("/proc/self/fd")) == before + 3
    reserve.release()


def test_limits_are_worn_where_that_is_safe_and_set_inside_where_not() -> None:
    own = {NOFILE: (4096, 8192), resource.RLIMIT_CPU: (-1, -1)}
    assert resource_limits.plan(own, own) == resource_limits.LimitPlan()
    assert resource_limits.plan({NOFILE: (1024, 8192)}, own) == resource_limits.LimitPlan(
        ((NOFILE, (1024, 8192)),)
    )
    for inside in ({NOFILE: (8, 8192)}, {NOFILE: (1024, 1024)}, {resource.RLIMIT_CPU: (10, -1)}):
        assert resource_limits.plan(inside, own) == resource_limits.LimitPlan((), tuple(inside.items()))


@pytest.mark.skipif(sys.platform != "linux", reason="leases are Linux's")
def test_a_lease_on_an_output_file_is_waited_for(tmp_path: Path) -> None:
    """The daemon has one for a moment when it gives back the block beyond the end of a file."""
    path = tmp_path / "stdout"
    path.write_text("kept")
    holder = os.open(path, os.O_RDWR)
    asked: list[int] = []

    def let_go(number: int, _: object) -> None:
        asked.append(number)
        fcntl.fcntl(holder, fcntl.F_SETLEASE, fcntl.F_UNLCK)

    before = signal.signal(signal.SIGURG, let_go)
    try:
        fcntl.fcntl(holder, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(holder, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        reader = open_own(str(path), os.O_RDONLY)
        assert (os.read(reader, 9), asked) == (b"kept", [signal.SIGURG])
        os.close(reader)
    finally:
        signal.signal(signal.SIGURG, before)
        os.close(holder)


# ---- programs


def test_a_program_is_looked_up_as_a_shell_does(tmp_path: Path) -> None:
    for folder, mode in (("first", 0o644), ("second", 0o755)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "tool").write_text("#!/bin/sh\n")
        (tmp_path / folder / "tool").chmod(mode)
    (tmp_path / "first" / "folder").mkdir()
    path, cwd = f"{tmp_path}/first:{tmp_path}/second", str(tmp_path)
    assert find_program("tool", path, cwd) == f"{tmp_path}/second/tool"
    assert find_program("second/tool", "/nowhere", cwd) == f"{tmp_path}/second/tool"
    assert find_program("tool", "first:second", cwd) == f"{tmp_path}/second/tool"
    assert find_program("tool", ":", f"{tmp_path}/second") == f"{tmp_path}/second/tool"
    for name, status in (("nothing", 127), ("folder", 127), ("", 127), ("./nothing", 127)):
        with pytest.raises(CannotStartError) as raised:
            find_program(name, path, cwd)
        assert raised.value.status == status
    for name in ("first/tool", "first/folder", "first"):
        with pytest.raises(CannotStartError) as raised:
            find_program(f"./{name}", path, cwd)
        assert raised.value.status == 126
    with pytest.raises(CannotStartError, match="chmod") as raised:
        find_program("tool", f"{tmp_path}/first", cwd)
    assert raised.value.status == 126
