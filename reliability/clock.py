"""The machine's clock is set while jobs run: a day back, a year on, and back again.

    python -m reliability clock [--times 3]

Elapsed times, time limits, graces, waits and rates follow the monotonic clock; only `created`, `started` and `ended` are
what the clock said. Nothing ends before it began, no old job is cleaned for a clock that was set, and a daemon that
takes over after SIGKILL under another clock does as well.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from corral.client.blocking import Client
from corral.model.job import Job
from corral.protocol import requests as p
from e2e.daemons import Daemons, job, start, wait
from reliability.injected import Broken, demand
from reliability.moved_daemon import Shift
from until import ZOO, until

DAY, YEAR = 86400.0, 365 * 86400.0
JUMPS = (("a day back", -DAY), ("a year on", YEAR), ("ten years back", -10 * YEAR), ("right again", 0.0))
SLACK = 20.0
"""Seconds that a loaded machine may add to a short time; a clock that was believed would add a day."""


@contextlib.contextmanager
def moved_daemon(path: Path) -> Iterator[tuple[Daemons, Shift]]:
    daemons, shift = Daemons(path / "home"), Shift(str(path / "shift"), make=True)
    program = os.path.join(os.path.dirname(__file__), "moved_daemon.py")
    with (
        open(path / "log", "ab") as log,
        subprocess.Popen(
            [sys.executable, program, daemons.home.path, str(path / "shift")],
            start_new_session=True,
            stdout=log,
            stderr=log,
        ) as process,
    ):
        until(lambda: os.path.exists(daemons.home.socket) or process.poll() is not None, "it to listen")
        try:
            yield daemons, shift
        finally:
            daemons.end()
            process.kill()


def check(view: Job, real: float, what: str) -> None:
    """Its times are whole: `real` seconds is the most that it can have run."""
    demand(
        view.elapsed is not None and 0 <= view.elapsed <= real,
        f"{what}: elapsed {view.elapsed}, of {real:.1f}",
    )
    if view.ended is not None:
        assert view.started is not None
        demand(
            view.created <= view.started <= view.ended or view.started <= view.ended,
            f"{what}: ends before it began",
        )
    for stage in view.stages:
        demand(
            stage.ended is None or stage.started is None or stage.started <= stage.ended,
            f"{what}: stage {stage.number} ends before it began",
        )
    demand((view.cpu_percent or 0) >= 0, f"{what}: cpu {view.cpu_percent}")


def one_jump(
    client: Client, shift: Shift, seconds: float, lasting: list[str], began: float, what: str
) -> None:
    """What begins before the jump ends after it, and what begins after it."""
    stubborn = [sys.executable, "-S", "-E", os.path.join(ZOO, "ignores_term.py")]
    (limited,) = start(client, "sleep 300", timeout=0.4)
    (stopped,) = start(client, stubborn)
    (short,) = start(client, ["sh", "-c", "sleep 0.2; echo x"])
    at = time.monotonic()
    shift.set(seconds)
    pending = client.begin(p.WaitForJobs(ids=(lasting[0],), timeout=0.3))
    (report,) = client.call(p.StopJobs(ids=(stopped,), grace=0.3), timeout=30).reports
    took = time.monotonic() - at
    demand(
        report.nothing_is_left and 0 <= report.seconds <= took + 0.1, f"{what}: a stop of {report.seconds} s"
    )
    waited = pending.result(30)
    demand(waited is not None and waited.timed_out, f"{what}: a wait of 0.3 s ended otherwise")
    after = start(client, "true")
    views = wait(client, limited, stopped, short, *after)
    real = time.monotonic() - at + 1
    demand(
        [view.state for view in views] == ["timed_out", "stopped", "succeeded", "succeeded"],
        f"{what}: {views}",
    )
    for view in views:
        check(view, real, f"{what}, job {view.id}")
    demand(time.monotonic() - at < SLACK, f"{what}: it took {time.monotonic() - at:.0f} s")
    error = (views[-1].created - datetime.now(UTC)).total_seconds() - seconds
    demand(abs(error) < SLACK, f"{what}: the clock was not moved, it is {error:.0f} s off")
    for each in lasting:
        view = job(client, each)
        demand(view.state == "running", f"{what}: job {each} is {view.state}: {view.reason}")
        check(view, time.monotonic() - began + 1, f"{what}, job {each}")
        client.call(p.AskWhy(job=each), timeout=30)
        client.call(p.ShowJob(job=each), timeout=30)
    listed = client.call(p.ListJobs(all=True), timeout=30).jobs
    demand(len({view.id for view in listed}) >= 4, f"{what}: only {len(listed)} jobs are listed")


def run(path: Path, times: int) -> int:
    jumps = 0
    with moved_daemon(path) as (daemons, shift):
        with daemons.client(start=False) as client:
            began = time.monotonic()
            lasting = start(client, "sleep 300 | cat", timeout=250.0)
            known = set()
            for _ in range(times):
                for what, seconds in JUMPS:
                    one_jump(client, shift, seconds, lasting, began, what)
                    now = {view.id for view in client.call(p.ListJobs(all=True), timeout=30).jobs}
                    demand(known <= now, f"{what}: jobs {sorted(known - now)} have gone")
                    known = now
                    jumps += 1
            shift.set(YEAR)
        # The next daemon has the right clock, and finds a job that was started a year from now, or a year ago.
        daemons.signal()
        with daemons.client() as client:
            view = job(client, lasting[0])
            demand(view.state == "running", f"taken over: {view.state}, {view.reason}")
            check(view, time.monotonic() - began + 2, "taken over")
            jumps += 1
    return jumps


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--times", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="corral-clock-") as path:
        try:
            jumps = run(Path(path), options.times)
        except Broken as broken:
            print(f"did not hold: {broken}")
            return 1
    print(f"{jumps} jumps of the clock; every elapsed time, time limit, grace and wait as long as it was")
    return 0


if __name__ == "__main__":
    sys.exit(main())
