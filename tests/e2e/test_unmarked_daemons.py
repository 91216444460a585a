"""A daemon that ends, and processes without a mark: proven again, marked since, or in doubt as before."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import sys
from pathlib import Path

import pytest

from corral.platform.process import mark
from corral.platform.process.identity import identify, is_alive
from corral.protocol import requests as p
from e2e.daemons import Daemons, job, start, wait
from until import until

pytestmark = pytest.mark.skipif(mark.why_not() is not None, reason=f"no marks here: {mark.why_not()}")

UNMARKED = (
    "import os, resource, time; resource.setrlimit(10, ({}, {})); print('ready', flush=True); time.sleep(60)"
)
DAEMON = (
    "import os, resource\nresource.setrlimit(10, (-1, -1))\n"
    "if os.fork() == 0:\n os.setsid()\n if os.fork() == 0:\n"
    "  print(os.getpid(), flush=True)\n  os.execve('/bin/sleep', ['sleep', '60'], {})\n os._exit(0)\nos.wait()\n"
)

UNMARKED_NOTE = "SELECT value FROM meta WHERE key = 'unmarked'"


def said(daemons: Daemons, job_id: str) -> bytes:
    path = Path(daemons.home.stdout(job_id))
    return until(lambda: path.exists() and path.read_bytes(), f"job {job_id} to be ready")


@pytest.mark.parametrize("limit", [-1, 9], ids=["unlimited", "beyond marking"])
def test_a_leader_without_a_mark_is_taken_over_after_a_crash(daemons: Daemons, limit: int) -> None:
    """By the pid and start time in the journal, before anybody has looked for it."""
    argv = [sys.executable, "-S", "-E", "-c", UNMARKED.format(limit, limit)]
    with daemons.client() as client:
        (one,) = start(client, argv)
        said(daemons, one)
        pid = job(client, one).stages[0].pid
    assert pid is not None
    until(lambda: _is_noted(daemons, "SELECT pid FROM stages", str(pid)), "the pid to be in the journal")
    daemons.signal()
    was = identify(pid)
    with daemons.client() as client:
        assert job(client, one).state == "running"
        assert [view.pid for view in client.call(p.ListProcesses(job=one)).processes] == [pid]
        (report,) = client.call(p.StopJobs(ids=(one,)), timeout=30).reports
        assert report.nothing_is_left
        assert [process.pid for process in report.processes] == [pid]
    assert was is not None
    assert not is_alive(was)


@pytest.mark.parametrize("way", ["crash", "restart"])
def test_a_doubt_outlives_its_daemon(daemons: Daemons, way: str) -> None:
    with contextlib.ExitStack() as killed, daemons.client() as client:
        beside, mother = start(client, "sleep 60", [sys.executable, "-S", "-E", "-c", DAEMON])
        wait(client, mother)
        pid = int(said(daemons, mother))
        killed.callback(os.kill, pid, signal.SIGKILL)
        until(lambda: job(client, mother).in_doubt == 1, "the doubt to be noticed")
        until(lambda: _is_noted(daemons, UNMARKED_NOTE, f"[{pid},"), "the doubt to be in the journal")
        if way == "crash":
            daemons.signal()
        else:
            from corral.client.restart_daemon import restart

            restart(daemons.home)
        with daemons.client() as again:
            until(lambda: job(again, mother).in_doubt == 1, "the doubt to be there again")
            (report,) = again.call(p.StopJobs(ids=(beside,)), timeout=30).reports
            assert [one.pid for one in report.in_doubt] == [pid]
            assert not report.nothing_is_left
            killed.close()
            until(lambda: job(again, mother).in_doubt == 0, "the doubt to be over")


def _is_noted(daemons: Daemons, query: str, text: str) -> bool:
    with contextlib.closing(sqlite3.connect(daemons.home.journal)) as journal:
        row = journal.execute(query).fetchone()
    return row is not None and text in str(row[0])
