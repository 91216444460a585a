"""What a case is, and where it runs."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

Line = str | list[str]


class Place:
    """A folder of a case's own, with what was started there; all of it ends with the case."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.env = {**os.environ, "LC_ALL": "C"}
        """The environment of the job."""
        self._started: list[subprocess.Popen[bytes]] = []
        self._undo = contextlib.ExitStack()

    def __enter__(self) -> Place:
        return self

    def __exit__(self, *_: object) -> None:
        self.let_go()

    def let_go(self) -> None:
        """End what was started, and undo the rest, the last first. May be called twice."""
        self._undo.close()

    def afterwards(self, undo: Callable[..., object], *arguments: object) -> None:
        self._undo.callback(undo, *arguments)

    def start(self, *argv: str | Path, **options: Any) -> subprocess.Popen[bytes]:
        """Something that goes on beside the job."""
        options = {
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.DEVNULL,
            "stderr": subprocess.DEVNULL,
            "start_new_session": True,
        } | options
        process = subprocess.Popen([str(one) for one in argv], cwd=self.folder, **options)
        self.afterwards(_end, process)
        return process

    def run(self, *argv: str | Path, **options: Any) -> str:
        """Something that ends soon; what it printed."""
        words = [str(one) for one in argv]
        done = subprocess.run(words, cwd=self.folder, capture_output=True, timeout=60, check=False, **options)
        if done.returncode:
            raise RuntimeError(f"{words[0]}: {done.stderr.decode(errors='replace')[-200:]}")
        return done.stdout.decode(errors="replace")

    def write(self, name: str, content: str, mode: int = 0o644) -> Path:
        path = self.folder / name
        path.write_text(content)
        path.chmod(mode)
        return path

    def fifo(self, name: str = "fifo") -> Path:
        os.mkfifo(self.folder / name)
        return self.folder / name

    def port(self) -> int:
        """One of 127.0.0.1 that is free."""
        with socket.create_server(("127.0.0.1", 0)) as one:
            return int(one.getsockname()[1])


def _end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)  # and what it has started
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.close()


def until(holds: Callable[[], object], what: str, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds:g} s for {what}")
        time.sleep(0.05)


def answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


SILENT = "import socket, sys, time\ns = socket.create_server(('127.0.0.1', int(sys.argv[1])))\nkept = [s.accept()[0] for _ in iter(int, 1)]"
"""Accepts, and never says a word."""


def until_listening(port: int) -> None:
    wanted = f"0100007F:{port:04X} 00000000:0000 0A"
    until(lambda: wanted in Path("/proc/net/tcp").read_text(), f"somebody to listen at {port}")


def silent_server(place: Place) -> int:
    """The port of a server of 127.0.0.1 that accepts, and says nothing."""
    port = place.port()
    place.start(sys.executable, "-c", SILENT, port)
    until_listening(port)
    return port


class Case(NamedTuple):
    """One real program. `prepare` makes what it hangs on, and returns the line of the job."""

    name: str
    prepare: Callable[[Place], Line]
    hangs: bool
    says: str = ""
    """What the first line of `why` has to match: the root, by name."""
    needs: tuple[str, ...] = ()
    """Programs that must be installed."""
    any_health: bool = False
    """Something of it moves all the time, so that as a whole it is not stuck."""
    pty: bool = False
    typed: bool = False
    """Its input stays open for `corral send`."""


CASES: list[Case] = []


Prepare = Callable[[Place], Line]


def hangs(name: str, *needs: str, says: str, **options: bool) -> Callable[[Prepare], Prepare]:
    """Register a case that hangs."""
    return _registering(name, needs, True, {"says": says, **options})


def looks_so(name: str, *needs: str, **options: bool) -> Callable[[Prepare], Prepare]:
    """Register a case that only looks as if it hung."""
    return _registering(name, needs, False, options)


def _registering(
    name: str, needs: tuple[str, ...], is_stuck: bool, options: Mapping[str, Any]
) -> Callable[[Prepare], Prepare]:
    def register(prepare: Prepare) -> Prepare:
        CASES.append(Case(name, prepare, is_stuck, needs=needs, **options))
        return prepare

    return register
