"""A process that hangs beside those that move, and programs that became others by exec(2)."""

from __future__ import annotations

import pytest

from core.test_diagnose import job, wait
from corral.diagnosis.diagnose import diagnose, diagnose_graph
from corral.diagnosis.wait_chains import Observations, WaitGraph, is_benign, is_stuck_polling
from corral.waits.holders import WaitHolders

FIFO = "waits for somebody to write to the FIFO /f"


def _said(*waits, health: str = "active", **seen: object) -> str:
    return diagnose(job("parallel", health=health), Observations(waits, **seen)).summary


def test_a_child_that_hangs_while_its_parent_fidgets():
    looks = wait(10, "parallel", "timer", has_limit=True)
    hangs = wait(11, "cat", "pipe_read", FIFO), wait(12, "cat", "pipe_read", FIFO)
    holders = {pid: WaitHolders(()) for pid in (11, 12)}
    parents = {11: 10, 12: 10}
    told = _said(looks, hangs[0], holders=holders, parents=parents, still={11: 7.3})
    assert told == f"parallel waits for a timer; but cat {FIFO}, still for 7 s"
    told = _said(looks, *hangs, holders=holders, parents=parents, still={11: 7.3, 12: 7.3})
    assert told.endswith("still for 7 s, and 1 more hang")
    assert _said(looks, *hangs, holders=holders, parents=parents) == "parallel waits for a timer"


def test_a_child_that_waits_for_who_moves_does_not_hang():
    works, reads = wait(10, "parallel", "running"), wait(11, "cat", "pipe_read", FIFO)
    told = _said(
        works, reads, holders={11: WaitHolders((10,), is_complete=True)}, parents={11: 10}, still={11: 7.0}
    )
    assert told == "parallel is busy"


@pytest.mark.parametrize(
    ("command", "live", "name"),
    [
        ("setpriv --no-new-privs /bin/cat f", "cat", "cat"),
        ("unshare -m cat f", "unshare", "unshare"),
        ("bash run-all", "cat", "cat"),
        ("sleep 7", "anything", "sleep"),
        ("nice cat f", "cat", "cat"),
        ("unshare /opt/a-program-of-a-long-name", "a-program-of-a-", "a-program-of-a-"),
    ],
)
def test_a_stage_is_called_by_what_it_has_become(command, live, name):
    one = wait(10, live, "pipe_read", FIFO)
    assert diagnose(job(command), Observations((one,))).summary == f"{name} {FIFO}"


def test_a_question_behind_who_only_waits_for_a_signal():
    """screen(1) does so, and the server that it has started has the terminals."""
    leader = wait(10, "screen", "unknown", "waits for a signal (pause)", call="pause")
    asks = wait(12, "sh", "tty_input", "waits for input from the terminal /dev/pts/7 (fd 0)", fd=0)
    seen = Observations((leader, wait(11, "screen", "event_loop"), asks))
    told = diagnose(job("screen", health=None, pty=True), seen)
    assert told.summary == "sh waits for somebody to type on its terminal; `corral attach 5` lets you"
    assert told.root is not None
    assert told.root.pid == 12


def test_who_sleeps_while_its_child_waits_for_it_to_read_is_stuck():
    """As a Java program that starts another one and does not read what it prints: its own threads wake now and then."""
    sleeps = wait(10, "java", "timer", has_limit=True)
    writes = wait(11, "yes", "pipe_write", "waits to write to a pipe", fd=1, pipe=7)
    reads = writes._replace(kind="pipe_read")
    around: dict[str, object] = {"parents": {11: 10}, "holders": {11: WaitHolders((10,), is_complete=True)}}
    web = WaitGraph(job("java", health="stuck"), Observations((sleeps, writes), **around))  # type: ignore[arg-type]
    assert is_benign(web) is False
    assert is_stuck_polling(web, 60.0)
    assert diagnose_graph(web).summary == "java sleeps and does not read its input; yes waits for it"
    assert is_benign(WaitGraph(job("java"), Observations((sleeps, reads), **around))) is True  # type: ignore[arg-type]
