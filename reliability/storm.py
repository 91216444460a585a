"""A storm of commands on the same jobs: `python -m reliability storm --storms 10 --clients 6 --commands 60 --seed 1`.

Several clients at once run, stop, kill, restart, pause, resume, signal, wait for, show, remove jobs at random, most of
them jobs that others are busy with; with `--kills` the daemon dies by SIGKILL meanwhile, and the next one goes on. Then
all is stopped, and must be in order: each job has ended in a state that fits its stages, nothing carries a mark of the
home or holds the jobs' lock (see holding.py), the daemon's log tells of no fault, the journal is whole.
Exits with 1 where it is not. Bounded by its number of commands; each job ends by itself after a minute.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sqlite3
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

from corral.client.blocking import Client
from corral.client.environment import surroundings
from corral.model.errors import CorralError, DaemonUnavailableError, NotSoError
from corral.model.job import ENDED_STATES, Job
from corral.model.spec import Command, JobSpec, Pipeline
from corral.protocol import requests as p
from e2e.daemons import Daemons
from managers import marked
from reliability.holding import Token, zoo_argv
from until import until

PROGRAMS = (
    ("sleep", "60"),
    ("true",),
    ("false",),
    ("sh", "-c", "sleep 0.1; exit 7"),
    ("sh", "-c", "kill -SEGV $$"),
    tuple(zoo_argv("ignores_many")),
    tuple(zoo_argv("double_fork")),
    tuple(zoo_argv("double_fork", "x")),
    tuple(zoo_argv("own_session")),
    tuple(zoo_argv("stops_itself")),
    tuple(zoo_argv("first_thread_ends")),
)
SIGNALS = ("TERM", "KILL", "INT", "STOP", "CONT", "USR1")
ANSWER_SECONDS = 60.0
LATEST = 8
"""Commands go to one of so many of the newest jobs: that makes them meet."""


class Storm:
    """One home in a storm. `wrong` collects what must not be."""

    def __init__(self, directory: Path, seed: int) -> None:
        self.daemons = Daemons(directory / "home")
        self.directory = directory
        self.seed = seed
        self.ids: list[str] = []
        self.tokens: list[Token] = []
        self.done: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.is_over = threading.Event()
        self._lock = threading.Lock()

    def run(self, clients: int, commands: int, kills: int) -> None:
        threads = [
            threading.Thread(target=self._client, args=(random.Random(self.seed * 1000 + n), commands))
            for n in range(clients)
        ]
        with self.daemons.client():
            pass
        killer = threading.Thread(target=self._kill, args=(random.Random(self.seed), kills))
        for thread in (*threads, killer):
            thread.start()
        for thread in threads:
            thread.join()
        self.is_over.set()
        killer.join()
        self._settle(may_be_lost=kills > 0)

    # ---- the storm

    def _client(self, chance: random.Random, commands: int) -> None:
        left = commands
        while left:
            try:
                with self.daemons.client() as client:
                    while left:
                        left -= 1
                        self._command(client, chance)
            except DaemonUnavailableError:
                # It was killed; the next connection starts another.
                self.done["gone"] += 1
            except Exception as error:
                self.wrong.append(f"a client: {type(error).__name__}: {error}")
                return

    def _command(self, client: Client, chance: random.Random) -> None:
        name, request = self._chosen(chance)
        try:
            answer = client.call(request, timeout=ANSWER_SECONDS)
            if isinstance(answer, p.Started):
                self.ids += answer.ids
            self.done[name] += 1
        except DaemonUnavailableError:
            raise
        except NotSoError:
            self.done[f"{name} refused"] += 1
        except CorralError as error:
            if "daemon failed" in str(error) or "no answer" in str(error):
                self.wrong.append(f"{name}: {error}")
            self.done[f"{name} refused"] += 1

    def _chosen(self, chance: random.Random) -> tuple[str, p.Request[Any]]:
        if not self.ids or chance.random() < 0.3:
            return "run", self._start(chance)
        job = chance.choice(self.ids[-LATEST:])
        some = tuple({chance.choice(self.ids[-LATEST:]) for _ in range(3)})
        grace = chance.choice((None, 0.0, 0.1))
        requests: dict[str, p.Request[Any]] = {
            "stop": p.StopJobs(ids=some, grace=grace, wait=chance.random() < 0.5, by="by the storm"),
            "stop one": p.StopJobs(ids=(job,), by="by the storm"),
            "stop stage": p.StopJobs(ids=(job,), stage=chance.choice((1, 2)), grace=0.1, by="by the storm"),
            "kill": p.StopJobs(ids=(job,), grace=0.0, by="by the storm"),
            "restart": p.RestartJobs(ids=(job,)),
            "pause": p.PauseJobs(ids=some),
            "resume": p.ResumeJobs(ids=some),
            "signal": p.SignalJobs(ids=some, signal=chance.choice(SIGNALS), tree=chance.random() < 0.5),
            "wait": p.WaitForJobs(ids=some, any=chance.random() < 0.5, timeout=0.1),
            "show": p.ShowJob(job=job),
            "why": p.AskWhy(job=job),
            "remove": p.RemoveJobs(ids=(job,), force=chance.random() < 0.3),
            "list": p.ListJobs(all=chance.random() < 0.5),
            "hide": p.HideJobs(ids=(job,), hidden=True),
        }
        name = chance.choice(list(requests))
        return name, requests[name]

    def _start(self, chance: random.Random) -> p.StartJobs:
        stages = tuple(Command(self._held(chance)) for _ in range(chance.choice((1, 1, 2, 3))))
        spec = JobSpec(
            pipeline=Pipeline(stages),
            command=" | ".join(stage.argv[-1] for stage in stages),
            timeout=chance.choice((None, None, 0.05, 0.3)),
            stop_grace=chance.choice((0.05, 0.2)),
            leftovers=chance.choice(("leave", "stop")),
            after=(chance.choice(self.ids[-LATEST:]),) if self.ids and chance.random() < 0.1 else (),
        )
        return p.StartJobs(specs=(spec,), surroundings=surroundings(), wait_started=chance.random() < 0.5)

    def _held(self, chance: random.Random) -> tuple[str, ...]:
        """A program whose processes hold a lock of their own, under the name that execvp(3) finds."""
        with self._lock:
            token = Token(self.directory / f"token.{len(self.tokens)}")
            self.tokens.append(token)
        program, *arguments = chance.choice(PROGRAMS)
        return tuple(token.held_by(["/usr/bin/env", program, *arguments]))

    def _kill(self, chance: random.Random, kills: int) -> None:
        """SIGKILL to the daemon, at moments that the storm does not choose."""
        for _ in range(kills):
            if self.is_over.wait(chance.uniform(0.2, 1.5)):
                return
            for daemon in self.daemons.alive():
                os.kill(daemon.pid, signal.SIGKILL)
                self.done["daemon killed"] += 1

    # ---- the calm

    def _settle(self, *, may_be_lost: bool) -> None:
        with self.daemons.client() as client:
            stops = client.call(p.StopJobs(all=True, grace=0.1), timeout=ANSWER_SECONDS)
            self.wrong += [f"job {r.id} has survivors: {r.survivors}" for r in stops.reports if r.survivors]
            until(lambda: not _unended(client), "every job to have ended", seconds=ANSWER_SECONDS)
            jobs = client.call(p.ListJobs(all=True), timeout=ANSWER_SECONDS).jobs
            client.call(p.Shutdown(jobs="stop"), timeout=ANSWER_SECONDS)
        self.wrong += [what for job in jobs for what in _misfits(job, may_be_lost=may_be_lost)]
        self.done.update(f"= {job.state}" for job in jobs)
        self.wrong += [f"{token.path.name} is held" for token in self.tokens if token.is_held()]
        if left := marked(self.daemons.nonce()):
            self.wrong.append(f"marked and alive: {left}")
        self._read_log()
        self._read_journal(jobs)
        self.daemons.end()

    def _read_log(self) -> None:
        log = Path(self.daemons.home.daemon_log).read_text()
        if "fault" in log or "Traceback" in log or "Error" in log:
            self.wrong.append(f"daemon.log: {log[-2000:]}")

    def _read_journal(self, jobs: tuple[Job, ...]) -> None:
        until(lambda: not self.daemons.alive(), "the daemon to be gone")
        with sqlite3.connect(f"file:{self.daemons.home.journal}?mode=ro", uri=True) as journal:
            found = journal.execute("PRAGMA integrity_check").fetchall()
            if found != [("ok",)]:
                self.wrong.append(f"integrity_check: {found}")
            (count,) = journal.execute("SELECT count(*) FROM jobs").fetchone()
            if count != len(jobs):
                self.wrong.append(f"{count} jobs in the journal, {len(jobs)} listed")
        journal.close()


def _unended(client: Client) -> tuple[Job, ...]:
    return client.call(p.ListJobs(), timeout=ANSWER_SECONDS).jobs


def _misfits(job: Job, *, may_be_lost: bool) -> list[str]:
    """What of an ended job contradicts itself."""
    wrong = []
    if job.state not in ENDED_STATES or job.ended is None:
        wrong.append("has not ended")
    if job.leftovers:
        wrong.append(f"{job.leftovers} leftovers")
    if any(stage.started is not None and stage.ended is None for stage in job.stages):
        wrong.append("a stage runs")
    if job.started is not None and job.ended is not None and job.ended < job.started:
        wrong.append("ended before it started")
    if job.state == "succeeded" and (job.exit_status != 0 or job.reason is not None):
        wrong.append("succeeded, with a reason")
    if job.state != "succeeded" and not job.reason:
        wrong.append("no reason")
    if job.state == "timed_out" and (job.exit_status != 124 or job.timeout is None):
        wrong.append("timed out without a time limit")
    if job.state == "lost" and not may_be_lost:
        wrong.append("lost")
    return [f"job {job.id} ({job.command}, {job.state}: {job.reason}): {what}" for what in wrong]


def run(*, clients: int, commands: int, seed: int, kills: int = 0) -> Storm:
    """One storm on a home of its own; what was wrong stands in it."""
    with tempfile.TemporaryDirectory(prefix="corral-storm-") as directory:
        storm = Storm(Path(directory), seed)
        try:
            storm.run(clients, commands, kills)
        except AssertionError as late:
            storm.wrong.append(str(late))
        finally:
            storm.daemons.end()
        return storm


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--storms", type=int, default=10)
    parser.add_argument("--clients", type=int, default=6)
    parser.add_argument("--commands", type=int, default=60, help="of each client")
    parser.add_argument("--kills", type=int, default=0, help="of the daemon, in each storm")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    total: Counter[str] = Counter()
    wrong = 0
    for seed in range(asked.seed, asked.seed + asked.storms):
        began = time.monotonic()
        storm = run(clients=asked.clients, commands=asked.commands, seed=seed, kills=asked.kills)
        total += storm.done
        wrong += len(storm.wrong)
        print(
            f"seed {seed}: {sum(storm.done.values())} done in {time.monotonic() - began:.1f} s, {len(storm.wrong)} wrong",
            flush=True,
        )
        for what in storm.wrong:
            print(f"WRONG {what}", file=sys.stderr)
    print(", ".join(f"{name} {count}" for name, count in sorted(total.items())))
    print(f"{asked.storms} storms of {asked.clients} clients, {wrong} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
