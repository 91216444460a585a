"""Starting the daemon from a client. The daemon detaches itself."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import socket
import time
from typing import IO, NamedTuple

from corral.home.directory import check_home, prepare_home
from corral.model.errors import DaemonUnavailableError
from corral.model.home import Home
from corral.platform.files.descriptors import unnamed_file
from corral.platform.host.python_interpreter import CHOICE, interpreter
from corral.protocol.address import dial

START_SECONDS = 5.0
NEVER_INHERITED = ("CORRAL_JOB_ID", "CORRAL_STAGE")
_RETRY_SECONDS = 0.005
_RELAUNCH_SECONDS = 0.5
_TURN_SECONDS = 2.0
_EXIT_SECONDS = 1.0
_ABOVE_ALL = 10
"""Lowest number for duplicates, above those that the daemon gets; possible even under `ulimit -n 64`."""
LAUNCH = "corral.service.launch"
"""The module that a daemon is run as, by every release: its docstring says why."""
MAIN = "corral.daemon.main"
"""What that one loads: the whole daemon."""


def connected(home: Home, *, start: bool) -> socket.socket:
    """A connection to the daemon of this home, started if none runs and `start` is true.

    Raises:
        DaemonUnavailableError: none runs, or it could not be started; the text says why.
        CorralError: the home cannot be used.
    """
    with contextlib.suppress(FileNotFoundError):
        check_home(home)
    sock = _dialled(home)
    if sock is not None:
        return sock
    if not start:
        raise DaemonUnavailableError(f"no daemon runs for {home.path}; corral run starts one")
    prepare_home(home)
    directory = os.open(home.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return _started(home, directory)
    finally:
        os.close(directory)


def _started(home: Home, directory: int) -> socket.socket:
    """Start a daemon, or wait for the one that another client is starting, and connect to it."""
    deadline = time.monotonic() + START_SECONDS
    own_turn = time.monotonic() + _TURN_SECONDS
    while time.monotonic() < deadline:
        is_ours = _has_turn(directory) or time.monotonic() >= own_turn
        # The client that had the turn before us may have started it.
        sock = _dialled(home)
        if sock is not None:
            return sock
        if not is_ours:
            time.sleep(_RETRY_SECONDS)
            continue
        await_report(launch(home), home, START_SECONDS)
        deadline = max(deadline, time.monotonic() + _RELAUNCH_SECONDS)
        # Another daemon may have held the lock, because it was starting or ending; in the second case we start one again.
        patience = min(deadline, time.monotonic() + _RELAUNCH_SECONDS)
        while time.monotonic() < patience:
            sock = _dialled(home)
            if sock is not None:
                return sock
            time.sleep(_RETRY_SECONDS)
    # Imported only for this error: every client would take some milliseconds longer to start.
    from corral.home.identity import living_daemon

    holder = living_daemon(home)
    if holder is not None:
        raise DaemonUnavailableError(
            f"a daemon, pid {holder}, runs for {home.path} and does not answer within {START_SECONDS:g} s:"
            " corral daemon stop ends it, its jobs go on"
        )
    raise DaemonUnavailableError(
        f"the daemon did not answer within {START_SECONDS:g} s; see {home.daemon_log}"
    )


def _has_turn(directory: int) -> bool:
    """Whether this client is to start the daemon: twenty clients at once need one daemon, not twenty that compete.

    The lock is on the home itself, and ends with the descriptor. After `_TURN_SECONDS` the others do not wait.
    """
    try:
        fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _dialled(home: Home) -> socket.socket | None:
    try:
        return dial(home)
    except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
        return None
    except OSError as error:
        raise DaemonUnavailableError(f"cannot reach the daemon at {home.socket}: {error.strerror}") from None


class Launched(NamedTuple):
    """A daemon that is starting: the pipe on which it reports, and its stderr until it has detached."""

    program: str
    pid: int
    """Of the first of its two forks, which exits at once."""
    reader: int
    said: IO[bytes]


def launch(home: Home, *arguments: str, passed: tuple[int, ...] = ()) -> Launched:
    """Start the program of the daemon, detached. Call `await_report` next.

    It reports `ready`, or an error line, or nothing if another daemon holds the lock. `-P` keeps the current directory
    out of its import path. posix_spawn, since importing subprocess costs a client 10 ms.

    Raises:
        CorralError: there is no Python for it.
        DaemonUnavailableError: it could not be started.
    """
    program = interpreter()
    reader, writer = os.pipe()
    child_writer = 3
    said = unnamed_file("daemon")
    # dup2 first clears close-on-exec on the copy; what is passed beside it lands on 4, 5, …
    given = [_above(descriptor, _ABOVE_ALL) for descriptor in (writer, *passed)]
    actions = [(os.POSIX_SPAWN_DUP2, each, child_writer + index) for index, each in enumerate(given)]
    actions.append((os.POSIX_SPAWN_DUP2, said.fileno(), 2))
    argv = [program, "-P", "-m", LAUNCH, home.path, str(child_writer), *arguments]
    try:
        child = os.posix_spawn(program, argv, environment_of_daemon(), file_actions=actions)
    except OSError as error:
        os.close(reader)
        said.close()
        raise DaemonUnavailableError(f"the daemon cannot be started: {program}: {error.strerror}") from None
    finally:
        for descriptor in (writer, *given):
            os.close(descriptor)
    return Launched(program, child, reader, said)


def environment_of_daemon() -> dict[str, str]:
    """Ours, without the variables that would make the daemon look like a process of the job that we may run in."""
    return {name: value for name, value in os.environ.items() if name not in NEVER_INHERITED}


def _above(descriptor: int, least: int) -> int:
    return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, least)


def _reap(child: int) -> None:
    """Leave no zombie. A program that does not exit in time was no Python."""
    try:
        deadline = time.monotonic() + _EXIT_SECONDS
        while os.waitpid(child, os.WNOHANG) == (0, 0) and time.monotonic() < deadline:
            time.sleep(0.001)
    except ChildProcessError:
        # The host program ignores SIGCHLD, so the kernel has reaped it already (wait(2)).
        return


def await_report(launched: Launched, home: Home, seconds: float) -> None:
    """Wait for the report of a daemon that was launched. Raises DaemonUnavailableError with its reason."""
    with launched.said:
        try:
            text = _report(launched.reader, home, seconds)
        finally:
            os.close(launched.reader)
            _reap(launched.pid)
        if text and text != "ready":
            raise DaemonUnavailableError(text)
        launched.said.seek(0)
        lines = launched.said.read().decode("utf-8", "replace").strip().splitlines()
    if not text and lines:
        raise DaemonUnavailableError(
            f"{launched.program} cannot run the daemon ({lines[-1]}); {CHOICE} names another Python, one that has corral"
        )


def _report(reader: int, home: Home, seconds: float) -> str:
    """The report; empty if there was none. Blanks come before it while a daemon with a long queue is at work."""
    report = b""
    while not report.endswith(b"\n"):
        poller = select.poll()
        poller.register(reader, select.POLLIN)
        if not poller.poll(seconds * 1000):
            raise DaemonUnavailableError(
                f"the daemon did not start within {START_SECONDS:g} s; see {home.daemon_log}"
            )
        piece = os.read(reader, 4096)
        if not piece:
            break
        report += piece
    return report.decode("utf-8", "replace").strip()
