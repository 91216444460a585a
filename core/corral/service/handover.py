"""`corral daemon restart`: the daemon becomes the program of the client that asks, in the same process.

The clients lose their connections and find the new program behind the same socket, which never stops listening.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn

import msgspec

from corral.manage.handover import gather, note_lives
from corral.service import protocol as p
from corral.service.again import may_be_cut
from corral.service.starter import LAUNCH, NEVER_INHERITED
from corral.system.daemonlog import log, log_fault
from corral.system.identity import identify
from corral.system.replacing import become, hold_signals, release_signals
from corral.values.errors import CorralError, NotSoError
from corral.values.home import Home
from corral.values.wire import from_wire, to_wire

if TYPE_CHECKING:
    from corral.service.daemon import Daemon

PATIENCE_SECONDS = 3.0
"""How long the requests are waited for that could not be asked again. Clients call a daemon silent after 5 s."""
_PASSES = 3
"""Of the loop, until the handler of a signal that came before the signals were held has run."""


async def follow_home(daemon: Daemon, home: Home, on_refusal: Callable[[CorralError], None]) -> None:
    """Become this same program again, with the home where it was moved to."""
    environment = {to_wire(name): to_wire(value) for name, value in os.environ.items()}
    request = p.RestartDaemon(program=to_wire(sys.executable), environment=environment)
    report = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    try:
        await replace_program(daemon, request, report, home)
    except CorralError as error:
        on_refusal(error)
    except Exception as error:  # noqa: BLE001 - a fault of ours: the daemon goes on as it was, and says so
        log_fault("following the home", error)
        on_refusal(CorralError(f"{daemon.manager.home.path} cannot be followed to {home.path}: {error!r}"))
    finally:
        os.close(report)


async def replace_program(daemon: Daemon, request: p.RestartDaemon, report: int, home: Home) -> NoReturn:
    """Become the new program, which goes on with every job and says on the descriptor `report` that it does.

    `home`: that of the daemon, by the path that it has now.

    Raises:
        CorralError: it cannot be; nothing has changed, and the daemon goes on.
    """
    _check(daemon, request)
    try:
        await daemon.manager.commits.unlocked()
    except CorralError as error:
        raise CorralError(f"daemon restart: {error}; the daemon goes on as it was") from None
    daemon.hold()
    try:
        await _until_quiet(daemon)
        await daemon.say_leaving("restart")
        hold_signals()
        try:
            for _ in range(_PASSES):
                await asyncio.sleep(0)
            if daemon.is_ending:
                raise NotSoError("daemon restart: the daemon is ending; the next command starts another")
            _become(daemon, request, report, home)
        finally:
            release_signals()
    finally:
        for connection in daemon.connections:
            connection.say_leaving("stay")
        daemon.go_on()


def _check(daemon: Daemon, request: p.RestartDaemon) -> None:
    if daemon.is_private:
        raise NotSoError("daemon restart: this daemon belongs to one program and ends with it")
    if daemon.is_held:
        raise NotSoError("daemon restart: another restart is under way")
    if daemon.is_ending or daemon.listener is None or daemon.lock is None:
        raise NotSoError("daemon restart: the daemon is ending; the next command starts another")
    if sys.platform != "linux":
        raise NotSoError("daemon restart: it needs Linux; corral daemon stop --jobs leave, then corral ps")
    program = from_wire(request.program)
    if not os.path.isabs(program) or not os.path.isfile(program):
        raise CorralError(f"daemon restart: {program} is no program; the daemon goes on as it was")


async def _until_quiet(daemon: Daemon) -> None:
    """Wait for what is under way, unless its client can ask for it again."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while unfinished := _unfinished(daemon):
        left = deadline - time.monotonic()
        if left <= 0:
            what = ", ".join(sorted({type(request).__name__ for request in unfinished.values()}))
            raise NotSoError(f"daemon restart: a request is under way that cannot be cut ({what}); try again")
        await asyncio.wait(unfinished, timeout=left)


def _unfinished(daemon: Daemon) -> dict[asyncio.Task[None], p.AnyRequest]:
    return {
        task: request
        for connection in daemon.connections
        for task, (_, request) in connection.under_way.items()
        if not may_be_cut(request) and task is not asyncio.current_task()
    }


def _become(daemon: Daemon, request: p.RestartDaemon, report: int, home: Home) -> NoReturn:
    """Nothing else runs between the look at what is and the exec."""
    manager = daemon.manager
    assert daemon.lock is not None
    assert daemon.listener is not None
    manager.reap()
    note_lives(manager)
    process = identify(os.getpid())
    if process is None:
        raise CorralError("daemon restart: /proc does not show this process; the daemon goes on as it was")
    table = gather(manager, process)
    lock, listener = daemon.lock, daemon.listener.fileno()
    argv = [from_wire(request.program), "-P", "-m", LAUNCH, home.path, str(report)]
    argv += ["resume", str(lock), str(listener), str(daemon.generation + 1)]
    environment = {
        from_wire(name): from_wire(value)
        for name, value in request.environment.items()
        if name not in NEVER_INHERITED
    }
    try:
        _write(home, msgspec.json.encode(table))
        become(argv, environment, {report, lock, listener, *table.descriptors})
    except OSError as error:
        forget_table(home)
        why = f"daemon restart: {argv[0]}: {error.strerror}; the daemon goes on as it was"
        log(why)
        raise CorralError(why) from None


def _write(home: Home, content: bytes) -> None:
    """Always a file of our own making, 0600: whatever stands in its place is removed first."""
    forget_table(home)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with open(os.open(home.handover, flags, 0o600), "wb") as file:
        file.write(content)


def forget_table(home: Home) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(home.handover)
