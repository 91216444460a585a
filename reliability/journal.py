"""A damaged journal: bits flipped, files cut short, pages zeroed, `home.json` gone. The daemon starts, and finds what runs.

    python -m reliability journal [--times 200] [--seed 1]

One journal of a daemon that was killed, with jobs that still run, is damaged again and again, each time from the same
copy. Exit 1 if a command failed, a running job was not found, something was started twice or an id given again.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sqlite3
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from corral.client.blocking import Client
from corral.model.job import Job
from corral.protocol import requests as p
from reliability.accounts import Account, Broken
from reliability.crash import Run, say
from until import until

Damage = Callable[[random.Random, Path], None]


def flip(dice: random.Random, path: Path) -> None:
    """One to twenty bits."""
    content = bytearray(path.read_bytes())
    for _ in range(dice.randrange(1, 21)):
        content[dice.randrange(len(content))] ^= 1 << dice.randrange(8)
    path.write_bytes(content)


def flip_head(dice: random.Random, path: Path) -> None:
    """A bit of the first hundred bytes."""
    content = bytearray(path.read_bytes())
    content[dice.randrange(min(100, len(content)))] ^= 1 << dice.randrange(8)
    path.write_bytes(content)


def cut(dice: random.Random, path: Path) -> None:
    os.truncate(path, dice.randrange(path.stat().st_size))


def empty(_: random.Random, path: Path) -> None:
    os.truncate(path, 0)


def zero_page(dice: random.Random, path: Path) -> None:
    with open(path, "r+b") as file:
        file.seek(dice.randrange(max(1, path.stat().st_size // 4096)) * 4096)
        file.write(bytes(4096))


def scramble(dice: random.Random, path: Path) -> None:
    """A stretch of random bytes."""
    size = path.stat().st_size
    with open(path, "r+b") as file:
        file.seek(dice.randrange(size))
        file.write(dice.randbytes(dice.randrange(1, 20_000)))


def remove(_: random.Random, path: Path) -> None:
    path.unlink()


DAMAGES: tuple[Damage, ...] = (flip, flip, flip, flip_head, cut, empty, zero_page, scramble, remove)


class Bench:
    """A home with a journal of a killed daemon, and what runs in it."""

    def __init__(self, directory: Path, seed: int) -> None:
        self.run = Run(directory, seed)
        self.home = Path(self.run.home.path)
        self.saved = directory / "saved"
        self.running: list[Account] = []
        self.dice = random.Random(seed)
        self.seen: Counter[str] = Counter()

    def set_up(self) -> None:
        load = self.run.load
        with Client.connect(self.run.home) as client:
            for _ in range(15):
                load._start(client, load._counting("short", 3))
            load._batch(client)
            client.call(p.WaitForJobs(ids=tuple(a.id for a in self.run.book.accounts if a.id)), timeout=60)
            client.close()
        self.compact()
        with Client.connect(self.run.home) as client:
            for _ in range(2):
                self.running.append(load._account("sleep"))
                words = ["sh", load._programs["sleep"], str(self.running[-1].token)]
                load._start(client, (self.running[-1], words))
            self.running.append(load._account("sleep"))
            line = f"sh {load._programs['sleep']} {self.running[-1].token} | cat | cat"
            load._start(client, (self.running[-1], line))
            assert self.running[0].id is not None
            load._start(client, load._counting("queued", 3), after=(self.running[0].id,))
            for account in self.running:
                until(lambda account=account: account.lines("start"), f"{account} to start")
                account.look()
            daemon = self.run.daemon()
        assert daemon is not None
        self.run.kill(daemon)
        self.saved.mkdir()
        for name in self.files():
            shutil.copy(self.home / name, self.saved / name)
        self.largest = max(int(account.id) for account in self.run.book.accounts if account.id)

    def compact(self) -> None:
        """End the daemon and move its log into the journal, so that both have something to lose."""
        daemon = self.run.daemon()
        assert daemon is not None
        self.run.kill(daemon)
        connection = sqlite3.connect(self.run.home.journal)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()

    @staticmethod
    def files() -> tuple[str, ...]:
        return ("corral.db", "corral.db-wal", "home.json")

    def restore(self) -> None:
        for entry in os.listdir(self.home):
            if entry.startswith("corral.db"):
                os.unlink(self.home / entry)
        for name in self.files():
            shutil.copy(self.saved / name, self.home / name)
        for folder in os.listdir(self.run.home.jobs):
            if int(folder) > self.largest:
                shutil.rmtree(self.run.home.job(folder))

    def hurt(self) -> str:
        """Damage one file or more; what was done."""
        chosen = self.dice.choice((("corral.db",), ("corral.db-wal",), self.files()[:2], self.files()))
        done = []
        for name in chosen:
            damage = self.dice.choice(DAMAGES)
            damage(self.dice, self.home / name)
            done.append(f"{damage.__name__} {name}")
        return ", ".join(done)

    def turn(self) -> None:
        self.restore()
        done = self.hurt()
        try:
            self.look()
        except AssertionError as error:
            raise Broken(f"{done}: {error}") from error
        finally:
            daemon = self.run.daemon()
            if daemon is not None:
                self.run.kill(daemon)

    def look(self) -> None:
        said = self.run.corral("run", "true")
        if "was written by a newer Corral" in said.stderr:
            # A bit of the format's number, which nothing tells from a newer format.
            self.seen["taken for a newer format"] += 1
            return
        if said.returncode:
            raise Broken(f"corral run: {said.returncode} {said.stderr}")
        new_id = int(said.stdout)
        self.note(said.stderr)
        jobs = {job.id: job for job in self.run.jobs()}
        for account in self.running:
            self.find(account, jobs)
        for account in self.run.book.accounts:
            if len(account.lines("start")) > 1:
                raise Broken(f"{account} was started again")
        started = [
            int(a.id) for a in self.run.book.accounts if a.id and (a.token.exists() or a in self.running)
        ]
        if new_id <= max(started):
            raise Broken(f"the id {new_id} was given again")

    def note(self, stderr: str) -> None:
        """Whatever was set aside has to be there."""
        kinds = [name for name in os.listdir(self.home) if ".damaged-" in name]
        self.seen["said" if stderr else "nothing to say"] += 1
        if kinds and "set aside as" not in stderr:
            raise Broken(f"{kinds} set aside without a word: {stderr!r}")

    def find(self, account: Account, jobs: dict[str, Job]) -> None:
        assert account.id is not None
        job = jobs.get(account.id)
        if not account.lives or job is None:
            raise Broken(f"{account}: {'not in the list' if account.lives else 'has been ended'}")
        if job.is_ended and not job.leftovers:
            raise Broken(f"{account} runs and is shown as {job.state} ({job.reason})")
        self.seen[job.state] += 1

    def end(self) -> None:
        for account in self.running:
            if account.lives and account.process is not None:
                os.kill(account.process.pid, signal.SIGKILL)
        self.restore()
        self.run.end()


def damage_journals(times: int, seed: int) -> int:
    with tempfile.TemporaryDirectory(prefix="journal-") as directory:
        bench = Bench(Path(directory), seed)
        try:
            bench.set_up()
            for number in range(times):
                bench.turn()
                say(f"{number + 1} damaged journals")
        except (Broken, AssertionError) as error:
            print(f"\n{type(error).__name__}: {error}")
            bench.run.print_log()
            return 1
        finally:
            bench.end()
    print(
        f"\ndamaged journals {times}: daemons that did not start 0, running jobs not found 0, ids given again 0"
    )
    print(f"seen: {dict(bench.seen)}")
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--times", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    sys.exit(damage_journals(options.times, options.seed))
