"""Hostile bytes on the daemon's socket. Whatever costs more than the connection it came on is printed; then exit is 1.

    python -m reliability fuzz [--examples 2000] [--seed 1] [--only NAME]

Requests made at random from the protocol's types, broken ones, lines by hand, descriptors that nobody asked for, a
thousand idle clients, clients that never read, that never end a line, that send a byte a second. Meanwhile another
client asks 50 times a second, and a job runs. Afterwards: the same daemon, no fault in its log, its descriptors back, its
memory as before, the job still there.
"""

from __future__ import annotations

import argparse
import array
import contextlib
import json
import os
import random
import resource
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st

from corral.daemon import client_limits
from corral.protocol import lines
from corral.protocol import requests as p
from e2e.daemons import Daemons, job, start
from reliability.hostile import HELLO, broken, by_hand, encoded, requests
from reliability.probing import Prober
from until import until

GROWTH = 48 << 20
"""Bytes that the daemon's resident memory may have grown by after an attack: the C library gives back in its own time."""
FLAT = 24 << 20
"""The same from the end of the first round on: what grows with every round would grow for ever."""
SLOWEST = 5.0
"""Seconds that another client may have to wait for an answer meanwhile, on a machine whose disk and cores are busy."""


@dataclass
class Row:
    """What one kind of attack did."""

    name: str
    injected: int
    slowest: float
    memory: tuple[int, int]
    descriptors: tuple[int, int]

    def __str__(self) -> str:
        before, after = (size / (1 << 20) for size in self.memory)
        return (
            f"{self.name:32} {self.injected:9,}  slowest answer {self.slowest * 1000:6.0f} ms"
            f"  memory {before:5.1f} -> {after:5.1f} MB  descriptors {self.descriptors[0]} -> {self.descriptors[1]}"
        )


class Broken(AssertionError):
    """An attack cost more than its own connection."""


class Fuzz:
    """A daemon with a job that has to live on, and the attacks on it."""

    def __init__(self, directory: Path, examples: int, seed: int) -> None:
        self.daemons = Daemons(directory / "home")
        self.work = directory / "work"
        self.work.mkdir()
        self.examples, self.seed = examples, seed
        self.random = random.Random(seed)
        with self.daemons.client() as client:
            (self.witness,) = start(client, "sleep 3600", name="witness")
            self.pid = client.hello.pid
            client.call(p.ListJobs(all=True))
            client.call(p.CleanJobs(plan=True))
            # Before anything is counted the daemon has opened what it keeps for this job.
            until(
                lambda: any("/jobs/" in one for one in self._open_files()), "the job's output to be watched"
            )

    # ---- what must hold

    def attack(self, name: str, act: Callable[[], int]) -> Row:
        """Do it and look whether it cost anything. Raises Broken."""
        memory, descriptors = self.memory(), self._settled_descriptors(0)
        files = Counter(self._open_files())
        with Prober(self.daemons) as prober:
            injected = act()
        self._end_jobs()
        after = self._settled_descriptors(descriptors)
        row = Row(
            name, injected, prober.slowest, (memory, self._settled_memory(memory)), (descriptors, after)
        )
        faults = self._faults()
        with self.daemons.client(start=False) as client:
            checks = {
                "the daemon is another one": client.hello.pid == self.pid,
                "the job of another client is gone": job(client, self.witness).state == "running",
                f"another client failed: {prober.error}": not prober.error,
                "another client had to wait": prober.slowest < SLOWEST,
                f"descriptors are left open: {list(Counter(self._open_files()) - files)}": after
                <= descriptors,
                "memory has grown": row.memory[1] - memory < GROWTH,
                f"the log names a fault: {faults}": not faults,
            }
        bad = [what for what, holds in checks.items() if not holds]
        if bad:
            raise Broken(f"{row}\n  " + "\n  ".join(bad))
        return row

    def _open_files(self) -> list[str]:
        folder, files = f"/proc/{self.pid}/fd", []
        for number in os.listdir(folder):
            with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                files.append(os.readlink(f"{folder}/{number}"))
        return files

    def _end_jobs(self) -> None:
        """Of the attackers: theirs may wait for input for ever."""
        with self.daemons.client(start=False) as client:
            others = tuple(one.id for one in client.call(p.ListJobs()).jobs if one.id != self.witness)
            if others:
                client.call(p.StopJobs(ids=others, grace=0.0), timeout=60)

    def is_there(self) -> bool:
        return os.path.exists(f"/proc/{self.pid}/statm")

    def memory(self) -> int:
        with open(f"/proc/{self.pid}/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def _settled_memory(self, before: int) -> int:
        with contextlib.suppress(AssertionError):
            until(lambda: self.memory() - before < GROWTH, "memory to be given back", seconds=25)
        return self.memory()

    def _settled_descriptors(self, wanted: int) -> int:
        """Those of clients that hung up are closed at the next pass of the daemon's loop, those of children once reaped."""

        def count() -> int:
            # SQLite keeps one of a reader that has gone for the next one: closing it would let go of the file's locks.
            return sum(not name.endswith("/corral.db") for name in self._open_files())

        if wanted:
            with contextlib.suppress(AssertionError):
                until(lambda: count() <= wanted, "descriptors to be closed", seconds=10)
            return count()
        return self._quiet(count)

    @staticmethod
    def _quiet(count: Callable[[], int]) -> int:
        seen: list[int] = []

        def is_steady() -> bool:
            seen.append(count())
            time.sleep(0.02)
            return len(seen) > 10 and len(set(seen[-10:])) == 1

        until(is_steady, "the number of descriptors to be steady")
        return seen[-1]

    def _faults(self) -> list[str]:
        log = Path(self.daemons.home.daemon_log).read_text(errors="replace")
        return [line[:300] for line in log.splitlines() if "fault" in line or "Traceback" in line]

    # ---- clients without manners

    @contextlib.contextmanager
    def connection(self, *, greeted: bool = True) -> Iterator[socket.socket]:
        with self.daemons.raw() as sock:
            if greeted:
                sock.sendall(HELLO)
            yield sock
            with contextlib.suppress(OSError):
                # While another thread reads it, closing it would not end it.
                sock.shutdown(socket.SHUT_RDWR)

    def _send(
        self, data: bytes, *, greeted: bool = True, then: bytes = b'\n{"id":77,"op":"status"}\n'
    ) -> None:
        """Send, and see that this very connection is answered afterwards, where it still has manners enough."""
        with self.connection(greeted=greeted) as sock:
            reader = threading.Thread(target=_drain, args=(sock,))
            reader.start()
            try:
                sock.sendall(data)
                sock.sendall(then)
                sock.shutdown(socket.SHUT_WR)
            except OSError:
                sock.close()  # the daemon has hung up, which is its right
            reader.join(60)
            if reader.is_alive():
                raise Broken("the daemon neither answers nor hangs up")

    def _given(self, strategy: st.SearchStrategy[Any], act: Callable[[Any], None]) -> int:
        count = 0

        @seeded(self.seed)
        @settings(
            max_examples=self.examples, deadline=None, database=None, suppress_health_check=list(HealthCheck)
        )
        @given(strategy)
        def attack(value: Any) -> None:
            nonlocal count
            count += 1
            act(value)

        attack()
        return count

    # ---- the attacks

    def requests(self) -> int:
        """Every kind of request, with every kind of bad value, on a few connections."""
        return self._given(st.lists(requests(self._safe), min_size=1, max_size=5), self._lines)

    def _lines(self, lines: list[bytes]) -> None:
        self._send(b"\n".join(lines))

    def _safe(self, request: dict[str, Any]) -> dict[str, Any]:
        """Away from the job that has to live on, and from other files: these are things that a client may ask for."""
        op = request.get("op")
        if op in ("stop", "signal", "pause", "resume", "restart", "remove", "hide", "close_input", "clean"):
            request.pop("all", None)
            for key in ("ids", "job"):
                if key in request and self._may_mean_witness(request[key]):
                    del request[key]
            if op == "clean":
                request["plan"] = True
        if op == "start":
            request["surroundings"] = self._surroundings(request.get("surroundings"))
            request["specs"] = [
                self._spec(one) for one in request.get("specs") or [] if isinstance(one, dict)
            ]
        return request

    def _may_mean_witness(self, references: Any) -> bool:
        text = json.dumps(references)
        return any(one in text for one in (self.witness, "@", "witness"))

    def _surroundings(self, made: Any) -> Any:
        if not isinstance(made, dict):
            return made
        base = {"environment": {"PATH": "/usr/bin:/bin"}, "cwd": str(self.work), "umask": 0o22}
        return base | {
            key: value for key, value in made.items() if key != "cwd" or self.random.random() < 0.2
        }

    def _spec(self, made: dict[str, Any]) -> dict[str, Any]:
        """Files are made in a directory of our own only."""
        text = json.dumps(made)
        if '"write"' in text or '"append"' in text:
            made = json.loads(text.replace("..", "__").replace('"/', '"'))
        stages = made.get("pipeline")
        if not isinstance(stages, dict) and self.random.random() < 0.8:
            made = made | {"pipeline": {"stages": [{"argv": ["true"]}]}}
        return made | {"command": made.get("command", "x")}

    def broken(self) -> int:
        """Cut and turned lines, with and without hello before."""
        return self._given(
            st.tuples(st.lists(broken(), min_size=1, max_size=20), st.booleans()),
            lambda both: self._send(b"\n".join(both[0]), greeted=both[1]),
        )

    def bytes(self) -> int:
        """Noise."""
        return self._given(
            st.tuples(st.lists(st.binary(max_size=3000), max_size=4), st.booleans()),
            lambda both: self._send(b"".join(both[0]), greeted=both[1]),
        )

    def by_hand(self) -> int:
        """The lines that somebody thinks of, each with and without hello; some end in the middle."""
        count = 0
        for _, data in by_hand():
            for greeted in (True, False):
                self._send(data, greeted=greeted)
                with self.connection(greeted=greeted) as sock, contextlib.suppress(OSError):
                    sock.setblocking(False)
                    sock.send(data[: max(1, len(data) // 2)])
                count += 2
        return count

    def descriptors(self) -> int:
        """By SCM_RIGHTS, up to 253 a message (the kernel's limit), beside whole lines, half ones and no lines."""
        null = os.open(os.devnull, os.O_RDONLY)
        lines = (
            b'{"id":8,"op":"list"}\n',
            b'{"id":8,"op":"wait","ids":["1"]}\n',
            b"no request\n",
            b"x",
            b'{"id":8,"op":"start"',
        )
        try:
            for _ in range(max(20, self.examples // 4)):
                with (
                    self.connection(greeted=self.random.random() < 0.8) as sock,
                    contextlib.suppress(OSError),
                ):
                    sock.settimeout(1)
                    for _ in range(self.random.randrange(1, 40)):
                        rights = array.array("i", [null] * self.random.choice((1, 7, 8, 9, 100, 253)))
                        sock.sendmsg(
                            [self.random.choice(lines)], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)]
                        )
        finally:
            os.close(null)
        return max(20, self.examples // 4)

    def idle(self, count: int = 1000) -> int:
        """Clients that say nothing, half of them said hello; they stay while another one works."""
        with contextlib.ExitStack() as stack:
            for number in range(count):
                sock = stack.enter_context(self.connection(greeted=False))
                with contextlib.suppress(OSError):
                    if number % 2:
                        sock.sendall(HELLO)
            with self.daemons.client(start=False) as client:
                (one,) = start(client, "true")
                client.call(p.WaitForJobs(ids=(one,)), timeout=30)
        return count

    def beyond(self) -> int:
        """More clients than the daemon takes: it says so, and goes on."""
        count = client_limits.MOST_CLIENTS + 200
        refused = 0
        with contextlib.ExitStack() as stack:
            for _ in range(count):
                sock = stack.enter_context(self.daemons.raw())
                with contextlib.suppress(OSError):
                    sock.sendall(HELLO)
                    sock.settimeout(20)
                    refused += b'"ok"' not in sock.recv(4096)
        if refused < 100:
            raise Broken(f"only {refused} of {count} clients were refused")
        return count

    def half_lines(self, count: int = 400) -> int:
        """Clients that never end their line, one in twenty one byte below the limit, which all together is too much."""
        with contextlib.ExitStack() as stack:
            for number in range(count):
                sock = stack.enter_context(self.connection())
                sock.settimeout(5)
                with contextlib.suppress(OSError):
                    sock.sendall(b"x" * (1 << 20 if number % 20 else lines.REQUEST_LIMIT - 1))
        return count

    def never_reads(self, count: int = 40) -> int:
        """Subscribers, and askers for everything, that read nothing."""
        question = b'{"id":8,"op":"list","all":true}\n' * 200 + b'{"id":9,"op":"subscribe"}\n' * 200
        with contextlib.ExitStack() as stack:
            for _ in range(count):
                sock = stack.enter_context(self.connection())
                sock.setblocking(False)
                with contextlib.suppress(OSError):
                    for _ in range(20):
                        sock.send(question)
            with self.daemons.client(start=False) as client:
                for _ in range(5):
                    ids = start(client, *(["true", "x" * 1000] for _ in range(100)))
                    client.call(p.WaitForJobs(ids=tuple(ids)), timeout=60)
        return count

    def waits(self, count: int = 8) -> int:
        """As many waits as fit, the longest there are."""
        long = encoded({"id": 8, "op": "wait", "ids": [self.witness] * 250_000})[: lines.REQUEST_LIMIT]
        short = encoded({"id": 8, "op": "wait", "ids": [self.witness]}) + b"\n"
        with contextlib.ExitStack() as stack:
            for number in range(count):
                sock = stack.enter_context(self.connection())
                sock.settimeout(10)
                threading.Thread(target=_drain, args=(sock,), daemon=True).start()
                with contextlib.suppress(OSError):
                    sock.sendall((long + b"\n") * 10 if number % 2 else short * 20_000)
        return count * 10_005

    def slow(self) -> int:
        """A byte a second, before hello and after: who has not said hello in time is hung up on."""
        with self.connection(greeted=False) as quiet, self.connection() as slow:
            began = time.monotonic()
            quiet.settimeout(1)
            for byte in HELLO * 2:
                slow.send(bytes([byte]))
                with contextlib.suppress(TimeoutError):
                    if not quiet.recv(1):
                        break
                with contextlib.suppress(BrokenPipeError):
                    quiet.send(bytes([byte]))
            else:
                raise Broken("nobody hung up on who never said hello")
            if time.monotonic() - began > client_limits.HELLO_SECONDS + 5:
                raise Broken("it took too long to hang up")
        return 2

    def all(self) -> dict[str, Callable[[], int]]:
        return {
            "requests with bad values": self.requests,
            "broken lines": self.broken,
            "random bytes": self.bytes,
            "lines by hand": self.by_hand,
            "descriptors": self.descriptors,
            "idle clients": self.idle,
            "more clients than fit": self.beyond,
            "lines without end": self.half_lines,
            "clients that never read": self.never_reads,
            "waits": self.waits,
            "a byte a second": self.slow,
        }

    def end(self) -> None:
        self.daemons.end()


def _drain(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.settimeout(60)
        while sock.recv(1 << 16):
            pass


def _round(fuzz: Fuzz, only: str) -> int:
    """Every attack once; how many cost more than they may."""
    broken_ones = 0
    for name, act in fuzz.all().items():
        if only not in name:
            continue
        try:
            print(fuzz.attack(name, act), flush=True)
        except Exception as error:
            broken_ones += 1
            print(f"BROKEN {name}: {type(error).__name__}: {error}", flush=True)
            if not fuzz.is_there():
                print(f"BROKEN the daemon {fuzz.pid} is gone, and with it the rest of this run", flush=True)
                break
    return broken_ones


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--examples", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="attacks whose name holds this")
    parser.add_argument("--rounds", type=int, default=2)
    chosen = parser.parse_args()
    # So that the daemon is ended whoever ends us.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    directory = Path(tempfile.mkdtemp(prefix="corral-fuzz-"))
    broken_ones, sizes = 0, []
    fuzz = Fuzz(directory, chosen.examples, chosen.seed)
    try:
        for number in range(chosen.rounds):
            fuzz.seed = chosen.seed + number
            broken_ones += _round(fuzz, chosen.only)
            if not fuzz.is_there():
                break
            sizes.append(fuzz.memory())
        if sizes and max(sizes) - sizes[0] > FLAT:
            broken_ones += 1
            print(f"BROKEN memory goes on growing: {[size >> 20 for size in sizes]} MB")
    finally:
        fuzz.end()
        if broken_ones:
            print(f"what the daemon left is in {directory}")
        else:
            shutil.rmtree(directory)
    print("nothing was lost" if not broken_ones else f"{broken_ones} attacks cost more than their connection")
    return 1 if broken_ones else 0


if __name__ == "__main__":
    sys.exit(main())
