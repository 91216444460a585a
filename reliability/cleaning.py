"""Thousands of old jobs cleaned: how long it takes, how long others wait, and what a SIGKILL in the middle costs.

    python -m reliability cleaning [--jobs 20000] [--times 100] [--seed 1]

Prints the figures of one cleaning without a fault, then kills the daemon that often at random moments of cleaning and
holds what is left against what was to stay. Exits with 1 if a job or a byte is gone that no rule named, or if what was
named is still there in the end.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import threading
import time
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from msgspec.structs import replace

from corral.client.blocking import Client
from corral.client.environment import surroundings
from corral.journal.journal import Journal
from corral.journal.reader import JournalReader
from corral.model.errors import CorralError
from corral.model.home import Home
from corral.model.retention import CleanReport
from corral.protocol import requests as p
from e2e.daemons import Daemons, start
from journals import ended, spec

BATCH = 500


def fill(home: Home, count: int) -> None:
    """Jobs that ended one after the other until two hours ago, each with its number as output."""
    what = spec("true", "cat")
    place = surroundings()
    last = datetime.now(UTC) - timedelta(hours=2)
    with closing(Journal.open(home)) as journal:
        for begin in range(0, count, BATCH):
            size = min(BATCH, count - begin)
            ids = journal.add_jobs([what] * size, place, last - timedelta(seconds=count - begin))
            for job_id in ids:
                job = ended(job_id, what)
                journal.job_ended(replace(job, ended=last - timedelta(seconds=count - job_id)))
                os.mkdir(home.job(job_id), 0o700)
                for path in (home.stdout(job_id), home.stderr(job_id, 1), home.stderr(job_id, 2)):
                    Path(path).write_text(f"{job_id}\n" if path.endswith("stdout") else "")
            journal.commit()


def journal_bytes(home: Home) -> int:
    paths = (home.journal, home.journal + "-wal")
    return sum(os.path.getsize(path) for path in paths if os.path.exists(path))


class Asker(threading.Thread):
    """Another client, which asks again and again; how long it waited for its answers, in seconds."""

    def __init__(self, home: Home, job_id: str) -> None:
        super().__init__()
        self.waits: list[float] = []
        self._home, self._job_id = home, job_id
        self._is_over = threading.Event()

    def run(self) -> None:
        with Client.connect(self._home, start=False) as client:
            while not self._is_over.wait(0.002):
                began = time.perf_counter()
                client.call(p.ListJobs(ids=(self._job_id,)))
                self.waits.append(time.perf_counter() - began)

    def end(self) -> list[float]:
        self._is_over.set()
        self.join()
        return sorted(self.waits)


def _milliseconds(waits: list[float]) -> str:
    share = waits[int(len(waits) * 0.99)]
    return f"median {waits[len(waits) // 2] * 1e3:.1f} ms, 99th percentile {share * 1e3:.1f} ms, longest {waits[-1] * 1e3:.1f} ms"


def measure(path: Path, count: int) -> list[str]:
    """Clean all but ten, with another client asking meanwhile. What did not hold."""
    daemons = Daemons(path)
    fill(daemons.home, count)
    print(f"{count} ended jobs: the journal has {journal_bytes(daemons.home) / 1e6:.1f} MB")
    try:
        with daemons.client() as client:
            (running,) = start(client, ["sleep", "600"])
            memory = client.call(p.AskStatus()).memory_bytes or 0
            asker = Asker(daemons.home, running)
            asker.start()
            began = time.perf_counter()
            plan = client.call(p.CleanJobs(plan=True, keep=10))
            planned = time.perf_counter()
            report = client.call(p.CleanJobs(keep=10))
            done = time.perf_counter()
            waits = asker.end()
            after = client.call(p.AskStatus()).memory_bytes or 0
            print(f"planned in {planned - began:.2f} s, cleaned in {done - planned:.2f} s")
            print(f"another client waited meanwhile: {_milliseconds(waits)}")
            print(f"memory of the daemon: {memory / 1e6:.1f} MB before, {after / 1e6:.1f} MB after")
            print(f"the journal has {journal_bytes(daemons.home) / 1e6:.2f} MB now")
    finally:
        daemons.end()
    removed = sum(share.jobs for share in report.shares)
    left = set(map(int, os.listdir(daemons.home.jobs)))
    wanted = {*range(count - 9, count + 1), int(running)}
    problems = [] if len(plan.jobs) == removed == count - 10 else [f"{removed} jobs were cleaned"]
    return problems + ([] if left == wanted else [f"folders that are left: {len(left)}"])


@dataclass
class State:
    """What is left of a home."""

    rows: set[int]
    outputs: dict[int, str]


def look(home: Home) -> State:
    with closing(JournalReader.open(home)) as reader:
        rows = {int(job.id) for job in reader.jobs()}
    outputs = {}
    for name in os.listdir(home.jobs):
        # A folder without its output is one that was being deleted.
        with suppress(FileNotFoundError):
            outputs[int(name)] = Path(home.stdout(name)).read_text()
    return State(rows, outputs)


def differences(home: Home, count: int, keep: int) -> list[str]:
    """Whatever is not as it has to be, at any moment of a cleaning of all but the newest `keep`."""
    state = look(home)
    stays = set(range(count - keep + 1, count + 1))
    problems = [f"job {job} is gone" for job in sorted(stays - state.rows)]
    problems += [
        f"the output of job {job} is not what it was"
        for job in sorted(stays)
        if state.outputs.get(job) != f"{job}\n"
    ]
    folders = set(map(int, os.listdir(home.jobs)))
    return problems + [f"nobody knows folder {folder}" for folder in sorted(folders - state.rows)]


def kill_in_the_middle(path: Path, count: int, times: int, seed: int) -> list[str]:
    chance = random.Random(seed)
    daemons = Daemons(path)
    fill(daemons.home, count)
    problems: list[str] = []
    struck = 0
    for number in range(1, times + 1):
        keep = count - number * (count - 10) // times
        answers: list[CleanReport] = []
        with daemons.client() as client:
            asking = threading.Thread(target=_clean, args=(client, keep, answers))
            asking.start()
            asking.join(chance.uniform(0.001, 0.12))
            daemons.signal()
            asking.join()
        struck += not answers
        problems += differences(daemons.home, count, keep)
        if problems:
            break
    try:
        with daemons.client() as client:
            client.call(p.CleanJobs(keep=10))
    finally:
        daemons.end()
    problems += differences(daemons.home, count, 10)
    state = look(daemons.home)
    if len(state.rows) != 10 or len(state.outputs) != 10:
        problems.append(f"{len(state.rows)} rows and {len(state.outputs)} outputs are left in place of 10")
    print(
        f"SIGKILL {times} times while {count} jobs were cleaned, {struck} times in the middle: {len(problems)} problems"
    )
    return problems


def _clean(client: Client, keep: int, answers: list[CleanReport]) -> None:
    with suppress(CorralError):
        answers.append(client.call(p.CleanJobs(keep=keep)))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=20_000)
    parser.add_argument("--times", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="corral-") as place:
        problems = measure(Path(place) / "measured", options.jobs)
        problems += kill_in_the_middle(Path(place) / "killed", 5000, options.times, options.seed)
    for problem in problems[:20]:
        print(f"lost: {problem}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
