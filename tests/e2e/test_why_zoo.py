"""The zoo of waits (see zoo/cases.py): all run at once under one daemon, and Corral has to be right about each."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from corral.client.blocking import Client
from corral.platform.host.procfs import HAS_PROCFS
from corral.protocol import requests as p
from e2e.daemons import Daemons, start
from until import until
from zoo.cases import begin, fine_cases, healths, shows, stuck_cases, surroundings, told, why

pytestmark = pytest.mark.skipif(not HAS_PROCFS, reason="waits are read from /proc")

STUCK_AFTER = 2.0


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    daemons = Daemons(tmp_path / "home")
    with daemons.client() as client:
        yield client
        client.call(p.StopJobs(all=True, grace=0.0), timeout=30)
    daemons.end()


def test_it_is_right_about_the_whole_zoo(client, tmp_path):
    with surroundings(tmp_path) as around:
        stuck, fine = stuck_cases(around), fine_cases(around)
        ids = begin(client, stuck | fine, STUCK_AFTER)
        paused = start(client, "sleep 1000", stuck_after=STUCK_AFTER)[0]
        client.call(p.PauseJobs(ids=(paused,)), timeout=20)
        probe = start(client, stuck["wants_lock"].line, stuck_after=2 * STUCK_AFTER)[0]
        seen: dict[str, set[Any]] = {name: set() for name in (*fine, "paused")}
        wrong: dict[str, Any] = dict.fromkeys(stuck, "not stuck")

        def all_are_found() -> bool:
            """And when the probe is stuck, all others have been still for longer than their limit."""
            now = healths(client)
            for name, found in seen.items():
                found.add(now[ids.get(name, paused)])
            for name in [name for name in wrong if now[ids[name]] == "stuck"]:
                diagnosis = why(client, ids[name])
                wrong[name] = told(diagnosis), diagnosis.summary
                if told(diagnosis) == ("stuck", stuck[name].kind, stuck[name].root):
                    del wrong[name]
            return not wrong and now[probe] == "stuck"

        with contextlib.suppress(AssertionError):
            until(all_are_found, "every case to be stuck", seconds=30)
        assert not wrong
        assert {name: found for name, found in seen.items() if "stuck" in found} == {}
        assert {
            name: told(why(client, ids[name]))
            for name, case in fine.items()
            if not shows(client, ids[name], case)
        } == {}


def test_a_child_that_hangs_beside_one_that_moves_is_named(client, tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    line = ["sh", "-c", f"cat {fifo} & while :; do echo .; sleep 0.1; done"]
    job_id = start(client, line, stuck_after=1.0)[0]
    until(
        lambda: f"; but cat waits for somebody to write to the FIFO {fifo}" in why(client, job_id).summary,
        "cat to be named",
    )
    assert healths(client)[job_id] == "active"


def test_what_a_job_says_again_and_again_is_in_the_sentence(client):
    line = ["sh", "-c", "while :; do echo 'Waiting for the lock: held by 7'; sleep 0.1; done"]
    job_id = start(client, line)[0]
    wanted = "; it says again and again: Waiting for the lock: held by 7"
    until(lambda: why(client, job_id).summary.endswith(wanted), "the line to be told")
    counts = start(
        client, ["sh", "-c", "i=0; while :; do i=$((i+1)); echo 'step number' $i; sleep 0.1; done"]
    )[0]
    until(lambda: client.call(p.ShowJob(job=counts)).job.stdout_bytes > 60, "some lines to be there")
    assert "again" not in why(client, counts).summary
