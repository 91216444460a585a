"""Who a backend of PostgreSQL waits for, by titles; and locks that are tried again and again."""

from __future__ import annotations

import fcntl
import os
import subprocess
from pathlib import Path

import pytest

from corral.platform.host.procfs import HAS_PROCFS
from corral.platform.inspect.file_locks import HeldLock, in_the_way
from corral.waits.holders import Holders
from corral.waits.postgres import parse_title
from corral.waits.process_wait import ProcessWait, wait_of
from until import python, running, until

pytestmark = pytest.mark.skipif(not HAS_PROCFS, reason="waits are read from /proc")

IDLE = "postgres: me shop [local] idle"
HOLDS = "postgres: main: me shop 127.0.0.1(5432) idle in transaction"
ELSEWHERE = "postgres: me other [local] idle in transaction"
WAITS = "postgres: me shop [local] UPDATE waiting"


@pytest.mark.parametrize(
    ("title", "database", "does"),
    [
        (WAITS, "shop", "UPDATE waiting"),
        (HOLDS, "shop", "idle in transaction"),
        (IDLE, "shop", "idle"),
        ("postgres: checkpointer ", None, "checkpointer"),
        ("postgres: logical replication launcher", None, "logical replication launcher"),
    ],
)
def test_titles_of_postgresql(title, database, does):
    found = parse_title(7, title)
    assert found is not None
    assert (found.database, found.does) == (database, does)


@pytest.mark.parametrize("title", ["", "postgres:", "/usr/bin/postgres -D /data", "python x.py"])
def test_other_titles(title):
    assert parse_title(7, title) is None


def test_the_backend_that_holds_the_lock_is_named(tmp_path: Path):
    program = tmp_path / "postgres"
    program.symlink_to("/bin/sleep")
    titles = (IDLE, ELSEWHERE, HOLDS, WAITS)
    script = "import subprocess, sys\n" + "".join(
        f"print(subprocess.Popen([{title!r}, '60'], executable={str(program)!r}).pid)\n" for title in titles
    )
    with running(*python(script + "print(flush=True)\ninput()"), stdin=-1, stdout=-1) as server:
        assert server.stdout is not None
        pids = [int(server.stdout.readline()) for _ in titles]
        try:
            wait = until(lambda: _of_kind(pids[3], "file_lock"), "the backend to wait")
            holders = Holders(os.getpid())
            held = holders.of(wait, holders.begin([]))
        finally:
            for pid in pids:
                os.kill(pid, 9)
    assert held is not None
    assert held.pids == (pids[2],)
    assert held.detail == (
        f"waits for a lock in the database (UPDATE), which {pids[2]} (postgres), idle in transaction, seems to hold"
    )


def _of_kind(pid: int, kind: str) -> ProcessWait | None:
    wait = wait_of(pid)
    return wait if wait is not None and wait.kind == kind else None


def test_a_pipe_that_tells_of_the_end_of_the_parent_is_not_what_its_child_waits_for():
    """The parent has both ends; the child watches its own as well, by which it is really woken."""
    code = (
        "import os, select\nr, w = os.pipe()\n"
        "if os.fork():\n    print(os.getpid(), flush=True); os.wait()\n"
        "os.close(w)\npoll = select.poll()\npoll.register(r, 1); poll.register(os.eventfd(0), 1)\n"
        "print(os.getpid(), flush=True)\npoll.poll()"
    )
    with running(*python(code), stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pids = {int(parent.stdout.readline()) for _ in range(2)}
        (child,) = pids - {parent.pid}
        try:
            wait = until(lambda: _of_kind(child, "event_loop"), "the child to watch")
        finally:
            os.kill(child, 9)
    assert wait.detail == "waits to be woken by its own process (poll)"


def test_a_lock_that_is_tried_again_and_again(tmp_path: Path):
    path = tmp_path / "locked"
    path.touch()
    code = f"import time\nf = open({str(path)!r}, 'r+')\nprint('ready', flush=True)\ntime.sleep(60)"
    with running(*python(code), stdout=subprocess.PIPE) as tries, path.open("r+") as file:
        assert tries.stdout is not None
        tries.stdout.readline()
        wait = until(lambda: _of_kind(tries.pid, "timer"), "it to sleep")
        assert Holders(os.getpid()).as_lock_retry(wait) == wait
        fcntl.lockf(file, fcntl.LOCK_EX)
        holders = Holders(os.getpid())
        found = holders.as_lock_retry(wait)
        held = holders.of(found, holders.begin([tries.pid]))
    assert found.kind == "file_lock"
    assert held is not None
    assert held.pids == (os.getpid(),)
    assert held.detail is not None
    assert held.detail.startswith(f"waits for the lock on {path} (fcntl), which {os.getpid()} (")


def _lock(pid: int, access: str, file: str = "00:2a:7", first: int = 0) -> HeldLock:
    return HeldLock("fcntl", access, pid, file, (), first, None)


def test_a_lock_to_read_is_in_the_way_of_who_has_announced_that_it_writes():
    device = os.makedev(0, 0x2A)
    reader, other = _lock(9, "READ"), _lock(9, "WRITE", "00:2b:7")
    assert in_the_way(5, 7, device, [reader]) is None
    assert in_the_way(5, 7, device, [reader, _lock(5, "WRITE")]) == reader
    assert in_the_way(5, 7, device, [reader, _lock(5, "WRITE", first=0x40000001)]) is None
    assert in_the_way(5, 7, device, [reader, _lock(8, "WRITE")]) == _lock(8, "WRITE")
    assert in_the_way(5, 7, device, [_lock(5, "WRITE")]) is None
    assert in_the_way(5, 7, device, [reader, other]) is None


@pytest.mark.parametrize("take", ["fcntl.flock(f, fcntl.LOCK_EX)", "fcntl.lockf(f, fcntl.LOCK_EX)"])
def test_a_descriptor_that_came_with_the_lock_tells_no_wish_for_it(tmp_path: Path, take: str):
    """`flock FILE make` passes it on, and so do servers with the file of their pid."""
    path = tmp_path / "locked"
    path.touch()
    code = (
        f"import fcntl, os, time\nf = open({str(path)!r}, 'r+')\n{take}\npid = os.fork()\n"
        "if not pid:\n    time.sleep(60)\nprint(pid, flush=True)\nos.wait()"
    )
    with running(*python(code), stdout=subprocess.PIPE) as holds:
        assert holds.stdout is not None
        child = int(holds.stdout.readline())
        try:
            wait = until(lambda: _of_kind(child, "timer"), "it to sleep")
            assert Holders(os.getpid()).as_lock_retry(wait) == wait
        finally:
            os.kill(child, 9)
