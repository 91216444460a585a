"""A daemon of the test's own on a home of its own, reached through the blocking client."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import forkserver
from corral.client.blocking import Client
from corral.client.environment import surroundings
from corral.commandline.parser import parse, parse_argv, quote_pipeline
from corral.model.errors import CorralError
from corral.model.home import Home
from corral.model.job import Job
from corral.model.spec import JobSpec
from corral.platform.process.identity import ProcessIdentity, identify, is_alive
from corral.protocol import requests as p
from corral.protocol.address import dial
from managers import marked, nonce_of
from until import until


class Daemons:
    """All daemons of one home, one after the other."""

    def __init__(self, path: Path) -> None:
        self.home = Home(str(path))
        self.seen: set[ProcessIdentity] = set()

    @contextlib.contextmanager
    def client(self, *, start: bool = True) -> Iterator[Client]:
        with Client.connect(self.home, start=start) as client:
            daemon = identify(client.hello.pid)
            assert daemon is not None
            self.seen.add(daemon)
            yield client

    def pid(self) -> int:
        with self.client() as client:
            return client.hello.pid

    def alive(self) -> list[ProcessIdentity]:
        return [daemon for daemon in self.seen if is_alive(daemon)]

    def signal(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Send to the daemon, and wait until it is gone."""
        for daemon in self.alive():
            os.kill(daemon.pid, number)
        until(lambda: not self.alive(), f"the daemon to end by {number.name}")

    def nonce(self) -> int:
        return nonce_of(self.home)

    def open_descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.pid()}/fd"))

    def raw(self) -> socket.socket:
        """A connection without manners."""
        sock = dial(self.home)
        sock.settimeout(20)
        return sock

    def listens(self) -> bool:
        """A socket is there a moment before somebody listens at it."""
        try:
            self.raw().close()
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        return True

    def end(self) -> None:
        """Stop all, end the daemon, and see that nothing of this home is left."""
        if os.path.exists(self.home.journal):
            with contextlib.suppress(CorralError), self.client() as client:
                client.call(p.Shutdown(jobs="stop"), timeout=20)
        try:
            until(lambda: not self.alive(), "every daemon of the test to be gone", seconds=10)
            if os.path.exists(self.home.identity_file):
                until(lambda: not marked(self.nonce()), "every marked process to be gone", seconds=10)
        finally:
            for daemon in self.alive():
                os.kill(daemon.pid, signal.SIGKILL)


@contextlib.contextmanager
def altered(path: Path, changes: str) -> Iterator[Daemons]:
    """A home whose daemon has run `changes`, lines of Python, before it began. It ends with its jobs."""
    made = Daemons(path)
    code = (
        f"import sys\nfrom corral.daemon.main import run_foreground\n{changes}\n"
        "from corral.model.home import Home\nsys.exit(run_foreground(Home(sys.argv[1])))"
    )
    with forkserver.popen([sys.executable, "-c", code, made.home.path], start_new_session=True) as process:
        until(lambda: made.listens() or process.poll() is not None, "it to listen")
        yield made
        with made.client(start=False) as client:
            client.call(p.Shutdown(jobs="stop"), timeout=30)
        assert process.wait(30) == 0
    made.end()


def spec(command: str | list[str], **fields: object) -> JobSpec:
    pipeline = parse(command) if isinstance(command, str) else parse_argv(command)
    return JobSpec(pipeline=pipeline, command=quote_pipeline(pipeline), **fields)  # type: ignore[arg-type]


def start(client: Client, *commands: str | list[str], **fields: object) -> list[str]:
    """Start jobs with this process's surroundings; their ids."""
    specs = tuple(spec(command, **fields) for command in commands)
    request = p.StartJobs(specs=specs, surroundings=surroundings(), wait_started=len(specs) == 1)
    return list(client.call(request, timeout=30).ids)


def job(client: Client, job_id: str) -> Job:
    (found,) = client.call(p.ListJobs(ids=(job_id,)), timeout=30).jobs
    return found


def stdout(daemons: Daemons, job_id: str) -> bytes:
    return Path(daemons.home.stdout(job_id)).read_bytes()


def wait(client: Client, *ids: str) -> list[Job]:
    waited = client.call(p.WaitForJobs(ids=ids, timeout=30), timeout=40)
    assert not waited.timed_out, waited
    return list(waited.jobs)
