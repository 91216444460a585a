"""SIGKILL of the daemon at random moments, under a mixed load of jobs. What is lost is printed; anything lost is exit 1.

    python -m reliability crash [--times 100] [--seed 1]

Each job writes a token of its own, outside Corral, when it starts and when it ends. After each kill the next `corral`
command starts a daemon, and its list is held against these tokens.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import msgspec

from corral.client.blocking import Client
from corral.model.home import Home
from corral.model.job import Job
from corral.platform.process.identity import ProcessIdentity, identify, is_alive
from corral.protocol import requests as p
from e2e.command import Corral
from managers import marked, nonce_of
from reliability.accounts import Book, Broken, Gap
from reliability.load import Load
from until import until

LONGEST = 1.2
"""Seconds under load before a kill."""
DURING_START = 0.2
"""The part of the kills that hits a daemon while it starts and takes jobs over."""


class Run:
    """One run: a home, its daemons one after the other, the book."""

    def __init__(self, directory: Path, seed: int) -> None:
        self.home = Home(str(directory / "home"))
        work = directory / "work"
        work.mkdir()
        self.corral = Corral(Path(self.home.path), work)
        self.random = random.Random(seed)
        self.book = Book(self.home)
        self.load = Load(self.book, work, seed)
        self.kills = self.kills_at_start = 0

    def daemon(self) -> ProcessIdentity | None:
        """The one that runs, as `corral daemon status` says; checked to be of this home."""
        status = self.corral("daemon", "status", "--json")
        if status.returncode:
            return None
        pid = int(msgspec.json.decode(status.stdout)["pid"])
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        if os.fsencode(self.home.path) not in command:
            raise Broken(f"pid {pid} is no daemon of {self.home.path}: {command}")
        return identify(pid)

    def jobs(self) -> list[Job]:
        """What the next command says, which starts a daemon where none runs."""
        listed = self.corral("ps", "-a", "--json")
        if listed.returncode or listed.stderr:
            raise Broken(f"corral ps -a: {listed.returncode} {listed.stderr}")
        return msgspec.json.decode(listed.stdout, type=list[Job])

    # ---- one kill

    def kill(self, daemon: ProcessIdentity) -> float:
        at = time.time()
        if is_alive(daemon):
            os.kill(daemon.pid, signal.SIGKILL)
        until(lambda: not is_alive(daemon), "the daemon to be gone")
        return at

    def turn(self) -> None:
        """Load for a while, kill, look."""
        with Client.connect(self.home) as client:
            daemon = identify(client.hello.pid)
            assert daemon is not None
            over = threading.Event()
            worker = threading.Thread(target=self.load.run, args=(client, over))
            worker.start()
            time.sleep(self.random.uniform(0.0, LONGEST))
            asked = self.daemon()
            if asked != daemon:
                raise Broken(f"daemon status names {asked}, we speak to {daemon}")
            killed = self.kill(daemon)
            over.set()
            worker.join()
        self.kills += 1
        if self.load.failure is not None:
            raise self.load.failure
        self.check_journal()
        gap = Gap(killed, float("inf"))
        self.book.gaps.append(gap)
        if self.random.random() < DURING_START:
            self.kill_at_start()
        self.book.look()
        jobs = self.jobs()
        gap.answered = time.time()
        self.book.check(jobs)

    def kill_at_start(self) -> None:
        """End the next daemon, too, before it has answered."""
        with self.corral.start("ps", "-a") as command:
            found = until(self.starting_daemon, "a daemon to be starting")
            time.sleep(self.random.uniform(0.0, 0.2))
            self.kill(found)
            command.communicate()
        self.kills += 1
        self.kills_at_start += 1

    def starting_daemon(self) -> ProcessIdentity | None:
        """The newest process that is a daemon of this home, by its argv."""
        wanted = [b"corral.service.launch", os.fsencode(self.home.path)]
        for name in sorted(filter(str.isdigit, os.listdir("/proc")), key=int, reverse=True):
            try:
                words = Path(f"/proc/{name}/cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if all(word in words for word in wanted):
                return identify(int(name))
        return None

    def check_journal(self) -> None:
        """A copy of what the killed daemon left: intact, and each accepted job in it."""
        with tempfile.TemporaryDirectory() as copy:
            for suffix in ("", "-wal"):
                if os.path.exists(self.home.journal + suffix):
                    shutil.copy(self.home.journal + suffix, os.path.join(copy, f"corral.db{suffix}"))
            connection = sqlite3.connect(os.path.join(copy, "corral.db"))
            try:
                (found,) = connection.execute("PRAGMA integrity_check").fetchone()
                known = {str(row[0]) for row in connection.execute("SELECT id FROM jobs")}
            finally:
                connection.close()
        if found != "ok":
            raise Broken(f"the journal is damaged: {found}")
        missing = [
            str(account)
            for account in self.book.accounts
            if account.id and account.id not in known and not account.removal
        ]
        if missing:
            raise Broken(f"accepted, and not in the journal: {missing}")

    # ---- the end

    def finish(self) -> None:
        """Let all jobs end and check them once more; nothing may be left."""
        with Client.connect(self.home) as client:
            self.load.finish(client)
            kept = [account for account in self.book.accounts if not account.removal]
            ids = tuple(account.id for account in kept if account.id)
            client.call(p.WaitForJobs(ids=ids, timeout=120), timeout=150)
        self.book.look()
        self.book.check(self.jobs(), is_last=True)
        self.check_journal()

    def print_log(self) -> None:
        if os.path.exists(self.home.daemon_log):
            print(Path(self.home.daemon_log).read_text()[-4000:])

    def end(self) -> None:
        self.corral("ps")
        self.corral("daemon", "stop", "--jobs", "stop")
        if os.path.exists(self.home.identity_file):
            until(lambda: not marked(nonce_of(self.home)), "everything of this home to be gone")


def crash(times: int, seed: int) -> int:
    """The exit status."""
    with tempfile.TemporaryDirectory(prefix="crash-") as directory:
        run = Run(Path(directory), seed)
        try:
            while run.kills < times:
                run.turn()
                say(f"{run.kills} kills, {len(run.book.accounts)} jobs")
            run.finish()
        except (Broken, AssertionError, subprocess.TimeoutExpired) as error:
            print(f"\nafter {run.kills} kills: {type(error).__name__}: {error}")
            run.print_log()
            return 1
        finally:
            run.end()
    report(run)
    return 0


def say(text: str) -> None:
    """How far it is, to a terminal."""
    if sys.stderr.isatty():
        print(f"\r{text}", end="", file=sys.stderr, flush=True)


def report(run: Run) -> None:
    accepted = sum(account.id is not None for account in run.book.accounts)
    print(f"\nkills            {run.kills}, of these {run.kills_at_start} of a daemon that was just starting")
    print(f"jobs accepted    {accepted}; each found again, none started twice")
    print(f"how they ended   {dict(sorted(run.book.ends.items()))}")
    for reason, count in run.book.lost.items():
        print(f"state not known  {count}: {reason}")
    print("unaccounted for  0; bytes of output lost: 0; damaged journals: 0")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--times", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    sys.exit(crash(options.times, options.seed))
