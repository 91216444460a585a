"""Rings of waits are told only of processes that stood still while they were looked at."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from core.test_diagnose import job, wait
from corral.diagnosis.wait_chains import Observations, WaitGraph, is_benign, is_deadlocked, is_stuck_polling
from corral.waits.holders import Holders, WaitHolders
from corral.waits.process_wait import wait_of
from until import python, running, until


def _both(**more: object) -> WaitGraph:
    """Stage 1 and a child of it, each of which reads what only the other one can write."""
    waits = wait(10, "a", "pipe_read", fd=3, pipe=1), wait(11, "b", "pipe_read", fd=4, pipe=2)
    holders = {10: WaitHolders((11,), is_complete=True), 11: WaitHolders((10,), is_complete=True)}
    return WaitGraph(job("a"), Observations(waits, holders=holders, **more))  # type: ignore[arg-type]


def test_a_ring_of_processes_that_stand_still():
    web = _both()
    assert is_deadlocked(web)
    assert web.chain(10).cycle == (10, 11)


def test_who_moved_meanwhile_is_in_no_ring():
    for moved in (10, 11):
        web = _both(moved=frozenset({moved}))
        assert not is_deadlocked(web)
        assert web.chain(10).cycle == ()
        assert web.chain(10).end.kind == "running"
        assert is_benign(web) is True


def test_who_looks_round_for_its_children_waits_for_them_but_in_no_ring():
    polls = wait(10, "a", "timer", has_limit=True)
    hangs, asks = wait(11, "b", "tty_input"), wait(11, "b", "pipe_read", fd=3, pipe=1)
    around: dict[str, object] = {"parents": {11: 10}, "polling": frozenset({10})}
    web = WaitGraph(job("a"), Observations((polls, hangs), **around))  # type: ignore[arg-type]
    assert is_stuck_polling(web, 60.0)
    assert web.chain(10).end.pid == 11
    fed = WaitGraph(
        job("a"), Observations((polls, asks), holders={11: WaitHolders((10,), is_complete=True)}, **around)
    )  # type: ignore[arg-type]
    assert is_benign(fed) is True


@pytest.mark.parametrize(("silent", "is_stuck"), [(None, False), (3.0, False), (61.0, True)])
def test_only_the_connection_tells_that_a_socket_is_silent(silent, is_stuck):
    looks = wait(10, "a", "socket_read", fd=3, has_limit=True)
    web = WaitGraph(job("a"), Observations((looks,), holders={10: WaitHolders((), silent_for=silent)}))
    assert is_stuck_polling(web, 60.0) is is_stuck


def _outside(kind: str, **more: object) -> WaitGraph:
    """A client, and a server that is none of its job."""
    asks = wait(10, "a", "socket_read", fd=3)
    holders = {10: WaitHolders((99,), is_complete=True)}
    return WaitGraph(
        job("a"), Observations((asks,), holders=holders, outside=(wait(99, "server", kind),), **more)
    )  # type: ignore[arg-type]


def test_a_server_that_uses_the_cpu_between_two_looks_is_at_work():
    holders = Holders(os.getpid())
    with running(*python("import time\nwhile True: sum(range(20000)); time.sleep(0.001)")) as process:
        until(
            lambda: holders.at_work(wait(process.pid, "server", "disk")).kind == "running", "it to be at work"
        )
    with running(*python("import time; time.sleep(60)")) as process:
        until(lambda: (found := wait_of(process.pid)) and found.kind == "timer", "it to sleep")
        assert holders.at_work(wait(process.pid, "server", "disk")).kind == "disk"
        assert holders.at_work(wait(process.pid, "server", "disk")).kind == "disk"
    assert is_benign(_outside("running")) is True
    assert is_benign(_outside("disk")) is False


def test_who_asks_the_daemon_for_another_job_is_not_called_stuck():
    asks = wait(10, "corral", "socket_read", fd=3)
    seen = Observations((asks,), holders={10: WaitHolders((50,), is_complete=True)}, daemon=50)
    assert is_benign(WaitGraph(job("a"), seen)) is None


_GROUPS = {"freezer.state": ("FROZEN", "THAWED", "freezer"), "cgroup.freeze": ("1", "0", "unified")}


@pytest.mark.parametrize("file", _GROUPS)
def test_a_frozen_process_is_suspended(file):
    frozen, thawed, mounted = _GROUPS[file]
    group = Path("/sys/fs/cgroup", mounted, f"corral-test-{os.getpid()}")
    try:
        group.mkdir()
    except OSError:
        pytest.skip("no control group to freeze")
    try:
        with running(*python("import time; time.sleep(60)")) as process:
            (group / "cgroup.procs").write_text(str(process.pid))
            (group / file).write_text(frozen)
            until(lambda: (found := wait_of(process.pid)) and found.kind == "suspended", "it to be frozen")
            (group / file).write_text(thawed)
            until(lambda: (found := wait_of(process.pid)) and found.kind == "timer", "it to go on")
    finally:
        group.rmdir()
