"""A mixed load of jobs for a daemon that is about to be killed."""

from __future__ import annotations

import itertools
import os
import random
import threading
from collections.abc import Callable
from pathlib import Path

from corral.client.blocking import Client
from corral.client.environment import surroundings
from corral.commandline.parser import parse, parse_argv, quote_pipeline
from corral.model.errors import CorralError, DaemonUnavailableError
from corral.model.spec import JobInput, JobSpec
from corral.protocol import requests as p
from reliability.accounts import Account, Book, counted, write_programs

BATCH = 20


class Load:
    """Starts, pauses, resumes and stops jobs of every kind, each with an account, until the daemon is gone."""

    def __init__(self, book: Book, directory: Path, seed: int) -> None:
        self._book = book
        self._directory = directory
        self._random = random.Random(seed)
        self._programs = write_programs(directory)
        self._numbers = itertools.count(1)
        self._deeds: list[Callable[[Client], None]] = [
            self._short, self._batch, self._count, self._pipeline, self._fork, self._escape, self._chain,
            self._paused, self._stubborn, self._timeout, self._from, self._redirected, self._resume, self._fifo,
            self._open_fifo, self._remove, self._sweep,
        ]  # fmt: skip
        self._fifos: list[Path] = []
        self.failure: BaseException | None = None

    def run(self, client: Client, until: threading.Event) -> None:
        """Do things with one connection until `until` is set or the daemon has gone."""
        deeds = list(self._deeds)
        self._random.shuffle(deeds)
        try:
            for deed in itertools.cycle(deeds):
                if until.is_set():
                    return
                deed(client)
                until.wait(0.02)
        except DaemonUnavailableError:
            return
        except BaseException as error:
            self.failure = error

    # ---- accounts

    def _account(self, kind: str, **fields: object) -> Account:
        name = f"n{next(self._numbers)}"
        account = Account(name, kind, self._directory / f"{name}.token", **fields)  # type: ignore[arg-type]
        self._book.accounts.append(account)
        return account

    def _counting(
        self, kind: str, count: int, status: int = 0, **fields: object
    ) -> tuple[Account, list[str]]:
        account = self._account(kind, status=status, **fields)
        account.output = counted(count, account.name)
        return account, [
            "sh",
            self._programs["count"],
            str(account.token),
            str(count),
            account.name,
            str(status),
        ]

    def _simple(self, kind: str, *more: str, **fields: object) -> tuple[Account, list[str]]:
        account = self._account(kind, **fields)
        return account, ["sh", self._programs[kind], str(account.token), *more]

    # ---- deeds

    def _start(self, client: Client, *wanted: tuple[Account, str | list[str]], **fields: object) -> None:
        specs = []
        for account, command in wanted:
            pipeline = parse(command) if isinstance(command, str) else parse_argv(command)
            specs.append(JobSpec(pipeline, quote_pipeline(pipeline), name=account.name, **fields))  # type: ignore[arg-type]
        request = p.StartJobs(specs=tuple(specs), surroundings=surroundings(), wait_started=len(specs) == 1)
        ids = client.call(request, timeout=60).ids
        for (account, _), job_id in zip(wanted, ids, strict=True):
            account.id = job_id

    def _short(self, client: Client) -> None:
        self._start(client, self._counting("short", 5, self._random.choice((0, 0, 3))))

    def _batch(self, client: Client) -> None:
        self._start(client, *(self._counting("batch", 3) for _ in range(BATCH)))

    def _count(self, client: Client) -> None:
        self._start(
            client, self._counting("count", self._random.randrange(100, 1200), self._random.choice((0, 7)))
        )

    def _pipeline(self, client: Client) -> None:
        account, producer = self._counting("pipeline", self._random.randrange(100, 900))
        feeder = self._account("pipeline's first stage")
        feeder.is_settled = True
        producer[2] = str(feeder.token)
        line = f"{' '.join(producer)} | cat | sh {self._programs['copy']} {account.token}"
        self._start(client, (account, line))

    def _redirected(self, client: Client) -> None:
        account, words = self._counting("redirected", self._random.randrange(100, 600))
        account.file = self._directory / f"{account.name}.out"
        self._start(client, (account, f"{' '.join(words)} > {account.file} 2>> {account.file}.err"))

    def _fork(self, client: Client) -> None:
        self._start(client, self._simple("fork", output=b"child\n" * 3))

    def _escape(self, client: Client) -> None:
        self._start(client, self._simple("escape", "3"))

    def _chain(self, client: Client) -> None:
        first, words = self._counting("chain", self._random.randrange(20, 400))
        self._start(client, (first, words))
        for _ in range(2):
            following, words = self._counting("chain", 5, after=first, broke_off=True)
            self._start(client, (following, words), after=(first.id,))
            first = following

    def _from(self, client: Client) -> None:
        source, words = self._counting("source", self._random.randrange(20, 500))
        self._start(client, (source, words))
        account = self._account("from", source=source, broke_off=True, output=source.output)
        assert source.id is not None
        command = ["sh", self._programs["copy"], str(account.token)]
        self._start(client, (account, command), stdin=JobInput(source.id))

    def _paused(self, client: Client) -> None:
        account, words = self._counting("paused", 200)
        self._start(client, (account, words))
        account.pause = "perhaps"
        assert account.id is not None
        if client.call(p.PauseJobs(ids=(account.id,)), timeout=60).done:
            account.pause = "asked"

    def _resume(self, client: Client) -> None:
        for account in self._book.accounts:
            if account.pause == "asked" and self._random.random() < 0.3:
                account.pause = "perhaps"
                assert account.id is not None
                client.call(p.ResumeJobs(ids=(account.id,)), timeout=60)
                account.pause = None

    def _stubborn(self, client: Client) -> None:
        account, words = self._simple("stubborn")
        self._start(client, (account, words), stop_grace=self._random.uniform(0.1, 1.5))
        account.stop = "perhaps"
        assert account.id is not None
        client.call(p.StopJobs(ids=(account.id,), wait=False), timeout=60)
        account.stop = "asked"

    def _timeout(self, client: Client) -> None:
        account, words = self._simple("sleep", times_out=True)
        self._start(client, (account, words), timeout=self._random.uniform(0.3, 3.0), stop_grace=0.5)

    def _fifo(self, client: Client) -> None:
        path = self._directory / f"fifo{next(self._numbers)}"
        os.mkfifo(path)
        account = self._account("fifo", output=b"through the fifo\n", broke_off=True)
        self._start(client, (account, f"sh {self._programs['copy']} {account.token} < {path}"))
        self._fifos.append(path)

    def _open_fifo(self, _: Client) -> None:
        for path in list(self._fifos):
            if self.feed_fifo(path):
                self._fifos.remove(path)

    def _remove(self, client: Client) -> None:
        """Two that have ended, by what was last seen."""
        ended = [each for each in self._book.accounts if each.is_settled and each.id and not each.removal][:2]
        for account in ended:
            account.removal = "perhaps"
        ids = tuple(account.id for account in ended if account.id)
        if ids and len(client.call(p.RemoveJobs(ids=ids), timeout=60).done) == len(ids):
            for account in ended:
                account.removal = "asked"

    def _sweep(self, client: Client) -> None:
        """End the leftovers of one that has ended by itself."""
        for account in self._book.accounts:
            if (
                account.kind == "escape"
                and account.is_settled
                and account.stop is None
                and not account.removal
            ):
                account.stop = "asked"
                assert account.id is not None
                client.call(p.StopJobs(ids=(account.id,), wait=False, grace=0.3), timeout=60)
                return

    def feed_fifo(self, path: Path) -> bool:
        """Write to it, where somebody reads it now (fifo(7): ENXIO else)."""
        try:
            writer = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            return False
        try:
            os.write(writer, b"through the fifo\n")
        except BrokenPipeError:
            return False
        finally:
            os.close(writer)
        return True

    def finish(self, client: Client) -> None:
        """Let everything come to its end: what waits for somebody gets it, what goes on for ever is stopped."""
        for account in self._book.accounts:
            if account.pause is not None and account.id is not None:
                client.call(p.ResumeJobs(ids=(account.id,)), timeout=60)
                account.pause = None
            endless = account.kind in ("stubborn", "fifo") or (
                account.kind == "sleep" and not account.times_out
            )
            if endless and account.id is not None and not account.is_settled:
                account.stop = "asked"
                try:
                    client.call(p.StopJobs(ids=(account.id,), grace=0.0), timeout=60)
                except CorralError as error:
                    raise AssertionError(f"{account}: {error}") from error
