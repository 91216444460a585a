"""The whole zoo of waits, again and again, as root and as an ordinary user: `python -m reliability zoo --times 10`.

All programs run at once under one daemon. For each Corral has to name its health and the kind and the program of the root,
and none that only looks stuck may ever be called so. Printed is how many it was right about and, of the stuck ones, how
long after the cause it said so, beyond `stuck_after`; of rings, which are stuck at once, since the cause. The cause is the
last moment at which a process of the job used CPU, looked at from outside every 20 ms; of one that looks round again and
again, at which its processes changed. Exits with 1 if anything was wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from corral.client.blocking import Client
from corral.platform.process import mark
from corral.platform.process.cpu_clock import cpu_nanoseconds
from corral.protocol import requests as p
from e2e.daemons import Daemons
from e2e.users import NOBODY, as_ordinary_user, why_no_ordinary_user
from reliability import itself
from zoo.cases import Case, begin, fine_cases, healths, shows, stuck_cases, surroundings, told, why

STUCK_AFTER = 3.0
PAUSE = 0.02
LONGEST = 90.0
FINE_FOR = 3.0
"""How many times `stuck_after` those are looked at that are fine."""


class Observer:
    """When each job last moved, by what its processes' CPU clocks say, and when it was called stuck (monotonic seconds)."""

    def __init__(self, nonce: int, client: Client) -> None:
        self._nonce = nonce
        self._client = client
        self._clocks: dict[str, dict[int, int | None]] = {}
        self.moved: dict[str, float] = {}
        self.changed: dict[str, float] = {}
        self.beyond: dict[str, tuple[float, float]] = {}
        """Since either, when it was called stuck first."""
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Observer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._is_over.wait(PAUSE):
            self._look()
            now = time.monotonic()
            for job_id, health in healths(self._client).items():
                if health == "stuck" and job_id not in self.beyond:
                    self.beyond[job_id] = now - self.moved[job_id], now - self.changed[job_id]

    def _look(self) -> None:
        now = time.monotonic()
        clocks: dict[str, dict[int, int | None]] = {}
        for found in mark.scan(self._nonce):
            clocks.setdefault(str(found.job), {})[found.pid] = cpu_nanoseconds(found.pid)
        for job_id, one in clocks.items():
            before = self._clocks.get(job_id, {})
            if one != before:
                self.moved[job_id] = now
            if one.keys() != before.keys():
                self.changed[job_id] = now
        self._clocks = clocks


class Run:
    """One pass over the zoo: what was wrong, and how late each stuck case was found."""

    def __init__(self, client: Client, observer: Observer, folder: Path) -> None:
        self._client = client
        self._observer = observer
        self._folder = folder
        self.wrong: dict[str, str] = {}
        self.late: dict[str, float] = {}
        self.late_rings: dict[str, float] = {}
        self.total = 0

    def go(self) -> None:
        with surroundings(self._folder) as around:
            stuck, fine = stuck_cases(around), fine_cases(around)
            self.total = len(stuck) + len(fine)
            ids = begin(self._client, stuck | fine, STUCK_AFTER)
            self._watch(ids, stuck, fine)
            for name, case in fine.items():
                self._judge_fine(name, case, ids[name])
            self._client.call(p.StopJobs(all=True, grace=0.0), timeout=60)

    def _watch(self, ids: Mapping[str, str], stuck: Mapping[str, Case], fine: Mapping[str, Case]) -> None:
        """Until all that is stuck was found, and the rest was looked at for long enough."""
        began = time.monotonic()
        missing = dict(stuck)
        while (
            missing and time.monotonic() < began + LONGEST
        ) or time.monotonic() < began + FINE_FOR * STUCK_AFTER:
            now = healths(self._client)
            for name in [name for name in fine if now[ids[name]] == "stuck"]:
                self.wrong[name] = f"called stuck: {why(self._client, ids[name]).summary}"
            for name in [name for name in missing if ids[name] in self._observer.beyond]:
                self._judge_stuck(name, missing.pop(name), ids[name])
            time.sleep(PAUSE)
        for name in missing:
            self.wrong[name] = f"not found: {told(why(self._client, ids[name]))}"

    def _judge_stuck(self, name: str, case: Case, job_id: str) -> None:
        moved, changed = self._observer.beyond[job_id]
        beyond = changed if case.polls else moved
        if case.at_once:
            self.late_rings[name] = beyond
        else:
            self.late[name] = beyond - STUCK_AFTER
        diagnosis = why(self._client, job_id)
        if told(diagnosis) != ("stuck", case.kind, case.root):
            self.wrong[name] = f"{told(diagnosis)}: {diagnosis.summary}"

    def _judge_fine(self, name: str, case: Case, job_id: str) -> None:
        if not shows(self._client, job_id, case):
            diagnosis = why(self._client, job_id)
            self.wrong.setdefault(name, f"{told(diagnosis)}: {diagnosis.summary}")


def once(folder: Path) -> dict[str, Any]:
    """One pass as whoever runs this."""
    daemons = Daemons(folder / "home")
    try:
        with (
            daemons.client() as client,
            daemons.client() as other,
            Observer(daemons.nonce(), other) as observer,
        ):
            run = Run(client, observer, folder)
            run.go()
    finally:
        daemons.end()
    return {"wrong": run.wrong, "late": run.late, "rings": run.late_rings, "total": run.total}


def as_another(prefix: tuple[str, ...]) -> dict[str, Any]:
    """One pass in a process of its own, with a folder that is its user's."""
    with tempfile.TemporaryDirectory(prefix="corral-zoo-") as folder:
        if prefix:
            os.chown(folder, NOBODY, NOBODY)
        environment = {**os.environ, "TMPDIR": folder, "HOME": folder}
        argv = [*prefix, *itself("zoo", "--once", folder)]
        done = subprocess.run(argv, stdout=subprocess.PIPE, env=environment, cwd=folder, check=True)
        return dict(json.loads(done.stdout.splitlines()[-1]))


def told_of(who: str, runs: list[dict[str, Any]]) -> bool:
    """Print the figures of all passes of one user; whether nothing was wrong."""
    total = sum(run["total"] for run in runs)
    wrong = [(name, what) for run in runs for name, what in run["wrong"].items()]
    print(f"{who}: right {total - len(wrong)} of {total} ({runs[0]['total']} cases, {len(runs)} times)")
    for title, key in (("found beyond stuck_after", "late"), ("rings found after their cause", "rings")):
        late = sorted((seconds, name) for run in runs for name, seconds in run[key].items())
        median = statistics.median(seconds for seconds, _ in late)
        print(f"  {title}: median {median:.2f} s, worst {late[-1][0]:.2f} s ({late[-1][1]})")
    for name, what in wrong:
        print(f"  wrong: {name}: {what}")
    return not wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--once", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.once is not None:
        print(json.dumps(once(options.once)))
        return 0
    users: dict[str, tuple[str, ...]] = {"root" if os.geteuid() == 0 else "this user": ()}
    if os.geteuid() == 0 and (reason := why_no_ordinary_user()) is None:
        users["an ordinary user"] = as_ordinary_user()
    elif os.geteuid() == 0:
        print(f"not as an ordinary user: {reason}")
    runs: dict[str, list[dict[str, Any]]] = {who: [] for who in users}
    for number in range(options.times):
        for who, prefix in users.items():
            runs[who].append(as_another(prefix))
            one = runs[who][-1]
            print(f"{number + 1}. {who}: {one['total'] - len(one['wrong'])} of {one['total']}", flush=True)
    wrong = [who for who, found in runs.items() if not told_of(who, found)]
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
