"""Starting a daemon from a client, which goes on at once; the daemon detaches by itself."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import socket
import sys
import time

from corral.decide.homedir import check_home, prepare_home
from corral.service.address import dial
from corral.values.errors import DaemonUnavailableError
from corral.values.home import Home

START_SECONDS = 5.0
NEVER_INHERITED = ("CORRAL_JOB_ID", "CORRAL_STAGE")
_RETRY_SECONDS = 0.005
_RELAUNCH_SECONDS = 0.5
_TURN_SECONDS = 2.0
LAUNCH = "corral.service.launch"


def connected(home: Home, *, start: bool) -> socket.socket:
    """A connection to the daemon of this home, started when none runs and `start` says so.

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
    """Start a daemon, or wait for the one that another client is starting; connected to it."""
    deadline = time.monotonic() + START_SECONDS
    own_turn = time.monotonic() + _TURN_SECONDS
    while time.monotonic() < deadline:
        is_ours = _has_turn(directory) or time.monotonic() >= own_turn
        # Whoever had the turn before us may have done it.
        sock = _dialled(home)
        if sock is not None:
            return sock
        if not is_ours:
            time.sleep(_RETRY_SECONDS)
            continue
        reader = launch(home)
        try:
            await_report(reader, home, START_SECONDS)
        finally:
            os.close(reader)
        # Another one may have held the lock, to begin just as we do, or to end: then it is for us to start one after all.
        patience = min(deadline, time.monotonic() + _RELAUNCH_SECONDS)
        while time.monotonic() < patience:
            sock = _dialled(home)
            if sock is not None:
                return sock
            time.sleep(_RETRY_SECONDS)
    from corral.decide.homeidentity import living_daemon

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
    """Whether it is for us to start a daemon: twenty clients at once need one, not twenty that try for its lock.

    The lock is on the home itself, and goes with the descriptor. Who holds it and was suspended keeps nobody for long.
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


def launch(home: Home, *arguments: str, passed: tuple[int, ...] = ()) -> int:
    """Start the program of the daemon, detached; the read end of the pipe on which it reports comes back.

    It writes `ready`, or an error line; nothing where another daemon holds the lock. `-P` keeps the current directory
    out of its import path. posix_spawn, since importing subprocess costs a client 10 ms.
    """
    reader, writer = os.pipe()
    child_writer = 3
    actions: list[tuple[int, int, int]] = [(os.POSIX_SPAWN_DUP2, writer, child_writer)]
    # dup2 first clears close-on-exec on the copy; what is passed beside it lands on 4, 5, …
    spare = [os.dup(descriptor) for descriptor in passed]
    high = [_above(descriptor, 64) for descriptor in spare]
    actions += [(os.POSIX_SPAWN_DUP2, descriptor, 4 + index) for index, descriptor in enumerate(high)]
    argv = [sys.executable, "-P", "-m", LAUNCH, home.path, str(child_writer), *arguments]
    try:
        child = os.posix_spawn(sys.executable, argv, _environment(), file_actions=actions)
    finally:
        os.close(writer)
        for descriptor in (*spare, *high):
            os.close(descriptor)
    _reap(child)
    return reader


def _environment() -> dict[str, str]:
    """Ours, without what would make the daemon look like a process of the job that we may be in."""
    return {name: value for name, value in os.environ.items() if name not in NEVER_INHERITED}


def _above(descriptor: int, least: int) -> int:
    return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, least)


def _reap(child: int) -> None:
    """Wait for the first of the two forks, which exits at once."""
    try:
        os.waitpid(child, 0)
    except ChildProcessError:
        # The host program ignores SIGCHLD, so the kernel has reaped it already (wait(2)).
        return


def await_report(reader: int, home: Home, seconds: float) -> None:
    """Wait for the word of a daemon that was launched. Raises DaemonUnavailableError with its reason."""
    deadline = time.monotonic() + seconds
    report = b""
    while not report.endswith(b"\n"):
        poller = select.poll()
        poller.register(reader, select.POLLIN)
        if not poller.poll(max(0, deadline - time.monotonic()) * 1000):
            raise DaemonUnavailableError(
                f"the daemon did not start within {START_SECONDS:g} s; see {home.daemon_log}"
            )
        piece = os.read(reader, 4096)
        if not piece:
            break
        report += piece
    text = report.decode("utf-8", "replace").strip()
    if text and text != "ready":
        raise DaemonUnavailableError(text)
