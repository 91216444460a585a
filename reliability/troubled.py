"""Whatever people do to a running Corral, at random, for as long as asked. Exits with 1 where anything is not as it has to be.

    python -m reliability troubled [--minutes 30] [--seed 1] [--only NAME]

Beside a witness, a job that prints a numbered line every 50 ms and that nothing may touch, the troubles of troubles.py
come one after the other in a random order; some of them two at a time. After each: the witness runs, is the same process
and lacks no line; a new job runs and its status is told; jobs that had ended are told as they were; what was stopped
holds no lock (see holding.py). At the end the daemon is stopped: then no process of the home is left, its journal is
whole and its log tells of no fault. As root on Linux the home lies on a file system of 64 MiB, so that it can be full.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from e2e.command import Corral
from reliability.holding import Token
from until import until

WITNESS = (
    "import sys, time\ncount = 0\nwhile True:\n    count += 1; print(count, flush=True); time.sleep(0.05)\n"
)
ANSWER_SECONDS = 60.0
"""For what has to come, on a machine that does other work as well."""


class Wrong(AssertionError):
    """Something was not as it has to be."""


def demand(holds: object, what: str) -> None:
    if not holds:
        raise Wrong(what)


class World:
    """One home in trouble. `ended` is what has to be told of jobs for good: state and exit status by id."""

    def __init__(self, directory: Path, seed: int) -> None:
        self.directory = directory
        self.work = directory / "work"
        self.work.mkdir()
        self.place = directory / "disk"
        self.corral = Corral(self.place / "home", self.work)
        self.chance = random.Random(seed)
        self.ended: dict[str, tuple[str, int | None]] = {}
        self.witness: dict[str, Any] = {}
        self.first_line = 1
        self._tokens = 0

    @property
    def home(self) -> Path:
        return self.corral.home

    # ---- asking

    def jobs(self) -> dict[str, Any]:
        return {job["id"]: job for job in json.loads(self.said("ps", "-a", "--json"))}

    def job(self, job_id: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.said("ps", "--json", job_id))[0]
        return found

    def said(self, *words: str) -> str:
        """What a command prints that has to succeed."""
        ended = self.corral(*words, timeout=ANSWER_SECONDS)
        demand(
            ended.returncode == 0, f"corral {' '.join(words)[:200]}: {ended.returncode} {ended.stderr[-500:]}"
        )
        return str(ended.stdout).strip()

    def daemon(self) -> int:
        return int(json.loads(self.said("daemon", "status", "--json"))["pid"])

    def run(self, *words: str) -> str:
        """Start a job; its id."""
        return self.said("run", *words)

    def until_state(self, job_id: str, *states: str) -> dict[str, Any]:
        return until(
            lambda: job if (job := self.job(job_id))["state"] in states else None,
            f"job {job_id} to be {' or '.join(states)}",
            seconds=ANSWER_SECONDS,
        )

    def token(self) -> Token:
        """A lock that a job's processes hold."""
        self._tokens += 1
        return Token(self.work / f"token.{self._tokens}")

    def stop(self, job_id: str, token: Token | None = None, grace: str = "0.2s") -> None:
        """Stop it: that says 0, and nothing holds its lock any more."""
        self.said("stop", "--grace", grace, job_id)
        demand(token is None or not token.is_held(), f"job {job_id} was stopped and its lock is held")

    # ---- the witness, and what has to hold

    def begin(self) -> None:
        job_id = self.run("-n", "witness", "--", sys.executable, "-S", "-E", "-c", WITNESS)
        self.witness = self.until_state(job_id, "running")
        self.first_line = 1

    def check(self) -> None:
        self._check_witness()
        fresh = self.corral("run", "--wait", "--", "sh", "-c", "echo fresh; exit 7", timeout=ANSWER_SECONDS)
        demand((fresh.returncode, fresh.stdout) == (7, "fresh\n"), f"a new job: {fresh}")
        told = self.jobs()
        for job_id, expected in self.ended.items():
            job = told.get(job_id)
            demand(job is not None, f"job {job_id} is not told any more")
            assert job is not None
            now = (job["state"], job["exit_status"])
            demand(now == expected, f"job {job_id} was {expected} and is {now}: {job['reason']}")
        self.ended |= {
            job_id: (job["state"], job["exit_status"]) for job_id, job in told.items() if job["ended"]
        }

    def _check_witness(self) -> None:
        job = self.job(self.witness["id"])
        now = (job["state"], job["stages"][0]["pid"])
        demand(now == ("running", self.witness["stages"][0]["pid"]), f"the witness: {now} {job['reason']}")
        lines = [int(line) for line in self.said("logs", "--stdout", self.witness["id"]).splitlines()]
        whole = list(range(self.first_line, self.first_line + len(lines)))
        demand(lines == whole, f"the witness lacks lines between {lines[:1]} and {lines[-1:]}")

    def lose_output(self) -> None:
        """The trouble took what was printed so far: the witness begins again."""
        self.said("kill", self.witness["id"])
        self.begin()

    def end(self) -> None:
        self.said("daemon", "stop", "--jobs", "stop")
        demand(not self.corral.processes(), f"processes are left: {self.corral.processes()}")
        log = (self.home / "daemon.log").read_text()
        demand("fault" not in log and "Traceback" not in log, f"daemon.log: {log[-3000:]}")
        with contextlib.closing(
            sqlite3.connect(f"file:{self.home / 'corral.db'}?mode=ro", uri=True)
        ) as journal:
            found = journal.execute("PRAGMA integrity_check").fetchall()
        demand(found == [("ok",)], f"integrity_check: {found}")


@contextlib.contextmanager
def disk(place: Path) -> Iterator[bool]:
    """A small file system there, where that can be had; whether it was."""
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64m,mode=755", "corral-troubled", str(place)]
    is_small = os.geteuid() == 0 and subprocess.run(mount, capture_output=True, check=False).returncode == 0
    try:
        yield is_small
    finally:
        if is_small:
            subprocess.run(["umount", "-l", str(place)], check=True)


def run(seconds: float, seed: int, only: str | None = None) -> tuple[Counter[str], list[str]]:
    """Troubles for so long, each at least once in a long run; how many of each, and what was wrong."""
    from reliability.troubles import TROUBLES

    done: Counter[str] = Counter()
    wrong: list[str] = []
    directory = Path(tempfile.mkdtemp(prefix="corral-troubled-"))
    with disk(directory / "disk") as is_small:
        world = World(directory, seed)
        chosen = [one for one in TROUBLES if only in (None, one.__name__)]
        chosen = [one for one in chosen if is_small or not one.__name__.startswith("full_disk")]
        deadline = time.monotonic() + seconds
        try:
            world.begin()
            while time.monotonic() < deadline and not wrong:
                for trouble in world.chance.sample(chosen, len(chosen)):
                    name = trouble.__name__
                    try:
                        trouble(world)
                        world.check()
                    except (AssertionError, subprocess.TimeoutExpired) as error:
                        wrong.append(f"{name}, seed {seed}: {error}")
                    done[name] += 1
                    print(f"{name}{' WRONG' if wrong else ''}", flush=True)
                    if wrong or time.monotonic() >= deadline:
                        break
            if not wrong:
                world.end()
        except AssertionError as error:
            wrong.append(f"at the end, seed {seed}: {error}")
        finally:
            _clear(world)
    shutil.rmtree(directory, ignore_errors=True)
    return done, wrong


def _clear(world: World) -> None:
    """Whatever happened, nothing stays behind: by the word of the daemon, then by pid."""
    world.corral("daemon", "stop", "--jobs", "stop", timeout=ANSWER_SECONDS)
    for pid in world.corral.processes():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, 9)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--only", help="one trouble, by its name in troubles.py")
    asked = parser.parse_args()
    done, wrong = run(60 * asked.minutes, asked.seed, asked.only)
    print(f"seed {asked.seed}: " + ", ".join(f"{name} {count}" for name, count in sorted(done.items())))
    for what in wrong:
        print(f"WRONG {what}", file=sys.stderr)
    print(f"{sum(done.values())} troubles, {len(wrong)} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
