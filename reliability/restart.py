"""`corral daemon restart` under load, again and again. What is lost is printed; anything lost is exit 1.

    python -m reliability restart [--times 50] [--megabytes 200] [--seed 1] [--term]

While jobs of every kind run, and commands wait for them, the daemon is replaced in place at random moments. With `--term`
a SIGTERM comes at a random moment of every third replacement. It ends the daemon before, or the new one after, and with it
what only a daemon holds (open stdins, feeds), so that these and the waiting commands are left out; the next command takes
the jobs over, and each must be accounted for.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from corral.platform.process.identity import identify
from e2e.command import Corral
from until import until

STATUSES = range(60)
LONGEST_PAUSE = 0.4
"""Seconds from one restart to the next."""


class Loss:
    """What was lost, in words."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def unless(self, is_so: bool, what: str) -> None:
        if not is_so:
            self.found.append(what)
            print(f"LOST  {what}", flush=True)


class Run:
    """One home with its load."""

    def __init__(self, directory: Path, seed: int, megabytes: int, *, term: bool) -> None:
        self.term = term
        work = directory / "work"
        work.mkdir()
        self.work = work
        self.corral = Corral(directory / "home", work)
        self.random = random.Random(seed)
        self.size = megabytes << 20
        self.loss = Loss()
        self.sent: list[bytes] = []
        self.short: dict[str, int] = {}
        """Exit status by name."""
        self.ended_alone: list[str] = []
        """Those that ended between two daemons, and whose status nobody knows."""
        self.unknown: list[str] = []
        """Starts of which the command could not say whether they were done."""
        self.is_over = threading.Event()
        self.waiting: dict[str, subprocess.Popen[bytes]] = {}
        self._copies = {name: (work / name).open("wb") for name in ("run-copy", "logs-copy")}

    def status(self) -> dict[str, object]:
        return dict(json.loads(self.corral("daemon", "status", "--json").stdout))

    # ---- the load

    def begin(self) -> None:
        corral = self.corral
        flood = (
            f"head -c {self.size} /dev/zero | tr '\\0' x | while head -c 1000000 && sleep 0.02; do :; done"
        )
        stream = f"i=0; while [ $i -lt {self.size // 1_000_000} ]; do head -c 1000000 /dev/zero | tr '\\0' y; i=$((i+1)); sleep 0.02; done"
        corral.ok("run", "-q", "-n", "source", "sh", "-c", stream)
        corral.ok(
            "run", "-q", "-n", "chain", "--shell", f"{flood.split(' | while')[0]} | gzip -1 | sha256sum"
        )
        corral.ok("run", "-q", "-n", "paused", "sleep", "600")
        corral.ok("pause", "paused")
        corral.ok("run", "-q", "-n", "left", "--shell", "sleep 600 & exit 0")
        corral.ok("run", "-q", "-n", "stubborn", "sh", "-c", "trap '' TERM; while :; do sleep 1; done")
        corral.ok(
            "run", "-q", "-n", "later", "--after", "source", "sh", "-c", f"echo ran >> {self.work}/later"
        )
        if not self.term:
            self._begin_what_a_daemon_holds(stream)
        threading.Thread(target=self._start_short_ones, daemon=True).start()

    def _begin_what_a_daemon_holds(self, stream: str) -> None:
        corral = self.corral
        corral.ok("run", "-q", "-n", "fed", "--from", "source", "sha256sum")
        corral.ok("run", "-q", "-n", "talker", "-i", "cat")
        self.waiting = {
            "wait": corral.start("wait", "source", "fed"),
            "logs": corral.start("logs", "-f", "source", stdout=self._copies["logs-copy"]),
            "run": corral.start("run", "-n", "copied", "--wait", "sh", "-c", f"{stream}; exit 9", stdout=self._copies["run-copy"]),
            "stop": corral.start("stop", "--grace", "600s", "stubborn"),
        }  # fmt: skip
        until(lambda: "copied" in corral.ok("ps"), "all to run")

    def _start_short_ones(self) -> None:
        """Each writes a line of its own, so that a second start shows, and ends soon, often while nobody looks."""
        for number in range(1_000_000):
            if self.is_over.is_set():
                return
            name, status = f"s{number}", self.random.choice(STATUSES)
            line = f"echo x >> {self.work}/{name}; sleep 0.0{number % 10}; exit {status}"
            started = self.corral("run", "-q", "-n", name, "sh", "-c", line)
            if started.returncode == 0:
                self.short[name] = status
            elif "is not known" in started.stderr:
                self.unknown.append(name)
            else:
                self.loss.unless(False, f"run {name}: {started.returncode} {started.stderr.strip()}")

    def talk(self) -> None:
        if self.term:
            return
        text = f"line {len(self.sent)}"
        self.corral.ok("send", "talker", text)
        self.sent.append(text.encode() + b"\n")

    # ---- the end

    def finish(self) -> None:
        corral, loss = self.corral, self.loss
        self.is_over.set()
        until(lambda: threading.active_count() == 1, "the starts to end")
        corral("kill", "stubborn")
        if not self.term:
            self._finish_what_a_daemon_holds()
        corral("wait", "chain", "later", *self.short, timeout=600)
        jobs = {job["name"]: job for job in json.loads(corral.ok("ps", "-a", "--json"))}
        self._check_short(jobs)
        loss.unless(jobs["chain"]["state"] in self._known("succeeded"), f"the pipeline {jobs['chain']}")
        loss.unless(jobs["paused"]["state"] == "paused", f"the paused job is {jobs['paused']['state']}")
        loss.unless(jobs["left"]["leftovers"] == 1, "the leftovers are not seen any more")
        if jobs["source"]["state"] == "succeeded":
            loss.unless(jobs["later"]["exit_status"] == 0, "what waited for another did not run")
            loss.unless(
                (self.work / "later").read_text() == "ran\n", "what waited for another did not run once"
            )

    def _known(self, state: str) -> tuple[str, ...]:
        """What ends while no daemon runs may be lost, where nobody can tell its status any more."""
        return (state, "lost") if self.term else (state,)

    def _finish_what_a_daemon_holds(self) -> None:
        corral, loss = self.corral, self.loss
        self.talk()
        corral.ok("send", "--eof", "talker")
        ended = {name: process.wait(timeout=600) for name, process in self.waiting.items()}
        for name, expected in (("wait", 0), ("logs", 0), ("run", 9), ("stop", 0)):
            loss.unless(ended[name] == expected, f"corral {name} exited with {ended[name]}, not {expected}")
        corral("wait", "talker", timeout=600)
        for copy in self._copies.values():
            copy.close()
        expected_hash = hashlib.sha256(b"y" * (self.size // 1_000_000 * 1_000_000)).hexdigest()
        for name in ("run-copy", "logs-copy"):
            found = hashlib.sha256((self.work / name).read_bytes()).hexdigest()
            loss.unless(found == expected_hash, f"{name} is not what the job wrote")
        loss.unless(
            corral.ok("logs", "fed").split()[0] == expected_hash, "what was fed is not what was written"
        )
        heard = corral("logs", "talker", text=False).stdout
        loss.unless(heard == b"".join(self.sent), "what was sent is not what was read")

    def _check_short(self, jobs: dict[str, dict[str, object]]) -> None:
        for name, status in self.short.items():
            job = jobs.get(name)
            if self.term and job is not None and job["state"] == "lost":
                # An account: SIGTERM had ended the daemon, and nobody was there to be told the status.
                self.ended_alone.append(name)
                self.loss.unless(job["reason"] == "ended while no daemon ran", f"{name}: {job['reason']}")
                continue
            self.loss.unless(
                job is not None and job["exit_status"] == status, f"{name}: {status} became {job}"
            )
        for name in [*self.short, *self.unknown]:
            with contextlib.suppress(FileNotFoundError):
                ran = (self.work / name).read_text()
                self.loss.unless(ran == "x\n", f"{name} ran {len(ran) // 2} times")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--times", type=int, default=50)
    parser.add_argument("--megabytes", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--term", action="store_true", help="send SIGTERM during every third restart")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="corral-restart-") as directory:
        run = Run(Path(directory), arguments.seed, arguments.megabytes, term=arguments.term)
        try:
            run.begin()
            took = [_one(run, number, arguments.term) for number in range(arguments.times)]
            run.finish()
        finally:
            run.is_over.set()
            until(lambda: threading.active_count() == 1, "the starts to end")
            run.corral("kill", "--all")
            run.corral("daemon", "stop", "--jobs", "stop")
            until(lambda: not run.corral.processes(), "everything to be gone")
    took.sort()
    print(
        f"{arguments.times} restarts, median {took[len(took) // 2]:.2f} s, slowest {took[-1]:.2f} s; "
        f"{len(run.short)} short jobs started meanwhile, {len(run.unknown)} of which the start was not known, "
        f"{len(run.ended_alone)} ended while no daemon ran, status unknown; "
        f"lost: {len(run.loss.found) or 'nothing'}"
    )
    return 1 if run.loss.found else 0


def _one(run: Run, number: int, term: bool) -> float:
    time.sleep(run.random.random() * LONGEST_PAUSE)
    run.talk()
    before = run.status()
    pid = int(str(before["pid"]))
    process = identify(pid)
    began = time.monotonic()
    restarting = run.corral.start("daemon", "restart")
    if term and number % 3 == 2:
        time.sleep(run.random.random() * 0.6)
        if identify(pid) == process:
            os.kill(pid, signal.SIGTERM)
    status = restarting.wait(timeout=60)
    took = time.monotonic() - began
    said = b"".join(stream.read() for stream in (restarting.stdout, restarting.stderr) if stream)
    for stream in (restarting.stdout, restarting.stderr):
        if stream is not None:
            stream.close()
    after = run.status()
    if not term:
        run.loss.unless(status == 0, f"restart {number}: {said.decode().strip()}")
        run.loss.unless(identify(pid) == process and after["pid"] == pid, "another process is the daemon")
    if number % 10 == 0:
        open_ones = len(os.listdir(f"/proc/{after['pid']}/fd")) if after["pid"] else 0
        print(f"{number:4}  {took:.2f} s  {open_ones} descriptors  {after['memory_bytes']} bytes", flush=True)
    return took


if __name__ == "__main__":
    sys.exit(main())
