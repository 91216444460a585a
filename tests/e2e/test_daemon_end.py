"""The end of a daemon while jobs start and end: whatever of its loop still runs then finds all in place."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from contextlib import closing
from pathlib import Path

import forkserver
from corral.client.environment import surroundings
from corral.journal.reader import JournalReader
from corral.protocol import requests as p
from e2e.daemons import Daemons, altered, spec, start, wait
from until import until

ROUNDS = 6
JOBS = 30

LATE = """
from corral.daemon import server
run = server.Daemon.run
async def run_and_go_on(self):
    await run(self)
    import asyncio
    from datetime import datetime, UTC
    def late():
        self.engine.journal.record(1, datetime.now(UTC), "late", "noted by the last pass")
        self.engine.queue.wake()
    asyncio.get_running_loop().call_soon(late)
server.Daemon.run = run_and_go_on
"""


def test_what_a_pass_notes_after_all_is_over_is_written(tmp_path: Path, capfd: object) -> None:
    with altered(tmp_path / "home", LATE) as daemons, daemons.client() as client:
        wait(client, *start(client, "true"))
    with closing(JournalReader.open(daemons.home)) as reader:
        assert "late" in [event.kind for event in reader.events(1)]
    assert "closed database" not in capfd.readouterr().err  # type: ignore[attr-defined]


def test_term_while_jobs_start_breaks_nothing_and_loses_no_job(tmp_path: Path) -> None:
    daemons = Daemons(tmp_path / "home")
    said = tmp_path / "said"
    moments = random.Random(7)
    for _ in range(ROUNDS):
        argv = [sys.executable, "-m", "corral_tui.main", "daemon", "run"]
        with (
            open(said, "ab") as log,
            forkserver.popen(
                argv, env=os.environ | {"CORRAL_HOME": daemons.home.path}, stderr=log
            ) as running,
        ):
            until(lambda: daemons.listens() or running.poll() is not None, "it to listen")
            with daemons.client(start=False) as client:
                specs = tuple(spec("true") for _ in range(JOBS))
                client.call(p.StartJobs(specs=specs, surroundings=surroundings()), timeout=20)
                until_then = time.monotonic() + moments.uniform(0.0, 0.05)
                until(lambda until_then=until_then: time.monotonic() > until_then, "some moment")
                running.send_signal(signal.SIGTERM)
                assert running.wait(20) == 0
    assert said.read_text() == ""
    with daemons.client() as client:
        ids = tuple(str(number) for number in range(1, ROUNDS * JOBS + 1))
        ends = wait(client, *ids)
        assert len(ends) == ROUNDS * JOBS
        assert {found.state for found in ends} <= {"succeeded", "lost"}
    daemons.end()
